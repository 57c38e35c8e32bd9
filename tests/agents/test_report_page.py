"""The report as a browser shows it: narrow and wide, few agents and many."""

from __future__ import annotations

import functools
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny import SETTINGS, MemoryScenes, tiny_encoder

from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.reports import html as page_of
from agents.reports.html import write_report
from agents.reports.styles import agent_styles

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
TEMPLATE = (Path(page_of.__file__).with_name("report.html")).read_text()
SEVEN = ("random", "checkerboard", "raster", "center_out", "ame", "ame_normalised", "oracle")

# Finds, in each frame, what sticks out of the page or out of its card.
MEASURE = """
const place = node => node.getBoundingClientRect();
function measure(page) {
  const root = page.documentElement, out = [];
  if (root.scrollWidth > root.clientWidth) out.push("page " + root.scrollWidth);
  for (const card of page.querySelectorAll("section")) {
    for (const inner of card.querySelectorAll("*")) {
      if (inner.closest(".scroll") && !inner.matches(".scroll")) continue;
      if (place(inner).right > place(card).right + 1) out.push(inner.outerHTML.slice(0, 90));
    }
  }
  for (const plot of page.querySelectorAll(".plots svg")) {
    const whole = place(plot);
    for (const text of plot.querySelectorAll("text")) {
      const box = place(text);
      if (box.left < whole.left - 1 || box.right > whole.right + 1) out.push(text.textContent);
    }
  }
  const cards = [...page.querySelectorAll("#cards > figure")].map(card => place(card).left);
  return {
    out: out.slice(0, 5), cards: cards.length, columns: new Set(cards.map(Math.round)).size,
    curves: page.querySelectorAll(".plots svg").length, width: root.clientWidth,
  };
}
addEventListener("load", async () => {
  await new Promise(done => setTimeout(done, 1500));
  const frames = [...document.querySelectorAll("iframe")];
  const found = frames.map(frame => [frame.id, measure(frame.contentDocument)]);
  const note = document.createElement("pre");
  note.textContent = JSON.stringify(Object.fromEntries(found));
  document.body.append(note);
});
"""


@functools.cache
def report(tmp_path, agents, task="classification"):
    names = (
        "a class with a very long name that fits no card at all",
        *MemoryScenes().class_names[1:],
    )
    scenes = MemoryScenes()
    scenes.class_names = names
    settings = {
        "scenes": scenes,
        "encoder": tiny_encoder(class_names=names),
        "task": task,
        **SETTINGS,
    }
    config = EvaluationConfig(num_envs=6, num_scenes=6, episodes=2, progress=False)
    path = tmp_path / f"{len(agents)}-{task}.html"
    write_report(evaluate_agents(agents, "AVE-Synthetic-v0", settings, config), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.mark.skipif(BROWSER is None, reason="no browser on this machine")
def test_nothing_sticks_out_of_its_card_in_a_browser(folder):
    reports = {
        "one": report(folder, SEVEN[4:5]),
        "two": report(folder, SEVEN[3:5], "reconstruction"),
        "seven": report(folder, SEVEN),
    }
    frames = [
        f'<iframe id="{name}-{width}" width="{width}" height="900" style="border:0" '
        f'srcdoc="{html.escape(path.read_text())}"></iframe>'
        for name, path in reports.items()
        for width in (420, 1300)
    ]
    page = folder / "frames.html"
    page.write_text(f"<body>{''.join(frames)}<script>{MEASURE}</script></body>")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900"]
    command += ["--virtual-time-budget=10000", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", shown, re.S)[1]))
    assert len(found) == 6
    for name, frame in found.items():
        assert frame["out"] == [], name
        assert frame["curves"] == 2, name
        assert 0 <= int(name.split("-")[1]) - frame["width"] <= 20  # but for a scroll bar
    assert {name: (frame["cards"], frame["columns"]) for name, frame in found.items()} == {
        "one-420": (1, 1),
        "one-1300": (1, 1),
        "two-420": (2, 1),
        "two-1300": (2, 2),
        "seven-420": (7, 1),
        "seven-1300": (7, 2),
    }


def test_the_style_sheet_fits_narrow_pages_and_has_dark_colours():
    style = re.search(r"<style>(.*?)</style>", TEMPLATE, re.S)[1]
    for least in re.findall(r"(?<![-\w])min-width: (\d+)px", style):
        assert int(least) <= 300
    for least in re.findall(r"minmax\(([^,]+(?:\([^)]*\))?[^,]*),", style):
        assert not re.fullmatch(r"\d{3,}px", least.strip()) or int(least.strip()[:-2]) <= 100
    light, dark = (
        set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    )
    assert light == dark
    rest = re.sub(r":root \{.*?\}|linear-gradient\(.*?\)", "", style, flags=re.S)
    assert not re.findall(r"#[0-9a-f]{3,6}\b", rest)  # all colours are variables


def luminance(color):
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first, second):
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_agents_are_legible_on_light_and_dark_paper_and_look_different():
    styles = agent_styles([(name, name == "oracle") for name in (*SEVEN, *"abcdefghij")])
    for style in styles:
        assert contrast(style.color, "#ffffff") > 2, style
        assert contrast(style.dark_color, "#1c2025") > 4.5, style
    looks = {(style.color, style.marker) for style in styles}
    assert len(looks) == len(styles)
    assert len({style.marker for style in styles[:7]}) == 7

"""The report: one file, nothing fetched, and the numbers of the comparison in it."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny import SETTINGS, MemoryScenes, tiny_encoder

from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.reports.html import write_report
from agents.reports.tables import print_comparison
from agents.reports.videos import save_mp4

SCENES = MemoryScenes()


def compare(agents=("raster", "ame"), **settings):
    settings = {"scenes": SCENES, "encoder": tiny_encoder(), **SETTINGS, **settings}
    config = EvaluationConfig(num_envs=6, episodes=2, progress=False)
    return evaluate_agents(agents, "AVE-Synthetic-v0", settings, config)


def data_of(page: str) -> dict:
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S)[1])


def picture(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


@pytest.mark.parametrize("task", ["classification", "reconstruction"])
def test_the_report_holds_what_happened_and_fetches_nothing(tmp_path, task):
    comparison = compare(task=task)
    write_report(comparison, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|@import|url\(|fetch\(""", page)
    allowed = {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert set(re.findall(r"https?://[^\s\"'<>)]+", page)) <= allowed
    data = data_of(page)
    for agent, result in zip(data["agents"], comparison.results, strict=True):
        assert agent["label"] == result.label
        for metric, interval in result.over_scenes.items():
            np.testing.assert_allclose(agent["curves"][metric][0], interval.mean, rtol=1e-3)
        for scene, moments in agent["episodes"].items():
            boxes = result.evaluations[0].boxes[int(scene), 1:].tolist()
            assert [moment["boxes"] for moment in moments] == [boxes[:t] for t in range(5)]
            assert ("reconstruction" in moments[0]) == (task == "reconstruction")
    for scene in data["scenes"]:
        np.testing.assert_array_equal(picture(scene["image"]), SCENES.images[scene["id"]])


def test_the_report_writes_numbers_as_the_terminal_does(tmp_path):
    comparison = compare()
    write_report(comparison, tmp_path / "report.html")
    data = data_of((tmp_path / "report.html").read_text())
    console = Console(width=300, record=True, file=io.StringIO())
    print_comparison(comparison, console)
    printed = console.export_text()
    assert len(data["tables"]) == 2
    for table in data["tables"]:
        cells = [cell for row in table["rows"] for cell in row[: len(table["headings"]) - 1]]
        seen = "seen, %" in table["headings"]
        kept = [row[:-1] if seen else row for row in table["rows"]]
        assert len(cells) == len(data["agents"]) * (len(table["headings"]) - 1)
        for line in {line for row in kept for cell in row for line in cell}:
            assert line in printed
    for note in data["notes"]:
        assert " ".join(note.split()) in " ".join(printed.split())
    (difference,) = comparison.differences.values()
    assert data["differences"]["rows"][0][1][0] == f"{100 * difference.mean[-1]:+.1f}"


def test_the_true_class_always_has_a_line(tmp_path):
    names = tuple(f"class {index}" for index in range(9))
    scenes = MemoryScenes()
    scenes.class_names = names
    comparison = compare(["raster"], scenes=scenes, encoder=tiny_encoder(class_names=names))
    write_report(comparison, tmp_path / "report.html")
    data = data_of((tmp_path / "report.html").read_text())
    truths = {str(scene["id"]): scene["truth"] for scene in data["scenes"]}
    ranks = []
    for scene, moments in data["agents"][0]["episodes"].items():
        for moment in moments:
            (line,) = [line for line in moment["top"] if line[-1]]
            assert line[1] == truths[scene]
            assert len(moment["top"]) == 5
            ranks.append(line[0])
    assert max(ranks) > 5  # else nothing was asked


def test_names_of_classes_cannot_break_the_page(tmp_path):
    names = ("</script><b>", "two", "three", "four", "five")
    scenes = MemoryScenes()
    scenes.class_names = names
    comparison = compare(["raster"], scenes=scenes, encoder=tiny_encoder(class_names=names))
    write_report(comparison, tmp_path / "report.html")
    data = data_of((tmp_path / "report.html").read_text())
    assert data["summary"]["scenes"]["class_names"][0] == names[0]


def test_videos_show_every_frame_for_its_time(tmp_path):
    import imageio_ffmpeg

    frames = [np.full((64, 96, 3), grey, np.uint8) for grey in (0, 128, 255)]
    for name in ("one.mp4", "two.mp4"):
        save_mp4(frames, tmp_path / name, seconds_per_frame=1.0, hold=2.0)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "one.mp4"))
    assert seconds == pytest.approx(4.0, abs=0.1)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "one.mp4"))
    assert next(reader)["size"] == (96, 64)
    shown = [np.frombuffer(frame, np.uint8).mean() for frame in reader]
    assert len(shown) == count
    np.testing.assert_allclose(shown[:: count // 4][:3], (0, 128, 255), atol=4)
    with pytest.raises(ValueError, match="no frames"):
        save_mp4([], tmp_path / "none.mp4")

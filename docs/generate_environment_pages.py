#!/usr/bin/env python3
"""Writes one page per environment id, from the class docstring and the registered arguments.

Usage: python docs/generate_environment_pages.py [--check]

With `--check` nothing is written; the exit status says whether the pages are up to date.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

from ave_env import ActiveExplorationEnv
from ave_env.registration import ENVIRONMENTS, configure
from ave_env.scenes.files.folder import LAYOUTS
from ave_env.spaces import observation_space
from encoders.support.files import write_text

FOLDER = Path(__file__).parent / "environments"
NOTICE = (
    "<!-- Written by docs/generate_environment_pages.py from the docstring of "
    "ave_env.ActiveExplorationEnv; edit that. -->"
)
HEADINGS = (  # those of CartPole, the model of a Gymnasium page, and of the information it lacks
    "Description",
    "Action Space",
    "Observation Space",
    "Rewards",
    "Starting State",
    "Episode End",
    "Information",
    "Arguments",
    "Vectorized environment",
    "Version History",
)


def where_scenes_come_from(source: str) -> str:
    """Says what an id needs on the machine."""
    if source == "synthetic":
        return "drawn procedurally; no files needed"
    if source == "panoramas":
        return "JPEG files in the package; `ave_env/scenes/panoramas/SOURCES.md` says where from"
    variable = f"AVE_{source.upper()}_ROOT"
    text = (
        f"`data_root` or the environment variable `{variable}`: a folder `{LAYOUTS[source]}`, or "
        "an HDF5 file that `python -m ave_env.scenes.pack` made from one"
    )
    if source == "sun360":
        text += ". If neither is given: synthetic panoramas, and a warning that says so"
    return text


def page(env_id: str) -> str:
    """The page of one id, in Markdown."""
    settings = configure(env_id)
    text = inspect.getdoc(ActiveExplorationEnv)
    for heading in HEADINGS:
        if f"\n## {heading}\n" not in text:
            raise SystemExit(f"the docstring of ActiveExplorationEnv lacks '## {heading}'")
    text = re.sub(r" \(ImageNet: `[^`]*`\)", "", text).replace(
        'AVE-Synthetic-v0", ', f'{env_id}", '
    )
    for name in ("scenes", "image_size", "num_glimpses", "task", "observe"):
        value = getattr(settings, name)
        shown = f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')
        text, count = re.subn(rf"(\| `{name}` \| )[^|]*\|", rf"\g<1>`{shown}` |", text)
        if count != 1:
            raise SystemExit(f"the docstring of ActiveExplorationEnv names {name} {count} times")
    summary, body = text.split("\n\n", 1)
    spaces = observation_space(settings.make_sensor(), {}).spaces
    rows = {
        "Import": f'`gymnasium.make("ave_env:{env_id}")`',
        "Action space": f"`Discrete({settings.make_sensor().num_actions})`",
        "Observation space": "<br>".join(f"`{key}`: `{box}`" for key, box in spaces.items())
        + "<br>and the parts of the belief that `observe` names",
        "Scenes": where_scenes_come_from(settings.scenes),
    }
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(
        [f"# {env_id}", "", NOTICE, "", summary, "", "| | |", "| --- | --- |", *table, "", body, ""]
    )


def contents() -> str:
    """The page that lists the others."""
    lines = [f"* [{env_id}]({env_id}.md)" for env_id in ENVIRONMENTS]
    return "\n".join(["# Environments", "", NOTICE, "", *lines, ""])


def main(arguments: list[str] | None = None) -> None:
    """Compares or writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is old")
    options = parser.parse_args(arguments)
    pages = {FOLDER / f"{env_id}.md": page(env_id) for env_id in ENVIRONMENTS}
    pages[FOLDER / "README.md"] = contents()
    old = [path for path, text in pages.items() if not path.exists() or path.read_text() != text]
    left = sorted(set(FOLDER.glob("*.md")) - set(pages))
    if options.check:
        for path in old:
            print(f"{path} is out of date: run python docs/generate_environment_pages.py")
        for path in left:
            print(f"{path} describes no registered id: delete it")
        sys.exit(bool(old or left))
    for path in old:
        write_text(path, pages[path])
        print(f"wrote {path}")
    for path in left:
        print(f"{path} describes no registered id: delete it")


if __name__ == "__main__":
    main()

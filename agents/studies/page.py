"""What came out of a study as one HTML page, without any network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.reports.files import REPORT_FILE
from agents.reports.html import page_style
from agents.reports.provenance import RUN_FILE
from agents.studies.base import Section, Study
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.files import write_text

_MOST_ROWS = 300  # of a table on the page; the CSV has them all


def write_page(folder: Path, study: Study[Any], sections: Sequence[Section]) -> Path:
    """Writes the page; it appears whole or not at all.

    Args:
        folder: The run folder, with `run.json`, the table and the figures.
        study: What was made.
        sections: What it says.
    """
    record = json.loads((folder / RUN_FILE).read_text("utf-8"))
    notes = [f"<p>{_text(note)}</p>" for note in study.notes]
    subjects = "; ".join(f"{name}: {value}" for name, value in record["subjects"].items())
    body = "\n".join(
        [
            f"<h1>{_text(study.summary)}</h1>",
            f'<p class="soft">{_text(subjects)}</p>',
            *notes,
            *(part for section in sections for part in _section(folder, section)),
            *_record(record, f"{study.name}.csv"),
        ]
    )
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(study.summary)}</title>\n{page_style()}\n"
        "<style>figure img { width: 100%; height: auto; background: #fff; }</style>\n"
        f"</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    write_text(folder / REPORT_FILE, page)
    return folder / REPORT_FILE


def _section(folder: Path, section: Section) -> Iterator[str]:
    yield f"<section><h2>{_text(section.title)}</h2>"
    for paragraph in section.text:
        yield f"<p>{_text(paragraph)}</p>"
    for name in section.figures:
        picture = base64.b64encode((folder / name).read_bytes()).decode()
        yield (
            f'<figure><img src="data:image/png;base64,{picture}" '
            f'alt="{_text(section.title)}"></figure>'
        )
    if section.columns:
        heads = "".join(f"<th>{_text(each)}</th>" for each in section.columns)
        yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
        for row in section.rows[:_MOST_ROWS]:
            yield "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>"
        yield "</tbody></table></div>"
        if len(section.rows) > _MOST_ROWS:
            yield f"<p><small>{len(section.rows) - _MOST_ROWS} more rows in the CSV.</small></p>"
    yield "</section>"


def _record(record: dict[str, Any], table: str) -> Iterator[str]:
    """What was run, and where the numbers are."""
    entries = {
        "command": record["command"],
        "table": table,
        "commit": record["git_commit"] or "not in a repository",
        "versions": ", ".join(
            f"{name} {version}" for name, version in record["versions"].items() if version
        ),
        "FLOPs": FLOPS_CONVENTION,
    }
    yield "<section><h2>What was run</h2><dl>"
    for name, value in entries.items():
        yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield "</dl></section>"


def _text(value: object) -> str:
    return html.escape(str(value))

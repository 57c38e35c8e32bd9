"""The table of studies: names only, nothing is imported before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.support.registry import Registry

if TYPE_CHECKING:
    from agents.studies.base import Study

STUDIES: Registry[type[Study]] = Registry(
    "study",
    "agents.studies",
    {
        "grid": "agents.studies.grid:Grid",
        "sequential": "agents.studies.sequential:Sequential",
        "drift": "agents.studies.drift:DriftStudy",
        "projection": "agents.studies.projection:Projection",
        "classes": "agents.studies.classes:Classes",
        "spectrum": "agents.studies.spectrum:Spectrum",
        "end_to_end": "agents.studies.end_to_end:EndToEnd",
        "transfer": "agents.studies.transfer:Transfer",
        "emergent": "agents.studies.emergent:Emergent",
        "curves": "agents.studies.curves:Curves",
    },
)

register_study = STUDIES.register

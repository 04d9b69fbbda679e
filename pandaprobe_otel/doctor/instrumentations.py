"""Which LLM libraries are installed, and whether each is instrumented once."""

import os
from importlib.metadata import distributions

from ..settings import Settings
from ..setup.bootstrap import survey
from .report import Section


def check_instrumentations(_: Settings) -> Section:
    """Every installed LLM library with what instruments it."""
    section = Section("Instrumentations")
    found = survey(distributions())
    section.facts["libraries"] = [line for line in found.lines if not line.startswith("! ")]
    section.facts["disabled"] = os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS")
    for text, fix in found.problems:
        section.note(text, fix)
    if found.missing:
        section.note(
            f"not instrumented where no client is wrapped: {', '.join(found.missing)} would do it",
            "pandaprobe-otel bootstrap --install",
        )
    return section

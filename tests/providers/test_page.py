"""docs/providers.md lists what the tests run, and nothing else."""

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.version import Version

from pandaprobe_otel import wrappers

from . import test_operations
from .tables import OUTCOMES, Surface, Table
from .test_matrix import TABLES

# Read before tests have an environment of their own.
WRITES = "PANDAPROBE_WRITE_PAGES" in os.environ
FILE = Path(__file__).parents[2] / "docs/providers.md"
PAGE = FILE.read_text()
SECTIONS = dict(re.findall(r"^### wrap_(\w+)\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL))


HEADINGS = ("surface", "clients", *OUTCOMES)


def rows_of(surface: Surface, table: Table) -> list[str]:
    runs = {client: surface.outcomes(client in table.asynchronous) for client in surface.clients}
    ran = {outcome for outcomes in runs.values() for outcome in outcomes}
    clients = ", ".join(f"`{client}`" for client in surface.clients)
    return [f"`{surface.name}`", clients, *("yes" if outcome in ran else "-" for outcome in OUTCOMES)]


def written(table: Table) -> str:
    """The table of a wrapper as the page has it, and why it has gaps."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(rows_of(surface, table) for surface in table.surfaces)]
    reasons: dict[str, list[str]] = {}
    for surface in table.surfaces:
        for outcome, why in surface.leaves_out.items():
            reasons.setdefault(f"No {outcome} ({why})", []).append(f"`{surface.name}`")
    told = [f"{reason}: {', '.join(names)}." for reason, names in reasons.items()]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ([""] if told else []) + told)


@pytest.mark.parametrize("provider", SECTIONS)
def test_the_page_has_the_surfaces_that_are_tested(provider: str) -> None:
    table = TABLES[provider]
    if table is None:
        pytest.skip(f"the SDK of {provider} is not installed beside these")
    section = SECTIONS[provider]
    said = section.partition("\n\nBesides")[0].strip()
    # Old majors lack some.
    whole = provider == "litellm" or version("openai").startswith("3.")
    if WRITES and whole:
        FILE.write_text(FILE.read_text().replace(section, section.replace(said, written(table))))
        return
    missing = [line for line in said.splitlines() if line not in written(table).splitlines()]
    assert not missing or not whole
    assert set(written(table).splitlines()) <= set(said.splitlines())


def test_the_page_has_no_wrapper_that_is_not_there() -> None:
    assert {f"wrap_{provider}" for provider in SECTIONS} <= set(wrappers.__all__)


def test_the_page_has_what_is_asked_and_answered_once() -> None:
    rows = re.findall(r"^\| (\w+) \| `(.+?)` \| `(.+?)` \| (.+?) \|$", PAGE, re.MULTILINE)
    assert [(provider.lower(), method, operation, what) for provider, method, operation, what in rows] == [
        (
            provider,
            row.method,
            row.operation,
            row.kind or f"LLM, `{row.output_type or 'text'}`",
        )
        for provider, surfaces in test_operations.SURFACES.items()
        for row in surfaces
    ]


@pytest.mark.parametrize(
    ("sdk", "cells"), re.findall(r"^\| ([a-z0-9-]+) \|((?: [\d.]* ?\|){3})$", PAGE, re.MULTILINE)
)
def test_the_page_has_the_versions_that_are_run(sdk: str, cells: str) -> None:
    # A set of SDKs is told by the major version of openai.
    column = {"3": 0, "2": 1, "1": 2}[version("openai").partition(".")[0]]
    said = [cell.strip() for cell in cells.split("|")][:3]
    if not said[column]:
        return
    try:
        installed = version(sdk)
    except PackageNotFoundError:
        pytest.skip(f"{sdk} is not installed here")
    if WRITES:
        said[column] = installed
        row = f"| {sdk} | {' | '.join(said)} |".replace("  ", " ")
        FILE.write_text(FILE.read_text().replace(f"| {sdk} |{cells}", row))
        return
    # Newer ones come out every day.
    assert Version(said[column]) <= Version(installed)
    assert Version(said[column]).major == Version(installed).major

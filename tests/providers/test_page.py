"""docs/providers.md lists what the tests run, and nothing else."""

import importlib
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.version import Version

from pandaprobe_otel import wrappers

from . import test_operations

# Read before tests have an environment of their own.
WRITES = "PANDAPROBE_WRITE_PAGES" in os.environ
FILE = Path(__file__).parents[2] / "docs/providers.md"
PAGE = FILE.read_text()
SECTIONS = dict(re.findall(r"^### wrap_(\w+)\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("provider", SECTIONS)
def test_the_page_has_the_surfaces_that_are_tested(provider: str) -> None:
    tests = importlib.import_module(f".test_{provider}", __package__)
    if not hasattr(tests, "SURFACES"):
        pytest.skip(f"the SDK of {provider} is not installed beside these")
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", SECTIONS[provider], re.MULTILINE)
    assert [name for name, _ in rows] == list(tests.SURFACES)
    broken_off = [name for name, runs in rows if "broken off" in runs]
    assert broken_off in ([], list(tests.STREAMS))


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

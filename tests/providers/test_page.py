"""docs/providers.md lists what the tests run, and nothing else."""

import importlib
import re
from pathlib import Path

import pytest

from pandaprobe_otel import wrappers

from . import test_operations

PAGE = (Path(__file__).parents[2] / "docs/providers.md").read_text()
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

"""The table of docs/frameworks.md that says what of each framework was run, and with which version.

A test says with `@pytest.mark.scenario` what it runs, of the `FRAMEWORK` of its module or of another (`of=`).
With PANDAPROBE_WRITE_PAGES=1 the table is written, else it has to be what the tests of this environment are.
"""

import os
import re
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

# Read before tests have an environment of their own.
_WRITES = "PANDAPROBE_WRITE_PAGES" in os.environ
PAGE = Path(__file__).parents[1] / "docs/frameworks.md"
# In the order of the table.
SCENARIOS = (
    *("tool", "two turns with memory", "sub-agent", "hand-off", "error", "stream", "conversations at once"),
    *("parallel branches", "batch", "search", "guardrail", "human asked", "retry", "too many steps"),
    *("cancelled", "left by its consumer", "inside a trace", "every source of the session"),
    *("wrapped client beneath", "without messages", "what REST gets", "no code", "example"),
)


def check(collected: list[pytest.Item], framework: str, package: str) -> None:
    """Asserts, or writes, the row of a framework.

    Args:
        collected: The tests of this environment.
        framework: As the page calls it.
        package: Whose version it is.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for item in collected:
        for mark in item.iter_markers("scenario"):
            of = mark.kwargs.get("of") or item.module.FRAMEWORK  # type: ignore[attr-defined]
            found[of].update(mark.args)
    unknown = found[framework] - set(SCENARIOS)
    assert not unknown, f"not among the scenarios: {unknown}"
    run = [scenario for scenario in SCENARIOS if scenario in found[framework]]
    text = PAGE.read_text()
    (row,) = re.findall(rf"^\| {framework} \| {package} \S+ \| .* \|$", text, re.MULTILINE)
    if _WRITES:
        PAGE.write_text(
            text.replace(row, f"| {framework} | {package} {version(package)} | {', '.join(run)} |")
        )
        return
    _, _, made_with, listed, _ = (cell.strip() for cell in row.split("|"))
    assert listed.split(", ") == run, f"run it with PANDAPROBE_WRITE_PAGES=1; {framework} has {run}"
    # Newer ones come out every day.
    assert Version(made_with.split()[1]) <= Version(version(package))

"""The wheel beside packages that bring their own OpenTelemetry.

Each neighbour is resolved alone and together with us: the versions that it gets must be the same, because a
resolver that cannot satisfy both silently takes an older one. Then both are imported in one process.

crewai's environment is 787 MB: it is resolved always, but installed and imported only with
PANDAPROBE_TEST_LARGE_INSTALLS=1.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from environments import install, python_of, resolve

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
LOWEST = ROOT / "tests" / "constraints" / "lowest.txt"
LARGE_INSTALLS = os.environ.get("PANDAPROBE_TEST_LARGE_INSTALLS") == "1"


class Neighbour(NamedTuple):
    name: str
    requirements: tuple[str, ...]
    modules: tuple[str, ...]
    # What must not get older through us; the requirements when not given.
    watched: tuple[str, ...] = ()
    is_large: bool = False


NEIGHBOURS = [
    Neighbour(
        "distro and fastapi",
        ("opentelemetry-distro", "opentelemetry-instrumentation-fastapi[instruments]"),
        ("opentelemetry.distro", "opentelemetry.instrumentation.fastapi"),
        watched=("opentelemetry-distro", "opentelemetry-instrumentation-fastapi"),
    ),
    Neighbour("elastic", ("elastic-opentelemetry",), ("elasticotel.distro",)),
    pytest.param(
        Neighbour("google-adk", ("google-adk",), ("google.adk",)),
        marks=pytest.mark.xfail(
            sys.version_info < (3, 11),
            reason="its last one for Python 3.10, 2.11, ends at OpenTelemetry 1.42; beside us it is 2.7",
        ),
    ),
    Neighbour("crewai", ("crewai",), ("crewai",), is_large=True),
]


def import_together(environment: Path, *modules: str) -> str:
    """Imports the modules in one process, in both orders; answers what went wrong."""
    problems = []
    for order in [modules, modules[::-1]]:
        program = "\n".join(f"import {module}" for module in order)
        run = subprocess.run(
            [str(python_of(environment)), "-c", program],
            cwd=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            problems.append(run.stderr)
    return "\n".join(problems)


def show(versions: dict[str, str], *names: str) -> str:
    """The versions to show when a test fails."""
    shown = [
        f"{name} {version}"
        for name, version in sorted(versions.items())
        if name.startswith("opentelemetry-") or name in names
    ]
    return f"resolved: {', '.join(shown)}"


@pytest.mark.parametrize("neighbour", NEIGHBOURS, ids=lambda neighbour: neighbour.name)
def test_a_neighbour_gets_the_versions_that_it_gets_without_us_and_both_import(
    neighbour: Neighbour, wheel: Path, tmp_path: Path
) -> None:
    watched = neighbour.watched or neighbour.requirements
    alone = resolve(*neighbour.requirements)
    if neighbour.is_large and not LARGE_INSTALLS:
        together = resolve(f"pandaprobe-otel @ {wheel.as_uri()}", *neighbour.requirements)
        problems = ""
    else:
        together = install(tmp_path / "env", str(wheel), *neighbour.requirements)
        problems = import_together(tmp_path / "env", "pandaprobe_otel", *neighbour.modules)

    shown = show(together, *watched)
    assert {name: together.get(name) for name in watched} == {name: alone[name] for name in watched}, shown
    assert not problems, f"{shown}\n{problems}"


def test_the_lowest_declared_versions_resolve_and_import(wheel: Path, tmp_path: Path) -> None:
    lowest = dict(line.split("==") for line in LOWEST.read_text().splitlines() if "==" in line)
    installed = install(tmp_path / "env", f"{wheel}[openai,local]", "--constraint", str(LOWEST))
    problems = import_together(tmp_path / "env", "pandaprobe_otel", "openai", "starlette", "uvicorn")

    assert {name: installed.get(name) for name in lowest} == lowest, show(installed)
    assert not problems, f"{show(installed)}\n{problems}"

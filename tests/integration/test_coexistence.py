"""Beside other distributions and vendors, each as it is installed; `coexistence` says what is tried.

PANDAPROBE_WRITE_DOCS=1 writes the versions of this run into docs/coexistence.md.
"""

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from coexistence import DISTRIBUTIONS, SPANS, VENDORS, Neighbour, Run, check, table
from environments import add, install, python_of
from otlp_receiver import attributes_of

pytestmark = pytest.mark.integration

DOCS = Path(__file__).parents[2] / "docs" / "coexistence.md"
EXPORTER = "opentelemetry-exporter-otlp-proto-http"


@pytest.fixture(scope="module")
def versions() -> Iterator[dict[str, str]]:
    """Those that were tested, by package."""
    found = {"opentelemetry-sdk": metadata.version("opentelemetry-sdk")}
    yield found
    if os.environ.get("PANDAPROBE_WRITE_DOCS") == "1":
        lines = DOCS.read_text().splitlines(keepends=True)
        first = next(index for index, line in enumerate(lines) if line.startswith("|"))
        rest = [line for line in lines[first:] if not line.startswith("|")]
        DOCS.write_text("".join([*lines[:first], table(found), *rest]))


@pytest.fixture(scope="module")
def vendors(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, versions: dict[str, str]
) -> tuple[Path, dict[str, Run]]:
    """An environment with all vendors, and what each of them received before we were installed there."""
    environment = tmp_path_factory.mktemp("vendors") / "env"
    installed = install(environment, *(vendor.package for vendor in VENDORS), EXPORTER)
    versions |= {vendor.package: installed[vendor.package] for vendor in VENDORS}
    python = python_of(environment)
    baselines = {vendor.name: Run(vendor, "theirs", alone=True, python=python) for vendor in VENDORS}
    add(environment, str(wheel))
    return python, baselines


@pytest.mark.parametrize("steps", ["theirs ours", "ours theirs"])
@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
def test_a_vendor_receives_what_it_received_and_pandaprobe_its_own(
    vendor: Neighbour, steps: str, vendors: tuple[Path, dict[str, Run]]
) -> None:
    python, baselines = vendors
    assert baselines[vendor.name].theirs
    check(vendor, baselines[vendor.name], Run(vendor, steps, python=python))


def test_turns_arrive_beside_a_provider_that_takes_no_processors(
    vendors: tuple[Path, dict[str, Run]],
) -> None:
    (datadog,) = [vendor for vendor in VENDORS if vendor.name == "Datadog"]
    turn = "pandaprobe.init()\nwith pandaprobe.session('s'), pandaprobe.start_trace('turn'): pass\n"
    setup = f"{datadog.setup}\nimport pandaprobe_otel as pandaprobe\n{turn}"
    run = Run(datadog._replace(setup=setup), "theirs", python=vendors[0])
    assert [span.name for span in run.ours] == ["turn"]
    assert {span.name for span in run.theirs} == SPANS


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def test_a_distribution_receives_what_it_received_and_a_guest_its_own(
    distribution: Neighbour, wheel: Path, tmp_path: Path, versions: dict[str, str]
) -> None:
    environment = tmp_path / "env"
    installed = install(environment, distribution.package, EXPORTER)
    versions[distribution.package] = installed[distribution.package]
    python = python_of(environment)
    under = [str(python.with_name("opentelemetry-instrument"))]
    baseline = Run(distribution, "", alone=True, python=python, under=under)
    assert {span.name for span in baseline.theirs} == SPANS
    add(environment, str(wheel))
    check(distribution, baseline, Run(distribution, "ours", python=python, under=under))
    # Without a word of ours in the code.
    guest = Run(distribution, "", python=python, under=under, BAGGAGE="session.id=s")
    check(distribution, baseline, guest)
    assert {attributes_of(span)["session.id"] for span in guest.theirs} == {"s"}

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
DATADOG = next(vendor for vendor in VENDORS if vendor.name == "Datadog")


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
    turn = "pandaprobe.init()\nwith pandaprobe.session('s'), pandaprobe.start_trace('turn'): pass\n"
    setup = f"{DATADOG.setup}\nimport pandaprobe_otel as pandaprobe\n{turn}"
    run = Run(DATADOG._replace(setup=setup), "theirs", python=vendors[0])
    assert [span.name for span in run.ours] == ["turn"]
    assert {span.name for span in run.theirs} == SPANS


IN_A_SESSION = """
import os, requests
import pandaprobe_otel as pandaprobe
pandaprobe.init()
with trace.get_tracer("app").start_as_current_span("request"), pandaprobe.session("s"):
    assert pandaprobe.current_session() == "s"
    requests.post(os.environ["SECOND"] + "/v1/traces")
    with pandaprobe.start_trace("turn"), ThreadPoolExecutor() as pool:
        assert pool.submit(pandaprobe.current_session).result() == "s"
assert pandaprobe.current_session() is None
"""


def test_where_datadog_s_context_is_in_charge_sessions_hold_and_it_does_not_send_them(
    vendors: tuple[Path, dict[str, Run]],
) -> None:
    """It is, when ddtrace is imported before OpenTelemetry, as `ddtrace-run` does."""
    under = [str(vendors[0].with_name("ddtrace-run"))]
    baseline = Run(DATADOG, "theirs", alone=True, python=vendors[0], under=under)
    assert {span.name for span in baseline.theirs} == SPANS
    check(DATADOG, baseline, Run(DATADOG, "theirs ours", python=vendors[0], under=under))

    run = Run(DATADOG._replace(setup=IN_A_SESSION), "theirs", python=vendors[0], under=under)
    assert [(span.name, attributes_of(span)["session.id"]) for span in run.ours] == [("turn", "s")]
    (headers,) = run.headers_of_second
    names = {name.lower() for name in headers}
    assert ("traceparent" in names, "baggage" in names) == (True, False)


SET_UP_LATER = """
from opentelemetry import propagate
import pandaprobe_otel as pandaprobe
pandaprobe.init()
{setup}
with pandaprobe.session("s"):
    for host, leaves in (("billing", True), ("api.vendor.example", False)):
        call = trace.SpanKind.CLIENT, {{"server.address": host}}
        with early.start_as_current_span("call", None, *call):
            headers = {{}}
            propagate.inject(headers)
        assert "sentry-trace" in headers
        assert ("session.id=s" in headers.get("baggage", "")) is leaves
"""


def test_sessions_go_along_with_propagators_of_sentry_and_to_no_vendor(
    vendors: tuple[Path, dict[str, Run]],
) -> None:
    (sentry,) = [vendor for vendor in VENDORS if vendor.package == "sentry-sdk"]
    setup = SET_UP_LATER.format(setup=sentry.setup)
    run = Run(sentry._replace(setup=setup), "theirs", python=vendors[0])
    assert [span.name for span in run.ours].count("call") == 2


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

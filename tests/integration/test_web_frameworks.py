"""The session of a request with FastAPI, Starlette, Flask and Django, each instrumented by OpenTelemetry."""

import subprocess
from pathlib import Path

import in_process
import pytest
from environments import install, python_of
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_receiver import Receiver, attributes_of

pytestmark = pytest.mark.integration

TESTS = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("web_frameworks.py")
INSTRUMENTED = ("django", "fastapi", "flask", "starlette", "urllib3")
SERVED = (
    *("fastapi-outer", "fastapi-inner", "starlette-outer", "starlette-inner", "flask-outer", "flask-inner"),
    *("django-wsgi", "django-asgi", "django-async"),
)


@pytest.fixture(scope="module")
def spans(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Span]:
    """What arrived of all requests."""
    environment = tmp_path_factory.mktemp("web") / "env"
    packages = [f"opentelemetry-instrumentation-{name}" for name in INSTRUMENTED]
    install(environment, f"{wheel}[local]", "django", "fastapi", "flask", "websockets", *packages)
    with Receiver() as receiver:
        run = subprocess.run(
            [str(python_of(environment)), str(PROGRAM)],
            env={
                **in_process.clean_environment(),
                "PANDAPROBE_ENDPOINT": receiver.url,
                "PANDAPROBE_SPOOL_DIR": "off",
                "PYTHONPATH": str(TESTS),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    return receiver.spans


def ids_of(span: Span) -> tuple[str | None, str | None]:
    attributes = attributes_of(span)
    return attributes.get("session.id"), attributes.get("user.id")


def steps(spans: list[Span], label: str) -> list[Span]:
    return [span for span in spans if span.name == f"{label} step"]


@pytest.mark.parametrize("served", SERVED)
def test_every_span_of_a_request_has_its_session_and_its_user(spans: list[Span], served: str) -> None:
    for number in range(6):
        label = f"{served}-{number}"
        inside = [span for span in spans if ids_of(span)[0] == label]
        # One request that answers at once, one that streams.
        assert [span.kind for span in inside].count(Span.SPAN_KIND_SERVER) == 2
        # Of one answer, a task in the background where there are any, and three steps of a stream.
        assert len(steps(inside, label)) == (5 if "Background" in str(inside) else 4)
        assert steps(inside, label) == steps(spans, label)
        assert {span.name for span in inside if span.name.endswith(" step")} == {f"{label} step"}
        assert {ids_of(span)[1] for span in inside} == {f"u{number}"}
        # Also what hangs under the server's span.
        traces = {span.trace_id for span in inside}
        assert [span.name for span in spans if span.trace_id in traces and span not in inside] == []


@pytest.mark.parametrize("served", SERVED)
def test_request_without_a_session_has_none(spans: list[Span], served: str) -> None:
    first, *_ = steps(spans, f"none-{served}")
    trace = [span for span in spans if span.trace_id == first.trace_id]
    assert Span.SPAN_KIND_SERVER in {span.kind for span in trace}
    assert {ids_of(span) for span in trace} == {(None, None)}


@pytest.mark.parametrize("order", ["outer", "inner"])
def test_websocket_has_its_session_for_as_long_as_it_is_open(spans: list[Span], order: str) -> None:
    label = f"socket-{order}"
    first, second = steps(spans, label)
    trace = [span for span in spans if span.trace_id == first.trace_id]
    assert second in trace
    assert Span.SPAN_KIND_SERVER in {span.kind for span in trace}
    assert {ids_of(span)[0] for span in trace} == {label}
    assert {ids_of(span)[0] for span in steps(spans, f"{label}-none")} == {None}


def test_delivery_makes_no_spans_of_its_own(spans: list[Span]) -> None:
    assert [span.name for span in spans if span.kind == Span.SPAN_KIND_CLIENT] == []

"""The public names."""

import inspect

import pytest

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import propagation

NAMES = {
    "Client",
    "PandaProbeSpanExporter",
    "ScoreDataType",
    "SessionLogRecordProcessor",
    "SessionSpanProcessor",
    "Span",
    "SpanKind",
    "SpanStatusCode",
    "Trace",
    "TraceStatus",
    "__version__",
    "current_session",
    "current_user",
    "flush",
    "get_client",
    "init",
    "score",
    "session",
    "session_env",
    "set_session",
    "set_user",
    "shutdown",
    "span",
    "start_trace",
    "trace",
    "user",
}


def test_public_names_are_these() -> None:
    assert set(pandaprobe.__all__) == NAMES == set(dir(pandaprobe))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(pandaprobe, name)
    if name != "__version__":
        assert inspect.getdoc(value)


@pytest.mark.parametrize("owner", ["Client", "Span", "Trace"])
def test_every_public_method_is_explained(owner: str) -> None:
    for name, member in inspect.getmembers(getattr(pandaprobe, owner)):
        if not name.startswith("_") and callable(member):
            assert inspect.getdoc(member), name


def test_public_names_of_propagation_are_these_and_explained() -> None:
    assert set(propagation.__all__) == {"PandaProbePropagator", "extract", "inject"}
    assert all(inspect.getdoc(getattr(propagation, name)) for name in propagation.__all__)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sesion'"):
        pandaprobe.sesion  # noqa: B018

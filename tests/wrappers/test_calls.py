"""What a traced call promises whatever becomes of the tracing."""

import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import context, trace

from pandaprobe_otel import guard
from pandaprobe_otel.wrappers import _calls

from .conftest import Collector

CONTENT = "what the user said"


class Api:
    """Counts its calls; asked for an error it raises one."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self, error: BaseException | None = None) -> str:
        self.calls += 1
        if error:
            raise error
        return "answer"

    async def acall(self, error: BaseException | None = None) -> str:
        return self.call(error)


def faulty(spans: Collector, when: str) -> _calls.Traced:
    def traced(wrapped: Callable[..., Any], _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        context.attach(trace.set_span_in_context(spans.tracer.start_span("left open")))
        if when == "before":
            raise ZeroDivisionError(CONTENT)
        try:
            wrapped(*args, **kwargs)
        finally:
            raise ZeroDivisionError(CONTENT)

    return traced


def faulty_async(spans: Collector, when: str) -> _calls.Traced:
    async def traced(wrapped: Callable[..., Any], _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        context.attach(trace.set_span_in_context(spans.tracer.start_span("left open")))
        if when == "before":
            raise ZeroDivisionError(CONTENT)
        try:
            await wrapped(*args, **kwargs)
        finally:
            raise ZeroDivisionError(CONTENT)

    return traced


@pytest.fixture
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "loud", False)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_of_the_tracing_changes_neither_result_nor_context(
    spans: Collector, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api()
    _calls.wrap_method(api, "call", _calls.unobtrusive(faulty(spans, when), "test"))
    before = context.get_current()
    assert api.call() == "answer"
    assert api.calls == 1
    assert context.get_current() == before
    assert spans.only.name == "left open"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert CONTENT not in caplog.text


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_fault_of_the_tracing_changes_no_async_result(spans: Collector, when: str) -> None:
    api = Api()
    _calls.wrap_method(api, "acall", _calls.unobtrusive(faulty_async(spans, when), "test"))
    before = context.get_current()
    assert await api.acall() == "answer"
    assert api.calls == 1
    assert context.get_current() == before
    assert spans.only.name == "left open"


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_of_the_tracing_hides_no_error_of_the_call(
    spans: Collector, when: str, error: BaseException
) -> None:
    api = Api()
    _calls.wrap_method(api, "call", _calls.unobtrusive(faulty(spans, when), "test"))
    with pytest.raises(type(error)) as caught:
        api.call(error)
    assert caught.value is error
    assert caught.value.__context__ is None
    assert api.calls == 1


def test_the_tests_of_this_project_hear_a_fault(spans: Collector) -> None:
    api = Api()
    _calls.wrap_method(api, "call", _calls.unobtrusive(faulty(spans, "before"), "test"))
    with pytest.raises(ZeroDivisionError):
        copy_context().run(api.call)


def test_wrapping_a_method_twice_is_the_same_as_once_and_unwrapping_undoes_it() -> None:
    api = Api()
    seen: list[Any] = []

    def traced(wrapped: Callable[..., Any], instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        seen.append(instance)
        return wrapped(*args, **kwargs)

    _calls.wrap_method(api, "call", traced)
    _calls.wrap_method(api, "call", traced)
    assert api.call() == "answer"
    assert seen == [api]
    _calls.unwrap_method(api, "call")
    _calls.unwrap_method(api, "call")
    assert "call" not in vars(api)

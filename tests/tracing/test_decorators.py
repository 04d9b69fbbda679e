"""`@trace` and `@span` on every kind of function."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import pandaprobe_otel as pandaprobe


def only(exported: InMemorySpanExporter) -> Any:
    (span,) = exported.get_finished_spans()
    return span


def output_of(span: Any) -> Any:
    return json.loads(span.attributes["pandaprobe.output"])


@pytest.mark.parametrize(
    "decorator", [pandaprobe.trace, pandaprobe.span, pandaprobe.trace(), pandaprobe.span()]
)
def test_call_is_recorded(exported: InMemorySpanExporter, decorator: Any) -> None:
    @decorator
    def answer(question: str, times: int = 2) -> str:
        return question * times

    assert answer("a") == "aa"
    span = only(exported)
    assert span.name == "answer"
    assert json.loads(span.attributes["pandaprobe.input"]) == {"question": "a", "times": 2}
    assert output_of(span) == "aa"


async def test_coroutine_is_recorded(exported: InMemorySpanExporter) -> None:
    @pandaprobe.trace(name="agent", session_id="s", user_id="u", tags=["t"], metadata={"k": 1})
    async def answer() -> str | None:
        await asyncio.sleep(0)
        return pandaprobe.current_session()

    assert await answer() == "s"
    span = only(exported)
    assert (span.name, span.attributes["session.id"], span.attributes["user.id"]) == ("agent", "s", "u")
    assert (span.attributes["pandaprobe.tags"], span.attributes["pandaprobe.metadata"]) == (
        ("t",),
        '{"k": 1}',
    )
    assert output_of(span) == "s"


def test_span_of_a_generator_covers_its_iteration(exported: InMemorySpanExporter) -> None:
    @pandaprobe.span(kind="TOOL")
    def count() -> Iterator[int]:
        with pandaprobe.start_trace("inside"):
            yield 1
        yield 2

    iterator = count()
    assert exported.get_finished_spans() == ()
    assert next(iterator) == 1
    assert not otel.get_current_span().get_span_context().is_valid
    assert list(iterator) == [2]
    inside, outer = exported.get_finished_spans()
    assert inside.parent.span_id == outer.context.span_id
    assert json.loads(outer.attributes["gen_ai.tool.call.result"]) == [1, 2]


async def test_span_of_an_async_generator_covers_its_iteration(exported: InMemorySpanExporter) -> None:
    @pandaprobe.trace
    async def count() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        yield 2

    assert [item async for item in count()] == [1, 2]
    assert output_of(only(exported)) == [1, 2]


def test_abandoned_generator_ends_its_span_without_an_error(exported: InMemorySpanExporter) -> None:
    @pandaprobe.trace
    def count() -> Iterator[int]:
        yield 1
        yield 2

    for _ in count():
        break
    import gc

    gc.collect()
    span = only(exported)
    assert span.status.status_code is StatusCode.UNSET
    assert output_of(span) == [1]


@pytest.mark.parametrize("decorator", [pandaprobe.trace, pandaprobe.span])
def test_exceptions_are_recorded_and_pass(exported: InMemorySpanExporter, decorator: Any) -> None:
    @decorator
    def fail() -> None:
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        fail()
    assert only(exported).status.status_code is StatusCode.ERROR


def test_conversation_is_reduced_to_its_last_turn(exported: InMemorySpanExporter) -> None:
    @pandaprobe.trace
    def agent(messages: list[Any]) -> Any:
        return {"messages": [*messages, {"role": "assistant", "content": "Hello"}]}

    agent([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
    attributes = only(exported).attributes
    assert [message["role"] for message in json.loads(attributes["gen_ai.input.messages"])] == ["user"]
    assert [message["role"] for message in json.loads(attributes["gen_ai.output.messages"])] == ["assistant"]


def test_span_records_the_whole_conversation(exported: InMemorySpanExporter) -> None:
    @pandaprobe.span(kind="LLM", model="m")
    def call(messages: list[Any]) -> str:
        return "Hello"

    call([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}])
    roles = [message["role"] for message in json.loads(only(exported).attributes["gen_ai.input.messages"])]
    assert roles == ["system", "user"]


def test_method_does_not_record_its_object(exported: InMemorySpanExporter) -> None:
    class Agent:
        @pandaprobe.trace
        def run(self, x: int) -> int:
            return x

    assert Agent().run(1) == 1
    assert json.loads(only(exported).attributes["pandaprobe.input"]) == {"x": 1}


def test_wrong_call_raises_what_the_function_raises(exported: InMemorySpanExporter) -> None:
    @pandaprobe.trace
    def answer(question: str) -> str:
        return question

    with pytest.raises(TypeError, match="question"):
        answer()  # type: ignore[call-arg]


def test_metadata_of_one_call_does_not_reach_the_next(exported: InMemorySpanExporter) -> None:
    shared = {"k": 1}

    @pandaprobe.trace(metadata=shared)
    def answer() -> None: ...

    answer()
    answer()
    assert shared == {"k": 1}
    assert [span.attributes["pandaprobe.metadata"] for span in exported.get_finished_spans()] == [
        '{"k": 1}'
    ] * 2


def test_decorated_function_is_itself_when_nothing_is_traced() -> None:
    @pandaprobe.trace
    def answer(value: object) -> object:
        return value

    @pandaprobe.span
    def numbers() -> Iterator[int]:
        yield 1

    value = object()
    assert answer(value) is value
    assert list(numbers()) == [1]


def test_decorating_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are decorated at import, before `init` is called."""
    from pandaprobe_otel import runtime

    started: list[bool] = []
    monkeypatch.setattr(runtime, "_start", lambda: started.append(True))
    pandaprobe.trace(session_id="s")(lambda: None)
    pandaprobe.span(kind="TOOL")(lambda: None)
    pandaprobe.session("s")(lambda: None)
    assert not started

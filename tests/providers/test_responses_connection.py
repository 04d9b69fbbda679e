"""What `wrap_openai` promises of Responses over a WebSocket: one span for each response.

Against aimock, and where that has gaps against a server that says what OpenAI's own does.
"""

import importlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import realtime_fake
from aimock import AIMock
from faulty import each_step_failing
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import (
    _connections,
    _responses,
    _responses_connection,
    _turns,
    instrument,
    uninstrument,
    unwrap,
    wrap_openai,
)

from .conftest import ANSWER
from .connections import KINDS, client_of, entered, hears, plain, said, settled
from .surfaces import attributes, parts

openai = pytest.importorskip("openai")
ConnectionClosed = pytest.importorskip("websockets").ConnectionClosed
if not hasattr(importlib.import_module("openai.resources.responses").Responses, "connect"):
    pytest.skip("this version of openai has no WebSocket of Responses", allow_module_level=True)

MODEL = "gpt-5.4-nano"
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
USAGE = {
    "input_tokens": 12,
    "output_tokens": 7,
    "total_tokens": 19,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 2},
}
Make = Callable[[str], Any]


def response(text: str = "", id: str = "resp_1", status: str = "in_progress", **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
    return {
        "id": id,
        "object": "response",
        "model": f"{MODEL}-2026",
        "status": status,
        "output": [item] if text else [],
        **more,
    }


def begins(id: str = "resp_1", **lane: Any) -> list[dict[str, Any]]:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, **lane}
    return [
        {"type": "response.created", "response": response(id=id), **lane},
        {"type": "response.output_text.delta", "delta": "Hello ", **where},
        {"type": "response.output_text.delta", "delta": f"from {id}.", **where},
    ]


def ends(id: str = "resp_1", status: str = "completed", **more: Any) -> dict[str, Any]:
    lane = {"stream_id": more.pop("stream_id")} if "stream_id" in more else {}
    ended = response(f"Hello from {id}.", id, status, usage=USAGE, **more)
    return {"type": f"response.{status}", "response": ended, **lane}


@pytest.fixture
def fake() -> Iterator[realtime_fake.Fake]:
    with realtime_fake.running() as running:
        yield running


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def make(url: str) -> Any:
        made.append(client_of(request.param, url))
        return made[-1]

    yield make
    for client in made:
        await settled(client.close())


@pytest.fixture
def client(make: Make, fake: realtime_fake.Fake) -> Any:
    return wrap_openai(make(fake.url))


async def asks(connection: Any, prompt: Any, **more: Any) -> None:
    await settled(connection.response.create(model=MODEL, input=prompt, **more))


@pytest.mark.parametrize("surface", ["responses", "beta.responses"])
@pytest.mark.parametrize("prompt", ["Hello.", "weather", "too many"])
async def test_a_response_is_a_span_and_the_caller_receives_what_an_unwrapped_client_does(
    make: Make, mock: AIMock, spans: Captured, surface: str, prompt: str
) -> None:
    seen = []
    with session("talk"), spans.tracer.start_as_current_span("around") as around:
        for client in (make(mock.url), wrap_openai(make(mock.url))):
            resource = client
            for name in surface.split("."):
                resource = getattr(resource, name)
            async with entered(resource.connect()) as connection:
                await asks(connection, prompt, instructions="Be kind.", tools=[TOOL])
                seen.append(plain(await hears(connection, *ENDS)))
            assert trace.get_current_span() is around
    assert seen[0] == seen[1]
    span, _ = spans.spans
    found = attributes(span)
    assert span.parent == around.get_span_context()
    assert (span.name, found["session.id"]) == (f"chat {MODEL}", "talk")
    assert found["gen_ai.request.model"] == MODEL
    assert said(span, "input") == [prompt]
    assert json.loads(found["gen_ai.system_instructions"])[0]["content"] == "Be kind."
    assert json.loads(found["gen_ai.tool.definitions"])[0]["name"] == "get_weather"
    if prompt == "too many":
        assert found["error.type"] == "rate_limit_error"
    elif prompt == "weather":
        (call,) = parts(span)
        assert (call["type"], call["arguments"]) == ("tool_call", {"city": "Paris"})
    else:
        assert said(span) == [ANSWER]
        assert found["gen_ai.response.finish_reasons"] == ("stop",)
        assert 0 < found["gen_ai.response.time_to_first_chunk"] < 5


async def test_responses_one_after_the_other_each_have_their_own(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        for number in (1, 2):
            peer.hears("response.create")
            peer.says(*begins(f"resp_{number}"), ends(f"resp_{number}"))

    fake.script = script
    async with entered(client.responses.connect()) as connection:
        for prompt, more in (("First.", {}), ("Second.", {"previous_response_id": "resp_1"})):
            with session(prompt):
                await asks(connection, prompt, **more)
            await hears(connection, *ENDS)
    first, second = spans.spans
    assert [said(span, "input") for span in spans.spans] == [["First."], ["Second."]]
    assert [said(span) for span in spans.spans] == [["Hello from resp_1."], ["Hello from resp_2."]]
    assert [attributes(span)["session.id"] for span in spans.spans] == ["First.", "Second."]
    found = attributes(second)
    assert found["gen_ai.response.id"] == "resp_2"
    assert found["gen_ai.request.previous_response.id"] == "resp_1"
    assert found["gen_ai.usage.input_tokens"] == 12
    assert found["gen_ai.usage.cache_read.input_tokens"] == 4
    assert found["gen_ai.usage.reasoning.output_tokens"] == 2
    assert attributes(first)["gen_ai.response.model"] == f"{MODEL}-2026"


async def test_responses_of_several_lanes_are_told_apart(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.hears("response.create")
        lanes = [begins(f"resp_{lane}", stream_id=lane) for lane in "ab"]
        for events in zip(*lanes, strict=True):
            peer.says(*events)
        peer.says(ends("resp_b", stream_id="b"), ends("resp_a", stream_id="a"))

    fake.script = script
    async with entered(client.responses.connect()) as connection:
        for lane in "ab":
            message = {"type": "response.create", "model": MODEL, "input": f"To {lane}.", "stream_id": lane}
            await settled(connection.send(message))
        for _ in "ab":
            await hears(connection, *ENDS)
    assert [said(span, "input") for span in spans.spans] == [["To b."], ["To a."]]
    assert [said(span) for span in spans.spans] == [["Hello from resp_b."], ["Hello from resp_a."]]


async def test_what_the_user_says_into_a_response_is_asked_of_the_one_that_follows(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.says(*begins())
        peer.hears("response.steer")
        steered = {"incomplete_details": {"reason": "steered"}}
        peer.says(ends(status="incomplete", **steered), *begins("resp_2"), ends("resp_2"))

    fake.script = script
    async with entered(client.responses.connect()) as connection:
        await asks(connection, "Hello.")
        await hears(connection, "response.output_text.delta")
        more = [{"role": "user", "content": "In French."}]
        steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": more}
        await settled(connection.send(steer))
        await hears(connection, *ENDS)
        await hears(connection, *ENDS)
    first, second = spans.spans
    assert attributes(first)["gen_ai.response.finish_reasons"] == ("steered",)
    assert said(second, "input") == ["In French."]
    assert [span.status.status_code for span in spans.spans] == [StatusCode.UNSET] * 2


@pytest.mark.parametrize("how", ["failed", "drops", "closes", "left"])
async def test_only_what_failed_or_was_lost_is_an_error(
    client: Any, fake: realtime_fake.Fake, spans: Captured, how: str
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.says(*begins())
        if how == "failed":
            peer.says(ends(status="failed", error={"code": "server_error", "message": "Sorry."}))
        elif how == "drops":
            peer.drops()
        elif how == "closes":
            peer.closes()

    fake.script = script
    async with entered(client.responses.connect()) as connection:
        await asks(connection, "Hello.")
        await hears(connection, "response.output_text.delta")
        if how == "failed":
            await hears(connection, *ENDS)
        elif how != "left":
            with pytest.raises(ConnectionClosed):
                await hears(connection, *ENDS)
    (span,) = spans.spans
    assert said(span)[0].startswith("Hello ")
    error = {"failed": "server_error", "drops": "ConnectionClosedError", "closes": "ConnectionClosedOK"}
    assert (attributes(span).get("error.type") or "").rpartition(".")[2] == error.get(how, "")


@pytest.mark.parametrize("surface", ["responses", "beta.responses"])
async def test_a_whole_process_can_be_traced(
    client: Any, fake: realtime_fake.Fake, spans: Captured, surface: str
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.says(*begins(), ends())

    async def ask_once() -> None:
        resource = client
        for name in surface.split("."):
            resource = getattr(resource, name)
        async with entered(resource.connect()) as connection:
            await asks(connection, "Hello.")
            await hears(connection, *ENDS)

    fake.script = script
    unwrap(client)
    instrument("openai")
    try:
        await ask_once()
    finally:
        uninstrument("openai")
    await ask_once()
    (span,) = spans.spans
    assert said(span) == ["Hello from resp_1."]


def test_beta_responses_of_a_whole_process_are_traced(mock: AIMock, spans: Captured) -> None:
    instrument("openai")
    try:
        with openai.OpenAI(api_key="none", base_url=f"{mock.url}/v1") as client:
            client.beta.responses.create(model=MODEL, input="Hello.")
    finally:
        uninstrument("openai")
    (span,) = spans.spans
    assert said(span) == [ANSWER]


async def test_openai_is_sent_no_session_and_no_user(client: Any, fake: realtime_fake.Fake) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.says(*begins(), ends())

    fake.script = script
    wrap_openai(client, session_id="secret-session", user_id="secret-user", metadata={"a": "secret"})
    with session("secret-block"):
        async with entered(client.responses.connect()) as connection:
            await asks(connection, "Hello.")
            await hears(connection, *ENDS)
    assert len(fake.heard) == 1
    assert "secret" not in json.dumps([fake.headers, fake.heard])


async def test_no_fault_of_the_tracing_reaches_the_caller(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.hears("response.create")
        peer.says(*begins(), ends(), {"type": "error", "error": {"type": "invalid", "message": "No."}})
        peer.hears("response.create")
        peer.says(*begins("resp_2"))
        peer.closes()

    fake.script = script

    async def talk() -> list[Any]:
        async with entered(client.responses.connect()) as connection:
            await asks(connection, "Hello.")
            seen = await hears(connection, "error")
            await asks(connection, "Again.")
            with pytest.raises(ConnectionClosed) as raised:
                await hears(connection, *ENDS)
            return [*plain(seen), type(raised.value).__name__]

    expected = await talk()
    assert len(spans.spans) == 2
    unwrap(client)
    assert await talk() == expected
    for step in each_step_failing(_connections, _turns, _responses, _responses_connection):
        with step.failing():
            wrap_openai(client)
            seen = await talk()
        assert seen == expected, step
        unwrap(client)

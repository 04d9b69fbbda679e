"""What `wrap_openai` promises of a Realtime connection: one span for each response of the model.

Against aimock, and where that has gaps against a server that says what OpenAI's own does.
"""

import asyncio
import base64
import gc
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import in_process
import pytest
import realtime_fake
from aimock import AIMock
from faulty import each_step_failing
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import (
    _connections,
    _realtime,
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

MODEL = "gpt-realtime"
DONE = "response.done"
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
AUDIO = b"\x01\x02" * 600
SESSION = {
    "type": "realtime",
    "model": "gpt-realtime-2026-08-28",
    "instructions": "Be kind.",
    "output_modalities": ["audio"],
    "tools": [TOOL],
    "audio": {
        "input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": {"type": "server_vad"}},
        "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
    },
    "max_output_tokens": "inf",
}
USAGE = {
    "total_tokens": 50,
    "input_tokens": 30,
    "output_tokens": 20,
    "input_token_details": {
        "text_tokens": 10,
        "audio_tokens": 20,
        "cached_tokens": 8,
        "cached_tokens_details": {"text_tokens": 5, "audio_tokens": 3},
    },
    "output_token_details": {"text_tokens": 6, "audio_tokens": 14},
}
CREATED = {"type": "session.created", "session": SESSION}
ENCODED = base64.b64encode(AUDIO).decode()


def begins(id: str = "resp_1", **more: Any) -> dict[str, Any]:
    response = {"id": id, "object": "realtime.response", "status": "in_progress", "output": [], **more}
    return {"type": "response.created", "response": response}


def spoken(text: str, id: str = "resp_1") -> list[dict[str, Any]]:
    """The events of an answer that is spoken, but for the last."""
    where = {"response_id": id, "item_id": f"item of {id}", "output_index": 0, "content_index": 0}
    item = {"id": where["item_id"], "type": "message", "role": "assistant", "content": []}
    transcript = [
        {**where, "type": "response.output_audio_transcript.delta", "delta": piece}
        for piece in (text[:5], text[5:])
    ]
    audio = [{**where, "type": "response.output_audio.delta", "delta": ENCODED}] * 2
    return [{**where, "type": "response.output_item.added", "item": item}, *transcript, *audio]


def done(text: str, id: str = "resp_1", status: str = "completed", **more: Any) -> dict[str, Any]:
    content = [{"type": "output_audio", "transcript": text}]
    item = {"id": f"item of {id}", "type": "message", "role": "assistant", "content": content}
    response = {"id": id, "object": "realtime.response", "status": status, "output": [item], "usage": USAGE}
    return {"type": "response.done", "response": {**response, **more}}


def answers(peer: realtime_fake.Peer) -> None:
    """Answers whatever is asked for."""
    peer.says(CREATED)
    number = 0
    while True:
        peer.hears("response.create")
        number += 1
        id = f"resp_{number}"
        peer.says(begins(id), *spoken("Hello there.", id), done("Hello there.", id))


async def says(connection: Any, text: str, **response: Any) -> None:
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await settled(connection.conversation.item.create(item=item))
    await settled(connection.response.create(**response))


@pytest.fixture
def fake() -> Iterator[realtime_fake.Fake]:
    with realtime_fake.running() as running:
        running.script = answers
        yield running


Make = Callable[[str], Any]


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


def connect(client: Any, **more: Any) -> Any:
    return client.realtime.connect(model=MODEL, **more)


# Against aimock


@pytest.mark.parametrize("prompt", ["Hello.", "weather", "too many"])
async def test_the_caller_receives_what_an_unwrapped_client_does(
    make: Make, mock: AIMock, spans: Captured, prompt: str
) -> None:
    seen = []
    for client in (make(mock.url), wrap_openai(make(mock.url))):
        async with entered(connect(client)) as connection:
            await says(connection, prompt)
            seen.append(plain(await hears(connection, DONE)))
    assert seen[0] == seen[1]
    (span,) = spans.spans
    failed = "rate_limit_error" if prompt == "too many" else None
    assert attributes(span).get("error.type") == failed


async def test_a_response_is_a_span_in_the_session_that_it_is_asked_for_in(
    make: Make, mock: AIMock, spans: Captured
) -> None:
    async with entered(connect(wrap_openai(make(mock.url)))) as connection:
        update = {"type": "realtime", "instructions": "Be kind.", "tools": [TOOL]}
        await settled(connection.session.update(session=update))
        with session("talk"), spans.tracer.start_as_current_span("around") as around:
            # aimock does not say of a response what it was asked with.
            await says(connection, "Hello.", response={"metadata": {"topic": "hello"}})
            assert trace.get_current_span() is around
        await hears(connection, DONE)
        assert trace.get_current_span() is trace.INVALID_SPAN
    span = next(span for span in spans.spans if span.name != "around")
    found = attributes(span)
    assert (span.name, span.kind) == (f"chat {MODEL}", SpanKind.CLIENT)
    assert span.parent == around.get_span_context()
    assert span.status.status_code is StatusCode.UNSET
    assert found["session.id"] == "talk"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == found["gen_ai.response.model"] == MODEL
    assert found["gen_ai.response.id"].startswith("resp")
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["gen_ai.output.type"] == "text"
    assert found["server.address"] == "127.0.0.1"
    assert 0 < found["gen_ai.response.time_to_first_chunk"] < 5
    assert said(span, "input") == ["Hello."]
    assert said(span) == [ANSWER]
    assert json.loads(found["gen_ai.system_instructions"])[0]["content"] == "Be kind."
    assert json.loads(found["gen_ai.tool.definitions"])[0]["name"] == "get_weather"


async def test_a_function_call_and_its_result_are_two_responses(
    make: Make, mock: AIMock, spans: Captured
) -> None:
    async with entered(connect(wrap_openai(make(mock.url)))) as connection:
        await says(connection, "weather")
        await hears(connection, DONE)
        output = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
        await settled(connection.conversation.item.create(item=output))
        await settled(connection.response.create())
        await hears(connection, DONE)
    first, second = spans.spans
    (call,) = parts(first)
    assert (call["type"], call["name"]) == ("tool_call", "get_weather")
    assert call["arguments"] == {"city": "Paris"}
    assert attributes(first)["gen_ai.response.finish_reasons"] == ("tool_calls",)
    (result,) = parts(second, "input")
    assert (result["type"], result["response"], result["id"]) == ("tool_call_response", "sunny", "call_1")
    assert said(second) == ["It is sunny."]


# Speech


def listens(peer: realtime_fake.Peer) -> None:
    """Hears by itself when the user has ended, as with server VAD."""
    peer.says(CREATED)
    for _ in range(3):
        peer.hears("input_audio_buffer.append")
    heard = {"item_id": "item_1", "content_index": 0}
    transcription = "conversation.item.input_audio_transcription.completed"
    peer.says(
        {"type": "input_audio_buffer.committed", "item_id": "item_1", "previous_item_id": None},
        begins(),
        {**heard, "type": transcription, "transcript": "What time is it?", "usage": {"type": "tokens"}},
        *spoken("It is five."),
        done("It is five."),
    )


async def test_what_is_spoken_is_its_transcript_and_how_much_it_was(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    fake.script = listens
    with session("spoken"):
        manager = connect(client)
        async with entered(manager) as connection:
            for _ in range(3):
                await settled(connection.input_audio_buffer.append(audio=ENCODED))
            await hears(connection, DONE)
    (span,) = spans.spans
    found = attributes(span)
    assert found["session.id"] == "spoken"
    assert said(span, "input") == ["What time is it?", f"[audio/pcm, {3 * len(AUDIO)} bytes]"]
    assert said(span) == ["It is five.", f"[audio/pcm, {2 * len(AUDIO)} bytes]"]
    assert found["gen_ai.output.type"] == "speech"
    assert json.loads(found["pandaprobe.model_parameters"]) == {"voice": "marin", "modalities": ["audio"]}
    assert found["gen_ai.response.model"] == "gpt-realtime-2026-08-28"
    usage = {name.removeprefix("gen_ai.usage."): count for name, count in found.items() if "usage" in name}
    assert usage == {
        "input_tokens": 30,
        "output_tokens": 20,
        "cache_read.input_tokens": 8,
        "text.input_tokens": 10,
        "audio.input_tokens": 20,
        "text.output_tokens": 6,
        "audio.output_tokens": 14,
        "text.cache_read.input_tokens": 5,
        "audio.cache_read.input_tokens": 3,
    }
    assert ENCODED[:40] not in span.to_json()


async def test_a_connection_that_is_read_outside_keeps_its_session(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    fake.script = listens
    with session("connected"), spans.tracer.start_as_current_span("around") as around:
        manager = connect(client)
        connection = await settled(manager.enter())
    for _ in range(3):
        await settled(connection.input_audio_buffer.append(audio=ENCODED))
    await hears(connection, DONE)
    await settled(connection.close())
    span = next(span for span in spans.spans if span.name != "around")
    assert attributes(span)["session.id"] == "connected"
    assert span.parent == around.get_span_context()


async def test_audio_that_the_caller_ends_belongs_to_what_is_asked_next(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        transcription = "conversation.item.input_audio_transcription.completed"
        for items in (["item_1"], ["item_2", "item_3"]):
            peer.hears("response.create")
            peer.says(
                *({"type": "input_audio_buffer.committed", "item_id": item} for item in items), begins()
            )
            for item in items:
                peer.says({"type": transcription, "item_id": item, "transcript": f"Words of {item}."})
            peer.says(done("Yes."))

    fake.script = script
    async with entered(connect(client)) as connection:
        buffer, response = connection.input_audio_buffer, connection.response
        for step in (buffer.append(audio=ENCODED), buffer.clear(), buffer.append(audio=ENCODED)):
            await settled(step)
        for step in (buffer.commit(), response.create()):
            await settled(step)
        await hears(connection, DONE)
        for pieces in (2, 3):
            for _ in range(pieces):
                await settled(buffer.append(audio=ENCODED))
            await settled(buffer.commit())
        await settled(response.create())
        await hears(connection, DONE)
    counted = [f"[audio/pcm, {pieces * len(AUDIO)} bytes]" for pieces in (1, 2, 3)]
    first, second = spans.spans
    assert said(first, "input") == ["Words of item_1.", counted[0]]
    assert said(second, "input") == ["Words of item_2.", counted[1], "Words of item_3.", counted[2]]


async def test_media_in_an_item_has_a_hash_instead_of_its_bytes(client: Any, spans: Captured) -> None:
    content = [
        {"type": "input_audio", "audio": ENCODED, "transcript": "Hello."},
        {"type": "input_image", "image_url": f"data:image/png;base64,{ENCODED}"},
    ]
    async with entered(connect(client)) as connection:
        item = {"type": "message", "role": "user", "content": content}
        await settled(connection.conversation.item.create(item=item))
        await settled(connection.response.create())
        await hears(connection, DONE)
    (span,) = spans.spans
    text, *media = said(span, "input")
    assert text == "Hello."
    digest = hashlib.sha256(AUDIO).hexdigest()
    kinds = ("audio/pcm", "image/png")
    assert media == [f"[{kind}, {len(AUDIO)} bytes, sha256 {digest}]" for kind in kinds]


# How responses end


async def test_two_responses_each_have_what_was_said_since_the_last(client: Any, spans: Captured) -> None:
    async with entered(connect(client)) as connection:
        for text in ("First.", "Second."):
            with session(text):
                await says(connection, text)
            await hears(connection, DONE)
    assert [said(span, "input") for span in spans.spans] == [["First."], ["Second."]]
    assert [attributes(span)["session.id"] for span in spans.spans] == ["First.", "Second."]
    assert [attributes(span)["gen_ai.response.id"] for span in spans.spans] == ["resp_1", "resp_2"]


async def test_responses_that_are_open_at_once_are_told_apart(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    aside = {"conversation": "none", "metadata": {"topic": "aside"}, "output_modalities": ["text"]}
    asked = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify."}]}]

    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        peer.hears("response.create")
        # The second begins first, and they come mixed.
        peer.says(begins("resp_2", metadata={"topic": "aside"}), begins("resp_1", metadata=None))
        for events in zip(spoken("Main."), spoken("Aside.", "resp_2"), strict=True):
            peer.says(*events)
        peer.says(done("Main.", "resp_1"), done("Aside.", "resp_2", output_modalities=["text"]))

    fake.script = script
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        await settled(connection.response.create(response={**aside, "input": asked}))
        await hears(connection, DONE)
        await hears(connection, DONE)
    main, beside = spans.spans
    assert (said(main, "input"), said(main)[0]) == (["Hello."], "Main.")
    assert (said(beside, "input"), said(beside)[0]) == (["Classify."], "Aside.")
    assert [attributes(span)["gen_ai.output.type"] for span in (main, beside)] == ["speech", "text"]


async def test_a_response_that_the_server_begins_is_not_taken_for_one_that_is_asked_for_aside(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        peer.says({"type": "input_audio_buffer.committed", "item_id": "item_1"}, begins("resp_1"))
        peer.says(
            begins("resp_2", metadata={"topic": "aside"}), done("Aside.", "resp_2"), done("Five.", "resp_1")
        )

    fake.script = script
    asked = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Classify."}]}]
    aside = {"conversation": "none", "metadata": {"topic": "aside"}, "input": asked}
    async with entered(connect(client)) as connection:
        await hears(connection, "session.created")
        await settled(connection.input_audio_buffer.append(audio=ENCODED))
        await settled(connection.response.create(response=aside))
        await hears(connection, DONE)
        await hears(connection, DONE)
    beside, main = spans.spans
    assert (said(beside, "input"), said(beside)) == (["Classify."], ["Aside."])
    assert (said(main, "input"), said(main)) == ([f"[audio/pcm, {len(AUDIO)} bytes]"], ["Five."])


async def test_what_is_answered_aside_is_still_to_be_answered(client: Any, spans: Captured) -> None:
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.", response={"conversation": "none"})
        await hears(connection, DONE)
        await settled(connection.response.create())
        await hears(connection, DONE)
    assert [said(span, "input") for span in spans.spans] == [["Hello."], ["Hello."]]


@pytest.mark.parametrize(
    ("status", "details", "reason", "error"),
    [
        ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, "cancelled", None),
        ("incomplete", {"type": "incomplete", "reason": "max_output_tokens"}, "length", None),
        ("incomplete", {"type": "incomplete", "reason": "content_filter"}, "content_filter", None),
        (
            "failed",
            {"type": "failed", "error": {"type": "server_error", "code": "overloaded", "message": "Sorry."}},
            "error",
            "overloaded",
        ),
    ],
)
async def test_only_what_failed_is_an_error(
    client: Any,
    fake: realtime_fake.Fake,
    spans: Captured,
    status: str,
    details: dict[str, Any],
    reason: str,
    error: str | None,
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        ended = done("", status=status, status_details=details)
        ended["response"]["output"] = []
        peer.says(begins(), *spoken("Hello there."), ended)

    fake.script = script
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        await hears(connection, DONE)
    (span,) = spans.spans
    assert attributes(span)["gen_ai.response.finish_reasons"] == (reason,)
    assert attributes(span).get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert said(span)[0] == "Hello there."


@pytest.mark.parametrize("naming", ["event_id", "code", "nothing"])
async def test_a_refused_response_has_its_error(
    client: Any, fake: realtime_fake.Fake, spans: Captured, naming: str
) -> None:
    error = {"type": "invalid_request_error", "message": "No.", "code": "bad", "param": None}
    if naming == "event_id":
        error["event_id"] = "mine"
    elif naming == "code":
        error["code"] = "conversation_already_has_active_response"

    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        peer.says({"type": "error", "event_id": "e", "error": error})
        if naming != "nothing":
            peer.hears("response.create")
            peer.says(begins(), done("Yes."))

    fake.script = script
    async with entered(connect(client)) as connection:
        await settled(connection.response.create(event_id="mine"))
        await hears(connection, "error")
        if naming != "nothing":
            await settled(connection.response.create())
            await hears(connection, DONE)
    refused, *others = spans.spans
    assert attributes(refused)["error.type"] == error["code"]
    assert refused.status.description == "No."
    assert [span.status.status_code for span in others] == [StatusCode.UNSET] * (naming != "nothing")


@pytest.mark.parametrize("until", ["response.created", DONE])
async def test_an_error_of_something_else_is_no_error_of_the_response(
    client: Any, fake: realtime_fake.Fake, spans: Captured, until: str
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        error = {"type": "invalid_request_error", "message": "No such item.", "code": "item_not_found"}
        peer.says({"type": "error", "event_id": "e", "error": error}, begins(), done("Yes."))

    fake.script = script
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        await hears(connection, until)
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


async def test_what_cannot_be_sent_is_an_error_and_takes_no_answer(client: Any, spans: Captured) -> None:
    async with entered(connect(client)) as connection:
        with pytest.raises(TypeError):
            await settled(connection.response.create(response={"metadata": {"a": object()}}))
        await says(connection, "Hello.")
        await hears(connection, DONE)
    unsent, sent = spans.spans
    assert attributes(unsent)["error.type"] == "TypeError"
    assert said(sent)[0] == "Hello there."


async def test_what_is_read_after_closing_begins_nothing(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    fake.script = lambda peer: peer.says(CREATED, begins())
    async with entered(connect(client)) as connection:
        await hears(connection, "session.created")
        await settled(connection.close())
        await hears(connection, "response.created")
    assert spans.spans == []


def breaks_off(how: str) -> Callable[[realtime_fake.Peer], None]:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        peer.says(begins(), *spoken("Hello there."))
        if how == "drops":
            peer.drops()
        elif how == "closes":
            peer.closes()

    return script


@pytest.mark.parametrize("how", ["drops", "closes"])
async def test_a_connection_that_is_lost_is_an_error_of_what_was_being_said(
    client: Any, fake: realtime_fake.Fake, spans: Captured, how: str
) -> None:
    fake.script = breaks_off(how)
    kind = "ConnectionClosedError" if how == "drops" else "ConnectionClosedOK"
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        with pytest.raises(ConnectionClosed) as raised:
            await hears(connection, DONE)
    assert type(raised.value).__name__ == kind
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"].rpartition(".")[2] == kind
    assert said(span)[0] == "Hello there."


@pytest.mark.parametrize("how", ["closed", "left", "raised", "forgotten"])
async def test_a_caller_who_has_enough_is_no_error(
    client: Any, fake: realtime_fake.Fake, spans: Captured, how: str
) -> None:
    fake.script = breaks_off("stays")
    kind = "response.output_audio.delta"

    async def leaves(error: Exception | None = None) -> None:
        async with entered(connect(client)) as connection:
            await says(connection, "Hello.")
            await hears(connection, kind)
            if error is not None:
                raise error

    if how == "raised":
        with pytest.raises(KeyError):
            await leaves(KeyError())
    elif how == "left":
        await leaves()
    else:
        connection = await settled(connect(client).enter())
        await says(connection, "Hello.")
        await hears(connection, kind)
        socket = connection._connection
        if how == "closed":
            await settled(connection.close())
        del connection
        gc.collect()
        await settled(socket.close())
    (span,) = spans.spans
    assert attributes(span).get("error.type") == ("KeyError" if how == "raised" else None)
    assert said(span)[0] == "Hello there."


async def test_a_reader_that_is_cancelled_ends_the_span(fake: realtime_fake.Fake, spans: Captured) -> None:
    fake.script = breaks_off("stays")
    begun = asyncio.Event()
    async with openai.AsyncOpenAI(api_key="none", websocket_base_url=fake.url) as client:

        async def read() -> None:
            async with connect(wrap_openai(client)) as connection:
                await says(connection, "Hello.")
                async for event in connection:
                    if event.type == "response.output_audio.delta":
                        begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    (span,) = spans.spans
    assert (span.status.status_code, said(span)[0]) == (StatusCode.UNSET, "Hello there.")


# Ways to use a connection


@pytest.mark.parametrize("surface", ["realtime", "beta.realtime"])
async def test_the_connection_is_the_one_of_the_sdk(
    make: Make, fake: realtime_fake.Fake, surface: str
) -> None:
    kinds = []
    for client in (make(fake.url), wrap_openai(make(fake.url))):
        resource = client
        for name in surface.split("."):
            resource = getattr(resource, name)
        manager = resource.connect(model=MODEL)
        async with entered(manager) as connection:
            kinds.append(
                [
                    type(manager).__name__,
                    {name for name in dir(manager) if "pandaprobe" not in name},
                    type(connection),
                    set(dir(connection)),
                ]
            )
    assert kinds[0] == kinds[1]


async def test_the_beta_is_traced_too(client: Any, fake: realtime_fake.Fake, spans: Captured) -> None:
    where = {"response_id": "resp_1", "item_id": "i", "output_index": 0, "content_index": 0}
    beta = {
        "model": "gpt-4o-realtime-preview",
        "voice": "alloy",
        "modalities": ["text", "audio"],
        "output_audio_format": "pcm16",
        "max_response_output_tokens": 99,
    }

    def script(peer: realtime_fake.Peer) -> None:
        peer.says({"type": "session.created", "session": beta})
        peer.hears("response.create")
        peer.says(
            begins(),
            {**where, "type": "response.audio_transcript.delta", "delta": "Hi."},
            {**where, "type": "response.audio.delta", "delta": ENCODED},
            {"type": "response.done", "response": {"id": "resp_1", "status": "cancelled"}},
        )

    fake.script = script
    async with entered(client.beta.realtime.connect(model="gpt-4o-realtime-preview")) as connection:
        await says(connection, "Hello.")
        await hears(connection, DONE)
    (span,) = spans.spans
    assert said(span) == ["Hi.", f"[audio/pcm16, {len(AUDIO)} bytes]"]
    assert attributes(span)["gen_ai.request.max_tokens"] == 99
    assert json.loads(attributes(span)["pandaprobe.model_parameters"])["voice"] == "alloy"


async def test_messages_that_the_caller_writes_and_parses_are_traced(client: Any, spans: Captured) -> None:
    async with entered(connect(client)) as connection:
        if not hasattr(connection, "send_raw"):
            pytest.skip("this version of openai has no send_raw")
        await settled(connection.send_raw(json.dumps({"type": "response.create"})))
        while json.loads(await settled(connection.recv_bytes()))["type"] != "response.done":
            pass
    (span,) = spans.spans
    assert said(span)[0] == "Hello there."


async def test_what_is_queued_before_connecting_is_traced(client: Any, spans: Captured) -> None:
    manager = connect(client)
    if not hasattr(manager, "send"):
        pytest.skip("managers of this version of openai have no send")
    asked = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}]
    manager.send({"type": "response.create", "response": {"input": asked}})
    async with entered(manager) as connection:
        await hears(connection, DONE)
    (span,) = spans.spans
    assert (said(span, "input"), said(span)[0]) == (["Hi."], "Hello there.")


async def test_iterating_ends_as_the_connection_does(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("response.create")
        peer.says(begins(), done("Yes."))
        peer.closes()

    fake.script = script
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        if hasattr(connection, "__aiter__"):
            kinds = [event.type async for event in connection]
        else:
            kinds = [event.type for event in connection]
    assert kinds == ["session.created", "response.created", "response.done"]
    (span,) = spans.spans
    assert (span.status.status_code, said(span)) == (StatusCode.UNSET, ["Yes."])


# Labels, and who is traced


async def ask_once(client: Any) -> None:
    async with entered(connect(client)) as connection:
        await says(connection, "Hello.")
        await hears(connection, DONE)


async def test_labels_are_stronger_than_a_block_and_hold_for_copies(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="labelled", user_id="ada", tags=["voice"])
    with session("block"):
        await ask_once(client)
        await ask_once(client.with_options(timeout=9))
    assert len(spans.spans) == 2
    for span in spans.spans:
        found = attributes(span)
        assert (found["session.id"], found["user.id"], found["pandaprobe.tags"]) == (
            "labelled",
            "ada",
            ("voice",),
        )


async def test_wrapping_can_be_undone(client: Any, spans: Captured) -> None:
    unwrap(client)
    await ask_once(client)
    wrap_openai(wrap_openai(client))
    await ask_once(client)
    await ask_once(unwrap(client))
    assert len(spans.spans) == 1


async def test_a_whole_process_can_be_traced(client: Any, spans: Captured) -> None:
    unwrap(client)
    instrument("openai")
    try:
        await ask_once(client)
        await ask_once(wrap_openai(client, session_id="labelled"))
    finally:
        uninstrument("openai")
    await ask_once(unwrap(client))
    assert [attributes(span).get("session.id") for span in spans.spans] == [None, "labelled"]


async def test_azure_is_traced_as_azure(fake: realtime_fake.Fake, spans: Captured) -> None:
    given = {"api_key": "none", "api_version": "2026-01-01", "azure_endpoint": "http://127.0.0.1:1"}
    async with openai.AsyncAzureOpenAI(**given, websocket_base_url=fake.url) as client:
        await ask_once(wrap_openai(client))
    (span,) = spans.spans
    assert attributes(span)["gen_ai.provider.name"] == "azure.ai.openai"
    assert attributes(span)["server.port"] == int(fake.url.rpartition(":")[2])


def test_what_is_being_said_as_the_process_exits_has_its_span(fake: realtime_fake.Fake) -> None:
    fake.script = breaks_off("stays")
    ended = in_process.run(f"""
import openai
from opentelemetry.sdk.trace import SpanProcessor
from pandaprobe_otel.testing import capture
from pandaprobe_otel.wrappers import wrap_openai

class Printing(SpanProcessor):
    def on_end(self, span):
        tell(name=span.name, ok=span.status.is_ok, output=span.attributes["gen_ai.output.messages"])

block = capture()
captured = block.__enter__()
captured.tracer_provider.add_span_processor(Printing())
client = wrap_openai(openai.OpenAI(api_key="none", websocket_base_url="{fake.url}"))
connection = client.realtime.connect(model="{MODEL}").enter()
connection.response.create()
while connection.recv().type != "response.output_audio.delta":
    pass
tell(before=len(captured.spans))
""")
    assert ended.told.pop("output").count("Hello there.") == 1
    assert ended.told == {"before": 0, "name": f"chat {MODEL}", "ok": True}


def test_what_nobody_uses_is_not_loaded() -> None:
    ended = in_process.run("""
import openai, sys
from pandaprobe_otel.wrappers import instrument, wrap_openai
client = wrap_openai(openai.OpenAI(api_key="none"))
instrument("openai")
loaded = [name for name in ("openai.resources.realtime.realtime", "websockets") if name in sys.modules]
from openai.resources.realtime.realtime import Realtime
tell(loaded=loaded, traced=hasattr(Realtime.connect, "__wrapped__"))
""")
    assert ended.told == {"loaded": [], "traced": True}


async def test_no_content_where_it_is_not_wanted(
    client: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    await ask_once(client)
    (span,) = spans.spans
    assert attributes(span)["gen_ai.usage.input_tokens"] == 30
    for content in ("Hello", "Be kind", "get_weather"):
        assert content not in span.to_json()


async def test_openai_is_sent_no_session_and_no_user(client: Any, fake: realtime_fake.Fake) -> None:
    wrap_openai(client, session_id="secret-session", user_id="secret-user", metadata={"a": "secret"})
    with session("secret-block"):
        await ask_once(client)
    assert len(fake.heard) == 2
    assert "secret" not in json.dumps([fake.headers, fake.heard])


async def test_a_response_that_another_span_stands_for_has_no_second_one(
    client: Any, spans: Captured
) -> None:
    others = spans.tracer_provider.get_tracer("another.instrumentation")
    async with entered(connect(client)) as connection:
        with others.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
            await says(connection, "Hello.")
            await hears(connection, DONE)
    assert [span.name for span in spans.spans] == ["chat"]


async def test_no_span_while_instrumentation_is_suppressed(client: Any, spans: Captured) -> None:
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    async with entered(connect(client)) as connection:
        with suppress_instrumentation():
            await says(connection, "Hello.")
        await hears(connection, DONE)
        await says(connection, "Again.")
        await hears(connection, DONE)
    (span,) = spans.spans
    assert said(span, "input") == ["Again."]


# Faults of the tracing


async def test_no_fault_of_the_tracing_reaches_the_caller(
    make: Make, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        peer.says(CREATED)
        peer.hears("input_audio_buffer.commit")
        error = {"type": "invalid_request_error", "message": "No.", "code": "bad"}
        item = {"id": "c", "type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
        peer.says(
            {"type": "input_audio_buffer.committed", "item_id": "item_1"},
            begins(),
            {"type": "error", "event_id": "e", "error": error},
            *spoken("Hello there."),
            {"type": "response.output_item.done", "response_id": "resp_1", "output_index": 1, "item": item},
            {"type": "response.done", "response": {"id": "resp_1", "status": "completed", "output": []}},
        )
        peer.hears("response.create")
        peer.says(begins("resp_2"))
        peer.closes()

    fake.script = script

    async def talk(client: Any) -> list[Any]:
        async with entered(connect(client)) as connection:
            await settled(connection.input_audio_buffer.append(audio=ENCODED))
            await settled(connection.input_audio_buffer.commit())
            seen = await hears(connection, DONE)
            await says(connection, "Hello.")
            with pytest.raises(ConnectionClosed) as raised:
                await hears(connection, DONE)
            return [*plain(seen), type(raised.value).__name__]

    client = make(fake.url)
    expected = await talk(client)
    assert expected[-1] == "ConnectionClosedOK"
    steps = each_step_failing(_connections, _turns, _realtime)
    assert len(steps) > 40
    for step in steps:
        with step.failing():
            seen = await talk(wrap_openai(client.with_options(timeout=9)))
        assert seen == expected, step
        assert not trace.get_current_span().get_span_context().is_valid, step
    del spans.spans[:]
    assert await talk(wrap_openai(client)) == expected
    assert_session(spans.spans, None)
    assert len(spans.spans) == 2

"""What `wrap_gemini` promises of a Live connection: one span for each turn of the model.

aimock reads only the names of the protocol that have no underscore, and the SDK sends those that have one.
"""

import asyncio
import base64
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import realtime_fake
from faulty import each_step_failing
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import (
    _connections,
    _turns,
    gemini,
    instrument,
    uninstrument,
    unwrap,
    wrap_gemini,
)

from .surfaces import attributes, parts

genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
types = genai.types

pytestmark = [
    # What google-genai itself does on new versions of Python and of its own dependencies.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google.genai.*"),
    pytest.mark.filterwarnings("ignore:The `session.send` method is deprecated:DeprecationWarning"),
]

MODEL = "gemini-3.1-flash-live"
AUDIO = b"\x01\x02" * 600
TOOL = {"function_declarations": [{"name": "get_weather", "description": "The weather in a city."}]}
SPEAKING: dict[str, Any] = {
    "response_modalities": ["AUDIO"],
    "system_instruction": "Be kind.",
    "temperature": 0.5,
    "tools": [TOOL],
    "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}}},
}
CALL = {"toolCall": {"functionCalls": [{"id": "call_1", "name": "get_weather", "args": {"city": "Paris"}}]}}
USAGE = {
    "promptTokenCount": 30,
    "cachedContentTokenCount": 8,
    "responseTokenCount": 20,
    "thoughtsTokenCount": 5,
    "toolUsePromptTokenCount": 2,
    "totalTokenCount": 57,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 10},
        {"modality": "AUDIO", "tokenCount": 20},
    ],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
}


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def text(*pieces: str) -> list[dict[str, Any]]:
    return [content(modelTurn={"role": "model", "parts": [{"text": piece}]}) for piece in pieces]


def spoken(said: str) -> list[dict[str, Any]]:
    blob = {"mimeType": "audio/pcm;rate=24000", "data": base64.b64encode(AUDIO).decode()}
    return [
        content(modelTurn={"role": "model", "parts": [{"inlineData": blob}]}),
        content(outputTranscription={"text": said[:5]}),
        content(modelTurn={"role": "model", "parts": [{"inlineData": blob}]}),
        content(outputTranscription={"text": said[5:]}),
    ]


COMPLETE = content(turnComplete=True)


def begins(peer: realtime_fake.Peer) -> None:
    peer.hears("setup")
    peer.says({"setupComplete": {}})


def answers(peer: realtime_fake.Peer) -> None:
    """Answers whatever is asked for."""
    begins(peer)
    while True:
        peer.hears()
        peer.says(*text("Hello ", "there."), {**COMPLETE, "usageMetadata": USAGE})


@pytest.fixture
def fake() -> Iterator[realtime_fake.Fake]:
    with realtime_fake.running() as running:
        running.script = answers
        yield running


Make = Callable[[str], Any]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def make(url: str) -> Any:
        options = types.HttpOptions(base_url=url, api_version="v1beta")
        made.append(client := genai.Client(api_key="none", http_options=options))
        # The SDK would have TLS, whatever the URL says.
        client._api_client._websocket_base_url = lambda *_: url.replace("http:", "ws:")
        client._api_client._websocket_ssl_ctx = {}
        return client

    yield make
    for client in made:
        client.close()
        await client.aio.aclose()


@pytest.fixture
def client(make: Make, fake: realtime_fake.Fake) -> Any:
    return wrap_gemini(make(fake.url))


def connect(client: Any, **config: Any) -> Any:
    return client.aio.live.connect(model=MODEL, config=config)


async def says(connection: Any, prompt: str) -> None:
    turn = {"role": "user", "parts": [{"text": prompt}]}
    await connection.send_client_content(turns=turn)


async def hears(connection: Any) -> list[Any]:
    """What is received until the model's turn ends."""
    return [message.model_dump(mode="json") async for message in connection.receive()]


async def ask_once(client: Any, prompt: str = "Hello.", **config: Any) -> list[Any]:
    async with connect(client, **config) as connection:
        await says(connection, prompt)
        return await hears(connection)


def said(span: ReadableSpan, direction: str = "output") -> list[str]:
    return [part["content"] for part in parts(span, direction)]


# Turns


@pytest.mark.parametrize(
    "says", [[*text("Hello ", "there."), COMPLETE], [CALL, COMPLETE], [{"error": {"code": 3}}]]
)
async def test_the_caller_receives_what_an_unwrapped_client_does(
    make: Make, fake: realtime_fake.Fake, spans: Captured, says: list[Any]
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        peer.says(*says)

    fake.script = script
    seen = []
    for client in (make(fake.url), wrap_gemini(make(fake.url))):
        try:
            seen.append(await ask_once(client))
        except Exception as error:
            seen.append([repr(error)])
    assert seen[0] == seen[1]
    (span,) = spans.spans
    assert span.status.status_code is (StatusCode.ERROR if "error" in says[0] else StatusCode.UNSET)


async def test_a_turn_is_a_span_in_the_session_that_it_is_asked_for_in(client: Any, spans: Captured) -> None:
    async with connect(client, response_modalities=["TEXT"], system_instruction="Be kind.") as connection:
        with session("talk"), spans.tracer.start_as_current_span("around") as around:
            await says(connection, "Hello.")
            assert trace.get_current_span() is around
        await hears(connection)
    span = next(span for span in spans.spans if span.name != "around")
    found = attributes(span)
    assert (span.name, span.kind) == (f"generate_content {MODEL}", SpanKind.CLIENT)
    assert span.parent == around.get_span_context()
    assert span.status.status_code is StatusCode.UNSET
    assert found["session.id"] == "talk"
    assert found["gen_ai.provider.name"] == "gcp.gemini"
    assert found["gen_ai.request.model"] == MODEL
    assert found["gen_ai.output.type"] == "text"
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["server.address"] == "127.0.0.1"
    assert 0 < found["gen_ai.response.time_to_first_chunk"] < 5
    assert said(span, "input") == ["Hello."]
    assert said(span) == ["Hello there."]
    assert json.loads(found["gen_ai.system_instructions"])[0]["content"] == "Be kind."


@pytest.mark.parametrize("answered", ["at once", "after the turn"])
@pytest.mark.parametrize("ends", [[{**COMPLETE, "usageMetadata": USAGE}], []])
async def test_a_function_call_and_its_result_are_two_turns(
    client: Any, fake: realtime_fake.Fake, spans: Captured, ends: list[Any], answered: str
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        # Some models end the turn with the call, others go on in it.
        peer.says(CALL, *ends)
        peer.hears("tool_response")
        peer.says(*text("It is ", "sunny."), {**COMPLETE, "usageMetadata": {"promptTokenCount": 40}})

    fake.script = script
    async with connect(client, tools=[TOOL]) as connection:
        await says(connection, "The weather?")
        messages = aiter(connection.receive())
        await anext(messages)
        if ends and answered == "after the turn":
            await anext(messages)
        called_at = time.time_ns()
        await asyncio.sleep(0.01)
        result = types.FunctionResponse(id="call_1", name="get_weather", response={"result": "sunny"})
        await connection.send_tool_response(function_responses=result)
        await hears(connection)
        if ends and answered == "at once":
            await hears(connection)
    first, second = spans.spans
    (call,) = parts(first)
    assert (call["type"], call["name"], call["arguments"]) == ("tool_call", "get_weather", {"city": "Paris"})
    assert attributes(first)["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert json.loads(attributes(first)["gen_ai.tool.definitions"])[0]["name"] == "get_weather"
    (given,) = parts(second, "input")
    assert (given["type"], given["response"]) == ("tool_call_response", {"result": "sunny"})
    assert said(second) == ["It is sunny."]
    tokens = [attributes(span).get("gen_ai.usage.input_tokens") for span in spans.spans]
    assert tokens == [32 if ends else None, 40]
    # What the function takes is no part of the call.
    assert first.end_time <= called_at < second.start_time


async def test_what_is_spoken_is_its_transcript_and_how_much_it_was(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        for _ in range(3):
            peer.hears("realtime_input")
        peer.says(
            content(inputTranscription={"text": "What time "}),
            content(inputTranscription={"text": "is it?"}),
            *spoken("It is five."),
            {**COMPLETE, "usageMetadata": USAGE},
        )

    fake.script = script
    with session("spoken"):
        connecting = connect(client, **SPEAKING)
        async with connecting as connection:
            for _ in range(3):
                blob = types.Blob(data=AUDIO, mime_type="audio/pcm;rate=16000")
                await connection.send_realtime_input(audio=blob)
            await hears(connection)
    (span,) = spans.spans
    found = attributes(span)
    assert found["session.id"] == "spoken"
    assert said(span, "input") == ["What time is it?", f"[audio/pcm, {3 * len(AUDIO)} bytes]"]
    assert said(span) == ["It is five.", f"[audio/pcm, {2 * len(AUDIO)} bytes]"]
    assert found["gen_ai.output.type"] == "speech"
    assert found["gen_ai.request.temperature"] == 0.5
    assert json.loads(found["pandaprobe.model_parameters"])["voice"] == "Puck"
    usage = {name.removeprefix("gen_ai.usage."): count for name, count in found.items() if "usage" in name}
    assert usage == {
        "input_tokens": 32,
        "output_tokens": 25,
        "cache_read.input_tokens": 8,
        "reasoning.output_tokens": 5,
        "text.input_tokens": 10,
        "audio.input_tokens": 20,
        "audio.output_tokens": 20,
    }
    assert base64.b64encode(AUDIO).decode()[:40] not in span.to_json()


async def test_speech_that_is_heard_late_belongs_to_the_turn_that_answers_it(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("realtime_input")
        heard = content(inputTranscription={"text": "What time is it?"})
        first, *rest = spoken("It is five.")
        peer.says(first, heard, *rest, COMPLETE)

    fake.script = script
    async with connect(client) as connection:
        await connection.send_realtime_input(audio=types.Blob(data=AUDIO, mime_type="audio/pcm"))
        await hears(connection)
    (span,) = spans.spans
    assert said(span, "input")[0] == "What time is it?"


async def test_an_interrupted_turn_is_no_error_and_the_next_has_what_was_said_meanwhile(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        peer.says(*text("Once upon"))
        peer.hears("client_content")
        peer.says(content(interrupted=True), COMPLETE, *text("Stopped."), COMPLETE)

    fake.script = script
    async with connect(client) as connection:
        with session("first"):
            await says(connection, "A story.")
        async for message in connection.receive():
            if message.text:
                with session("second"):
                    await says(connection, "Stop.")
        await hears(connection)
    first, second = spans.spans
    assert [said(first, "input"), said(first)] == [["A story."], ["Once upon"]]
    assert [said(second, "input"), said(second)] == [["Stop."], ["Stopped."]]
    assert [attributes(span)["session.id"] for span in spans.spans] == ["first", "second"]
    assert attributes(first)["gen_ai.response.finish_reasons"] == ("interrupted",)
    assert first.status.status_code is StatusCode.UNSET


async def test_a_user_who_speaks_into_an_answer_is_heard_in_the_next_turn(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        peer.says(*text("Once upon"))
        peer.hears("realtime_input")
        # Without the end of the first turn, as when it is lost in between.
        peer.says(content(inputTranscription={"text": "Stop."}), content(interrupted=True))
        peer.says(*text("Stopped."), COMPLETE)

    fake.script = script
    async with connect(client) as connection:
        await says(connection, "A story.")
        async for message in connection.receive():
            if message.text == "Once upon":
                await connection.send_realtime_input(audio=types.Blob(data=AUDIO, mime_type="audio/pcm"))
    first, second = spans.spans
    assert [said(first, "input"), said(first)] == [["A story."], ["Once upon"]]
    assert said(second, "input") == ["Stop.", f"[audio/pcm, {len(AUDIO)} bytes]"]
    assert said(second) == ["Stopped."]


async def test_what_is_said_before_the_answer_begins_is_asked_with_it(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        peer.hears("client_content")
        peer.says(*text("Yes."), COMPLETE)

    fake.script = script
    async with connect(client) as connection:
        await says(connection, "One.")
        await says(connection, "Two.")
        await hears(connection)
    (span,) = spans.spans
    assert said(span, "input") == ["One.", "Two."]


async def test_what_is_read_after_closing_begins_nothing(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.says(*text("Hello."))

    fake.script = script
    async with connect(client) as connection:
        await connection.close()
        async for message in connection.receive():
            assert message.text == "Hello."
            break
    assert spans.spans == []


async def test_content_in_pieces_is_asked_when_it_is_complete(client: Any, spans: Captured) -> None:
    async with connect(client) as connection:
        for prompt in ("One.", "Two."):
            turn = types.Content(role="user", parts=[types.Part(text=prompt)])
            await connection.send_client_content(turns=turn, turn_complete=False)
        assert trace.get_current_span() is trace.INVALID_SPAN
        await connection.send_client_content(turn_complete=True)
        await hears(connection)
    # The server answers each; only what was asked is waited for.
    (span,) = spans.spans
    assert said(span, "input") == ["One.", "Two."]


async def test_what_is_sent_the_deprecated_way_is_traced(client: Any, spans: Captured) -> None:
    async with connect(client) as connection:
        await connection.send(input="Hello.", end_of_turn=True)
        await hears(connection)
        result = {"id": "call_1", "name": "get_weather", "response": {"result": "sunny"}}
        await connection.send(input=types.LiveClientToolResponse(function_responses=[result]))
        await hears(connection)
    first, second = spans.spans
    assert said(first, "input") == ["Hello."]
    assert parts(second, "input")[0]["type"] == "tool_call_response"


async def test_realtime_text_and_a_turn_of_two(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("realtime_input")
        peer.says(*text("Wait."), COMPLETE, *text("Done."), COMPLETE)

    fake.script = script
    async with connect(client) as connection:
        await connection.send_realtime_input(text="Think.")
        await hears(connection)
        await hears(connection)
    assert [said(span) for span in spans.spans] == [["Wait."], ["Done."]]
    assert said(spans.spans[0], "input") == ["Think."]
    assert "gen_ai.input.messages" not in attributes(spans.spans[1])


# How turns end


def breaks_off(how: str) -> Callable[[realtime_fake.Peer], None]:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("client_content")
        peer.says(*text("Hello there."))
        if how == "drops":
            peer.drops()
        elif how == "closes":
            peer.closes(1011)

    return script


@pytest.mark.parametrize("how", ["drops", "closes"])
async def test_a_connection_that_is_lost_is_an_error_of_what_was_being_said(
    client: Any, fake: realtime_fake.Fake, spans: Captured, how: str
) -> None:
    fake.script = breaks_off(how)
    with pytest.raises(genai.errors.APIError):
        await ask_once(client)
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"].rpartition(".")[2] in ("APIError", "ServerError", "ClientError")
    assert said(span) == ["Hello there."]


@pytest.mark.parametrize("how", ["closed", "left", "raised", "cancelled", "forgotten"])
async def test_a_caller_who_has_enough_is_no_error(
    client: Any, fake: realtime_fake.Fake, spans: Captured, how: str
) -> None:
    fake.script = breaks_off("stays")
    begun = asyncio.Event()

    async def talk() -> None:
        async with connect(client) as connection:
            await says(connection, "Hello.")
            async for _ in connection.receive():
                begun.set()
                if how == "closed":
                    await connection.close()
                elif how == "raised":
                    raise KeyError
                if how != "cancelled":
                    break

    if how == "forgotten":
        manager = connect(client)
        connection = await manager.__aenter__()
        await says(connection, "Hello.")
        await anext(aiter(connection.receive()))
        socket = connection._ws
        del connection, manager
        await socket.close()
        while not spans.spans:
            gc.collect()
            await asyncio.sleep(0.01)
    elif how == "cancelled":
        talking = asyncio.create_task(talk())
        await begun.wait()
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking
    elif how == "raised":
        with pytest.raises(KeyError):
            await talk()
    else:
        await talk()
    (span,) = spans.spans
    assert attributes(span).get("error.type") == ("KeyError" if how == "raised" else None)
    assert said(span) == ["Hello there."]


# Labels, and who is traced


async def test_the_connection_is_the_one_of_the_sdk(make: Make, fake: realtime_fake.Fake) -> None:
    kinds = []
    for client in (make(fake.url), wrap_gemini(make(fake.url))):
        manager = connect(client)
        async with manager as connection:
            names = {name for name in dir(manager) if "pandaprobe" not in name}
            kinds.append([type(manager).__name__, names, type(connection), set(dir(connection))])
    assert kinds[0] == kinds[1]


async def test_labels_are_stronger_than_a_block(client: Any, spans: Captured) -> None:
    wrap_gemini(client, session_id="labelled", user_id="ada", tags=["voice"])
    with session("block"):
        await ask_once(client)
    (span,) = spans.spans
    found = attributes(span)
    assert (found["session.id"], found["user.id"], found["pandaprobe.tags"]) == (
        "labelled",
        "ada",
        ("voice",),
    )


async def test_two_turns_are_each_in_the_session_of_then(client: Any, spans: Captured) -> None:
    async with connect(client) as connection:
        for prompt in ("First.", "Second."):
            with session(prompt):
                await says(connection, prompt)
            await hears(connection)
    assert [attributes(span)["session.id"] for span in spans.spans] == ["First.", "Second."]
    assert [said(span, "input") for span in spans.spans] == [["First."], ["Second."]]


async def test_wrapping_can_be_undone(client: Any, spans: Captured) -> None:
    await ask_once(wrap_gemini(client))
    await ask_once(unwrap(client))
    instrument("gemini")
    try:
        await ask_once(client)
        await ask_once(wrap_gemini(client, session_id="labelled"))
    finally:
        uninstrument("gemini")
    await ask_once(unwrap(client))
    assert [attributes(span).get("session.id") for span in spans.spans] == [None, None, "labelled"]


async def test_no_content_where_it_is_not_wanted(
    client: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    await ask_once(client, **SPEAKING)
    (span,) = spans.spans
    assert attributes(span)["gen_ai.usage.input_tokens"] == 32
    for secret in ("Hello", "Be kind", "get_weather"):
        assert secret not in span.to_json()


async def test_google_is_sent_no_session_and_no_user(client: Any, fake: realtime_fake.Fake) -> None:
    wrap_gemini(client, session_id="secret-session", user_id="secret-user", metadata={"a": "secret"})
    with session("secret-block"):
        await ask_once(client)
    assert len(fake.heard) == 2
    assert "secret" not in json.dumps([fake.headers, fake.heard])


# Faults of the tracing


async def test_no_fault_of_the_tracing_reaches_the_caller(
    client: Any, fake: realtime_fake.Fake, spans: Captured
) -> None:
    def script(peer: realtime_fake.Peer) -> None:
        begins(peer)
        peer.hears("realtime_input")
        peer.says(content(inputTranscription={"text": "Hello."}), *spoken("Hello there."), CALL)
        peer.hears("tool_response")
        peer.says(*text("Sunny."), {**COMPLETE, "usageMetadata": USAGE})
        peer.hears("client_content")
        peer.says(*text("Once upon"))
        peer.closes(1011)

    fake.script = script

    async def talk() -> list[Any]:
        seen = []
        async with connect(client, **SPEAKING) as connection:
            await connection.send_realtime_input(audio={"data": AUDIO, "mime_type": "audio/pcm"})
            async for message in connection.receive():
                seen.append(message.model_dump(mode="json"))
                if message.tool_call:
                    result = {"id": "call_1", "name": "get_weather", "response": {"result": "sunny"}}
                    await connection.send_tool_response(function_responses=result)
            await connection.send(input="A story.", end_of_turn=True)
            with pytest.raises(genai.errors.APIError) as raised:
                await hears(connection)
            return [*seen, str(raised.value)]

    expected = await talk()
    assert len(spans.spans) == 3
    unwrap(client)
    assert await talk() == expected
    steps = each_step_failing(_connections, _turns, gemini.live)
    assert len(steps) > 40
    for step in steps:
        with step.failing():
            wrap_gemini(client)
            seen = await talk()
        assert seen == expected, step
        assert not trace.get_current_span().get_span_context().is_valid, step
        unwrap(client)

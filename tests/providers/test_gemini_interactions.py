"""What `wrap_gemini` promises for interactions, in each major version of google-genai that has them.

Against a server that says what Google's own does: steps from version 2 on, contents before.
"""

import asyncio
import gc
import json
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import in_process
import pytest
import scripted
from faulty import each_step_failing
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from wrapt import FunctionWrapper

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_gemini
from pandaprobe_otel.wrappers._genai import Recorder
from pandaprobe_otel.wrappers.gemini import interaction_answers, interactions, steps, unparsed

from .surfaces import Surface, assert_error, attributes, collect, outcome, parts, run_in_session

genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
types = genai.types

if not hasattr(genai.Client, "interactions"):
    pytest.skip("google-genai has no interactions before version 1.55", allow_module_level=True)

pytestmark = [
    pytest.mark.filterwarnings("ignore:Interactions usage is experimental"),
    pytest.mark.filterwarnings("ignore:Async interactions client cannot use aiohttp"),
    # What google-genai itself does on new versions of Python and of its own dependencies.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google.genai.*"),
]

MODEL = "gemini-3-flash-preview"
AGENT = "deep-research-preview-04-2026"
# Reading certificates takes most of the time that making a client does.
TLS = ssl.create_default_context()
HAS_STEPS = int(genai.__version__.partition(".")[0]) >= 2
Make = Callable[[str], Any]


def call(path: str) -> Surface:
    def surface(client: Any, ask: dict[str, Any]) -> Any:
        target = client
        for name in path.partition(",")[0].split("."):
            target = getattr(target, name)
        return target(**ask, **({"stream": True} if "stream=True" in path else {}))

    return surface


SURFACES: dict[str, Surface] = {
    f"{twin}interactions.{view}create{stream}": call(f"{twin}interactions.{view}create{stream}")
    for view in ("", "with_raw_response.", "with_streaming_response.")
    for stream in ("", ", stream=True")
    for twin in ("", "aio.")
}
STREAMS = [name for name in SURFACES if "stream=True" in name]
USAGE = {
    "total_tokens": 366,
    "total_input_tokens": 11,
    "input_tokens_by_modality": [{"modality": "text", "tokens": 11}],
    "total_cached_tokens": 4,
    "total_output_tokens": 90,
    "total_tool_use_tokens": 20,
    "total_thought_tokens": 245,
}
THOUGHT = {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "Two words."}]}
CALL = {"type": "function_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Paris"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def said(*contents: dict[str, Any]) -> list[dict[str, Any]]:
    """What a model says, as the API of this version of the SDK has it."""
    return [{"type": "model_output", "content": list(contents)}] if HAS_STEPS else list(contents)


def interaction(*told: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": "v1_1",
        "object": "interaction",
        "status": status,
        "model": MODEL,
        "created": "2026-05-12T18:44:51Z",
        "updated": "2026-05-12T18:44:51Z",
        "usage": USAGE,
        "steps" if HAS_STEPS else "outputs": list(told),
        **more,
    }


def stream(
    *told: tuple[dict[str, Any], list[dict[str, Any]]], status: str = "completed", **more: Any
) -> list[dict[str, Any]]:
    """The events of an interaction: what each step begins with, and its deltas."""
    part, begun, ended = ("step", "created", "completed") if HAS_STEPS else ("content", "start", "complete")
    head = {"id": "v1_1", "object": "interaction", "model": MODEL, **more}
    dates = {"created": "2026-05-12T18:44:51Z", "updated": "2026-05-12T18:44:51Z"}
    events: list[dict[str, Any]] = [
        {"event_type": f"interaction.{begun}", "interaction": {**head, "status": "in_progress"}},
        {"event_type": "interaction.status_update", "interaction_id": "v1_1", "status": "in_progress"},
    ]
    for index, (begin, deltas) in enumerate(told):
        events.append({"event_type": f"{part}.start", "index": index, part: begin})
        events += [{"event_type": f"{part}.delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"event_type": f"{part}.stop", "index": index})
    last = {**head, **dates, "status": status, "usage": USAGE}
    return [*events, {"event_type": f"interaction.{ended}", "interaction": last}]


SAYS = {"type": "model_output"} if HAS_STEPS else text("")
ANSWER = [THOUGHT, *said(text("Hello there."))]
STREAMED = stream(
    ({"type": "thought"}, [
        {"type": "thought_signature", "signature": "c2ln"},
        {"type": "thought_summary", "content": text("Two ")},
        {"type": "thought_summary", "content": text("words.")},
    ]),
    (SAYS, [text("Hello "), text("there.")]),
)  # fmt: skip
CALLED = stream(
    ({**CALL, "arguments": {}}, [
        {"type": "arguments_delta", "arguments": '{"city": '},
        {"type": "arguments_delta", "arguments": '"Paris"}'},
    ] if HAS_STEPS else [CALL]),
    status="requires_action",
)  # fmt: skip


def ask(prompt: Any, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "input": prompt, **more}


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def make(url: str) -> Any:
        options = types.HttpOptions(
            base_url=url,
            api_version="v1beta",
            retry_options=types.HttpRetryOptions(attempts=0),
            client_args={"verify": TLS},
            async_client_args={"verify": TLS, "ssl": TLS},
        )
        made.append(genai.Client(api_key="none", http_options=options))
        return made[-1]

    yield make
    for client in made:
        client.close()
        await client.aio.aclose()


@pytest.fixture(scope="module")
def api() -> Iterator[scripted.Scripted]:
    with scripted.running() as running:
        yield running


@pytest.fixture
def client(api: scripted.Scripted, make: Make) -> Any:
    return wrap_gemini(make(api.url))


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    return request.param


def answers(api: scripted.Scripted, surface: str, whole: Any, events: Any) -> None:
    if surface in STREAMS:
        api.streams(*events)
    else:
        api.answers(whole)


# Each surface


async def test_an_answer(api: scripted.Scripted, client: Any, surface: str, spans: Captured) -> None:
    answers(api, surface, interaction(*ANSWER), STREAMED)
    request = ask(
        "Hello.",
        system_instruction="Be brief.",
        previous_interaction_id="v1_0",
        generation_config={
            "temperature": 0.5,
            "top_p": 0.9,
            "max_output_tokens": 99,
            "seed": 7,
            "stop_sequences": ["END"],
            "thinking_level": "low",
        },
        store=True,
    )
    plain = await outcome(SURFACES[surface], unwrap(client), request)
    seen, span = await run_in_session(spans, SURFACES[surface], wrap_gemini(client), request)
    assert seen == plain
    assert seen[0] == "answer"
    assert (span.name, span.kind) == (f"generate_content {MODEL}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert [(part["type"], part["content"]) for part in parts(span)] == [
        ("reasoning", "Two words."),
        ("text", "Hello there."),
    ]
    assert [part["content"] for part in parts(span, "input")] == ["Hello."]
    found = attributes(span)
    assert {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.request.previous_response.id": "v1_0",
        "gen_ai.response.id": "v1_1",
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 31,
        "gen_ai.usage.output_tokens": 335,
        "gen_ai.usage.reasoning.output_tokens": 245,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.text.input_tokens": 11,
        "server.address": "127.0.0.1",
        "pandaprobe.model_parameters": '{"store": true}',
    }.items() <= found.items()
    assert json.loads(found["gen_ai.system_instructions"]) == [{"content": "Be brief.", "type": "text"}]
    assert ("gen_ai.response.time_to_first_chunk" in found) == (surface in STREAMS)


async def test_a_function_call(api: scripted.Scripted, client: Any, surface: str, spans: Captured) -> None:
    answers(api, surface, interaction(THOUGHT, CALL, status="requires_action"), CALLED)
    tool = {"type": "function", "name": "get_weather", "description": "The weather in a city."}
    request = ask("weather", tools=[{**tool, "parameters": {"type": "object"}}, {"type": "google_search"}])
    plain = await outcome(SURFACES[surface], unwrap(client), request)
    seen, span = await run_in_session(spans, SURFACES[surface], wrap_gemini(client), request)
    assert seen == plain
    (called,) = [part for part in parts(span) if part["type"] == "tool_call"]
    assert (called["name"], called["arguments"], called["id"]) == ("get_weather", {"city": "Paris"}, "call_1")
    function, search = json.loads(attributes(span)["gen_ai.tool.definitions"])
    assert (function["name"], function["parameters"]) == ("get_weather", {"type": "object"})
    assert search["type"] == "google_search"
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert ("gen_ai.response.time_to_first_chunk" in attributes(span)) == (surface in STREAMS)


async def test_an_error(api: scripted.Scripted, client: Any, surface: str, spans: Captured) -> None:
    error = {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}
    api.answers({"error": error}, status=429)
    plain = await outcome(SURFACES[surface], unwrap(client), ask("Hello."))
    seen, span = await run_in_session(spans, SURFACES[surface], wrap_gemini(client), ask("Hello."))
    assert seen == plain == ("RateLimitError", 429)
    # Version 2.9 hands on a raw response of an error.
    assert_error(
        span, "429" if genai.__version__.startswith("2.9.") and "with" in surface else "RateLimitError"
    )
    assert attributes(span)["http.response.status_code"] == 429


def test_a_raw_response_that_says_an_error_is_one(spans: Captured) -> None:
    """As version 2.9 hands them on."""
    http = SimpleNamespace(status_code=429, reason_phrase="Too Many Requests")
    invocation = Recorder("pandaprobe_otel.wrappers.gemini").handler().inference("gcp.gemini")
    response = SimpleNamespace(http_response=http)
    assert unparsed.read_unparsed(response, invocation, list, list) is response
    (span,) = spans.spans
    assert_error(span, "429")
    assert attributes(span)["http.response.status_code"] == 429


@pytest.mark.parametrize("surface", [name for name in SURFACES if "with" not in name])
async def test_no_content_where_it_is_not_wanted(
    api: scripted.Scripted, client: Any, surface: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    answers(api, surface, interaction(*ANSWER), STREAMED)
    await collect(SURFACES[surface](client, ask("Secret.", system_instruction="Secret.")))
    (span,) = spans.spans
    assert not [word for word in ("Secret", "there", "words") if word in json.dumps(attributes(span))]
    assert attributes(span)["gen_ai.usage.output_tokens"] == 335
    assert ("gen_ai.response.time_to_first_chunk" in attributes(span)) == (surface in STREAMS)


# What answers and requests hold


@pytest.mark.parametrize(
    ("status", "reason"), [("incomplete", "length"), ("cancelled", "error"), ("failed", "error")]
)
@pytest.mark.parametrize("streams", [False, True])
def test_an_interaction_that_did_not_complete_says_why(
    api: scripted.Scripted, client: Any, status: str, reason: str, streams: bool, spans: Captured
) -> None:
    if streams:
        api.streams(*stream((SAYS, [text("Hel")]), status=status))
        list(client.interactions.create(**ask("Hello."), stream=True))
    else:
        api.answers(interaction(*said(text("Hel")), status=status))
        client.interactions.create(**ask("Hello."))
    (span,) = spans.spans
    assert attributes(span)["gen_ai.response.finish_reasons"] == (reason,)
    assert parts(span)[0]["content"] == "Hel"
    if status == "failed":
        assert_error(span, "failed")
    else:
        assert span.status.status_code is StatusCode.UNSET


def test_an_answer_begins_with_what_it_brings_and_not_with_a_mark() -> None:
    reader = interaction_answers.Reader(SimpleNamespace(should_capture_content=False))  # type: ignore[arg-type]
    begun = stream(
        ({"type": "thought"}, [{"type": "thought_signature", "signature": "c2ln"}]),
        (SAYS, [text(""), text("Hello ")]),
    )
    brought = [event.get("delta", {}).get("text") for event in begun if reader.read(event)]
    assert brought[0] == "Hello "


@pytest.mark.skipif(not HAS_STEPS, reason="version 1 has no errors in an interaction")
@pytest.mark.parametrize("place", ["interaction", "step"])
def test_an_interaction_that_failed_is_an_error_with_what_the_api_says(
    api: scripted.Scripted, client: Any, place: str, spans: Captured
) -> None:
    error = {"code": 3, "message": "Unsafe."}
    said_so = {"errors": [error]} if place == "interaction" else {}
    step = {"type": "model_output", **({"error": error} if place == "step" else {})}
    api.answers(interaction(step, status="failed", **said_so))
    client.interactions.create(**ask("Hello."))
    (span,) = spans.spans
    assert_error(span, "3")
    assert span.status.description == "Unsafe."


async def test_an_error_in_a_stream_is_the_spans_although_the_sdk_hands_it_on(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    error = {"code": "internal_error", "message": "Something went wrong."}
    events = [*stream((SAYS, [text("Hel")]))[:4], {"event_type": "error", "error": error}]
    api.streams(*events)
    plain = await outcome(SURFACES["interactions.create, stream=True"], unwrap(client), ask("Hello."))
    seen, span = await run_in_session(
        spans, SURFACES["interactions.create, stream=True"], wrap_gemini(client), ask("Hello.")
    )
    assert seen == plain
    assert seen[1][-1]["error"] == error
    assert_error(span, "internal_error")
    assert span.status.description == "Something went wrong."
    assert parts(span)[0]["content"] == "Hel"


def test_what_tools_of_google_did_and_media_are_parts_of_their_own(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    code = {"code": "2+2", "language": "python"}
    told = [
        {"type": "code_execution_call", "id": "c", "arguments": code},
        {"type": "code_execution_result", "call_id": "c", "result": "4"},
        {"type": "google_search_call", "id": "s", "arguments": {"queries": ["four"]}},
        {"type": "google_search_result", "call_id": "s", "result": [{"search_suggestions": "<b>"}]},
        *said(text("4"), {"type": "image", "mime_type": "image/png", "data": "aGk="}),
    ]
    asked = [
        {"type": "image", "mime_type": "image/png", "data": "aGk="},
        {"type": "document", "mime_type": "application/pdf", "uri": "gs://a/b.pdf"},
        text("What is it?"),
    ]
    if HAS_STEPS:
        streamed = [(step, []) for step in told[:4]] + [(SAYS, told[-1]["content"])]
    else:
        streamed = [({"type": step["type"]}, [step]) for step in told]
    api.answers(interaction(*told))
    client.interactions.create(**ask(asked))
    api.streams(*stream(*streamed))
    list(client.interactions.create(**ask(asked), stream=True))
    for span in spans.spans:
        image, document, question = parts(span, "input")
        assert (image["type"], image["modality"], image["content"]) == ("blob", "image", "aGk=")
        assert (document["modality"], document["uri"]) == ("document", "gs://a/b.pdf")
        assert question["content"] == "What is it?"
        ran, gave, searched, found, four, image = parts(span)
        assert ran["server_tool_call"] == {"type": "code_execution", "arguments": code}
        assert (gave["id"], gave["server_tool_call_response"]["result"]) == ("c", "4")
        assert searched["server_tool_call"]["arguments"] == {"queries": ["four"]}
        assert found["server_tool_call_response"]["result"] == [{"search_suggestions": "<b>"}]
        assert four["content"] == "4"
        assert (image["type"], image["content"]) == ("blob", "aGk=")
    assert len(spans.spans) == 2


def test_what_was_said_before_and_results_of_functions_are_messages(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    picture = {"type": "image", "mime_type": "image/png", "data": "aGk="}
    result = {"type": "function_result", "call_id": "call_1", "name": "get_weather", "result": [picture]}
    asked = (
        [{"type": "user_input", "content": [text("weather")]}, THOUGHT, CALL, result]
        if HAS_STEPS
        else [{"role": "user", "content": "weather"}, {"role": "model", "content": [THOUGHT, CALL]}]
    )
    api.answers(interaction(*said(text("Sunny."))))
    client.interactions.create(**ask(asked))
    client.interactions.create(**ask([result]))
    first, second = spans.spans
    messages = json.loads(attributes(first)["gen_ai.input.messages"])
    assert [message["role"] for message in messages[:2]] == ["user", "assistant"]
    assert [part["type"] for part in messages[1]["parts"]] == ["reasoning", "tool_call"]
    (given,) = json.loads(attributes(second)["gen_ai.input.messages"])
    assert given["role"] == "tool"
    (part,) = given["parts"]
    assert part["id"] == "call_1"
    assert part["response"][0].startswith("[image/png, 2 bytes, sha256 ")


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"response_mime_type": "application/json", "response_format": {"type": "object"}}, "json"),
        ({"response_format": {"type": "text", "mime_type": "application/json", "schema": {}}}, "json"),
        ({"response_format": {"type": "image", "mime_type": "image/png"}}, "image"),
        ({"response_format": {"type": "audio"}}, "speech"),
        ({}, None),
    ],
)
def test_the_kind_of_answer_that_is_asked_for(
    api: scripted.Scripted, client: Any, asked: dict[str, Any], kind: str | None, spans: Captured
) -> None:
    api.answers(interaction(*ANSWER))
    client.interactions.create(**ask("Hello."), **asked)
    (span,) = spans.spans
    assert attributes(span).get("gen_ai.output.type") == kind


@pytest.mark.parametrize("surface", [name for name in SURFACES if "with" not in name])
async def test_an_agent_is_invoked_and_not_a_model(
    api: scripted.Scripted, client: Any, surface: str, spans: Captured
) -> None:
    whole = interaction(*ANSWER, agent=AGENT)
    del whole["model"]
    answers(api, surface, whole, stream((SAYS, [text("Hello there.")]), agent=AGENT))
    request = {"agent": AGENT, "input": "Hello.", "agent_config": {"type": "deep-research"}}
    plain = await outcome(SURFACES[surface], unwrap(client), request)
    seen, span = await run_in_session(spans, SURFACES[surface], wrap_gemini(client), request)
    assert seen == plain
    assert (span.name, span.kind) == (f"invoke_agent {AGENT}", SpanKind.CLIENT)
    assert {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.usage.input_tokens": 31,
        "pandaprobe.model_parameters": '{"agent_config": {"type": "deep-research"}}',
    }.items() <= attributes(span).items()
    assert parts(span)[-1]["content"] == "Hello there."


def test_what_is_fetched_later_has_no_span_and_the_one_that_began_it_no_tokens(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    begun = interaction(status="in_progress")
    del begun["usage"]
    api.answers(begun, interaction(*ANSWER))
    client.interactions.create(**ask("Hello."), background=True)
    assert client.interactions.get("v1_1").status == "completed"
    (span,) = spans.spans
    assert attributes(span)["gen_ai.response.id"] == "v1_1"
    assert attributes(span)["pandaprobe.model_parameters"] == '{"background": true}'
    assert not {"gen_ai.response.finish_reasons", "gen_ai.usage.input_tokens"} & set(attributes(span))


@pytest.mark.skipif(not HAS_STEPS, reason="version 1 does not go on by itself")
@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_that_took_several_requests_has_one_span_with_the_tokens_of_all(
    api: scripted.Scripted, client: Any, streams: bool, spans: Captured
) -> None:
    halves = [
        {"id": "v1_1", "status": "requires_continuation", "continuation_token": "more"},
        {"id": "v1_2", "status": "completed"},
    ]
    if streams:
        for half, word in zip(halves, ("Hello ", "there."), strict=True):
            events = stream((SAYS, [text(word)]))
            events[0]["interaction"]["id"] = half["id"]
            events[-1]["interaction"].update(half)
            api.streams(*events, then=half is halves[1])
        list(client.interactions.create(**ask("Hello."), stream=True))
    else:
        api.answers(
            *(
                interaction(*said(text(word)), **half)
                for half, word in zip(halves, ("Hello ", "there."), strict=True)
            )
        )
        client.interactions.create(**ask("Hello."))
    (span,) = spans.spans
    assert "".join(part["content"] for part in parts(span)) == "Hello there."
    assert {
        "gen_ai.usage.input_tokens": 62,
        "gen_ai.usage.text.input_tokens": 22,
        "gen_ai.response.id": "v1_2",
        "gen_ai.response.finish_reasons": ("stop",),
    }.items() <= attributes(span).items()


@pytest.mark.skipif(not HAS_STEPS, reason="version 1 takes no request as one object")
def test_a_request_that_is_one_object_is_read_too(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    api.answers(interaction(*ANSWER))
    client.interactions.create(request={"body": ask("Hello.")})
    (span,) = spans.spans
    assert span.name == f"generate_content {MODEL}"
    assert parts(span, "input")[0]["content"] == "Hello."


# Every end of a stream


@pytest.mark.parametrize("end", ["dropped", "closed", "left", "failed"])
@pytest.mark.parametrize("view", ["", "with_raw_response."])
def test_a_stream_that_is_not_read_on_ends_its_span(
    api: scripted.Scripted, client: Any, view: str, end: str, spans: Captured
) -> None:
    api.streams(*STREAMED)
    stream = SURFACES[f"interactions.{view}create, stream=True"](client, ask("Hello."))
    stream = stream.parse() if view else stream
    for event in stream:
        if getattr(getattr(event, "delta", None), "type", None) == "text":
            break
    assert not spans.spans
    if end == "dropped":
        del stream
        gc.collect()
    elif end == "closed":
        stream.close()
    elif end == "left":
        with stream:
            pass
    else:
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError
    (span,) = spans.spans
    assert [part["content"] for part in parts(span)] == ["Two words.", "Hello "]
    assert (span.status.status_code is StatusCode.ERROR) == (end == "failed")


@pytest.mark.parametrize("end", ["dropped", "closed", "left"])
@pytest.mark.parametrize("view", ["", "with_raw_response.", "with_streaming_response."])
async def test_an_async_stream_that_is_not_read_on_ends_its_span(
    api: scripted.Scripted, client: Any, view: str, end: str, spans: Captured
) -> None:
    api.streams(*STREAMED)
    opened = SURFACES[f"aio.interactions.{view}create, stream=True"](client, ask("Hello."))
    async with AsyncExitStack() as left:
        response = await (left.enter_async_context(opened) if "streaming" in view else opened)
        events = await response.parse() if view else response
        await anext(events)
        assert not spans.spans
        if end == "closed":
            await events.close()
        elif end == "left":
            async with events:
                pass
        elif "streaming" not in view:
            del response, events, opened
            gc.collect()
            await asyncio.sleep(0.05)
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("end", ["dropped", "closed", "read"])
@pytest.mark.parametrize("twin", ["", "aio."])
async def test_a_raw_response_that_is_not_parsed_ends_its_span(
    api: scripted.Scripted, client: Any, twin: str, end: str, spans: Captured
) -> None:
    api.streams(*STREAMED)
    called = SURFACES[f"{twin}interactions.with_raw_response.create, stream=True"](client, ask("Hello."))
    response = await called if twin else called
    assert not spans.spans
    assert not trace.get_current_span().get_span_context().is_valid
    if end == "dropped":
        del response, called
        gc.collect()
    elif end == "closed":
        closed = response.close()
        await closed if twin else None
    else:
        read = response.read()
        assert b"Hello" in (await read if twin else read)
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("surface", [name for name in STREAMS if "aio" not in name])
def test_a_stream_that_the_server_breaks_off_is_an_error_with_what_came(
    api: scripted.Scripted, client: Any, surface: str, spans: Captured
) -> None:
    api.streams(*STREAMED[:-2], breaks=True)
    with pytest.raises(Exception, match=r"(?i)peer|incomplete|chunked"):
        asyncio.run(collect(SURFACES[surface](client, ask("Hello."))))
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.ERROR
    assert [part["content"] for part in parts(span)] == ["Two words.", "Hello there."]


@pytest.mark.parametrize("twin", ["", "aio."])
async def test_a_body_that_the_server_breaks_off_is_an_error(
    api: scripted.Scripted, client: Any, twin: str, spans: Captured
) -> None:
    api.answers(interaction(*ANSWER), breaks=True)
    with pytest.raises(Exception, match=r"(?i)peer|incomplete|chunked"):
        await collect(SURFACES[f"{twin}interactions.with_streaming_response.create"](client, ask("Hello.")))
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.ERROR


async def test_a_cancelled_stream_ends_its_span(api: scripted.Scripted, client: Any, spans: Captured) -> None:
    api.streams(*STREAMED)
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in await client.aio.interactions.create(**ask("Hello."), stream=True):
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await asyncio.sleep(0.05)
    assert len(spans.spans) == 1


async def test_a_cancelled_call_is_an_error(make: Make, spans: Captured) -> None:
    waiting = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.set()
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = wrap_gemini(make(f"http://127.0.0.1:{port}"))
        task = asyncio.create_task(client.aio.interactions.create(**ask("Hello.")))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (span,) = spans.spans
    assert_error(span, "CancelledError")


def test_a_stream_is_of_the_session_that_it_was_asked_for_in(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    api.streams(*STREAMED)
    with session("asked"):
        stream = client.interactions.create(**ask("Hello."), stream=True)
    with session("read"):
        for _ in stream:
            assert not trace.get_current_span().get_span_context().is_valid
    assert_session(spans.spans, "asked")


# One call, one span


def test_a_call_inside_a_span_of_googles_adk_gets_no_other(
    api: scripted.Scripted, client: Any, spans: Captured
) -> None:
    adk = spans.tracer_provider.get_tracer("gcp.vertex.agent")
    with adk.start_as_current_span("call_llm", attributes={"gen_ai.operation.name": "generate_content"}):
        api.answers(interaction(*ANSWER))
        client.interactions.create(**ask("Hello."))
        api.streams(*STREAMED)
        list(client.interactions.create(**ask("Hello."), stream=True))
    assert [span.name for span in spans.spans] == ["call_llm"]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("twin", ["", "aio."])
async def test_the_official_instrumentation_and_this_one_make_one_span(
    api: scripted.Scripted, make: Make, twin: str, streams: bool, spans: Captured
) -> None:
    official = pytest.importorskip(
        "opentelemetry.instrumentation.google_genai", reason="the official instrumentation is not installed"
    ).GoogleGenAiSdkInstrumentor()
    official.instrument(tracer_provider=spans.tracer_provider, skip_dep_check=True)
    surface = SURFACES[f"{twin}interactions.create" + (", stream=True" if streams else "")]
    try:
        client = wrap_gemini(make(api.url), session_id="mine")
        for request in (ask("Hello."), {"agent": AGENT, "input": "Hello."}):
            answers(api, ", stream=True" if streams else "", interaction(*ANSWER), STREAMED)
            await collect(surface(client, request))
    finally:
        official.uninstrument()
    assert [span.name for span in spans.spans] == [f"generate_content {MODEL}", f"invoke_agent {AGENT}"]
    assert_session(spans.spans, "mine")


@pytest.mark.parametrize("twin", ["", "aio."])
async def test_an_agent_has_no_second_span_where_the_official_instrumentation_is_active(
    api: scripted.Scripted, make: Make, twin: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for it, which puts a layer around the same method."""
    client = wrap_gemini(make(api.url), session_id="mine")
    kind = type(client.aio.interactions if twin else client.interactions)

    def layer(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        spans.tracer.start_span("official").end()
        return wrapped(*args, **kwargs)

    layer.__module__ = "opentelemetry.instrumentation.google_genai.interactions"
    monkeypatch.setattr(kind, "create", FunctionWrapper(kind.create, layer))
    unwrap(client)
    wrap_gemini(client, session_id="mine")
    api.answers(interaction(*ANSWER))
    await collect(SURFACES[f"{twin}interactions.create"](client, {"agent": AGENT, "input": "Hello."}))
    assert [span.name for span in spans.spans] == ["official"]
    assert_session(spans.spans, "mine")


def test_the_whole_process_is_traced_until_it_is_undone(
    api: scripted.Scripted, make: Make, spans: Captured
) -> None:
    client = make(api.url)
    held = client.interactions
    instrument("gemini")
    try:
        for label in (None, "mine"):
            spans.spans.clear()
            if label:
                wrap_gemini(client, session_id=label)
            api.answers(interaction(*ANSWER))
            client.interactions.create(**ask("Hello."))
            held.create(**ask("Hello."))
            client.interactions.create(agent=AGENT, input="Hello.")
            client.interactions.with_raw_response.create(**ask("Hello."))
            api.streams(*STREAMED)
            list(client.interactions.create(**ask("Hello."), stream=True))
            assert len(spans.spans) == 5
            assert_session(spans.spans, label)
    finally:
        uninstrument("gemini")
    unwrap(client)
    spans.spans.clear()
    api.answers(interaction(*ANSWER))
    client.interactions.create(**ask("Hello."))
    client.interactions.with_raw_response.create(**ask("Hello."))
    assert not spans.spans


# The client


def test_labels_hold_for_all_calls_of_a_client(api: scripted.Scripted, make: Make, spans: Captured) -> None:
    client = wrap_gemini(make(api.url), session_id="mine", user_id="ada", tags=["a"])
    api.answers(interaction(*ANSWER))
    with session("around"):
        wrap_gemini(client).interactions.create(**ask("Hello."))
        wrap_gemini(client, session_id="other").interactions.create(**ask("Hello."))
    first, second = spans.spans
    assert_session([first], "mine")
    assert_session([second], "other")
    assert attributes(first)["user.id"] == "ada"
    assert attributes(first)["pandaprobe.tags"] == ("a",)


def test_other_clients_and_unwrapped_ones_are_not_traced(
    api: scripted.Scripted, make: Make, client: Any, spans: Captured
) -> None:
    api.answers(interaction(*ANSWER))
    make(api.url).interactions.create(**ask("Hello."))
    used = wrap_gemini(make(api.url))
    assert used.interactions.with_raw_response is not None
    unwrap(used).interactions.create(**ask("Hello."))
    used.interactions.with_raw_response.create(**ask("Hello."))
    assert unwrap(client) is client
    client.interactions.create(**ask("Hello."))
    assert not spans.spans
    assert "create" not in vars(client.interactions)


def test_a_client_that_is_dropped_goes_at_once(make: Make) -> None:
    """What closes its connections."""
    options = types.HttpOptions(base_url="http://127.0.0.1:9")
    client = wrap_gemini(genai.Client(api_key="none", http_options=options))
    assert client.interactions is not None
    assert client.aio.interactions is not None
    gone = weakref.ref(client)
    gc.disable()
    try:
        del client
        assert gone() is None
    finally:
        gc.enable()


def test_a_client_that_was_used_before_it_was_wrapped_is_traced(
    api: scripted.Scripted, make: Make, spans: Captured
) -> None:
    client = make(api.url)
    held = client.interactions
    assert held.with_raw_response is not None
    wrap_gemini(client)
    api.answers(interaction(*ANSWER))
    held.create(**ask("Hello."))
    held.with_raw_response.create(**ask("Hello."))
    assert len(spans.spans) == 2


def test_wrapping_loads_nothing_of_them_and_leaves_nothing_behind(api: scripted.Scripted) -> None:
    ended = in_process.run(
        f"""
        import sys
        from google import genai
        from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_gemini

        client = wrap_gemini(genai.Client(api_key="none", http_options={{"base_url": "{api.url}"}}))
        instrument("gemini")
        tell(loaded=[name for name in sys.modules if name.startswith("google.genai._gaos")])
        properties = lambda: [type(vars(type(one))["interactions"]).__name__ for one in (client, client.aio)]
        tell(during=properties())
        uninstrument("gemini")
        unwrap(client)
        tell(after=properties())
        """
    )
    assert ended.told == {"loaded": [], "during": ["_Watched"] * 2, "after": ["property"] * 2}


def test_what_is_open_when_the_process_exits_ends_its_span(api: scripted.Scripted) -> None:
    api.streams(*STREAMED)
    ended = in_process.run(
        f"""
        import atexit, warnings
        from google import genai
        from pandaprobe_otel import runtime
        from pandaprobe_otel.testing import Captured
        from pandaprobe_otel.wrappers import wrap_gemini

        warnings.simplefilter("ignore")
        captured = Captured()
        runtime.activate(captured)
        # What is registered first runs last. The SDK by itself dies of a stream that is open at the end.
        atexit.register(lambda: stream.close())
        atexit.register(lambda: tell(spans=[span.status.status_code.name for span in captured.spans]))
        client = wrap_gemini(genai.Client(api_key="none", http_options={{"base_url": "{api.url}"}}))
        made = client.interactions
        raw = made.with_raw_response.create(model="m", input="Hello.", stream=True)
        stream = made.create(model="m", input="Hello.", stream=True)
        next(stream)
        """
    )
    assert ended.told["spans"] == ["UNSET", "UNSET"]


# Faults of the tracing


@pytest.mark.parametrize(
    "surface",
    [
        "interactions.create",
        "aio.interactions.create, stream=True",
        "interactions.with_raw_response.create, stream=True",
    ],
)
async def test_no_fault_of_the_tracing_reaches_the_caller(
    api: scripted.Scripted, make: Make, surface: str
) -> None:
    request = ask([text("Hello.")], generation_config={"temperature": 0.5})
    # Few, as the SDK makes a model of each.
    answers(api, surface, interaction(*ANSWER, CALL), [*STREAMED[3:6], *CALLED[-4:]])
    client = make(api.url)
    plain = await outcome(SURFACES[surface], client, request)
    for step in each_step_failing(interactions, interaction_answers, steps, unparsed):
        with step.failing():
            assert await outcome(SURFACES[surface], wrap_gemini(client), request) == plain, step
            unwrap(client)
        assert not trace.get_current_span().get_span_context().is_valid, step

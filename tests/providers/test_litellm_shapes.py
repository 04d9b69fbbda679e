"""What litellm asks and answers in the shape of Anthropic or of Google: each call makes one span."""

import asyncio
import gc
import importlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import scripted
import scripted_api
from faulty import Step, each_step_failing
from opentelemetry.trace import SpanKind, StatusCode

from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import _anthropic_messages, _sse, instrument, uninstrument, unwrap, wrap_litellm
from pandaprobe_otel.wrappers import litellm as wrapper
from pandaprobe_otel.wrappers.gemini import json as gemini_json

from .surfaces import Surface, assert_error, assert_tool_call, attributes, collect, outcome, parts
from .surfaces import run_in_session as run

# Else it fetches prices from GitHub as it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm", reason="litellm is not installed")

# litellm warns of itself at many places: models filled in part, clients that it keeps open for the process.
pytestmark = pytest.mark.filterwarnings("ignore")

CALLED = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "stop_reason": "tool_use",
    "content": [
        {"type": "thinking", "thinking": "Sun.", "signature": "s"},
        {"type": "text", "text": "Hello."},
        CALLED,
    ],
    "usage": {
        "input_tokens": 10,
        "output_tokens": 7,
        "cache_read_input_tokens": 64,
        "cache_creation_input_tokens": 5,
    },
}


def delta(index: int, kind: str, **delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def block(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


SAID = scripted_api.events(
    {
        "type": "message_start",
        "message": {
            **MESSAGE,
            "content": [],
            "stop_reason": None,
            "usage": {**MESSAGE["usage"], "output_tokens": 1},
        },
    },
    block(0, type="thinking", thinking=""),
    delta(0, "thinking_delta", thinking="Sun."),
    block(1, type="text", text=""),
    delta(1, "text_delta", text="Hel"),
    delta(1, "text_delta", text="lo."),
    block(2, type="tool_use", id="call_1", name="get_weather", input={}),
    delta(2, "input_json_delta", partial_json='{"city": '),
    delta(2, "input_json_delta", partial_json='"Paris"}'),
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
)
CONTENT: dict[str, Any] = {
    "responseId": "r1",
    "modelVersion": "gemini-2.5-flash",
    "candidates": [
        {
            "index": 0,
            "finishReason": "STOP",
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Sun.", "thought": True},
                    {"text": "Hello."},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}},
                ],
            },
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 79,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 64,
        "totalTokenCount": 86,
    },
}


def piece(*given: dict[str, Any], **more: Any) -> str:
    """An event of a streamed answer of Gemini's."""
    candidate = {"index": 0, "content": {"role": "model", "parts": list(given)}, **more}
    return f"data: {json.dumps({**CONTENT, 'candidates': [candidate]})}\n\n"


THOUGHT, _, FUNCTION = CONTENT["candidates"][0]["content"]["parts"]
PIECES = [
    piece(THOUGHT),
    piece({"text": "Hel"}),
    piece({"text": "lo."}),
    piece(FUNCTION, finishReason="STOP"),
]
COMPLETION = {
    "id": "c",
    "created": 1,
    "model": "m",
    "object": "chat.completion",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
}


def chunk(content: str, reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
    return f"data: {json.dumps({**COMPLETION, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        }
    ],
    "usage": {"input_tokens": 12, "output_tokens": 7, "total_tokens": 19},
}
ANSWERS = {
    "/v1/messages": MESSAGE,
    "/v1/messages#stream": SAID,
    ":generateContent": CONTENT,
    ":streamGenerateContent": "".join(PIECES),
    "/chat/completions": COMPLETION,
    "/chat/completions#stream": chunk("Hel") + chunk("lo.", "stop") + "data: [DONE]\n\n",
    "/responses": RESPONSE,
}


def called(path: str, **more: Any) -> Surface:
    """A function of the module, by its path."""

    def call(sdk: Any, asked: dict[str, Any]) -> Any:
        function = sdk
        for name in path.split("."):
            function = getattr(function, name)
        result = function(**asked, **more)
        # Its streams have the methods of both kinds, but are of one.
        return (one for one in result) if path.endswith(".generate_content_stream") else result

    return call


SHAPES: dict[str, Surface] = {
    "anthropic_messages": called("anthropic_messages"),
    "anthropic_messages, stream=True": called("anthropic_messages", stream=True),
    "anthropic.messages.acreate": called("anthropic.messages.acreate"),
    "google_genai.generate_content": called("google_genai.generate_content"),
    "google_genai.generate_content_stream": called("google_genai.generate_content_stream"),
    "google_genai.agenerate_content": called("google_genai.agenerate_content"),
    "google_genai.agenerate_content_stream": called("google_genai.agenerate_content_stream"),
    "agenerate_content": called("agenerate_content"),
}
STREAMS = [name for name in SHAPES if "stream" in name]


class Bare:
    """litellm's functions as they are without tracing."""

    def __getattr__(self, name: str) -> Any:
        unwrap(litellm)
        return getattr(litellm, name)


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.fixture(autouse=True)
def _unwrapped() -> Iterator[None]:
    def functions() -> list[Any]:
        homes = [importlib.import_module(home) for home in wrapper._FOREIGN]
        held = zip(homes, wrapper._FOREIGN.values(), strict=True)
        return [getattr(home, name, None) for home, shapes in held for name in shapes]

    before = functions()
    yield
    unwrap(litellm)
    assert functions() == before


@pytest.fixture(params=SHAPES)
def name(request: pytest.FixtureRequest) -> str:
    if request.param in STREAMS:
        pytest.importorskip("fastapi", reason="litellm reads such a stream by code of its proxy")
    return request.param


def request(name: str, api: str, prompt: str = "Hello.") -> dict[str, Any]:
    if "generate_content" in name:
        return {
            "model": "gemini/gemini-2.5-flash",
            "contents": [
                {"role": "user", "parts": [{"text": prompt}]},
                {"role": "model", "parts": [FUNCTION]},
                {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {}}}]},
            ],
            "config": {"temperature": 0.5, "maxOutputTokens": 99},
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "tools": [{"functionDeclarations": [{"name": "get_weather", "description": "The weather."}]}],
            "api_base": f"{api}/v1beta",
            "api_key": "none",
        }
    return {
        "model": "anthropic/claude-sonnet-4-5",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": prompt}]},
            {"role": "assistant", "content": [CALLED]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}],
            },
        ],
        "system": "Be brief.",
        "tools": [{"name": "get_weather", "description": "The weather.", "input_schema": {"type": "object"}}],
        "temperature": 0.5,
        "max_tokens": 99,
        "api_base": api,
        "api_key": "none",
    }


async def test_an_answer_with_a_tool_call(api: str, name: str, spans: Captured) -> None:
    asked = request(name, api)
    plain = await outcome(SHAPES[name], Bare(), asked)
    seen, span = await run(spans, SHAPES[name], wrap_litellm(), asked)
    assert seen == plain
    assert seen[0] == "answer"
    google = "generate_content" in name
    found = attributes(span)
    operation, model = ("generate_content" if google else "chat"), asked["model"]
    assert (span.name, span.kind) == (f"{operation} {model}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "gcp.gemini" if google else "anthropic",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.id": "r1" if google else "msg_1",
        "gen_ai.response.model": model.partition("/")[2],
        "gen_ai.response.finish_reasons": ("stop" if google else "tool_call",),
        "gen_ai.usage.input_tokens": 79,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "server.address": "127.0.0.1",
    }.items() <= found.items()
    assert found.get("gen_ai.usage.cache_write.input_tokens") == (None if google else 5)
    assert [part["type"] for part in parts(span)] == ["reasoning", "text", "tool_call"]
    assert [part["content"] for part in parts(span)[:2]] == ["Sun.", "Hello."]
    assert_tool_call(span, "get_weather", {"city": "Paris"})
    assert [part["type"] for part in parts(span, "input")] == ["text", "tool_call", "tool_call_response"]
    assert [message["role"] for message in json.loads(found["gen_ai.input.messages"])][-1] == "tool"
    assert json.loads(found["gen_ai.system_instructions"])[0]["content"] == "Be brief."
    (tool,) = json.loads(found["gen_ai.tool.definitions"])
    assert (tool["name"], tool["description"]) == ("get_weather", "The weather.")
    assert ("gen_ai.response.time_to_first_chunk" in found) == (name in STREAMS)
    # What the answer says that it costs; of those that are plain JSON it says nothing.
    assert ("pandaprobe.cost" in found) == (google and name not in STREAMS)


async def test_an_error(api: str, name: str, spans: Captured) -> None:
    asked = request(name, api, "too many")
    plain = await outcome(SHAPES[name], Bare(), asked)
    seen, span = await run(spans, SHAPES[name], wrap_litellm(), asked)
    assert seen == plain == ("RateLimitError", 429)
    assert_error(span, "RateLimitError")
    assert attributes(span)["http.response.status_code"] == 429


@pytest.mark.parametrize("name", ["google_genai.generate_content_stream"], indirect=True)
async def test_a_stream_that_is_broken_off_has_what_was_read(api: str, name: str, spans: Captured) -> None:
    await collect(SHAPES[name](wrap_litellm(), request(name, api)), limit=2)
    gc.collect()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert [part["content"] for part in parts(span)] == ["Sun.", "Hel"]


@pytest.mark.parametrize("name", STREAMS[::3], indirect=True)
async def test_an_async_stream_that_is_closed_ends_its_span(api: str, name: str, spans: Captured) -> None:
    stream = await SHAPES[name](wrap_litellm(), request(name, api))
    await anext(stream)
    assert not spans.spans
    await stream.aclose()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert parts(span)[0]["content"] == "Sun."


@pytest.mark.parametrize("size", [1, 7, 100])
def test_events_are_read_wherever_their_pieces_end(size: int) -> None:
    data = SAID.replace("\n", "\r\n").encode() + b"data: [DONE]\r\n\r\n"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    events = _sse.Events()
    read = [event for piece in pieces for event in events.of(piece)]
    assert scripted_api.events(*read) == SAID


@pytest.mark.parametrize("name", [STREAMS[0]], indirect=True)
async def test_a_stream_that_the_server_breaks_off_is_an_error_with_what_came(
    name: str, spans: Captured
) -> None:
    begun = SAID[: SAID.index("Hel")].encode()
    with scripted.running() as server:
        server._answers = [(200, "text/event-stream", [begun[:99], begun[99:]], True)]
        with pytest.raises(Exception, match="not completed"):
            await collect(SHAPES[name](wrap_litellm(), request(name, server.url)))
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.ERROR
    assert [part["content"] for part in parts(span)] == ["Sun."]


@pytest.mark.parametrize("model", ["openai/m", "mistral/m"])
@pytest.mark.parametrize(
    "path", ["anthropic_messages", "google_genai.agenerate_content", "google_genai.generate_content"]
)
async def test_what_another_provider_answers_is_one_call(
    api: str, path: str, model: str, spans: Captured
) -> None:
    # Which litellm makes by `aresponses` or `acompletion`.
    asked = {**request(path, f"{api}"), "model": model, "api_base": f"{api}/v1"}
    _, span = await run(spans, called(path), wrap_litellm(), asked)
    assert (
        attributes(span)["gen_ai.provider.name"] == {"openai/m": "openai", "mistral/m": "mistral_ai"}[model]
    )
    assert [part["content"] for part in parts(span)] == ["Hello."]
    assert attributes(span)["gen_ai.usage.input_tokens"] == 12


@pytest.mark.parametrize("path", ["anthropic_messages", "google_genai.agenerate_content_stream"])
async def test_a_stream_of_another_provider_is_one_call(api: str, path: str, spans: Captured) -> None:
    asked = {**request(path, api), "model": "mistral/m", "api_base": f"{api}/v1"}
    more = {} if "stream" in path else {"stream": True}
    _, span = await run(spans, called(path, **more), wrap_litellm(), asked)
    assert [part["content"] for part in parts(span)] == ["Hello."]
    assert attributes(span)["gen_ai.usage.input_tokens"] == 12
    assert "gen_ai.response.time_to_first_chunk" in attributes(span)


@pytest.mark.parametrize("path", ["aanthropic_messages", "agenerate_content"])
async def test_calls_of_a_router_are_traced(api: str, path: str, spans: Captured) -> None:
    asked = request(path, api)
    server = {key: asked.pop(key) for key in ("model", "api_base", "api_key")}
    wrap_litellm()
    deployments = [{"model_name": "group", "litellm_params": server}]
    router = litellm.Router(model_list=deployments, num_retries=0)
    await getattr(router, path)(model="group", **asked)
    (span,) = spans.spans
    assert_tool_call(span, "get_weather", {"city": "Paris"})


async def test_the_whole_process_is_traced_until_it_is_undone(api: str, spans: Captured) -> None:
    instrument("litellm")
    wrap_litellm(session_id="mine")
    try:
        await litellm.anthropic_messages(**request("", api))
    finally:
        uninstrument("litellm")
    assert_session(spans.spans, "mine")
    await litellm.anthropic_messages(**request("", api))
    assert len(spans.spans) == 1


def test_content_stays_away_where_it_is_not_wanted(
    api: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    wrap_litellm()
    for path in ("anthropic_messages", "agenerate_content"):
        asyncio.run(called(path)(litellm, request(path, api)))
    assert len(spans.spans) == 2
    for span in spans.spans:
        assert "Hello." not in json.dumps(attributes(span))


def test_pictures_and_documents_are_told(spans: Captured, api: str) -> None:
    picture = {"media_type": "image/png", "data": "iVBORw=="}
    source = {"type": "base64", **picture}
    linked = {"type": "url", "url": "https://example.com/a.pdf"}
    asked = request("", api)
    asked["messages"][0]["content"] += [
        {"type": "image", "source": source},
        {"type": "document", "source": linked},
    ]
    wrap_litellm()
    asyncio.run(litellm.anthropic_messages(**asked))
    blob = {"inlineData": {"mimeType": picture["media_type"], "data": picture["data"]}}
    asked = request("generate_content", api)
    asked["contents"][0]["parts"].append(blob)
    litellm.google_genai.generate_content(**asked)
    of_anthropic, of_google = (parts(span, "input") for span in spans.spans)
    assert [part["type"] for part in of_anthropic[1:3]] == ["blob", "uri"]
    assert of_anthropic[1]["content"] == of_google[1]["content"] == picture["data"]
    assert of_anthropic[2]["uri"] == linked["url"]


@pytest.mark.parametrize("step", each_step_failing(_anthropic_messages, _sse, gemini_json), ids=str)
async def test_no_fault_of_it_reaches_the_caller(api: str, step: Step, spans: Captured) -> None:
    pytest.importorskip("fastapi", reason="litellm reads such a stream by code of its proxy")
    for name in ("anthropic_messages", *STREAMS):
        plain = await outcome(SHAPES[name], Bare(), request(name, api))
        wrap_litellm()
        with step.failing():
            assert await outcome(SHAPES[name], litellm, request(name, api)) == plain, name

"""What `wrap_litellm` promises beside what `test_matrix.py` runs."""

import asyncio
import gc
import importlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import scripted
from aimock import AIMock
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import (
    instrument,
    uninstrument,
    unwrap,
    wrap_litellm,
)

from .conftest import ANSWER
from .surfaces import (
    Surface,
    assert_answer,
    attributes,
    collect,
    outcome,
    parts,
    run_in_session,
)

# Else it fetches prices from GitHub as it is imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm", reason="litellm is not installed")

# litellm warns of itself at many places: models filled in part, clients that it keeps open for the process.
pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "openai/gpt-4o"
USAGE = {"include_usage": True}
CHAT: dict[str, Surface] = {
    "completion": lambda sdk, ask: sdk.completion(**ask),
    # Its streams have the methods of both kinds, but are of one.
    "completion, stream=True": (
        lambda sdk, ask: (one for one in sdk.completion(**ask, stream=True, stream_options=USAGE))
    ),
    "acompletion": lambda sdk, ask: sdk.acompletion(**ask),
    "acompletion, stream=True": lambda sdk, ask: sdk.acompletion(**ask, stream=True, stream_options=USAGE),
    "Router.acompletion": lambda sdk, ask: router(sdk, ask).acompletion(
        model="group", messages=ask["messages"]
    ),
}

# `responses` asks mcp whether tools are its own.
RESPONSES: dict[str, Surface] = {
    "responses": lambda sdk, ask: sdk.responses(**as_response(ask)),
    "responses, stream=True": lambda sdk, ask: sdk.responses(**as_response(ask), stream=True),
    "aresponses": lambda sdk, ask: sdk.aresponses(**as_response(ask)),
    "aresponses, stream=True": lambda sdk, ask: sdk.aresponses(**as_response(ask), stream=True),
    "Router.aresponses": lambda sdk, ask: router(sdk, as_response(ask)).aresponses(
        model="group", input=as_response(ask)["input"]
    ),
}
SURFACES = CHAT | RESPONSES


def as_response(ask: dict[str, Any]) -> dict[str, Any]:
    """A request of `completion` as one of `responses`, which takes fewer parameters."""
    tools = [{"type": "function", **tool["function"]} for tool in ask.get("tools", [])]
    same = {name: value for name, value in ask.items() if name not in ("messages", "tools", "seed", "stop")}
    if "max_tokens" in same:
        same["max_output_tokens"] = same.pop("max_tokens")
    return {**same, "input": ask["messages"][0]["content"], **({"tools": tools} if tools else {})}


def router(sdk: Any, ask: dict[str, Any]) -> Any:
    given = {name: value for name, value in ask.items() if name not in ("messages", "input")}
    return sdk.Router(model_list=[{"model_name": "group", "litellm_params": given}], num_retries=0)


class Bare:
    """litellm's functions as they are without tracing."""

    def __getattr__(self, name: str) -> Any:
        unwrap(litellm)
        return getattr(litellm, name)


@pytest.fixture(autouse=True)
def _unwrapped() -> Iterator[None]:
    before = {
        name: getattr(litellm, name) for name in ("completion", "acompletion", "embedding", "responses")
    }
    yield
    unwrap(litellm)
    assert before == {name: getattr(litellm, name) for name in before}


@pytest.fixture
def ask(mock: AIMock) -> Any:
    def ask(prompt: str, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        server = {"api_base": f"{mock.url}/v1", "api_key": "none", "max_retries": 0}
        return {"model": MODEL, "messages": messages, **server, **more}

    return ask


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("name", ["text_completion", "atext_completion"])
async def test_text(api: scripted.Scripted, name: str, spans: Captured) -> None:
    choice = {"index": 0, "text": "Hello.", "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    head = {"id": "1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
    api.answers({**head, "choices": [choice], "usage": usage})
    model = "text-completion-openai/gpt-3.5-turbo-instruct"
    server = {"api_base": f"{api.url}/v1", "api_key": "none"}
    _, span = await run_in_session(
        spans,
        lambda sdk, asked: getattr(sdk, name)(**asked),
        wrap_litellm(),
        {"model": model, "prompt": "Say it.", **server},
    )
    assert span.name == f"text_completion {model}"
    assert [part["content"] for part in (*parts(span, "input"), *parts(span))] == ["Say it.", "Hello."]
    assert attributes(span)["gen_ai.provider.name"] == "openai"
    assert attributes(span)["gen_ai.usage.input_tokens"] == 3


@pytest.mark.parametrize("name", ["embedding", "aembedding"])
async def test_embeddings(mock: AIMock, name: str, spans: Captured) -> None:
    request = {"model": "openai/text-embedding-3-small", "input": ["embed this"], "dimensions": 8}
    _, span = await run_in_session(
        spans,
        lambda sdk, asked: getattr(sdk, name)(**asked),
        wrap_litellm(),
        {**request, "api_base": f"{mock.url}/v1", "api_key": "none"},
    )
    assert span.name == "embeddings openai/text-embedding-3-small"
    assert attributes(span)["gen_ai.embeddings.dimension.count"] == 8
    assert attributes(span)["gen_ai.response.model"] == "text-embedding-3-small"
    assert "gen_ai.usage.input_tokens" in attributes(span)


@pytest.mark.parametrize(
    ("model", "path", "provider"),
    [
        ("anthropic/claude-sonnet-4-5", "", "anthropic"),
        ("gemini/gemini-2.5-flash", "/v1beta", "gcp.gemini"),
        ("mistral/mistral-small-latest", "/v1", "mistral_ai"),
    ],
)
def test_other_providers_have_the_conventions_names(
    mock: AIMock, model: str, path: str, provider: str, spans: Captured
) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    base = mock.url if "gemini" in model else f"{mock.url}{path}"
    wrap_litellm().completion(
        model=model, messages=messages, api_base=base + path * ("gemini" in model), api_key="x"
    )
    (span,) = spans.spans
    assert attributes(span)["gen_ai.provider.name"] == provider
    assert [part["content"] for part in parts(span, "input")] == ["Be brief.", "Hello."]
    assert [part["content"] for part in parts(span)] == [ANSWER]


def test_what_is_cached_thought_and_served_is_told(api: scripted.Scripted, spans: Captured) -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "total_tokens": 140,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    message = {"role": "assistant", "content": "Four.", "reasoning_content": "Two and two."}
    head = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "service_tier": "priority",
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    api.answers({**head, "choices": [choice], "usage": usage, "service_tier": "priority"})
    wrap_litellm().completion(
        model=MODEL,
        messages=[{"role": "user", "content": "think"}],
        service_tier="priority",
        api_base=f"{api.url}/v1",
        api_key="none",
    )
    (span,) = spans.spans
    assert {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "openai.response.service_tier": "priority",
        "pandaprobe.model_parameters": '{"service_tier": "priority"}',
    }.items() <= attributes(span).items()
    assert [(part["type"], part["content"]) for part in parts(span)] == [
        ("reasoning", "Two and two."),
        ("text", "Four."),
    ]


def test_a_conversation_of_responses_is_told_in_full(api: scripted.Scripted, spans: Captured) -> None:
    said = {"type": "output_text", "text": "It is", "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "incomplete", "content": [said]}
    thought = {"id": "r", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Sun."}]}
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 140,
    }
    head = {"id": "1", "object": "response", "created_at": 1, "model": "gpt-4o", "status": "incomplete"}
    why = {"incomplete_details": {"reason": "max_output_tokens"}}
    api.answers({**head, **why, "output": [thought, message], "usage": usage})
    wrap_litellm().responses(
        model=MODEL,
        instructions="Be brief.",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "And in Paris?"}]},
            {
                "type": "function_call",
                "name": "get_weather",
                "arguments": '{"city": "Paris"}',
                "call_id": "c",
            },
            {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        ],
        api_base=f"{api.url}/v1",
        api_key="none",
    )
    (span,) = spans.spans
    found = attributes(span)
    assert [part["content"] for part in json.loads(found["gen_ai.system_instructions"])] == ["Be brief."]
    asked = [(part["type"], part.get("content"), part.get("id")) for part in parts(span, "input")]
    assert asked == [
        ("text", "And in Paris?", None),
        ("tool_call", None, "c"),
        ("tool_call_response", None, "c"),
    ]
    assert [(part["type"], part["content"]) for part in parts(span)] == [
        ("reasoning", "Sun."),
        ("text", "It is"),
    ]
    assert {
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.reasoning.output_tokens": 30,
    }.items() <= found.items()


async def test_messages_of_anthropic_that_it_makes_of_responses_have_a_span(
    ask: Any, spans: Captured
) -> None:
    request = ask("Hello.", max_tokens=99)
    await run_in_session(spans, lambda sdk, asked: sdk.anthropic_messages(**asked), wrap_litellm(), request)


# Streams, and what else traces the same calls


async def test_responses_that_are_broken_off_keep_what_was_read(ask: Any, spans: Captured) -> None:
    for surface in ("responses, stream=True", "aresponses, stream=True"):
        read = await collect(SURFACES[surface](wrap_litellm(), ask("Hello.")), limit=5)
        gc.collect()
        assert parts(spans.spans[-1])[0]["content"] == read[-1]["delta"]
    assert [span.status.status_code for span in spans.spans] == [StatusCode.UNSET] * 2


def test_responses_of_a_provider_without_them_make_one_span(mock: AIMock, spans: Captured) -> None:
    wrap_litellm().responses(
        model="anthropic/claude-sonnet-4-5", input="Hello.", api_base=mock.url, api_key="x"
    )
    (span,) = spans.spans
    assert_answer(span, ANSWER, provider="anthropic", model="anthropic/claude-sonnet-4-5")


def test_a_stream_that_is_not_read_on_ends_its_span(ask: Any, spans: Captured) -> None:
    stream = wrap_litellm().completion(**ask("Hello."), stream=True)
    assert isinstance(stream, litellm.CustomStreamWrapper)
    begun = "".join(next(stream).choices[0].delta.content or "" for _ in range(2))
    assert not spans.spans
    del stream
    gc.collect()
    (span,) = spans.spans
    assert parts(span)[0]["content"] == begun
    assert span.status.status_code is StatusCode.UNSET


async def test_an_async_stream_that_is_closed_ends_its_span(ask: Any, spans: Captured) -> None:
    stream = await wrap_litellm().acompletion(**ask("Hello."), stream=True)
    await anext(stream)
    await stream.aclose()
    assert len(spans.spans) == 1


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_a_traced_openai_client_inside_makes_no_second_span(
    ask: Any, name: str, spans: Captured
) -> None:
    instrument("openai", "litellm")
    try:
        await collect(getattr(litellm, name)(**ask("Hello.")))
    finally:
        uninstrument("openai", "litellm")
    assert [span.name for span in spans.spans] == [f"chat {MODEL}"]


async def test_its_own_spans_beside_are_no_second_span_of_a_call(
    ask: Any, monkeypatch: pytest.MonkeyPatch, spans: Captured
) -> None:
    # What `litellm.callbacks = ["otel"]` makes, for this provider instead of the global one.
    module = importlib.import_module("litellm.integrations.opentelemetry")
    for name in [name for name in vars(litellm) if name.endswith("_callback")]:
        monkeypatch.setattr(litellm, name, list(getattr(litellm, name)))
    own = module.OpenTelemetry(module.OpenTelemetryConfig(), tracer_provider=spans.tracer_provider)
    monkeypatch.setattr(litellm, "callbacks", [own])
    names = ("completion", "acompletion", "acompletion, stream=True", "aresponses")
    with spans.tracer.start_as_current_span("around") as around:
        for name in names:
            await outcome(SURFACES[name], wrap_litellm(), ask("Hello."))
    trace_id = around.get_span_context().trace_id

    def made() -> list[Any]:
        # Those of earlier tests, which it makes late, are in other traces.
        here = [span for span in spans.spans if span.context.trace_id == trace_id]
        return [span for span in here if span.name != "around"]

    # In other threads and tasks, which nobody can wait for.
    while len(made()) < 2 * len(names):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    calls = [span for span in made() if "gen_ai.operation.name" in attributes(span)]
    assert [span.name for span in calls] == [f"chat {MODEL}"] * len(names)
    raw = [span for span in made() if span not in calls]
    assert {span.name for span in raw} == {"raw_gen_ai_request"}
    assert {span.parent.span_id for span in raw} == {span.context.span_id for span in calls}


def test_calls_of_a_router_are_traced_below_what_is_current(ask: Any, spans: Captured) -> None:
    request = ask("Hello.")
    wrap_litellm()
    with spans.tracer.start_as_current_span("around") as around:
        router(litellm, request).completion("group", request["messages"])
    made, _ = spans.spans
    assert made.parent == around.get_span_context()
    assert_answer(made, ANSWER, provider="openai", model=MODEL)


def test_deployments_that_a_router_falls_back_to_have_spans_of_their_own(ask: Any, spans: Captured) -> None:
    def deployment(name: str, **more: Any) -> dict[str, Any]:
        given = {key: value for key, value in ask("").items() if key != "messages"}
        return {"model_name": name, "litellm_params": {**given, **more}}

    deployments = [deployment("broken", api_base="http://127.0.0.1:9/v1"), deployment("whole")]
    fallbacks: list[Any] = [{"broken": ["whole"]}]
    wrap_litellm()
    routed = litellm.Router(model_list=deployments, fallbacks=fallbacks, num_retries=0)
    routed.completion(model="broken", messages=[{"role": "user", "content": "Hello."}])
    assert [span.status.status_code for span in spans.spans] == [StatusCode.ERROR, StatusCode.UNSET]


# The module


def test_labels_hold_for_all_calls_and_unwrapping_ends_them(ask: Any, spans: Captured) -> None:
    assert wrap_litellm(litellm, session_id="mine", user_id="ada", tags=["a"]) is litellm
    wrap_litellm().completion(**ask("Hello."))
    assert_session(spans.spans, "mine")
    assert attributes(spans.spans[0])["user.id"] == "ada"
    assert attributes(spans.spans[0])["pandaprobe.tags"] == ("a",)
    unwrap(litellm).completion(**ask("Hello."))
    assert len(spans.spans) == 1


def test_instrumenting_and_wrapping_is_the_same(ask: Any, spans: Captured) -> None:
    instrument("litellm")
    wrap_litellm(session_id="mine")
    litellm.completion(**ask("Hello."))
    assert_session(spans.spans, "mine")
    assert len(spans.spans) == 1
    uninstrument("litellm")
    litellm.completion(**ask("Hello."))
    assert len(spans.spans) == 1


def test_anything_but_the_module_is_refused_with_the_fix(ask: Any) -> None:
    with pytest.raises(TypeError, match=r"write wrap_litellm\(\), which traces routers too"):
        wrap_litellm(router(litellm, ask("Hello.")))


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "litellm", None)
    with pytest.raises(ImportError, match=r"pip install 'pandaprobe-otel\[litellm\]'"):
        wrap_litellm()

"""The id of the request, for the provider's support, is on the span of the call."""

import gc
import json
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from typing import Any

import bedrock_fake
import pytest
import scripted_api

from pandaprobe_otel import wrappers
from pandaprobe_otel.testing import Captured

from .surfaces import outcome

ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
REFUSED: dict[str, Any] = {**ASKED, "messages": [{"role": "user", "content": scripted_api.REFUSED.decode()}]}
TOLD = {"role": "assistant", "content": "Hi."}
COMPLETION = {
    "id": "c",
    "created": 1,
    "model": "m",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": TOLD, "finish_reason": "stop"}],
}
CHUNK = {
    **COMPLETION,
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": TOLD, "finish_reason": "stop"}],
}
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "Hi."}],
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
CANDIDATE = {"content": {"role": "model", "parts": [{"text": "Hi."}]}, "finishReason": "STOP"}
RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
ANSWERS = {
    "/chat/completions": COMPLETION,
    "/chat/completions#stream": f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n",
    "/responses": RESPONSE,
    "/responses#stream": scripted_api.events(
        {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress"}},
        {"type": "response.completed", "sequence_number": 1, "response": RESPONSE},
    ),
    "/v1/messages": MESSAGE,
    "/v1/messages#stream": scripted_api.events(
        {"type": "message_start", "message": {**MESSAGE, "content": []}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ),
    ":generateContent": {"candidates": [CANDIDATE]},
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


def id_of(spans: Captured, header: str) -> object:
    [span] = spans.spans
    return (span.attributes or {}).get(f"http.response.header.{header}")


@pytest.mark.parametrize("way", ["whole", "raw", "stream", "refused"])
def test_openai(api: str, spans: Captured, way: str) -> None:
    openai = pytest.importorskip("openai")
    client = wrappers.wrap_openai(openai.OpenAI(base_url=api, api_key="x", max_retries=0))
    completions = client.chat.completions.with_raw_response if way == "raw" else client.chat.completions
    with suppress(openai.RateLimitError):
        made = completions.create(**(REFUSED if way == "refused" else ASKED), stream=way == "stream")
        assert way != "refused"
        if way == "stream":
            list(made)
    assert id_of(spans, "x-request-id") == ("req_1",)


async def test_openai_asynchronous(api: str, spans: Captured) -> None:
    openai = pytest.importorskip("openai")
    async with openai.AsyncOpenAI(base_url=api, api_key="x") as client:
        await wrappers.wrap_openai(client).chat.completions.create(**ASKED)
    assert id_of(spans, "x-request-id") == ("req_1",)


@pytest.mark.parametrize("asked", [ASKED, REFUSED])
def test_anthropic(api: str, spans: Captured, asked: dict[str, Any]) -> None:
    anthropic = pytest.importorskip("anthropic")
    client = wrappers.wrap_anthropic(anthropic.Anthropic(base_url=api, api_key="x", max_retries=0))
    with suppress(anthropic.RateLimitError):
        client.messages.create(max_tokens=9, **asked)
        assert asked is ASKED
    assert id_of(spans, "request-id") == ("req_1",)


def test_gemini(api: str, spans: Captured) -> None:
    genai = pytest.importorskip("google.genai")
    client = wrappers.wrap_gemini(genai.Client(api_key="x", http_options={"base_url": api}))
    client.models.generate_content(model="m", contents="Hello.")
    assert id_of(spans, "x-request-id") == ("req_1",)


@pytest.mark.parametrize("prompt", ["Hello.", "too many"])
def test_bedrock(spans: Captured, prompt: str) -> None:
    pytest.importorskip("opentelemetry.instrumentation.genai.bedrock")
    boto3, errors = pytest.importorskip("boto3"), pytest.importorskip("botocore.exceptions")
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    with bedrock_fake.running() as fake:
        made = boto3.client("bedrock-runtime", endpoint_url=fake.url, **keys)
        messages = [{"role": "user", "content": [{"text": prompt}]}]
        with suppress(errors.ClientError):
            wrappers.wrap_bedrock(made).converse(modelId="m", messages=messages)
            assert prompt == "Hello."
    assert id_of(spans, "x-amzn-requestid") == ("req_1",)


# What reads a stream for its user


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("helper", ["chat.completions", "responses", "messages", "beta.messages"])
async def test_helpers_of_streams(api: str, helper: str, asynchronous: bool, spans: Captured) -> None:
    of_anthropic = "messages" in helper
    sdk = pytest.importorskip("anthropic" if of_anthropic else "openai")
    kind = "Anthropic" if of_anthropic else "OpenAI"
    client = getattr(sdk, f"Async{kind}" if asynchronous else kind)(base_url=api, api_key="x", max_retries=0)
    resource = attrgetter(helper)(getattr(wrappers, f"wrap_{kind.lower()}")(client))
    asked = {"model": "m", "input": "Hello."} if helper == "responses" else dict(ASKED)
    stream = resource.stream(**asked, **({"max_tokens": 9} if of_anthropic else {}))
    if asynchronous:
        async with stream as events:
            async for _ in events:
                pass
        await client.close()
    else:
        with stream as events:
            for _ in events:
                pass
        client.close()
    assert id_of(spans, "request-id" if of_anthropic else "x-request-id") == ("req_1",)


@pytest.mark.parametrize("helper", ["messages", "responses"])
def test_a_helper_that_is_refused(api: str, helper: str, spans: Captured) -> None:
    sdk = pytest.importorskip("anthropic" if helper == "messages" else "openai")
    refused = scripted_api.REFUSED.decode()
    if helper == "messages":
        client = wrappers.wrap_anthropic(sdk.Anthropic(base_url=api, api_key="x", max_retries=0))
        stream = client.messages.stream(max_tokens=9, **REFUSED)
    else:
        client = wrappers.wrap_openai(sdk.OpenAI(base_url=api, api_key="x", max_retries=0))
        stream = client.responses.stream(model="m", input=refused)
    with client, pytest.raises(sdk.RateLimitError), stream:
        pass
    assert id_of(spans, "request-id" if helper == "messages" else "x-request-id") == ("req_1",)


# Mistral


def mistral(url: str) -> Any:
    try:
        from mistralai.client import Mistral
    except ImportError:
        Mistral = pytest.importorskip("mistralai").Mistral
    return Mistral(api_key="x", server_url=url)


WAYS: dict[str, Any] = {
    "complete": lambda client: client.chat.complete(**ASKED),
    "complete_async": lambda client: client.chat.complete_async(**ASKED),
    "stream": lambda client: client.chat.stream(**ASKED),
    "stream_async": lambda client: client.chat.stream_async(**ASKED),
    "embeddings": lambda client: client.embeddings.create(model="m", inputs=["Hello."]),
    "ocr": lambda client: client.ocr.process(
        model="m", document={"type": "image_url", "image_url": "https://example.com/a.png"}
    ),
    "refused": lambda client: client.chat.complete(**REFUSED),
}
OF_MISTRAL = {
    "/chat/completions": {**COMPLETION, "usage": {}},
    "/chat/completions#stream": f"data: {json.dumps({**COMPLETION, 'choices': []})}\n\ndata: [DONE]\n\n",
    "/embeddings": {"id": "1", "object": "list", "model": "m", "usage": {}, "data": []},
    "/ocr": {"model": "m", "pages": [], "usage_info": {"pages_processed": 1}},
}


@pytest.mark.parametrize("whole_process", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_mistral(way: str, whole_process: bool, spans: Captured) -> None:
    with scripted_api.running(OF_MISTRAL, id_header="mistral-correlation-id") as url:
        client = mistral(url)
        hooks = client.sdk_configuration._hooks
        before = {name: list(held) for name, held in vars(hooks).items()}
        if whole_process:
            wrappers.instrument("mistral")
        else:
            wrappers.wrap_mistral(client)
        try:
            await outcome(lambda client, _: WAYS[way](client), client, {})
        finally:
            wrappers.uninstrument("mistral")
            wrappers.unwrap(client)
        gc.collect()
        assert {name: list(held) for name, held in vars(hooks).items()} == before
        client.chat.complete(**ASKED)
        client.__exit__(None, None, None)
        await client.__aexit__(None, None, None)
    assert id_of(spans, "mistral-correlation-id") == ("req_1",)


def test_mistral_on_azure(spans: Captured) -> None:
    pytest.importorskip("mistralai")
    from .test_mistral_platforms import azure

    with scripted_api.running(OF_MISTRAL) as url:
        client = wrappers.wrap_mistral(azure(url))
        client.chat.complete(**ASKED)
        client.__exit__(None, None, None)
    assert id_of(spans, "x-request-id") == ("req_1",)


# LiteLLM


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["completion", "stream", "responses", "anthropic", "refused"])
def test_litellm(api: str, way: str, spans: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")
    server = {"api_base": api, "api_key": "x"}
    asked = {**(REFUSED if way == "refused" else ASKED), **server, "max_retries": 0}
    wrappers.wrap_litellm()
    try:
        if way == "responses":
            litellm.responses(model="openai/m", input="Hello.", **server)
        elif way == "anthropic":
            litellm.completion(**{**asked, "model": "anthropic/m", "max_tokens": 9})
        else:
            with suppress(litellm.RateLimitError):
                made = litellm.completion(**{**asked, "model": "openai/m"}, stream=way == "stream")
                assert way != "refused"
                if way == "stream":
                    list(made)
    finally:
        wrappers.unwrap(litellm)
    assert id_of(spans, "request-id" if way == "anthropic" else "x-request-id") == ("req_1",)

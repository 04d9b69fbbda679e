"""The id of the request, for the provider's support, is on the span of the call."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import bedrock_fake
import pytest
import scripted_api

from pandaprobe_otel import wrappers
from pandaprobe_otel.testing import Captured

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
ANSWERS = {
    "/chat/completions": COMPLETION,
    "/chat/completions#stream": 'data: {"choices": []}\n\ndata: [DONE]\n\n',
    "/v1/messages": MESSAGE,
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

"""OpenAI's clients for the platforms of others: traced as OpenAI's own, under the name of the platform."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import scripted
import scripted_api
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument, wrap_openai

from .surfaces import assert_error, attributes, close, collect, outcome, parts, run_in_session
from .test_request_id import ASKED, COMPLETION, REFUSED

openai = pytest.importorskip("openai", minversion="2.54", reason="older ones have no such clients")

CHUNK = {**COMPLETION, "object": "chat.completion.chunk"}
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 4},
}
ANSWER = {**COMPLETION, "usage": USAGE}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 19,
    },
}
ANSWERS = {"/chat/completions": ANSWER, "/responses": RESPONSE}
CLIENTS = ["BedrockOpenAI", "AsyncBedrockOpenAI", "bedrock", "async bedrock", "vertex", "async vertex"]


def make(kind: str, url: str) -> Any:
    if "Bedrock" in kind:
        own = {"aws_region": "us-east-1", "api_key": "none"}
        return getattr(openai, kind)(base_url=url, max_retries=0, **own)
    asynchronous, _, name = kind.rpartition(" ")
    providers = pytest.importorskip("openai.providers")
    if not hasattr(providers, name):
        pytest.skip(f"this version has no openai.providers.{name}")
    given = (
        {"api_key": "none", "region": "us-east-1"}
        if name == "bedrock"
        else {"token_provider": lambda: "none"}
    )
    provider = getattr(providers, name)(base_url=url, **given)
    return (openai.AsyncOpenAI if asynchronous else openai.OpenAI)(provider=provider, max_retries=0)


def ask(client: Any, asked: dict[str, Any]) -> Any:
    return client.chat.completions.create(**asked)


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.mark.parametrize("kind", CLIENTS)
async def test_an_answer_and_an_error(api: str, kind: str, spans: Captured) -> None:
    plain, wrapped = make(kind, api), wrap_openai(make(kind, api))
    for asked in (ASKED, REFUSED):
        spans.spans.clear()
        expected = await outcome(ask, plain, asked)
        seen, span = await run_in_session(spans, ask, wrapped, asked)
        assert seen == expected
        provider = "gcp.vertex_ai" if "vertex" in kind else "aws.bedrock"
        assert attributes(span)["gen_ai.provider.name"] == provider
        assert attributes(span)["server.address"] == "127.0.0.1"
        if asked is ASKED:
            assert [part["content"] for part in parts(span)] == ["Hi."]
            # The cached are among them already, unlike in what Bedrock's own API counts.
            assert attributes(span)["gen_ai.usage.input_tokens"] == 12
        else:
            assert_error(span, "RateLimitError")
    await close([plain, wrapped])


@pytest.mark.parametrize("kind", CLIENTS[:2])
async def test_copies_and_responses(api: str, kind: str, spans: Captured) -> None:
    client = wrap_openai(make(kind, api))
    copy = client.with_options(timeout=9)
    await collect(copy.responses.create(model="m", input="Hello."))
    (span,) = spans.spans
    assert attributes(span)["gen_ai.provider.name"] == "aws.bedrock"
    assert attributes(span)["gen_ai.usage.input_tokens"] == 12
    await close([copy, client])


@pytest.mark.parametrize("kind", CLIENTS[:2])
@pytest.mark.parametrize("breaks", [False, True])
async def test_a_stream_to_whichever_end(kind: str, breaks: bool, spans: Captured) -> None:
    with scripted.running() as api:
        pieces = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in ("Hel", "lo.")]
        api.streams(*({**CHUNK, "choices": [piece]} for piece in pieces), breaks=breaks)
        client = wrap_openai(make(kind, api.url))
        try:
            await collect(client.chat.completions.create(**ASKED, stream=True))
            assert not breaks
        except Exception:
            assert breaks
        await close([client])
    (span,) = spans.spans
    assert attributes(span)["gen_ai.provider.name"] == "aws.bedrock"
    assert span.status.status_code is (StatusCode.ERROR if breaks else StatusCode.UNSET)
    assert [part["content"] for part in parts(span)] == ["Hello."]


def test_the_whole_process_is_traced_until_it_is_undone(api: str, spans: Captured) -> None:
    client = make("BedrockOpenAI", api)
    instrument("openai")
    try:
        client.chat.completions.create(**ASKED)
    finally:
        uninstrument("openai")
    client.chat.completions.create(**ASKED)
    client.close()
    (span,) = spans.spans
    assert attributes(span)["gen_ai.provider.name"] == "aws.bedrock"


def test_what_tells_the_platform_is_there(api: str) -> None:
    # A private name, without which such a client would be called OpenAI's.
    with make("BedrockOpenAI", api) as client:
        assert client._provider_runtime.name in import_module("pandaprobe_otel.wrappers.openai")._PROVIDERS

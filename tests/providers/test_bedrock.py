"""What `wrap_bedrock` promises beside what `test_matrix.py` runs, against a fake of our own."""

import json
from collections.abc import Iterator
from typing import Any

import bedrock_fake
import pytest
from bedrock_fake import ANSWER, FakeBedrock
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_bedrock

from .surfaces import (
    assert_error,
    attributes,
    parts,
    run_in_session,
)

boto3 = pytest.importorskip("boto3")
aiobotocore = pytest.importorskip("aiobotocore")
from aiobotocore.session import get_session  # noqa: E402
from botocore.config import Config  # noqa: E402

MODEL = "us.anthropic.claude-opus-4-8-v1:0"
HERE: dict[str, Any] = {
    "service_name": "bedrock-runtime",
    "region_name": "us-east-1",
    "aws_access_key_id": "none",
    "aws_secret_access_key": "none",
    "config": Config(retries={"max_attempts": 1, "mode": "standard"}),
}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBedrock]:
    with bedrock_fake.running() as running:
        yield running


@pytest.fixture
def client(fake: FakeBedrock) -> Iterator[Any]:
    made = boto3.client(endpoint_url=fake.url, **HERE)
    yield made
    made.close()


class Awaited:
    """A client of boto3 with the methods of one of aiobotocore."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def __getattr__(self, name: str) -> Any:
        async def call(**request: Any) -> Any:
            return getattr(self.client, name)(**request)

        return call


@pytest.fixture(params=["boto3", "aiobotocore"])
async def wrapped(request: pytest.FixtureRequest, fake: FakeBedrock) -> Any:
    if request.param == "boto3":
        made = boto3.client(endpoint_url=fake.url, **HERE)
        yield Awaited(wrap_bedrock(made))
        made.close()
    else:
        async with get_session().create_client(endpoint_url=fake.url, **HERE) as made:
            yield wrap_bedrock(made)


def converse(prompt: str) -> dict[str, Any]:
    tool = {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}
    return {
        "modelId": MODEL,
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "inferenceConfig": {"maxTokens": 99, "temperature": 0.5},
        "toolConfig": {"tools": [{"toolSpec": tool}]},
    }


def invoke(prompt: str) -> dict[str, Any]:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": prompt}],
    }
    return {"modelId": MODEL, "body": json.dumps(body)}


async def read(stream: Any) -> list[Any]:
    if hasattr(stream, "__aiter__") and not hasattr(stream, "__next__"):
        return [event async for event in stream]
    return list(stream)


async def _converse(client: Any, prompt: str) -> Any:
    return (await client.converse(**converse(prompt)))["output"]


async def _converse_stream(client: Any, prompt: str) -> Any:
    return await read((await client.converse_stream(**converse(prompt)))["stream"])


async def _invoke(client: Any, prompt: str) -> Any:
    body = (await client.invoke_model(**invoke(prompt)))["body"].read()
    return json.loads(body if isinstance(body, bytes) else await body)


async def _invoke_stream(client: Any, prompt: str) -> Any:
    return await read((await client.invoke_model_with_response_stream(**invoke(prompt)))["body"])


SURFACES: dict[str, Any] = {
    "converse": _converse,
    "converse_stream": _converse_stream,
    "invoke_model": _invoke,
    "invoke_model_with_response_stream": _invoke_stream,
}


async def test_a_body_that_nobody_reads_is_no_failure(fake: FakeBedrock, spans: Captured) -> None:
    async with get_session().create_client(endpoint_url=fake.url, **HERE) as made:
        answer = await wrap_bedrock(made).invoke_model(**invoke("Hello."))
        assert spans.tracer.start_span("after the call").parent is None
        answer["body"].close()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


def test_labels_hold_for_all_calls_and_can_be_replaced(client: Any, spans: Captured) -> None:
    wrap_bedrock(client, session_id="old", tags=["a"]).converse(**converse("Hello."))
    list(wrap_bedrock(client, session_id="new").converse_stream(**converse("Hello."))["stream"])
    assert [attributes(span)["session.id"] for span in spans.spans] == ["old", "new"]
    unwrap(client).converse(**converse("Hello."))
    assert len(spans.spans) == 2


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    instrument("bedrock")
    try:
        client.converse(**converse("Hello."))
        wrap_bedrock(client, session_id="mine")
        client.converse(**converse("Hello."))
        list(client.converse_stream(**converse("Hello."))["stream"])
        assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 3
        assert_session(spans.spans[1:], "mine")
    finally:
        uninstrument("bedrock")
    unwrap(client).converse(**converse("Hello."))
    assert len(spans.spans) == 3


def test_beside_the_official_instrumentation_a_call_makes_one_span(client: Any, spans: Captured) -> None:
    from opentelemetry.instrumentation.genai.bedrock import BedrockInstrumentor

    BedrockInstrumentor().instrument(tracer_provider=spans.tracer_provider)
    try:
        wrap_bedrock(client).converse(**converse("Hello."))
        list(client.converse_stream(**converse("Hello."))["stream"])
    finally:
        BedrockInstrumentor().uninstrument()
    assert len(spans.spans) == 2


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", SURFACES)
async def test_beside_the_instrumentation_of_botocore_a_call_makes_one_span(
    client: Any, name: str, everywhere: bool, spans: Captured
) -> None:
    botocore = pytest.importorskip("opentelemetry.instrumentation.botocore").BotocoreInstrumentor()
    botocore.instrument(tracer_provider=spans.tracer_provider)
    try:
        if everywhere:
            instrument("bedrock")
        else:
            wrap_bedrock(client)
        await run_in_session(spans, SURFACES[name], Awaited(client), "Hello.")
    finally:
        uninstrument("bedrock")
        botocore.uninstrument()


ONCE: dict[str, Any] = {
    "count_tokens": (
        "count_tokens",
        lambda text: {"modelId": MODEL, "input": {"converse": {"system": [{"text": text}]}}},
        "12",
    ),
    "apply_guardrail": (
        "moderation",
        lambda text: {
            "guardrailIdentifier": "g",
            "guardrailVersion": "1",
            "source": "INPUT",
            "content": [{"text": {"text": text}}],
        },
        "fine",
    ),
}


@pytest.mark.parametrize("name", ONCE)
async def test_what_is_asked_once(wrapped: Any, client: Any, name: str, spans: Captured) -> None:
    operation, request, told = ONCE[name]

    async def ask(client: Any, text: str) -> Any:
        answer = await getattr(client, name)(**request(text))
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    plain = await ask(Awaited(client), "Hello.")
    (_, seen), span = await run_in_session(spans, ask, wrapped, "Hello.")
    assert seen == plain
    found = attributes(span)
    assert (found["gen_ai.operation.name"], found["pandaprobe.span.kind"]) == (operation, "OTHER")
    assert found["server.address"] == "127.0.0.1"
    assert "Hello." in found["pandaprobe.input"]
    assert told in found["pandaprobe.output"]
    spans.spans.clear()
    with pytest.raises(Exception, match="slow down") as caught:
        await ask(wrapped, "too many")
    assert_error(spans.spans[0], type(caught.value).__name__)


def test_while_tracing_is_off_the_instrumentation_of_botocore_makes_its_span(
    client: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    botocore = pytest.importorskip("opentelemetry.instrumentation.botocore").BotocoreInstrumentor()
    botocore.instrument(tracer_provider=spans.tracer_provider)
    monkeypatch.setattr("pandaprobe_otel.runtime.enabled", lambda: False)
    try:
        wrap_bedrock(client).converse(**converse("Hello."))
    finally:
        botocore.uninstrument()
    (span,) = spans.spans
    assert span.instrumentation_scope is not None
    assert "botocore" in span.instrumentation_scope.name


def test_anything_but_a_bedrock_client_is_refused_with_the_fix() -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    for given in (None, boto3, s3):
        with pytest.raises(TypeError, match=r'write wrap_bedrock\(boto3\.client\("bedrock-runtime"\)\)'):
            wrap_bedrock(given)
    s3.close()

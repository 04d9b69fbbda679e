"""Mistral's clients for Azure and for Google Cloud: what they share with its own is traced as there."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
import scripted_api
from opentelemetry.trace import SpanKind, StatusCode

from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_mistral

from .surfaces import assert_error, attributes, collect, outcome, parts, run_in_session

pytest.importorskip("mistralai", reason="mistralai is not installed")

USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
HEAD = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE}
TOLD = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}


def chunk(content: str, reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": reason}
    return f"data: {json.dumps({**HEAD, 'choices': [choice]})}\n\n"


COMPLETION = {**HEAD, "choices": [TOLD]}
STREAM = chunk("Hel") + chunk("lo.", "stop") + "data: [DONE]\n\n"
READ = {
    "model": "reader",
    "pages": [{"index": 0, "markdown": "Hello.", "images": [], "dimensions": None}],
    "usage_info": {"pages_processed": 1},
}
ANSWERS = {
    "/chat/completions": COMPLETION,
    "/chat/completions#stream": STREAM,
    ":rawPredict": COMPLETION,
    ":streamRawPredict": STREAM,
    "/ocr": READ,
}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
REFUSED: dict[str, Any] = {**ASKED, "messages": [{"role": "user", "content": scripted_api.REFUSED.decode()}]}
PROVIDERS = {"azure": "azure.ai.inference", "gcp": "gcp.vertex_ai"}
# Client, method; those with a stream in their name read one.
ROWS = [
    (platform, f"chat.{method}{awaited}")
    for platform in PROVIDERS
    for method in ("complete", "stream")
    for awaited in ("", "_async")
] + [("gcp", f"fim.{method}") for method in ("complete", "complete_async", "stream", "stream_async")]


def azure(url: str) -> Any:
    try:
        home = import_module("mistralai.azure.client")
    except ModuleNotFoundError:
        return import_module("mistralai_azure").MistralAzure(azure_endpoint=url, azure_api_key="none")
    return home.MistralAzure(api_key="none", server_url=url)


def gcp(url: str) -> Any:
    pytest.importorskip("google.auth")
    own: dict[str, Any] = {"project_id": "p", "access_token": "none"}
    try:
        home = import_module("mistralai.gcp.client")
    except ModuleNotFoundError:
        made = import_module("mistralai_gcp").MistralGoogleCloud(**own)
        # It takes no other address.
        made.sdk_configuration.server_url = url
        return made
    return home.MistralGCP(**own, server_url=url)


MAKE: dict[str, Callable[[str], Any]] = {"azure": azure, "gcp": gcp}


def call(path: str) -> Callable[[Any, dict[str, Any]], Any]:
    def called(client: Any, asked: dict[str, Any]) -> Any:
        resource, method = path.split(".")
        if resource == "fim":
            asked = {"model": "m", "prompt": asked["messages"][0]["content"]}
        return getattr(getattr(client, resource), method)(**asked)

    return called


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.fixture
async def make(api: str) -> Any:
    made: list[Any] = []

    def make(platform: str) -> Any:
        made.append(MAKE[platform](api))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize(("platform", "path"), ROWS)
async def test_an_answer(make: Any, platform: str, path: str, spans: Captured) -> None:
    plain = await outcome(call(path), make(platform), ASKED)
    seen, span = await run_in_session(spans, call(path), wrap_mistral(make(platform)), ASKED)
    assert seen == plain
    assert seen[0] == "answer"
    found = attributes(span)
    operation = "text_completion" if "fim" in path else "chat"
    assert (span.name, span.kind) == (f"{operation} m", SpanKind.CLIENT)
    assert {
        "gen_ai.provider.name": PROVIDERS[platform],
        "gen_ai.request.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    }.items() <= found.items()
    assert [part["content"] for part in (*parts(span, "input"), *parts(span))] == ["Hello.", "Hello."]
    assert ("gen_ai.response.time_to_first_chunk" in found) == ("stream" in path)


@pytest.mark.parametrize(("platform", "path"), ROWS)
async def test_an_error(make: Any, platform: str, path: str, spans: Captured) -> None:
    plain = await outcome(call(path), make(platform), REFUSED)
    seen, span = await run_in_session(spans, call(path), wrap_mistral(make(platform)), REFUSED)
    assert seen == plain
    assert seen[1] == 429
    assert_error(span, "SDKError")


@pytest.mark.parametrize("platform", PROVIDERS)
@pytest.mark.parametrize("method", ["stream", "stream_async"])
async def test_a_stream_that_is_broken_off_has_what_was_read(
    make: Any, platform: str, method: str, spans: Captured
) -> None:
    await collect(call(f"chat.{method}")(wrap_mistral(make(platform)), ASKED), limit=1)
    gc.collect()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert [part["content"] for part in parts(span)] == ["Hel"]


def test_documents_are_read_on_azure_too(make: Any, spans: Captured) -> None:
    document = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
    wrap_mistral(make("azure")).ocr.process(model="m", document=document)
    (span,) = spans.spans
    assert attributes(span)["gen_ai.operation.name"] == "ocr"
    assert attributes(span)["gen_ai.provider.name"] == PROVIDERS["azure"]


@pytest.mark.parametrize("platform", PROVIDERS)
def test_labels_hold_and_unwrapping_ends_them(make: Any, platform: str, spans: Captured) -> None:
    client = make(platform)
    before = dir(client)
    assert wrap_mistral(client, session_id="mine") is client
    client.chat.complete(**ASKED)
    assert_session(spans.spans, "mine")
    unwrap(client).chat.complete(**ASKED)
    assert len(spans.spans) == 1
    assert set(dir(client)) - set(before) <= {"chat", "fim", "ocr"}


@pytest.mark.parametrize("platform", PROVIDERS)
async def test_the_whole_process_is_traced_until_it_is_undone(
    make: Any, platform: str, spans: Captured
) -> None:
    client = make(platform)
    instrument("mistral")
    try:
        client.chat.complete(**ASKED)
        await collect(client.chat.stream_async(**ASKED))
        wrap_mistral(client, session_id="mine").chat.complete(**ASKED)
    finally:
        uninstrument("mistral")
    assert [attributes(span)["gen_ai.provider.name"] for span in spans.spans] == [PROVIDERS[platform]] * 3
    assert_session(spans.spans[2:], "mine")
    unwrap(client).chat.complete(**ASKED)
    assert len(spans.spans) == 3


def test_a_process_that_uses_no_platform_loads_none() -> None:
    program = (
        "import sys\n"
        "from pandaprobe_otel.wrappers import instrument\n"
        "instrument('mistral')\n"
        "print([name for name in sys.modules if name.startswith("
        "('mistralai_', 'mistralai.azure', 'mistralai.gcp'))])"
    )
    process = subprocess.run(
        [sys.executable, "-Wignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert (process.stdout, process.stderr) == ("[]\n", "")

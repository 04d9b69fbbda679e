"""What is asked and answered once, beside conversations: images, audio, counting, moderating, reading."""

import base64
import inspect
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import scripted_api
from faulty import Step, each_step_failing
from opentelemetry.trace import StatusCode

from pandaprobe_otel import media, wrappers
from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import _media, _operations
from pandaprobe_otel.wrappers._genai import raw

from .surfaces import attributes, close, lasting, outcome, run_in_session

# Some are old, and the SDKs warn of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The generate_images method is deprecated"),
]

MEDIA = b"\x89PNG" + bytes(range(256))
BASE64 = base64.b64encode(MEDIA).decode()
SUMMARY = f"[application/octet-stream, {len(MEDIA)} bytes, sha256 {sha256(MEDIA).hexdigest()}]"
SPEECH = SUMMARY.replace("application/octet-stream", "audio/mpeg")
IMAGE = {"created": 1, "data": [{"b64_json": BASE64}]}
USAGE = {"input_tokens": 12, "output_tokens": 7, "total_tokens": 19}
RESULTS = {"id": "mod-1", "model": "moderator", "results": [{"categories": {"hate": False}}]}
SPOKEN = [
    {"type": "transcript.text.delta", "delta": "Hel"},
    {"type": "transcript.text.delta", "delta": "lo."},
    {"type": "transcript.text.done", "text": "Hello.", "usage": USAGE},
]
DRAWN = [
    {"type": "image_generation.partial_image", "b64_json": BASE64, "partial_image_index": 0},
    {"type": "image_generation.completed", "b64_json": BASE64, "usage": USAGE},
]
# Mistral's names of the same events.
HEARD = [
    {"type": "transcription.text.delta", "text": "Hel"},
    {"type": "transcription.text.delta", "text": "lo."},
    {
        "type": "transcription.done",
        "model": "voxtral",
        "text": "Hello.",
        "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
        "language": "en",
    },
]
TRANSCRIPT = {
    "model": "voxtral",
    "text": "Hello.",
    "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    "segments": [],
    "language": "en",
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "created_at": 1,
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        }
    ],
    "usage": {
        **USAGE,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}
ANSWERS: dict[str, Any] = {
    "/images/generations": {**IMAGE, "usage": USAGE},
    "/images/generations#stream": scripted_api.events(*DRAWN),
    "/images/edits": {**IMAGE, "usage": USAGE},
    "/audio/speech": MEDIA,
    "/audio/transcriptions": TRANSCRIPT,
    "/mistral/v1/audio/transcriptions": TRANSCRIPT,
    "/audio/transcriptions#stream": scripted_api.events(*SPOKEN),
    "/audio/translations": {"text": "Hello."},
    "/mistral/v1/audio/transcriptions#stream": scripted_api.events(*HEARD),
    "/responses": {**RESPONSE, "object": "response", "model": "m", "status": "completed"},
    "/responses/compact": {
        **RESPONSE,
        "object": "response.compaction",
        "output": [*RESPONSE["output"], {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}],
    },
    "/moderations": RESULTS,
    "/decisions": {
        "model": "m",
        "answers": [{"type": "predicate", "name": "kind", "probability": 0.75}],
        "usage": {
            **USAGE,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    },
    "/chat/moderations": RESULTS,
    "/classifications": {**RESULTS, "results": [{"topic": {"scores": {"a": 1.0}}}]},
    "/chat/classifications": {**RESULTS, "results": [{"topic": {"scores": {"a": 1.0}}}]},
    "/ocr": {
        "model": "reader",
        "pages": [{"index": 0, "markdown": "Hello.", "images": [], "dimensions": None}],
        "usage_info": {"pages_processed": 1},
    },
    "/messages/count_tokens": {"input_tokens": 12},
    "/responses/input_tokens": {"object": "response.input_tokens", "input_tokens": 12},
    "/rerank": {"id": "r", "results": [{"index": 0, "relevance_score": 0.5}], "meta": {}},
    ":countTokens": {"totalTokens": 12},
    ":predict": {"predictions": [{"bytesBase64Encoded": BASE64, "mimeType": "image/png"}]},
}


@dataclass(frozen=True)
class Row:
    """One surface.

    Args:
        method: Its path from the client.
        asked: What it is given, of which `prompt` may be replaced by what is refused.
        operation: Its `gen_ai.operation.name`.
        told: What the output on the span has in it.
        kind: What it is where it is no call of a model; `output_type` where it is one.
    """

    method: str
    prompt: str
    asked: dict[str, Any]
    operation: str
    told: str
    kind: str | None = None
    output_type: str | None = None

    @property
    def counted(self) -> bool:
        """Whether the answer says its tokens."""
        return self.method.partition(",")[0].endswith(
            (
                ".generate",
                ".edit",
                "transcriptions.create",
                "transcriptions.with_raw_response.create",
                "transcriptions.stream",
                ".complete",
                ".compact",
                "responses.create",
                "decisions.create",
                "image_generation",
            )
        )


def counts(method: str, prompt: str, asked: dict[str, Any], told: str = "12") -> Row:
    return Row(method, prompt, asked, "count_tokens", told, kind="OTHER")


def makes(method: str, prompt: str, asked: dict[str, Any], told: str, output_type: str) -> Row:
    return Row(method, prompt, asked, "generate_content", told, output_type=output_type)


def judges(method: str, prompt: str, asked: dict[str, Any], operation: str, told: str) -> Row:
    return Row(method, prompt, asked, operation, told, kind="OTHER")


MESSAGES = [{"role": "user", "content": "Hello."}]
MODEL = {"model": "m"}
FILE = {"file_name": "a.mp3", "content": MEDIA}
OPENAI = [
    makes("images.generate", "prompt", MODEL, SUMMARY, "image"),
    makes("images.generate, stream=True", "prompt", {**MODEL, "stream": True}, SUMMARY, "image"),
    makes("images.edit", "prompt", {**MODEL, "image": ("a.png", MEDIA)}, SUMMARY, "image"),
    makes("audio.speech.create", "input", {**MODEL, "voice": "alloy"}, SPEECH, "speech"),
    makes("audio.transcriptions.create", "prompt", {**MODEL, "file": ("a.mp3", MEDIA)}, "Hello.", "text"),
    makes(
        "audio.transcriptions.create, stream=True",
        "prompt",
        {**MODEL, "file": ("a.mp3", MEDIA), "stream": True},
        "Hello.",
        "text",
    ),
    makes("audio.translations.create", "prompt", {**MODEL, "file": ("a.mp3", MEDIA)}, "Hello.", "text"),
    judges("moderations.create", "input", MODEL, "moderation", "hate"),
    judges("moderations.with_raw_response.create", "input", MODEL, "moderation", "hate"),
    makes("images.with_raw_response.generate", "prompt", MODEL, SUMMARY, "image"),
    makes("images.with_streaming_response.generate", "prompt", MODEL, SUMMARY, "image"),
    makes(
        "audio.transcriptions.with_raw_response.create, stream=True",
        "prompt",
        {**MODEL, "file": ("a.mp3", MEDIA), "stream": True},
        "Hello.",
        "text",
    ),
    makes(
        "decisions.create",
        "input",
        {**MODEL, "questions": [{"type": "predicate", "name": "kind", "question": "Is it kind?"}]},
        "0.75",
        "json",
    ),
    Row("responses.compact", "input", MODEL, "chat", "Hello."),
    Row("beta.responses.create", "input", MODEL, "chat", "Hello."),
]
ANTHROPIC = [
    counts("messages.count_tokens", "system", {**MODEL, "messages": MESSAGES}),
    counts("beta.messages.count_tokens", "system", {**MODEL, "messages": MESSAGES}),
]
GEMINI = [
    counts("models.count_tokens", "contents", MODEL),
    makes("models.generate_images", "prompt", MODEL, SUMMARY, "image"),
]
MISTRAL = [
    judges(
        "ocr.process",
        "model",
        {"document": {"type": "image_url", "image_url": f"data:image/png;base64,{BASE64}"}},
        "ocr",
        "Hello.",
    ),
    judges("classifiers.moderate", "inputs", MODEL, "moderation", "hate"),
    judges("classifiers.moderate_chat", "model", {"inputs": MESSAGES}, "moderation", "hate"),
    judges("classifiers.classify", "inputs", MODEL, "classification", "topic"),
    judges(
        "classifiers.classify_chat", "model", {"inputs": [{"messages": MESSAGES}]}, "classification", "topic"
    ),
    makes("audio.transcriptions.complete", "model", {"file": FILE}, "Hello.", "text"),
    makes("audio.transcriptions.stream", "model", {"file": FILE}, "Hello.", "text"),
    counts("responses.count_input_tokens", "input", MODEL),
]
LITE = {"model": "openai/m", "api_base": "{url}/v1", "api_key": "none"}
LITELLM = [
    makes("image_generation", "prompt", LITE, SUMMARY, "image"),
    makes("speech", "input", {**LITE, "voice": "alloy"}, SPEECH, "speech"),
    makes("transcription", "prompt", {**LITE, "file": ("a.mp3", MEDIA)}, "Hello.", "text"),
    judges("moderation", "input", LITE, "moderation", "hate"),
    Row(
        "rerank",
        "query",
        {"model": "cohere/m", "api_base": "{url}/v1/rerank", "api_key": "none", "documents": ["a"]},
        "rerank",
        "0.5",
        kind="RETRIEVER",
    ),
]
SURFACES = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "mistral": MISTRAL,
    "litellm": LITELLM,
}
# litellm warns of itself at many places.
MARKS = {"litellm": pytest.mark.filterwarnings("ignore")}
ROWS = [
    pytest.param(
        provider,
        row,
        asynchronous,
        id=f"{provider} {row.method} {'async' if asynchronous else 'sync'}",
        marks=MARKS.get(provider, ()),
    )
    for provider, rows in SURFACES.items()
    for row in rows
    for asynchronous in (False, True)
]


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


def client(provider: str, url: str, asynchronous: bool, images: bool = False) -> Any:
    if provider == "openai":
        openai = pytest.importorskip("openai")
        kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return kind(base_url=f"{url}/v1", api_key="none", max_retries=0)
    if provider == "anthropic":
        anthropic = pytest.importorskip("anthropic")
        kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return kind(base_url=url, api_key="none", max_retries=0)
    if provider == "litellm":
        # Else it fetches prices from GitHub as it is imported.
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        return pytest.importorskip("litellm")
    if provider == "gemini":
        genai = pytest.importorskip("google.genai")
        options = {"base_url": url, "api_version": "v1beta"}
        return genai.Client(api_key="none", http_options=options, vertexai=images)
    try:
        from mistralai.client import Mistral
    except ImportError:
        Mistral = pytest.importorskip("mistralai").Mistral
    return Mistral(api_key="none", server_url=f"{url}/mistral")


def surface(provider: str, row: Row, asynchronous: bool) -> Callable[[Any, dict[str, Any]], Any]:
    path = row.method.partition(",")[0]
    if asynchronous and provider == "gemini":
        path = f"aio.{path}"
    if asynchronous and provider == "mistral":
        path = f"{path}_async"
    if asynchronous and provider == "litellm":
        path = f"a{path}"

    def call(made: Any, asked: dict[str, Any]) -> Any:
        method: Any = made
        for name in path.split("."):
            if not hasattr(method, name):
                pytest.skip(f"this version has no {path}")
            method = getattr(method, name)
        if "classify_chat" in path and "inputs" not in inspect.signature(method).parameters:
            # Its name since version 2.
            asked = {"input" if name == "inputs" else name: value for name, value in asked.items()}
        result = method(**asked)
        return _later(result) if inspect.isawaitable(result) else _seen(result)

    return call


async def _later(result: Any) -> Any:
    return _seen(await result)


def _seen(result: Any) -> Any:
    """Speech is bytes, which a caller reads."""
    content = None if hasattr(result, "http_response") else getattr(result, "content", None)
    return {"content": content} if isinstance(content, bytes) else result


async def finish(provider: str, made: Any) -> None:
    if provider == "litellm":
        wrappers.unwrap(made)
    elif provider == "mistral":
        made.__exit__(None, None, None)
        await made.__aexit__(None, None, None)
    elif provider == "gemini":
        made.close()
        await made.aio.aclose()
    else:
        await close([made])


def request(row: Row, api: str, prompt: str = "Hello.") -> dict[str, Any]:
    asked = {**row.asked, row.prompt: prompt}
    if "api_base" in asked:
        asked["api_base"] = asked["api_base"].replace("{url}", api)
    return asked


@pytest.mark.parametrize(("provider", "row", "asynchronous"), ROWS)
async def test_an_answer(api: str, provider: str, row: Row, asynchronous: bool, spans: Captured) -> None:
    made = client(provider, api, asynchronous, "images" in row.method)
    call = surface(provider, row, asynchronous)
    plain = await outcome(call, made, request(row, api))
    seen, span = await run_in_session(spans, call, wrap(provider)(made), request(row, api))
    await finish(provider, made)
    assert lasting(seen[1]) == lasting(plain[1])
    assert seen[0] == "answer"
    found = attributes(span)
    assert span.status.status_code is StatusCode.UNSET
    assert found["gen_ai.operation.name"] == row.operation
    assert found["server.address"] == "127.0.0.1"
    assert found.get("pandaprobe.span.kind") == row.kind
    assert found.get("gen_ai.output.type") == row.output_type
    tokens = (found.get("gen_ai.usage.input_tokens"), found.get("gen_ai.usage.output_tokens"))
    assert tokens == ((12, 7) if row.counted else (None, None))
    asked, told = (
        found["pandaprobe.input" if row.kind else "gen_ai.input.messages"],
        found["pandaprobe.output" if row.kind else "gen_ai.output.messages"],
    )
    assert row.told in told
    assert "Hello." in asked or row.prompt == "model"
    assert BASE64[:40] not in json.dumps(dict(found))


@pytest.mark.parametrize(("provider", "row", "asynchronous"), ROWS)
async def test_an_error_of_the_api(
    api: str, provider: str, row: Row, asynchronous: bool, spans: Captured
) -> None:
    made = wrap(provider)(client(provider, api, asynchronous, "images" in row.method))
    call = surface(provider, row, asynchronous)
    seen, span = await run_in_session(spans, call, made, request(row, api, "too many"))
    await finish(provider, made)
    assert seen[1] == 429
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"].rpartition(".")[2] == seen[0]
    assert attributes(span).get("pandaprobe.span.kind") == row.kind


def wrap(provider: str) -> Any:
    return getattr(wrappers, f"wrap_{provider}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("provider", SURFACES)
@pytest.mark.parametrize("step", each_step_failing(_operations, _media, media, raw), ids=str)
async def test_no_fault_of_it_reaches_the_caller(
    api: str, provider: str, step: Step, spans: Captured
) -> None:
    # The requests for pictures go to another client of Gemini's.
    rows = [row for row in SURFACES[provider] if provider != "gemini" or "images" not in row.method]
    made = client(provider, api, False)
    plain = [await outcome(surface(provider, row, False), made, request(row, api)) for row in rows]
    # Before the fault: importing it makes the rows.
    trace = wrap(provider)
    with step.failing():
        trace(made)
        for row, expected in zip(rows, plain, strict=True):
            assert await outcome(surface(provider, row, False), made, request(row, api)) == expected, (
                row.method
            )
    await finish(provider, made)


def test_content_stays_away_where_it_is_not_wanted(
    api: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    with client("openai", api, False) as made:
        wrap("openai")(made).moderations.create(input="secret", model="m")
        made.images.generate(prompt="secret", model="m")
    for span in spans.spans:
        assert "secret" not in json.dumps(dict(attributes(span)))
        assert not [
            key for key in attributes(span) if "messages" in key or ("put" in key and "pandaprobe" in key)
        ]


def test_an_open_file_is_sent_whole_and_told_by_its_name(tmp_path: Path, spans: Captured) -> None:
    openai = pytest.importorskip("openai")
    path = tmp_path / "a.mp3"
    path.write_bytes(MEDIA)
    sent: list[bytes] = []
    with (
        scripted_api.running(ANSWERS, sent) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as made,
        path.open("rb") as file,
    ):
        wrap("openai")(made).audio.transcriptions.create(model="m", file=file)
    (body,) = sent
    assert MEDIA in body
    assert "[a.mp3]" in attributes(spans.spans[0])["gen_ai.input.messages"]

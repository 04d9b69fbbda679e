"""Answers of what is asked once that are streams: where they end, and what the whole process does."""

import gc
from operator import attrgetter
from typing import Any

import pytest
import scripted_api
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap

from .surfaces import attributes, close, collect, outcome, parts
from .test_operations import ANSWERS, MEDIA, MODEL, SURFACES, client, finish, request, surface, wrap

openai = pytest.importorskip("openai")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The generate_images method is deprecated"),
]
SPOKEN: dict[str, Any] = {**MODEL, "file": ("a.mp3", MEDIA), "stream": True}


@pytest.fixture(scope="module")
def api() -> Any:
    with scripted_api.running(ANSWERS) as url:
        yield url


def has(made: Any, method: str) -> bool:
    try:
        return attrgetter(method.partition(",")[0])(made) is not None
    except AttributeError:
        return False


async def broken_off(stream: Any) -> None:
    """Reads one event of a stream and lets go of it."""
    await collect(stream, limit=1)
    del stream
    gc.collect()


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_transcription_that_is_broken_off_has_what_was_read(
    api: str, asynchronous: bool, raw: bool, spans: Captured
) -> None:
    made = wrap("openai")(client("openai", api, asynchronous))
    transcriptions = made.audio.transcriptions
    transcriptions = transcriptions.with_raw_response if raw else transcriptions
    result = transcriptions.create(**SPOKEN)
    result = await result if asynchronous else result
    assert spans.spans == [], "the span is open while the stream is"
    await broken_off(result.parse() if raw else result)
    del result
    gc.collect()
    await close([made])
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert [part["content"] for part in parts(span)] == ["Hel"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_raw_stream_that_nobody_parses_ends_its_span_as_it_is_closed(
    api: str, asynchronous: bool, spans: Captured
) -> None:
    made = wrap("openai")(client("openai", api, asynchronous))
    result = made.audio.transcriptions.with_raw_response.create(**SPOKEN)
    result = await result if asynchronous else result
    assert spans.spans == []
    if asynchronous:
        await result.http_response.aclose()
    else:
        result.http_response.close()
    await close([made])
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_speech_that_is_streamed_has_a_span_as_long_as_the_speech(
    api: str, asynchronous: bool, spans: Captured
) -> None:
    made = wrap("openai")(client("openai", api, asynchronous))
    opened = made.audio.speech.with_streaming_response.create(**MODEL, input="Hello.", voice="alloy")
    if asynchronous:
        async with opened as speech:
            heard = b"".join([piece async for piece in speech.iter_bytes()])
    else:
        with opened as speech:
            heard = b"".join(speech.iter_bytes())
    await close([made])
    assert heard == MEDIA
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["gen_ai.output.type"] == "speech"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "mistral"])
async def test_the_whole_process_is_traced_until_it_is_undone(
    api: str, provider: str, asynchronous: bool, spans: Captured
) -> None:
    made = client(provider, api, asynchronous)
    # Old versions lack some; pictures need a client of their own.
    rows = [row for row in SURFACES[provider] if has(made, row.method) and "images" not in row.method]
    instrument(provider)
    try:
        for row in rows:
            await outcome(surface(provider, row, asynchronous), made, request(row, api))
            gc.collect()
            assert [attributes(span)["gen_ai.operation.name"] for span in spans.spans] == [row.operation], row
            spans.spans.clear()
    finally:
        uninstrument(provider)
    for row in rows:
        await outcome(surface(provider, row, asynchronous), unwrap(made), request(row, api))
    assert spans.spans == []
    await finish(provider, made)

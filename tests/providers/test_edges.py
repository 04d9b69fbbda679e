"""Where a stream ends without being read to its end, and what leaves the process with a call."""

import asyncio
import gc
import importlib
import json
import time
from collections.abc import Iterator
from typing import Any

import in_process
import pytest
from aimock import AIMock
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import wrap_openai

from .surfaces import attributes, parts

openai = pytest.importorskip("openai")

STREAM: dict[str, Any] = {
    "model": "gpt-5.4-nano",
    "messages": [{"role": "user", "content": "Hello."}],
    "stream": True,
}


def test_a_stream_that_is_open_when_the_process_exits_ends_its_span(mock: AIMock) -> None:
    ended = in_process.run(
        f"""
        import atexit, openai
        from pandaprobe_otel import runtime
        from pandaprobe_otel.testing import Captured
        from pandaprobe_otel.wrappers import wrap_openai

        captured = Captured()
        runtime.activate(captured)
        # What is registered first runs last.
        atexit.register(lambda: tell(spans=[
            (span.status.status_code.name, span.attributes["gen_ai.output.messages"])
            for span in captured.spans
        ]))
        atexit.register(lambda: stream.response.close())
        client = wrap_openai(openai.OpenAI(base_url="{mock.url}/v1", api_key="none"))
        stream = client.chat.completions.create(**{STREAM})
        for _ in zip(range(3), stream): pass
        """
    )
    ((status, output),) = ended.told["spans"]
    assert status == "UNSET"
    assert "Hello" in output


async def test_a_cancelled_reader_ends_the_span_with_what_was_read(mock: AIMock, spans: Captured) -> None:
    async with openai.AsyncOpenAI(base_url=f"{mock.url}/v1", api_key="none") as client:
        stream = await wrap_openai(client).chat.completions.create(**STREAM)
        begun = asyncio.Event()
        stream._self_aiter = _stopping(stream._self_aiter, begun)

        async def read() -> None:
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await stream.close()
    (span,) = spans.spans
    assert attributes(span)["error.type"] == "asyncio.exceptions.CancelledError"
    assert parts(span)[0]["content"].startswith("Hello")


async def _stopping(chunks: Any, begun: asyncio.Event) -> Any:
    """Chunks that stop coming once the answer has begun."""
    async for chunk in chunks:
        yield chunk
        if begun.is_set():
            await asyncio.Event().wait()


def _raise_at_the_answer(stream: Any) -> None:
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            raise KeyError


def test_an_error_of_the_reader_ends_the_span_with_what_was_read(mock: AIMock, spans: Captured) -> None:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none") as client:
        stream = wrap_openai(client).chat.completions.create(**STREAM)
        with pytest.raises(KeyError), stream:
            _raise_at_the_answer(stream)
        stream = client.chat.completions.create(**STREAM)
        response = stream.response
        with pytest.raises(KeyError):
            _raise_at_the_answer(stream)
        del stream
        gc.collect()
        response.close()
    inside, outside = spans.spans
    assert attributes(inside)["error.type"] == "KeyError"
    assert outside.status.status_code is StatusCode.UNSET
    assert [parts(span)[0]["content"][:5] for span in spans.spans] == ["Hello"] * 2


def test_the_time_to_the_first_chunk_is_that_of_the_first_content_and_is_taken_once(spans: Captured) -> None:
    http = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0])
    pause = 0.1

    def chunks() -> Iterator[bytes]:
        for delta in ({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."}):
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [choice],
            }
            yield f"data: {json.dumps(chunk)}\n\n".encode()
            time.sleep(pause)
        yield b"data: [DONE]\n\n"

    def answer(_: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=chunks())

    http_client = openai.DefaultHttpxClient(transport=http.MockTransport(answer))
    with openai.OpenAI(api_key="none", http_client=http_client) as client:
        begun = time.perf_counter()
        stream = wrap_openai(client).chat.completions.create(**STREAM)
        seen = [time.perf_counter() for chunk in stream if chunk.choices[0].delta.content]
    (span,) = spans.spans
    assert pause <= attributes(span)["gen_ai.response.time_to_first_chunk"] <= seen[0] - begun


SENDS = {
    "openai": """
client = openai.OpenAI(api_key="none", max_retries=0, http_client=openai.DefaultHttpxClient(transport=mock))
ask = lambda client: client.chat.completions.create(model="m", messages=[])
""",
    "anthropic": """
http_client = anthropic.DefaultHttpxClient(transport=mock)
client = anthropic.Anthropic(api_key="none", max_retries=0, http_client=http_client)
ask = lambda client: client.messages.create(model="m", max_tokens=9, messages=[])
""",
}


@pytest.mark.parametrize("provider", SENDS)
def test_no_vendor_is_sent_a_session_or_a_user(provider: str) -> None:
    pytest.importorskip(provider)
    program = f"""
import importlib, {provider}
import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_{provider}

base = {provider}.DefaultHttpxClient.__mro__[1]
http = importlib.import_module(base.__module__.split(".")[0])
sent = []
def answer(request):
    sent.append([f"{{name}}: {{value}}" for name, value in request.headers.items()])
    return http.Response(400, json={{}})
mock = http.MockTransport(answer)
{SENDS[provider]}
pandaprobe.init(endpoint="http://127.0.0.1:1", shutdown_timeout=0.1)
with pandaprobe.session("secret-session"), pandaprobe.user("secret-user"):
    wrapped = wrap_{provider}(client.with_options(), session_id="secret-label", user_id="secret-user")
    for made in (client, wrapped):
        try:
            ask(made)
        except {provider}.BadRequestError:
            tell(sent=sent)
"""
    ended = in_process.run(program)
    assert len(ended.told["sent"]) == 2
    for headers in ended.told["sent"]:
        assert any(header.startswith("host: api.") for header in headers)
        assert [header for header in headers if "secret" in header] == []

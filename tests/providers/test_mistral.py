"""What `wrap_mistral` promises beside what `test_matrix.py` runs.

Against aimock, and where that has gaps against a server that says what Mistral's own does.
"""

import gc
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import scripted
from aimock import AIMock
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured, assert_session, capture
from pandaprobe_otel.wrappers import (
    instrument,
    uninstrument,
    unwrap,
    wrap_mistral,
)
from pandaprobe_otel.wrappers import mistral as wrapper

from .conftest import ANSWER
from .surfaces import (
    Surface,
    assert_tool_call,
    attributes,
    collect,
    parts,
    run_in_session,
)

sdk = pytest.importorskip("mistralai.client", reason="mistralai is not installed")
if not hasattr(sdk, "Mistral"):
    sdk = pytest.importorskip("mistralai")

Make = Callable[[str], Any]
MODEL = "mistral-small-latest"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS},
}
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
SURFACES: dict[str, Surface] = {
    "chat.complete": lambda client, ask: client.chat.complete(**ask),
    "chat.complete_async": lambda client, ask: client.chat.complete_async(**ask),
    "chat.stream": lambda client, ask: client.chat.stream(**ask),
    "chat.stream_async": lambda client, ask: client.chat.stream_async(**ask),
}


def ask(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **more}


def answer(content: Any, **message: Any) -> dict[str, Any]:
    """An answer as Mistral's own API sends it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    reason = {"finish_reason": "tool_calls" if message.get("tool_calls") else "stop"}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": MODEL}
    return {**head, "usage": USAGE, "choices": [{**choice, **reason}]}


def chunk(finish_reason: str | None = None, usage: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return {**head, "choices": [choice], **({"usage": usage} if usage else {})}


@pytest.fixture
async def make() -> AsyncIterator[Callable[[str], Any]]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def make(url: str) -> Any:
        made.append(sdk.Mistral(api_key="none", server_url=url))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
        await client.__aexit__(None, None, None)


@pytest.fixture
def client(mock: AIMock, make: Make) -> Any:
    return wrap_mistral(make(mock.url))


@pytest.fixture
def scripted_client(api: scripted.Scripted, make: Make) -> Any:
    return wrap_mistral(make(api.url))


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("method", ["parse", "parse_async", "parse_stream", "parse_stream_async"])
async def test_a_structured_answer_is_one_span(
    client: Any, method: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        city: str

    surface: Surface = lambda client, asked: getattr(client.chat, method)(City, **asked)  # noqa: E731
    (_, seen), span = await run_in_session(spans, surface, client, ask("json, please"))
    assert [part["content"] for part in parts(span)] == ['{"city": "Paris"}']
    assert attributes(span)["gen_ai.output.type"] == "json"
    if "stream" not in method:
        assert seen["choices"][0]["message"]["parsed"] == {"city": "Paris"}


# What messages hold


async def test_tool_calls_and_their_results(client: Any, spans: Captured) -> None:
    request = ask("weather", tools=[TOOL])
    asked = client.chat.complete(**request)
    call = asked.choices[0].message
    result = {
        "role": "tool",
        "tool_call_id": call.tool_calls[0].id,
        "content": "sunny",
        "name": "get_weather",
    }
    client.chat.complete(**{**request, "messages": [*request["messages"], call, result]})
    first, second = spans.spans
    assert_tool_call(first, "get_weather", {"city": "Paris"})
    (tool,) = json.loads(attributes(first)["gen_ai.tool.definitions"])
    assert (tool["name"], tool["description"], tool["parameters"]) == (
        "get_weather",
        "The weather.",
        PARAMETERS,
    )
    _, requested, answered = json.loads(attributes(second)["gen_ai.input.messages"])
    assert requested["parts"][0]["id"] == answered["parts"][0]["id"] == "call_1"
    assert (answered["role"], answered["parts"][0]["response"]) == ("tool", "sunny")


def test_several_tool_calls_of_one_chunk_stay_apart(
    api: scripted.Scripted, scripted_client: Any, spans: Captured
) -> None:
    # Without an index, for which the SDK fills in 0.
    functions = [
        {"name": "get_weather", "arguments": json.dumps({"city": city})} for city in ("Paris", "Rome")
    ]
    calls = [{"id": name, "function": function} for name, function in zip("ab", functions, strict=True)]
    api.streams(chunk(role="assistant", content=""), chunk("tool_calls", USAGE, tool_calls=calls))
    list(scripted_client.chat.stream(**ask("weather", tools=[TOOL])))
    (span,) = spans.spans
    assert [(part["id"], part["arguments"]["city"]) for part in parts(span)] == [
        ("a", "Paris"),
        ("b", "Rome"),
    ]
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert "gen_ai.response.time_to_first_chunk" in attributes(span)


def test_thinking_images_and_documents_are_parts_of_their_own(
    api: scripted.Scripted, scripted_client: Any, spans: Captured
) -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Two and two."}]}
    api.answers(answer([thinking, {"type": "text", "text": "Four."}]))
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": "data:image/png;base64,aGk="},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "document_url", "document_url": "https://example.com/a.pdf"},
    ]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    scripted_client.chat.complete(model=MODEL, messages=messages)
    (span,) = spans.spans
    system, text, image, linked, document = parts(span, "input")
    assert (system["content"], text["content"]) == ("Be brief.", "What is it?")
    assert (image["type"], image["mime_type"], image["content"]) == ("blob", "image/png", "aGk=")
    assert (linked["type"], linked["uri"]) == ("uri", "https://example.com/a.png")
    assert (document["modality"], document["uri"]) == ("document", "https://example.com/a.pdf")
    assert [(part["type"], part["content"]) for part in parts(span)] == [
        ("reasoning", "Two and two."),
        ("text", "Four."),
    ]


def test_messages_may_be_models_or_a_generator(client: Any, spans: Captured) -> None:
    models = pytest.importorskip(f"{sdk.__name__}.models")
    for messages in ([models.UserMessage(content="Hello.")], (given for given in ask("Hello.")["messages"])):
        answered = client.chat.complete(model=MODEL, messages=messages)
        assert answered.choices[0].message.content == ANSWER
    assert [parts(span, "input")[0]["content"] for span in spans.spans] == ["Hello.", "Hello."]


@pytest.mark.usefixtures("_no_content")
async def test_no_content_where_it_is_not_wanted(client: Any, surface: str, spans: Captured) -> None:
    await collect(SURFACES[surface](client, ask("Hello.", tools=[TOOL])))
    (span,) = spans.spans
    assert not {"gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.definitions"} & {
        *attributes(span)
    }
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.fixture
def _no_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")


# Every end of a stream


def started(client: Any) -> Any:
    stream = client.chat.stream(**ask("Hello."))
    for event in stream:
        if event.data.choices[0].delta.content:
            return stream
    raise AssertionError("no content came")


@pytest.mark.parametrize("end", ["dropped", "left", "failed"])
def test_a_stream_that_is_not_read_on_ends_its_span(client: Any, end: str, spans: Captured) -> None:
    stream = started(client)
    assert not spans.spans
    if end == "dropped":
        del stream
        gc.collect()
    elif end == "left":
        with stream:
            pass
    else:
        with pytest.raises(ZeroDivisionError), stream:
            raise ZeroDivisionError
    (span,) = spans.spans
    assert ANSWER.startswith(parts(span)[0]["content"])
    assert (span.status.status_code is StatusCode.ERROR) == (end == "failed")


def test_nothing_between_two_chunks_is_below_the_call(client: Any, spans: Captured) -> None:
    for _ in client.chat.stream(**ask("Hello.")):
        assert not trace.get_current_span().get_span_context().is_valid
    assert len(spans.spans) == 1


# One call, one span


@pytest.mark.parametrize("method", ["complete", "stream"])
def test_the_spans_of_the_sdk_itself_are_left_out_where_they_would_arrive_too(
    client: Any, method: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapper, "get_tracer_provider", lambda: spans.tracer_provider)
    _trace_natively(client, spans, monkeypatch)
    result = getattr(client.chat, method)(**ask("Hello."))
    _ = list(result) if method == "stream" else None
    assert [span.instrumentation_scope.name for span in spans.spans if span.instrumentation_scope] == [
        "pandaprobe_otel.wrappers.mistral"
    ]
    unwrap(client)
    spans.spans.clear()
    client.chat.complete(**ask("Hello."))
    assert [span.instrumentation_scope.name for span in spans.spans if span.instrumentation_scope] == [
        "mistralai_sdk_tracer"
    ]


def test_the_spans_of_the_sdk_itself_that_go_elsewhere_are_let_be(
    client: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture() as elsewhere:
        pass
    _trace_natively(client, elsewhere, monkeypatch)
    monkeypatch.setattr(wrapper, "get_tracer_provider", lambda: elsewhere.tracer_provider)
    client.chat.complete(**ask("Hello."))
    assert (len(spans.spans), len(elsewhere.spans)) == (1, 1)


def _trace_natively(client: Any, to: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the SDK trace by itself; before it could be asked to, it did so wherever there was a provider."""
    try:
        from mistralai.extra.observability.telemetry import configure_telemetry
    except ImportError:
        monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", to.tracer_provider)
    else:
        configure_telemetry(client, provider=to.tracer_provider)


def test_the_whole_process_is_traced_until_it_is_undone(mock: AIMock, make: Make, spans: Captured) -> None:
    client = make(mock.url)
    instrument("mistral")
    try:
        client.chat.complete(**ask("Hello."))
        list(client.chat.stream(**ask("Hello.")))
        wrap_mistral(client, session_id="mine")
        client.chat.complete(**ask("Hello."))
        list(client.chat.stream(**ask("Hello.")))
        assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 4
        assert_session(spans.spans[2:], "mine")
    finally:
        uninstrument("mistral")
    unwrap(client).chat.complete(**ask("Hello."))
    assert len(spans.spans) == 4


# The client


def test_labels_hold_for_all_calls_of_a_client(mock: AIMock, make: Make, spans: Captured) -> None:
    client = wrap_mistral(make(mock.url), session_id="mine", user_id="ada", tags=["a"])
    client.chat.complete(**ask("Hello."))
    list(wrap_mistral(client).chat.stream(**ask("Hello.")))
    assert_session(spans.spans, "mine")
    assert len(spans.spans) == 2
    for span in spans.spans:
        assert (attributes(span)["user.id"], attributes(span)["pandaprobe.tags"]) == ("ada", ("a",))


def test_other_clients_and_unwrapped_ones_are_not_traced(
    mock: AIMock, make: Make, client: Any, spans: Captured
) -> None:
    make(mock.url).chat.complete(**ask("Hello."))
    assert unwrap(client) is client
    client.chat.complete(**ask("Hello."))
    assert not spans.spans
    assert "complete" not in vars(client.chat)


def test_what_is_no_client_is_refused_with_the_fix() -> None:
    with pytest.raises(TypeError, match=r"wrap_mistral\(Mistral\(api_key="):
        wrap_mistral(sdk.Mistral)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("mistralai.client.sdk", "mistralai.sdk"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'pandaprobe-otel\[mistral\]'"):
        wrap_mistral(object())


def test_an_unknown_version_is_told_once_and_its_client_left_alone(
    mock: AIMock,
    make: Make,
    spans: Captured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(wrapper.MistralInstrumentor, "versions", ("mistralai < 1",))
    client = make(mock.url)
    wrap_mistral(wrap_mistral(client))
    client.chat.complete(**ask("Hello."))
    assert not spans.spans
    assert [record.levelname for record in caplog.records if "mistralai < 1" in record.getMessage()] == [
        "WARNING"
    ]

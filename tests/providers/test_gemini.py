"""What `wrap_gemini` promises beside what `test_matrix.py` runs.

Against aimock, and where that has gaps against a server that says what Google's own does.
"""

import gc
import inspect
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import scripted
from aimock import AIMock
from faulty import each_step_failing
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import _spans, gemini, instrument, uninstrument, unwrap, wrap_gemini

from .surfaces import Surface, assert_error, attributes, collect, outcome, parts

genai = pytest.importorskip("google.genai", reason="google-genai is not installed")
types = genai.types

pytestmark = [
    # How aimock says why an answer with a function call ended; Google's own says STOP.
    pytest.mark.filterwarnings("ignore:FUNCTION_CALL is not a valid FinishReason"),
    # What google-genai itself does on new versions of Python and of its own dependencies.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:google.genai.*"),
]

MODEL = "gemini-2.5-flash"
Make = Callable[[str], Any]
SURFACES: dict[str, Surface] = {
    "models.generate_content": lambda client, ask: client.models.generate_content(**ask),
    "models.generate_content_stream": lambda client, ask: client.models.generate_content_stream(**ask),
    "aio.models.generate_content": lambda client, ask: client.aio.models.generate_content(**ask),
    "aio.models.generate_content_stream": lambda client, ask: client.aio.models.generate_content_stream(
        **ask
    ),
    "chats.send_message": lambda client, ask: chat(client.chats, ask).send_message(ask["contents"]),
    "chats.send_message_stream": (
        lambda client, ask: chat(client.chats, ask).send_message_stream(ask["contents"])
    ),
    "aio.chats.send_message": lambda client, ask: chat(client.aio.chats, ask).send_message(ask["contents"]),
    "aio.chats.send_message_stream": (
        lambda client, ask: chat(client.aio.chats, ask).send_message_stream(ask["contents"])
    ),
}
HEAD = {"modelVersion": "gemini-2.5-flash-001", "responseId": "r1"}


def chat(chats: Any, ask: dict[str, Any]) -> Any:
    return chats.create(model=ask["model"], config=ask.get("config"))


def ask(prompt: Any, **config: Any) -> dict[str, Any]:
    return {"model": MODEL, "contents": prompt, **({"config": config} if config else {})}


def answer(*given: dict[str, Any], usage: Any = None, reason: str | None = "STOP") -> dict[str, Any]:
    """An answer, or a chunk of one, as Google's own API sends it."""
    candidate = {"content": {"role": "model", "parts": list(given)}, "index": 0}
    ended = {"finishReason": reason} if reason else {}
    return {**HEAD, "candidates": [{**candidate, **ended}], **({"usageMetadata": usage} if usage else {})}


def get_weather(city: str) -> str:
    """The weather in a city."""
    with trace.get_tracer("user", tracer_provider=PROVIDER[-1]).start_as_current_span("inside"):
        return f"sunny in {city}"


async def get_weather_async(city: str) -> str:
    """The weather in a city."""
    return get_weather(city)


get_weather_async.__name__ = "get_weather"
PROVIDER: list[Any] = []


@pytest.fixture(autouse=True)
def _provider_of_the_users_own_spans(spans: Captured) -> Iterator[None]:
    PROVIDER.append(spans.tracer_provider)
    yield
    PROVIDER.pop()


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes clients, and closes them."""
    made: list[Any] = []

    def make(url: str) -> Any:
        options = types.HttpOptions(base_url=url, api_version="v1beta")
        made.append(genai.Client(api_key="none", http_options=options))
        return made[-1]

    yield make
    for client in made:
        client.close()
        await client.aio.aclose()


@pytest.fixture
def client(mock: AIMock, make: Make) -> Any:
    return wrap_gemini(make(mock.url))


@pytest.fixture
def scripted_client(api: scripted.Scripted, make: Make) -> Any:
    return wrap_gemini(make(api.url))


@pytest.fixture(params=SURFACES)
def surface(request: pytest.FixtureRequest) -> str:
    return request.param


# Each surface


async def test_functions_that_the_sdk_calls_are_tool_spans_between_one_span_for_each_request(
    mock: AIMock, make: Make, client: Any, surface: str, spans: Captured
) -> None:
    def calls(tool: Any) -> dict[str, Any]:
        return ask("weather", tools=[tool])

    plain = await outcome(SURFACES[surface], make(mock.url), calls(get_weather))
    spans.spans.clear()
    tool = get_weather_async if surface.startswith("aio") else get_weather
    with session("tools"), spans.tracer.start_as_current_span("around") as around:
        assert await outcome(SURFACES[surface], client, calls(tool)) == plain
    assert_session(spans.spans, "tools")
    named = {span.name: span for span in spans.spans}
    requests = [span for span in spans.spans if span.name.startswith("generate_content")]
    executed, inside = named["execute_tool get_weather"], named["inside"]
    assert len(spans.spans) == 5
    assert len(requests) == 2
    assert [span.parent for span in (*requests, executed)] == [around.get_span_context()] * 3
    assert inside.parent == executed.get_span_context()
    assert executed.kind is SpanKind.INTERNAL
    assert {
        "gen_ai.tool.name": "get_weather",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "The weather in a city.",
        "gen_ai.tool.call.arguments": '{"city":"Paris"}',
        "gen_ai.tool.call.result": "sunny in Paris",
    }.items() <= attributes(executed).items()
    first, second = sorted(requests, key=lambda span: span.start_time or 0)
    (call,) = parts(first)
    assert (call["type"], call["name"], call["arguments"]) == ("tool_call", "get_weather", {"city": "Paris"})
    (defined,) = json.loads(attributes(first)["gen_ai.tool.definitions"])
    assert (defined["name"], defined["description"]) == ("get_weather", "The weather in a city.")
    assert "city" in defined["parameters"]["properties"]
    *_, result = json.loads(attributes(second)["gen_ai.input.messages"])
    assert result["role"] == "tool"
    assert result["parts"][0]["response"] == {"result": "sunny in Paris"}
    assert [part["content"] for part in parts(second)] == ["It is sunny."]


def test_a_function_that_fails_is_an_error_on_its_span_and_the_models_to_handle(
    client: Any, spans: Captured
) -> None:
    def get_weather(city: str) -> str:
        """The weather in a city."""
        raise ZeroDivisionError(city)

    answered = client.models.generate_content(**ask("weather", tools=[get_weather]))
    assert answered.text == "It is sunny."
    (executed,) = [span for span in spans.spans if span.name.startswith("execute_tool")]
    assert_error(executed, "ZeroDivisionError")


# What answers and requests hold


@pytest.mark.parametrize("streams", [False, True])
def test_usage_counts_what_is_cached_thought_and_used_by_tools(
    api: scripted.Scripted, scripted_client: Any, streams: bool, spans: Captured
) -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 64,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 30,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 40},
            {"modality": "IMAGE", "tokenCount": 60},
        ],
    }
    thought, text = {"text": "Two and two.", "thought": True}, {"text": "Four."}
    if streams:
        api.streams(answer(thought, reason=None), answer(text, reason=None), answer(usage=usage), done=False)
        list(scripted_client.models.generate_content_stream(**ask("think")))
    else:
        api.answers(answer(thought, text, usage=usage))
        scripted_client.models.generate_content(**ask("think"))
    (span,) = spans.spans
    found = attributes(span)
    assert {
        "gen_ai.usage.input_tokens": 105,
        "gen_ai.usage.output_tokens": 37,
        "gen_ai.usage.reasoning.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.text.input_tokens": 40,
        "gen_ai.response.model": "gemini-2.5-flash-001",
        "gen_ai.response.id": "r1",
    }.items() <= found.items()
    assert [(part["type"], part["content"]) for part in parts(span)] == [
        ("reasoning", "Two and two."),
        ("text", "Four."),
    ]


def test_a_prompt_that_is_blocked_says_why(
    api: scripted.Scripted, scripted_client: Any, spans: Captured
) -> None:
    api.answers({**HEAD, "promptFeedback": {"blockReason": "SAFETY"}})
    scripted_client.models.generate_content(**ask("Hello."))
    (span,) = spans.spans
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("content_filter",)
    assert attributes(span)["gcp.gemini.prompt_feedback.block_reason"] == "SAFETY"


def test_images_files_and_code_are_parts_of_their_own(
    api: scripted.Scripted, scripted_client: Any, spans: Captured
) -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "2+2"}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "4"}}
    api.answers(answer(code, result, {"text": "4"}, reason="MAX_TOKENS"))
    document = types.Part.from_uri(file_uri="gs://a/b.pdf", mime_type="application/pdf")
    contents = [
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
        types.ModelContent(parts=[types.Part(text="An image.")]),
        types.Content(
            role="user", parts=[types.Part.from_uri(file_uri="gs://a/b.pdf", mime_type="application/pdf")]
        ),
    ]
    scripted_client.models.generate_content(
        model=MODEL, contents=contents, config=types.GenerateContentConfig(tools=[{"code_execution": {}}])
    )
    (span,) = spans.spans
    image, said, document = parts(span, "input")
    assert (image["type"], image["modality"], image["content"]) == ("blob", "image", "aGk=")
    assert said["content"] == "An image."
    assert (document["modality"], document["uri"]) == ("document", "gs://a/b.pdf")
    call, outcome, text = parts(span)
    assert call["server_tool_call"]["code"] == "2+2"
    assert outcome["server_tool_call_response"]["output"] == "4"
    assert text["content"] == "4"
    assert attributes(span)["gen_ai.response.finish_reasons"] == ("length",)
    assert [tool["type"] for tool in json.loads(attributes(span)["gen_ai.tool.definitions"])] == [
        "code_execution"
    ]


async def test_no_content_where_it_is_not_wanted(
    client: Any, surface: str, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT")
    tool = get_weather_async if surface.startswith("aio") else get_weather
    await collect(SURFACES[surface](client, ask("weather", system_instruction="Secret.", tools=[tool])))
    assert len(spans.spans) == 4
    everything = json.dumps([list(attributes(span).values()) for span in spans.spans])
    assert not [word for word in ("Paris", "sunny", "Secret") if word in everything]


# Every end of a stream


@pytest.mark.parametrize("end", ["dropped", "closed", "failed"])
def test_a_stream_that_is_not_read_on_ends_its_span(client: Any, end: str, spans: Captured) -> None:
    stream = client.models.generate_content_stream(**ask("Hello."))
    assert inspect.isgenerator(stream)
    begun = next(stream).text
    assert not spans.spans
    if end == "dropped":
        del stream
        gc.collect()
    elif end == "closed":
        stream.close()
    else:
        with pytest.raises(ZeroDivisionError):
            stream.throw(ZeroDivisionError())
    (span,) = spans.spans
    assert parts(span)[0]["content"] == begun
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("surface", ["models.generate_content_stream", "chats.send_message_stream"])
def test_a_stream_is_of_the_session_that_it_was_asked_for_in(
    client: Any, surface: str, spans: Captured
) -> None:
    with session("asked"):
        stream = SURFACES[surface](client, ask("weather", tools=[get_weather]))
    with session("read"):
        list(stream)
        assert not trace.get_current_span().get_span_context().is_valid
    assert_session(spans.spans, "asked")
    assert len(spans.spans) == 4


# One call, one span


def test_a_call_inside_a_span_of_googles_adk_gets_no_other(client: Any, spans: Captured) -> None:
    adk = spans.tracer_provider.get_tracer("gcp.vertex.agent")
    with adk.start_as_current_span("call_llm", attributes={"gen_ai.operation.name": "generate_content"}):
        client.models.generate_content(**ask("Hello."))
        list(client.models.generate_content_stream(**ask("Hello.")))
    assert [span.name for span in spans.spans] == ["call_llm"]


def test_the_official_instrumentation_and_this_one_make_one_span(
    mock: AIMock, make: Make, spans: Captured
) -> None:
    official = pytest.importorskip(
        "opentelemetry.instrumentation.google_genai", reason="the official instrumentation is not installed"
    ).GoogleGenAiSdkInstrumentor()
    official.instrument(tracer_provider=spans.tracer_provider, skip_dep_check=True)
    try:
        client = wrap_gemini(make(mock.url))
        client.models.generate_content(**ask("Hello."))
        client.models.generate_content(**ask("weather", tools=[get_weather]))
    finally:
        official.uninstrument()
    assert [span.name for span in spans.spans] == [
        f"generate_content {MODEL}",
        "inside",
        "execute_tool get_weather",
        f"generate_content {MODEL}",
    ]


def test_the_whole_process_is_traced_until_it_is_undone(mock: AIMock, make: Make, spans: Captured) -> None:
    client = make(mock.url)
    request = ask("weather", tools=[get_weather])
    instrument("gemini")
    try:
        for label in (None, "mine"):
            spans.spans.clear()
            if label:
                wrap_gemini(client, session_id=label)
            client.models.generate_content(**request)
            assert len(spans.spans) == 4
            chat(client.chats, request).send_message("weather")
            list(client.models.generate_content_stream(**request))
            assert len(spans.spans) == 12
            assert_session(spans.spans, label)
    finally:
        uninstrument("gemini")
    unwrap(client)
    spans.spans.clear()
    client.models.generate_content(**request)
    chat(client.chats, request).send_message("weather")
    assert {span.name for span in spans.spans} == {"inside"}


# The client


def test_labels_hold_for_all_calls_of_a_client_and_the_functions_in_them(
    mock: AIMock, make: Make, spans: Captured
) -> None:
    client = wrap_gemini(make(mock.url), session_id="mine", user_id="ada", tags=["a"])
    with session("around"):
        chat(wrap_gemini(client).chats, ask("weather", tools=[get_weather])).send_message("weather")
    assert_session(spans.spans, "mine")
    assert len(spans.spans) == 4
    assert {attributes(span)["user.id"] for span in spans.spans} == {"ada"}
    assert [attributes(span).get("pandaprobe.tags") for span in spans.spans].count(("a",)) == 3


def test_other_clients_and_unwrapped_ones_are_not_traced(
    mock: AIMock, make: Make, client: Any, spans: Captured
) -> None:
    request = ask("weather", tools=[get_weather])
    chat(make(mock.url).chats, request).send_message("weather")
    assert unwrap(client) is client
    client.models.generate_content(**request)
    chat(client.chats, request).send_message("weather")
    assert {span.name for span in spans.spans} == {"inside"}
    assert not [name for name in vars(client.models) if name.startswith("generate")]


def test_the_callers_own_configuration_stays_as_it_is(client: Any) -> None:
    given = types.GenerateContentConfig(tools=[get_weather])
    client.models.generate_content(model=MODEL, contents="weather", config=given)
    assert given.tools == [get_weather]


def test_what_is_no_client_is_refused_with_the_fix() -> None:
    with pytest.raises(TypeError, match=r"wrap_gemini\(genai\.Client\(\)\)"):
        wrap_gemini(genai.Client)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    monkeypatch.delattr("google.genai", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'pandaprobe-otel\[gemini\]'"):
        wrap_gemini(object())


def test_an_unknown_version_is_told_once_and_its_client_left_alone(
    mock: AIMock,
    make: Make,
    spans: Captured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(gemini.GeminiInstrumentor, "versions", ("google-genai < 1",))
    client = make(mock.url)
    wrap_gemini(wrap_gemini(client)).models.generate_content(**ask("Hello."))
    assert not spans.spans
    assert len([one for one in caplog.records if "google-genai < 1" in one.getMessage()]) == 1


# Faults of the tracing


@pytest.mark.parametrize(
    "surface",
    [
        "models.generate_content_stream",
        "aio.models.generate_content",
        "chats.send_message",
        "aio.chats.send_message_stream",
    ],
)
async def test_no_fault_of_the_tracing_reaches_the_caller(client: Any, surface: str) -> None:
    tool = get_weather_async if surface.startswith("aio") else get_weather
    requests = [ask("weather", tools=[tool], temperature=0.5), ask("too many")]
    plain = [await outcome(SURFACES[surface], unwrap(client), request) for request in requests]
    wrap_gemini(client)
    modules = (gemini, gemini.calls, gemini.messages, gemini.tools, _spans)
    for step in each_step_failing(*modules):
        with step.failing():
            seen = [await outcome(SURFACES[surface], client, request) for request in requests]
        assert seen == plain, step
        assert not trace.get_current_span().get_span_context().is_valid, step

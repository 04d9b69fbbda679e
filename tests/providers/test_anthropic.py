"""What `wrap_anthropic` promises beside what `test_matrix.py` runs."""

from typing import Any

import pytest
import scripted_api
from aimock import AIMock
from opentelemetry import trace

from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_anthropic

from .conftest import ANSWER
from .surfaces import (
    Surface,
    assert_answer,
    assert_error,
    attributes,
    close,
    collect,
    parts,
    run_in_session,
)

anthropic = pytest.importorskip("anthropic")

MODEL = "claude-opus-4-8"
CREATE: Surface = lambda client, ask: client.messages.create(**ask)  # noqa: E731
STREAM: Surface = lambda client, ask: client.messages.stream(**ask)  # noqa: E731


def ask(prompt: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": MODEL, "max_tokens": 99, "messages": messages, **more}


@pytest.fixture(params=["sync", "async"])
async def make(request: pytest.FixtureRequest, mock: AIMock) -> Any:
    kind = anthropic.Anthropic if request.param == "sync" else anthropic.AsyncAnthropic
    made: list[Any] = []

    def make() -> Any:
        made.append(kind(base_url=mock.url, api_key="none", max_retries=0))
        return made[-1]

    yield make
    await close(made)


@pytest.fixture
def client(mock: AIMock) -> Any:
    with anthropic.Anthropic(base_url=mock.url, api_key="none", max_retries=0) as made:
        yield made


async def test_reasoning_is_on_the_span(make: Any, spans: Captured) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    request = ask("think", thinking=thinking, max_tokens=2048, model="claude-sonnet-5")
    for surface in (CREATE, STREAM):
        await collect(surface(wrap_anthropic(make()), request))
        assert [part["content"] for part in parts(spans.spans[-1])] == ["Two and two.", "Four."]


async def test_the_text_of_the_helper_is_timed_too(client: Any, spans: Captured) -> None:
    with wrap_anthropic(client).messages.stream(**ask("Hello.")) as stream:
        assert "".join(stream.text_stream) == ANSWER
    with client.messages.stream(**ask("Hello.")) as stream:
        assert stream.get_final_message().content[0].text == ANSWER
    for span in spans.spans:
        assert 0 < attributes(span)["gen_ai.response.time_to_first_chunk"] < 60


def test_what_comes_after_a_call_whose_answer_is_not_read_yet_is_not_below_it(
    client: Any, spans: Captured
) -> None:
    wrap_anthropic(client)
    raw = client.messages.with_raw_response.create(**ask("Hello."), stream=True)
    assert trace.get_current_span() is trace.INVALID_SPAN
    stream = raw.parse()
    assert raw.parse() is stream
    next(stream)
    assert trace.get_current_span() is trace.INVALID_SPAN
    list(stream)
    with client.messages.with_streaming_response.create(**ask("Hello.")) as response:
        assert trace.get_current_span() is trace.INVALID_SPAN
        response.parse()
    assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 2


def test_labels_hold_for_streams_and_copies(client: Any, spans: Captured) -> None:
    wrap_anthropic(client, session_id="mine", user_id="ada", tags=["a"])
    with client.messages.stream(**ask("Hello.")) as stream:
        inside = spans.tracer.start_span("inside")
        stream.until_done()
    inside.end()
    list(client.with_options(timeout=9).beta.messages.create(**ask("Hello."), stream=True))
    made = [span for span in spans.spans if span is not inside]
    assert_session([span for span in made if span.name != "inside"], "mine")
    assert [attributes(span).get("pandaprobe.tags") for span in made if span.name != "inside"] == [("a",)] * 2


@pytest.mark.parametrize("kind", ["AnthropicVertex", "AsyncAnthropicVertex"])
async def test_vertex(kind: str, spans: Captured) -> None:
    content = [{"type": "text", "text": ANSWER}]
    usage = {"input_tokens": 12, "output_tokens": 7}
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "content": content}
    whole = {**answer, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}
    place = {"region": "global", "project_id": "p", "access_token": "none"}
    with scripted_api.running({":rawPredict": whole}) as url:
        client = wrap_anthropic(getattr(anthropic, kind)(base_url=url, max_retries=0, **place))
        seen, span = await run_in_session(spans, CREATE, client, ask("Hello."))
        assert seen[1]["content"][0]["text"] == ANSWER
        assert_answer(span, ANSWER, provider="anthropic", model=MODEL)
        spans.spans.clear()
        seen, span = await run_in_session(spans, CREATE, client, ask("too many"))
        assert seen == ("RateLimitError", 429)
        assert_error(span, "RateLimitError")
        await close([client])


@pytest.fixture
def native(spans: Captured) -> Any:
    """The spans that the package itself makes go where ours go."""
    if not hasattr(anthropic.Anthropic, "open_telemetry"):
        pytest.skip("this version makes no spans of its own")
    return {"tracer_provider": spans.tracer_provider}


def test_inside_a_traced_call_the_package_makes_no_span_of_its_own(
    client: Any, native: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "get_tracer", lambda *args, **_: spans.tracer_provider.get_tracer(args[0]))
    client.messages.create(**ask("Hello."))
    assert [span.name for span in spans.spans] == ["anthropic.messages.create"]
    wrap_anthropic(client).messages.create(**ask("Hello."))
    assert [span.name for span in spans.spans[1:]] == [f"chat {MODEL}"]
    unwrap(client).messages.create(**ask("Hello."))
    assert [span.name for span in spans.spans[2:]] == ["anthropic.messages.create"]


def test_a_client_that_was_told_to_make_spans_goes_on_in_the_session_named(
    mock: AIMock, native: Any, spans: Captured
) -> None:
    with anthropic.Anthropic(base_url=mock.url, api_key="none", open_telemetry=native) as client:
        wrap_anthropic(client, session_id="mine").messages.create(**ask("Hello."))
    assert [span.name for span in spans.spans] == ["anthropic.messages.create"]
    assert_session(spans.spans, "mine")


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    instrument("anthropic")
    try:
        client.messages.create(**ask("Hello."))
        wrap_anthropic(client, session_id="mine")
        client.messages.create(**ask("Hello."))
        with client.beta.messages.stream(**ask("Hello.")) as stream:
            stream.until_done()
        assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 3
        assert_session(spans.spans[1:], "mine")
    finally:
        uninstrument("anthropic")
    unwrap(client).messages.create(**ask("Hello."))
    assert len(spans.spans) == 3


@pytest.mark.parametrize("given", [None, object(), anthropic, anthropic.Anthropic])
def test_anything_but_a_client_is_refused_with_the_fix(given: Any) -> None:
    with pytest.raises(TypeError, match=r"write wrap_anthropic\(anthropic\.Anthropic\(\)\)"):
        wrap_anthropic(given)

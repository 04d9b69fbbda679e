"""What `wrap_openai` promises beside what `test_matrix.py` runs: labels, and the whole process."""

from collections.abc import Iterator
from typing import Any

import pytest
from aimock import AIMock

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_openai

from .conftest import ANSWER
from .surfaces import (
    attributes,
    parts,
)

openai = pytest.importorskip("openai")

from .tables.openai import chat  # noqa: E402


@pytest.fixture
def client(mock: AIMock) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_labels_hold_for_all_calls_of_a_client_and_of_its_copies(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="mine", user_id="ada", tags=["a"], metadata={"tier": 1})
    with session("around"):
        client.chat.completions.create(**chat("Hello."))
        client.with_options(timeout=5).responses.create(model="gpt-5.4-nano", input="Hello.")
    assert_session(spans.spans, "mine")
    for span in spans.spans:
        found = attributes(span)
        assert found["user.id"] == "ada"
        assert found["pandaprobe.tags"] == ("a",)
        assert found["pandaprobe.metadata"] == '{"tier": 1}'


def test_the_labels_of_a_client_hold_for_what_reading_its_stream_starts(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="mine")
    stream = client.chat.completions.create(**chat("Hello."), stream=True)
    underneath = stream.response.iter_bytes

    def traced(*args: Any) -> Any:
        spans.tracer.start_span("reading").end()
        return underneath(*args)

    stream.response.iter_bytes = traced
    with session("around"):
        list(stream)
        spans.tracer.start_span("between").end()
    reading, *_ = [span for span in spans.spans if span.name == "reading"]
    (between,) = [span for span in spans.spans if span.name == "between"]
    assert (attributes(reading)["session.id"], attributes(between)["session.id"]) == ("mine", "around")


def test_other_labels_replace_those_of_before_and_none_keep_them(client: Any, spans: Captured) -> None:
    wrap_openai(wrap_openai(client, session_id="old", tags=["a"]), session_id="new")
    wrap_openai(client).chat.completions.create(**chat("Hello."))
    (span,) = spans.spans
    assert attributes(span)["session.id"] == "new"
    assert "pandaprobe.tags" not in attributes(span)


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    request = chat("Hello.")
    instrument("openai")
    try:
        client.chat.completions.create(**request)
        wrap_openai(client, session_id="mine").chat.completions.create(**request)
        list(client.chat.completions.create(**request, stream=True))
        assert [parts(span)[0]["content"] for span in spans.spans] == [ANSWER] * 3
        assert_session(spans.spans[1:], "mine")
    finally:
        uninstrument("openai")
    spans.spans.clear()
    unwrap(client).chat.completions.create(**request)
    assert spans.spans == []

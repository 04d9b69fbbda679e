"""What `wrap_openai` promises for each surface of the openai package, against aimock."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aimock import AIMock
from opentelemetry.sdk.trace import ReadableSpan

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured, assert_session
from pandaprobe_otel.wrappers import instrument, uninstrument, wrap_openai

from .conftest import ANSWER

openai = pytest.importorskip("openai")

CALL: dict[str, Any] = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "Hello."}]}


@pytest.fixture
def client(mock: AIMock) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def answer_of(span: ReadableSpan) -> str:
    (message,) = json.loads(str((span.attributes or {})["gen_ai.output.messages"]))
    return "".join(part.get("content", "") for part in message["parts"])


def test_labels_hold_for_all_calls_of_a_client_and_of_its_copies(client: Any, spans: Captured) -> None:
    wrap_openai(client, session_id="mine", user_id="ada", tags=["a"], metadata={"tier": 1})
    with session("around"):
        client.chat.completions.create(**CALL)
        client.with_options(timeout=5).responses.create(model="gpt-5.4-nano", input="Hello.")
    assert_session(spans.spans, "mine")
    for span in spans.spans:
        found = dict(span.attributes or {})
        assert found["user.id"] == "ada"
        assert found["pandaprobe.tags"] == ("a",)
        assert found["pandaprobe.metadata"] == '{"tier": 1}'


def test_other_labels_replace_those_of_before_and_none_keep_them(client: Any, spans: Captured) -> None:
    wrap_openai(wrap_openai(client, session_id="old", tags=["a"]), session_id="new")
    wrap_openai(client).chat.completions.create(**CALL)
    (span,) = spans.spans
    assert (span.attributes or {})["session.id"] == "new"
    assert "pandaprobe.tags" not in (span.attributes or {})


def test_the_whole_process_is_traced_until_it_is_undone(client: Any, spans: Captured) -> None:
    instrument("openai")
    try:
        client.chat.completions.create(**CALL)
        assert [answer_of(span) for span in spans.spans] == [ANSWER]
        wrap_openai(client, session_id="mine").chat.completions.create(**CALL)
        list(client.chat.completions.create(**CALL, stream=True))
        assert [answer_of(span) for span in spans.spans] == [ANSWER] * 3
        assert_session(spans.spans[1:], "mine")
    finally:
        uninstrument("openai")
    spans.spans.clear()
    client.with_options().chat.completions.create(**CALL)
    assert len(spans.spans) == 1

"""What all wrappers promise alike: what is refused, left alone or left out, and the process as a whole."""

import logging
import sys
from typing import Any

import pytest
from aimock import AIMock

from pandaprobe_otel import guard, wrappers
from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_anthropic, wrap_openai
from pandaprobe_otel.wrappers.openai import OpenAIInstrumentor

from .surfaces import attributes

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

CHAT: dict[str, Any] = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "Hello."}]}
MESSAGE: dict[str, Any] = {**CHAT, "model": "claude-opus-4-8", "max_tokens": 99}


@pytest.fixture
def client(mock: AIMock) -> Any:
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(mock: AIMock) -> Any:
    with anthropic.Anthropic(base_url=mock.url, api_key="none", max_retries=0) as made:
        yield made


def test_content_is_left_out_from_when_pandaprobe_is_told_so(
    client: Any, claude: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for told in (True, False):
        monkeypatch.setattr(spans, "captures_content", told)
        wrap_openai(client).chat.completions.create(**CHAT)
        list(client.chat.completions.create(**CHAT, stream=True))
        wrap_anthropic(claude).messages.create(**MESSAGE)
        with claude.messages.stream(**MESSAGE) as stream:
            stream.until_done()
    told = [any("messages" in key for key in attributes(span)) for span in spans.spans]
    assert told == [True] * 4 + [False] * 4
    assert "Hello" not in str([attributes(span) for span in spans.spans[4:]])


def test_a_version_that_is_not_known_is_told_once_and_its_client_left_alone(
    client: Any, spans: Captured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(OpenAIInstrumentor, "versions", ("openai >= 99",))
    guard.forget_warnings()
    for _ in range(2):
        wrap_openai(client).chat.completions.create(**CHAT)
        instrument("openai")
    client.chat.completions.create(**CHAT)
    assert spans.spans == []
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "openai is not traced" in record.getMessage()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "bedrock"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"opentelemetry.instrumentation.genai.{provider}.patch", None)
    for call in (lambda: getattr(wrappers, f"wrap_{provider}")(object()), lambda: instrument(provider)):
        with pytest.raises(ImportError, match=rf"pip install 'pandaprobe-otel\[{provider}\]'"):
            call()


def test_an_unknown_provider_is_refused_with_those_that_are_known() -> None:
    for call in (instrument, uninstrument):
        with pytest.raises(ValueError, match=r"'gpt' is no provider; known are anthropic, bedrock, "):
            call("gpt")


def test_without_a_name_every_sdk_that_is_installed_is_traced(
    client: Any, claude: Any, spans: Captured
) -> None:
    instrument()
    try:
        instrument()
        client.chat.completions.create(**CHAT)
        claude.messages.create(**MESSAGE)
        assert [attributes(span)["gen_ai.provider.name"] for span in spans.spans] == ["openai", "anthropic"]
    finally:
        uninstrument()
    uninstrument()
    client.chat.completions.create(**CHAT)
    claude.messages.create(**MESSAGE)
    assert len(spans.spans) == 2


def test_clients_of_platforms_are_traced_too(mock: AIMock, spans: Captured) -> None:
    pytest.importorskip("boto3", reason="it is tested with the other set of SDKs")
    keys = {"aws_access_key": "none", "aws_secret_key": "none", "aws_region": "us-east-1"}
    with anthropic.AnthropicBedrock(base_url=mock.url, max_retries=0, **keys) as client:
        wrap_anthropic(client).messages.create(**{**MESSAGE, "model": "anthropic.claude-opus-4-8-v1:0"})
    (span,) = spans.spans
    assert "Hello" in attributes(span)["gen_ai.output.messages"]


def test_wrong_labels_are_refused_before_anything_is_wrapped(client: Any, spans: Captured) -> None:
    with pytest.raises(TypeError, match="tags is a list of str"):
        wrap_openai(client, tags="a")
    client.chat.completions.create(**CHAT)
    assert spans.spans == []


@pytest.mark.parametrize("given", [None, object(), openai])
def test_unwrapping_what_was_never_wrapped_changes_nothing(given: Any) -> None:
    assert unwrap(given) is given

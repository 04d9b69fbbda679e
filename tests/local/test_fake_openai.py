"""What the stand-in for the OpenAI API promises, over HTTP."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pandaprobe_otel.local.fake_openai import ANSWERS, CALLS, OTHER_ANSWER, FakeOpenAI


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with FakeOpenAI() as fake:
        assert fake.base_url.startswith("http://127.0.0.1:")
        yield int(fake.base_url.removesuffix("/v1").rpartition(":")[2])


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(method, path, body if isinstance(body, str) else json.dumps(body))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def chat(port: int, question: Any, **parameters: Any) -> tuple[int, str]:
    messages = [{"role": "user", "content": question}]
    return ask(port, "POST", "/v1/chat/completions", {"model": "m", "messages": messages, **parameters})


@pytest.mark.parametrize(("question", "answer"), [*ANSWERS.items(), ("Who are you?", OTHER_ANSWER)])
def test_a_question_always_has_the_same_answer(port: int, question: str, answer: str) -> None:
    status, text = chat(port, question)
    completion = json.loads(text)
    assert status == 200
    assert completion["choices"][0]["message"] == {
        "role": "assistant",
        "content": answer,
        "refusal": None,
        "annotations": [],
    }


@pytest.mark.parametrize("question", CALLS)
def test_a_question_for_a_tool_that_is_given_is_a_call_of_it(port: int, question: str) -> None:
    name, arguments = CALLS[question]
    tools = [{"type": "function", "function": {"name": name}}]
    (choice,) = json.loads(chat(port, question, tools=tools)[1])["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (name, arguments)
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
    _, events = chat(port, question, tools=tools, stream=True)
    chunks = [
        json.loads(event) for event in events.replace("data: [DONE]", "").split("data: ") if event.strip()
    ]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [call["function"] for delta in deltas for call in delta.get("tool_calls", ())] == [
        call["function"]
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    (choice,) = json.loads(chat(port, question)[1])["choices"]
    assert choice["message"]["content"] == OTHER_ANSWER


def test_what_a_tool_gave_is_the_answer(port: int) -> None:
    given = {"role": "tool", "tool_call_id": "call_1", "content": "It is sunny."}
    messages = [{"role": "user", "content": "What is the weather in Paris?"}, given]
    _, text = ask(port, "POST", "/v1/chat/completions", {"model": "m", "messages": messages})
    assert json.loads(text)["choices"][0]["message"]["content"] == "It is sunny."


def test_usage_adds_up_and_grows_with_the_effort(port: int) -> None:
    usages = [
        json.loads(chat(port, "Hi?", reasoning_effort=effort)[1])["usage"] for effort in ("none", "low")
    ]
    for usage in usages:
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    reasoning = [usage["completion_tokens_details"]["reasoning_tokens"] for usage in usages]
    assert reasoning == [0, 16]
    assert usages[1]["completion_tokens"] - usages[0]["completion_tokens"] == 16


def test_content_may_be_parts(port: int) -> None:
    parts = [{"type": "text", "text": "What about "}, {"type": "text", "text": "Germany?"}]
    assert "Berlin" in chat(port, parts)[1]


@pytest.mark.parametrize("with_usage", [True, False])
def test_a_stream_carries_the_words_and_usage_when_asked_for(port: int, with_usage: bool) -> None:
    status, text = chat(
        port, "What about Germany?", stream=True, stream_options={"include_usage": with_usage}
    )
    *events, done, end = text.split("\n\n")
    assert (status, done, end) == (200, "data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == ANSWERS["What about Germany?"]
    assert [chunk["usage"]["prompt_tokens"] for chunk in chunks if chunk.get("usage")] == [11] * with_usage
    assert [chunk["choices"] == [] for chunk in chunks] == [False] * len(deltas) + [True] * with_usage


def test_a_model_can_be_an_error(port: int) -> None:
    status, text = chat(port, "Hi?", model="error-429")
    assert (status, json.loads(text)["error"]["type"]) == (429, "rate_limit_error")


def test_models_are_listed(port: int) -> None:
    status, text = ask(port, "GET", "/v1/models")
    assert status == 200
    assert "gpt-5.4-nano" in [model["id"] for model in json.loads(text)["data"]]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/unknown", None, 404),
        ("POST", "/v1/unknown", {}, 404),
        ("POST", "/v1/chat/completions", {}, 400),
        ("POST", "/v1/chat/completions", [], 400),
        ("POST", "/v1/chat/completions", "{", 400),
        ("POST", "/v1/chat/completions", {"model": "m", "messages": "hi"}, 400),
    ],
)
def test_what_it_does_not_know_is_refused(port: int, method: str, path: str, body: Any, status: int) -> None:
    answered, text = ask(port, method, path, body)
    assert answered == status
    assert json.loads(text)["error"]["message"]


def test_an_answer_can_be_late() -> None:
    with FakeOpenAI(latency=0.2) as fake:
        before = time.monotonic()
        chat(int(fake.base_url.removesuffix("/v1").rpartition(":")[2]), "Hi?")
        assert time.monotonic() - before >= 0.2

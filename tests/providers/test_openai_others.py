"""Beside what asks a model, of OpenAI: answers fetched again, and answers as they came."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scripted_api
from opentelemetry.trace import StatusCode

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument, unwrap, wrap_openai

from .answers import SAID
from .surfaces import assert_error, attributes, close, collect, outcome, parts, run_in_session

openai = pytest.importorskip("openai")

RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [SAID],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 19,
    },
}
BEGUN = {**RESPONSE, "output": [], "status": "in_progress", "usage": None}
DELTA = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
EVENTS = [
    {"type": "response.created", "response": BEGUN},
    {"type": "response.output_text.delta", "delta": "Hel", **DELTA},
    {"type": "response.output_text.delta", "delta": "lo.", **DELTA},
    {"type": "response.completed", "response": RESPONSE},
]
NUMBERED = [{**event, "sequence_number": number} for number, event in enumerate(EVENTS)]
TEXT = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}


def text(text: str, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {
        **TEXT,
        "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}],
        **more,
    }


def lines(*events: Any) -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


ANSWERS = {
    "/responses/resp_1": RESPONSE,
    "/responses/resp_1#stream": scripted_api.events(*NUMBERED),
    "/responses/too%20many": RESPONSE,
    "/responses": RESPONSE,
    "/completions": text("Hello.", usage=USAGE),
    "/completions#stream": lines(text("Hel", None), text("lo."), {**TEXT, "choices": [], "usage": USAGE}),
    "/embeddings": {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
    },
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.fixture(params=["OpenAI", "AsyncOpenAI"])
async def make(request: pytest.FixtureRequest, api: str) -> Any:
    made: list[Any] = []

    def make() -> Any:
        made.append(getattr(openai, request.param)(base_url=api, api_key="none", max_retries=0))
        return made[-1]

    yield make
    await close(made)


# An answer that is fetched again

FETCHES: dict[str, Callable[[Any, str], Any]] = {
    "retrieve": lambda client, id: client.responses.retrieve(id),
    "retrieve, stream=True": lambda client, id: client.responses.retrieve(id, stream=True),
    "with_raw_response.retrieve": lambda client, id: client.responses.with_raw_response.retrieve(id),
}


@pytest.mark.parametrize("name", FETCHES)
async def test_an_answer_that_is_fetched_is_no_call_of_a_model_and_counts_no_tokens(
    make: Any, name: str, spans: Captured
) -> None:
    # The call that made it has counted them, and whoever waits for one fetches it many times.
    def fetch(client: Any, _: Any) -> Any:
        return FETCHES[name](client, "resp_1")

    plain = await outcome(fetch, make(), {})
    seen, span = await run_in_session(spans, fetch, wrap_openai(make()), {})
    assert seen == plain
    found = attributes(span)
    assert (found["gen_ai.operation.name"], found["pandaprobe.span.kind"]) == ("fetch_response", "OTHER")
    assert (found["gen_ai.response.id"], found["gen_ai.response.model"]) == ("resp_1", "m")
    assert [part["content"] for part in parts(span)] == ["Hello."]
    assert not [key for key in found if key.startswith("gen_ai.usage.")]
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("name", FETCHES)
async def test_an_answer_that_cannot_be_fetched(make: Any, name: str, spans: Captured) -> None:
    def fetch(client: Any, _: Any) -> Any:
        return FETCHES[name](client, "too many")

    seen, span = await run_in_session(spans, fetch, wrap_openai(make()), {})
    assert seen == ("RateLimitError", 429)
    assert_error(span, "RateLimitError")


async def test_an_answer_that_is_followed_and_broken_off_ends_its_span(make: Any, spans: Captured) -> None:
    await collect(FETCHES["retrieve, stream=True"](wrap_openai(make()), "resp_1"), limit=2)
    gc.collect()
    (span,) = spans.spans
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["gen_ai.operation.name"] == "fetch_response"


# Answers as they came

RAW: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "completions": lambda client, asked: client.completions.with_raw_response.create(**asked),
    "completions, stream=True": (
        lambda client, asked: client.completions.with_raw_response.create(**asked, stream=True)
    ),
    "embeddings": lambda client, asked: client.embeddings.with_raw_response.create(**asked),
}


def ask(name: str, prompt: str = "Hello.") -> dict[str, Any]:
    return {"model": "m", "input" if name == "embeddings" else "prompt": prompt}


@pytest.mark.parametrize("name", RAW)
async def test_a_raw_response(make: Any, name: str, spans: Captured) -> None:
    plain = await outcome(RAW[name], make(), ask(name))
    seen, span = await run_in_session(spans, RAW[name], wrap_openai(make()), ask(name))
    assert seen == plain
    assert seen[0] == "answer"
    operation = "embeddings" if name == "embeddings" else "text_completion"
    assert span.name == f"{operation} m"
    assert attributes(span)["gen_ai.usage.input_tokens"] == 12
    if operation == "text_completion":
        assert [part["content"] for part in parts(span)] == ["Hello."]


@pytest.mark.parametrize("name", RAW)
async def test_a_raw_response_that_is_an_error(make: Any, name: str, spans: Captured) -> None:
    seen, span = await run_in_session(spans, RAW[name], wrap_openai(make()), ask(name, "too many"))
    assert seen == ("RateLimitError", 429)
    assert_error(span, "RateLimitError")


async def test_a_raw_stream_that_is_broken_off_has_what_was_read(make: Any, spans: Captured) -> None:
    name = "completions, stream=True"
    await collect(RAW[name](wrap_openai(make()), ask(name)), limit=1)
    gc.collect()
    (span,) = spans.spans
    assert [part["content"] for part in parts(span)] == ["Hel"]


# What takes long to load


async def test_what_is_loaded_later_is_traced_in_the_whole_process(make: Any, spans: Captured) -> None:
    client = make()
    if not hasattr(type(client.beta), "responses"):
        pytest.skip("this version has no beta.responses")
    instrument("openai")
    try:
        await collect(client.beta.responses.create(model="m", input="Hello."))
    finally:
        uninstrument("openai")
    await collect(client.beta.responses.create(model="m", input="Hello."))
    (span,) = spans.spans
    assert [part["content"] for part in parts(span)] == ["Hello."]


def test_it_is_not_loaded_before() -> None:
    program = (
        "import sys\n"
        "from pandaprobe_otel.wrappers import instrument\n"
        "instrument('openai')\n"
        "assert 'openai.resources.beta.responses' not in sys.modules\n"
        "from openai.resources.beta.responses import responses\n"
        "from wrapt import FunctionWrapper\n"
        "print([isinstance(vars(kind)['create'], FunctionWrapper)"
        " for kind in (responses.Responses, responses.AsyncResponses)])\n"
    )
    if not hasattr(openai.OpenAI(api_key="none").beta, "responses"):
        pytest.skip("this version has no beta.responses")
    process = subprocess.run(
        [sys.executable, "-Wignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert (process.stdout, process.stderr) == ("[True, True]\n", "")


def test_unwrapping_leaves_nothing(api: str) -> None:
    with openai.OpenAI(base_url=api, api_key="none") as client:
        before = dict(vars(client.responses))
        unwrap(wrap_openai(client))
        assert {name: vars(client.responses)[name] for name in before} == before
        assert "retrieve" not in vars(client.responses)

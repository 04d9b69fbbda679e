"""Every surface of every SDK, with every client and every outcome.

A call is one span, complete, and nothing changes for its caller. The SDKs are real and speak HTTP to aimock
by way of `provider_api`, which breaks down where aimock cannot.
"""

import asyncio
import gc
import importlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import message_schemas
import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured

from .answers import REFUSAL
from .conftest import ANSWER
from .provider_api import ProviderAPI
from .surfaces import attributes, lasting, parts, read
from .tables import OUTCOMES, WRAPPERS, Surface, Table

# One event loop for the clients, which are made once.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def _tables() -> dict[str, Table | None]:
    found: dict[str, Table | None] = {}
    for name in WRAPPERS:
        try:
            found[name] = importlib.import_module(f".tables.{name}", __package__).TABLE
        except ImportError:
            found[name] = None
    return found


TABLES = _tables()


def _rows() -> Iterator[Any]:
    for name, table in TABLES.items():
        if table is None:
            missing = pytest.mark.skip(reason=f"the SDK of wrap_{name} is not installed beside these")
            yield pytest.param(name, None, "", "", marks=missing, id=name)
            continue
        warns = [pytest.mark.filterwarnings(f"ignore{filter}") for filter in table.warns]
        for surface in table.surfaces:
            for client in surface.clients:
                for outcome in surface.outcomes(client in table.asynchronous):
                    row = f"{name}-{client}-{surface.name}-{outcome}"
                    yield pytest.param(name, surface, client, outcome, marks=warns, id=row)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients(provider_server: ProviderAPI) -> AsyncIterator[Any]:
    """Makes a client of a name once, for calls that are traced or for those that are not."""
    made: dict[tuple[str, str, bool], Any] = {}
    async with AsyncExitStack() as open_clients:

        async def client(provider: str, name: str, traced: bool) -> Any:
            table = TABLES[provider]
            assert table is not None
            if (provider, name, traced) not in made:
                context = table.clients[name](provider_server.url)
                made[provider, name, traced] = await open_clients.enter_async_context(context)
            plain = made[provider, name, traced]
            return table.wrap(plain) if traced else plain

        yield client


@pytest.mark.parametrize(("provider", "surface", "client", "outcome"), list(_rows()))
async def test_a_call_is_one_span_and_stays_what_it_is(
    provider: str,
    surface: Surface,
    client: str,
    outcome: str,
    clients: Any,
    provider_server: ProviderAPI,
    spans: Captured,
) -> None:
    table = TABLES[provider]
    assert table is not None
    asked = surface.ask(OUTCOMES[outcome])
    plain, sent = await run(
        outcome, surface, await clients(provider, client, False), asked, provider_server, table.passing
    )
    assert not spans.spans
    traced = await clients(provider, client, True)
    with session("matrix"), spans.tracer.start_as_current_span("around") as around:
        seen, sent_traced = await run(outcome, surface, traced, asked, provider_server, table.passing)
    assert seen == plain
    assert sent_traced == sent
    span, outer = spans.spans
    assert outer.name == "around"
    assert span.parent == around.get_span_context()
    found = attributes(span)
    assert found["session.id"] == "matrix"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name.startswith("pandaprobe_otel.wrappers.")
    message_schemas.check(found)
    if outcome == "refusal":
        assert found["gen_ai.response.finish_reasons"] == (surface.refused or table.refused,)
    CHECKS[outcome](span, {**table.facts, **surface.facts}, surface, seen)


async def run(
    outcome: str,
    surface: Surface,
    client: Any,
    asked: dict[str, Any],
    api: ProviderAPI,
    passing: frozenset[str],
) -> tuple[list[str], list[Any]]:
    """What a caller sees of a call, byte for byte, and what was sent."""
    around = trace.get_current_span()

    def between(chunk: Any) -> bool:
        assert trace.get_current_span() is around, "what runs between two chunks is below the call"
        return outcome == "broken off" and ANSWER[:5] in repr(chunk)

    api.sent.clear()
    api.stalled.clear()
    seen: list[Any] = []
    ended = ""
    try:
        reading = read(surface(client, asked), seen, until=between)
        if outcome == "cancelled":
            await _cancel(asyncio.create_task(reading), seen, surface.streams, api)
        else:
            await reading
    except AssertionError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        ended = f"{type(error).__name__}: {error}"
    if outcome == "broken off":
        # What is dropped ends as garbage, and its generators in a turn of the loop.
        reading = None
        gc.collect()
        for _ in range(9):
            await asyncio.sleep(0)
    assert trace.get_current_span() is around, "what runs after the call is below it"
    return [*(_bytes(one, passing) for one in seen), ended], list(api.sent)


async def _cancel(task: "asyncio.Task[Any]", seen: list[Any], streams: bool, api: ProviderAPI) -> None:
    while not api.stalled.is_set() or (streams and not seen):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    task.cancel()
    await task


def _bytes(value: Any, passing: frozenset[str]) -> str:
    """A value as its class and its JSON."""
    kind = value.__class__.__qualname__
    if hasattr(value, "model_dump_json") and not passing:
        return f"{kind} {value.model_dump_json(warnings=False)}"
    held = value.model_dump(mode="json", warnings=False) if hasattr(value, "model_dump") else value
    return f"{kind} {json.dumps(lasting(held, passing), default=repr)}"


# What has to be on the span of each outcome, besides the facts of its table

CONTENT = {"gen_ai.input.messages", "gen_ai.output.messages"}
STREAMED = {"gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"}
# Where the API or the SDK tells it.
OF_SOME = {
    "gen_ai.response.id",
    "gen_ai.response.model",
    "gen_ai.system_instructions",
    "http.response.header.request-id",
    "http.response.header.x-request-id",
    "http.response.header.x-amzn-requestid",
    "openai.api.type",
}


def _answer(span: ReadableSpan, facts: dict[str, Any], surface: Surface, _: list[str]) -> None:
    found = attributes(span)
    assert span.status.status_code is StatusCode.UNSET
    assert {key: found.get(key) for key in facts} == facts
    gives_numbers = facts["gen_ai.operation.name"] == "embeddings"
    expected = {key for key, value in facts.items() if value is not None} | {"session.id", "server.port"}
    expected |= STREAMED if surface.streams else set()
    expected |= set() if gives_numbers else CONTENT
    assert set(found) - OF_SOME == expected
    if not gives_numbers:
        assert [part["content"] for part in parts(span)] == [ANSWER]
        assert "Hello." in [part.get("content") for part in parts(span, "input")]
        if "Be brief." in repr(surface.ask("Hello.")):
            told = found["gen_ai.input.messages"] + found.get("gen_ai.system_instructions", "")
            assert "Be brief." in told


def _tool_call(span: ReadableSpan, facts: dict[str, Any], surface: Surface, _: list[str]) -> None:
    assert span.status.status_code is StatusCode.UNSET
    (call,) = [part for part in parts(span) if part["type"] == "tool_call"]
    assert (call["name"], call["arguments"]) == ("get_weather", {"city": "Paris"})
    (tool,) = json.loads(attributes(span)["gen_ai.tool.definitions"])
    assert tool["name"] == "get_weather"


def _refusal(span: ReadableSpan, facts: dict[str, Any], surface: Surface, _: list[str]) -> None:
    assert span.status.status_code is StatusCode.UNSET
    # Gemini says why, and nothing else.
    if "gcp.gemini.prompt_feedback.block_reason" not in attributes(span):
        assert [part["content"] for part in parts(span)] == [REFUSAL]


def _failed(span: ReadableSpan, facts: dict[str, Any], surface: Surface, seen: list[str]) -> None:
    assert span.status.status_code is StatusCode.ERROR
    kind = seen[-1].partition(":")[0]
    assert attributes(span)["error.type"].rpartition(".")[2] == kind


def _too_many(span: ReadableSpan, facts: dict[str, Any], surface: Surface, seen: list[str]) -> None:
    _failed(span, facts, surface, seen)
    assert attributes(span)["http.response.status_code"] == 429


def _begun(span: ReadableSpan, surface: Surface) -> None:
    if surface.streams:
        assert "gen_ai.response.time_to_first_chunk" in attributes(span)
        (said,) = parts(span)
        assert said["content"]
        assert ANSWER.startswith(said["content"])


def _failed_midway(span: ReadableSpan, facts: dict[str, Any], surface: Surface, seen: list[str]) -> None:
    if seen[-1]:
        _failed(span, facts, surface, seen)
    _begun(span, surface)


def _error_midway(span: ReadableSpan, facts: dict[str, Any], surface: Surface, seen: list[str]) -> None:
    # OpenAI's responses have it as one more event.
    assert span.status.status_code is StatusCode.ERROR
    assert seen[-1] or attributes(span)["error.type"] == "overloaded"
    _begun(span, surface)


def _broken_off(span: ReadableSpan, facts: dict[str, Any], surface: Surface, _: list[str]) -> None:
    assert span.status.status_code is StatusCode.UNSET
    _begun(span, surface)


CHECKS = {
    "answer": _answer,
    "tool call": _tool_call,
    "refusal": _refusal,
    "429": _too_many,
    "error midway": _error_midway,
    "lost": _failed_midway,
    "broken off": _broken_off,
    "cancelled": _failed_midway,
}

"""One way to run any surface of any SDK, and what has to be on the span of each.

A surface is a function of a client and a request; what it returns is an answer, a stream, a context manager,
a raw response, or a coroutine of one of them. `collect` makes of each what its user sees.
"""

import inspect
import json
from collections.abc import Callable, Collection
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from pandaprobe_otel import session
from pandaprobe_otel.testing import Captured

Surface = Callable[[Any, dict[str, Any]], Any]

# What differs from one call to the next.
PASSING = {
    "id",
    "created",
    "created_at",
    "completed_at",
    "item_id",
    "response_id",
    "sdk_http_response",
    "sequence_number",
}


async def collect(result: Any, limit: int | None = None) -> Any:
    """What a caller gets to see: an answer's fields, or those of all chunks, or of the first few."""
    seen: list[Any] = []
    streamed = await read(result, seen, limit and (lambda _: len(seen) == limit))
    fields = [lasting(_fields(one)) for one in seen]
    return fields if streamed else fields[0]


async def read(result: Any, seen: list[Any], until: Callable[[Any], bool] | None = None) -> bool:
    """Reads what a call returned as its caller would; whether it was a stream.

    Args:
        seen: Gets the answer, or each chunk as it comes.
        until: Tells the last chunk that is read.
    """
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "model_dump"):
        seen.append(result)
        return False
    # Before context managers: a proxy has the methods of one, whatever it wraps.
    if hasattr(result, "http_response"):
        return await read(result.parse(), seen, until)
    if hasattr(result, "__aiter__") or hasattr(result, "__anext__"):
        async for chunk in result:
            seen.append(chunk)
            if until is not None and until(chunk):
                break
        return True
    if hasattr(result, "__next__"):
        for chunk in result:
            seen.append(chunk)
            if until is not None and until(chunk):
                break
        return True
    manager = result
    while hasattr(manager, "__wrapped__"):
        manager = manager.__wrapped__
    if hasattr(manager, "__aenter__"):
        async with result as entered:
            return await read(entered, seen, until)
    if hasattr(manager, "__enter__"):
        with result as entered:
            return await read(entered, seen, until)
    seen.append(result)
    return False


def _fields(value: Any) -> Any:
    return value.model_dump(mode="json", warnings=False) if hasattr(value, "model_dump") else value


async def close(clients: list[Any]) -> None:
    for client in clients:
        closed = client.close()
        if inspect.isawaitable(closed):
            await closed


def lasting(value: Any, passing: Collection[str] = PASSING) -> Any:
    """A value without what differs from one call to the next."""
    if isinstance(value, dict):
        return {key: lasting(held, passing) for key, held in value.items() if key not in passing}
    return [lasting(held, passing) for held in value] if isinstance(value, list) else value


async def outcome(surface: Surface, client: Any, request: dict[str, Any]) -> tuple[str, Any]:
    """What a caller sees, or the type of the error."""
    try:
        return "answer", await collect(surface(client, request))
    except Exception as error:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        if status is None:
            raise
        return type(error).__name__, status


async def run_in_session(
    spans: Captured, surface: Surface, client: Any, request: dict[str, Any]
) -> tuple[tuple[str, Any], ReadableSpan]:
    """What a caller sees of a call in a session, inside a span; and the one span of the call."""
    tracer = spans.tracer
    with session("surfaces"), tracer.start_as_current_span("around") as around:
        seen = await outcome(surface, client, request)
    *made, outer = spans.spans
    assert outer.name == "around"
    assert [span.name for span in made] == [span.name for span in made][:1], "more than one span"
    (span,) = made
    assert span.parent == around.get_span_context()
    assert attributes(span)["session.id"] == "surfaces"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name.startswith("pandaprobe_otel.wrappers.")
    return seen, span


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parts(span: ReadableSpan, direction: str = "output") -> list[dict[str, Any]]:
    """The parts of the messages on a span."""
    messages = json.loads(attributes(span)[f"gen_ai.{direction}.messages"])
    return [part for message in messages for part in message["parts"]]


def assert_answer(span: ReadableSpan, text: str, *, provider: str, model: str) -> None:
    found = attributes(span)
    assert span.status.status_code is StatusCode.UNSET
    assert [part["content"] for part in parts(span)] == [text]
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.provider.name"] == provider
    assert found["gen_ai.request.model"] == model
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert found["server.address"] == "127.0.0.1"


def assert_tool_call(span: ReadableSpan, name: str, arguments: dict[str, Any]) -> None:
    (call,) = [part for part in parts(span) if part["type"] == "tool_call"]
    assert (call["name"], call["arguments"]) == (name, arguments)
    assert span.status.status_code is StatusCode.UNSET


def assert_error(span: ReadableSpan, kind: str) -> None:
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"].rpartition(".")[2] == kind

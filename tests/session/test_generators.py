"""A generator's session is its body's: nothing of it is seen by the consumer, and nothing stays behind."""

import asyncio
import contextvars
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import pandaprobe_otel as pandaprobe

Probe = Callable[..., str | None]


@pytest.fixture(params=["session", "trace"])
def decorate(request: pytest.FixtureRequest) -> Any:
    """The two decorators that give a generator a session."""
    if request.param == "session":
        return pandaprobe.session
    return lambda id: pandaprobe.trace(session_id=id)


@pytest.fixture(autouse=True)
def _no_detach_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "detach" not in caplog.text


def test_consumer_is_outside_between_items(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    def body() -> Iterator[str | None]:
        yield probe()
        with pandaprobe.user("u"):
            yield probe()
        pandaprobe.set_session("set")
        yield probe()

    seen = [(item, probe(), pandaprobe.current_user()) for item in body()]
    assert seen == [("s", None, None)] * 3
    assert probe() is None


async def test_consumer_is_outside_between_items_of_an_async_generator(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    async def body() -> AsyncIterator[str | None]:
        yield probe()
        await asyncio.sleep(0)
        pandaprobe.set_session("set")
        yield probe()

    seen = [(item, probe()) async for item in body()]
    assert seen == [("s", None)] * 2
    assert probe() is None


def test_interleaved_generators_keep_to_themselves(probe: Probe, decorate: Any) -> None:
    def body() -> Iterator[str | None]:
        while True:
            yield probe()

    a, b = decorate("a")(body)(), decorate("b")(body)()
    seen = [next(generator) for generator in (a, b, a, b)]
    a.close()
    seen += [next(b), probe()]
    b.close()
    assert [*seen, probe()] == ["a", "b", "a", "b", "b", None, None]


@pytest.mark.parametrize("first", ["a", "b"])
def test_blocks_held_open_by_interleaved_generators_leave_nothing(probe: Probe, first: str) -> None:
    """A `with` around `yield` is seen by the consumer while it is open, as Python has it, but never after."""

    def body(id: str) -> Iterator[str | None]:
        with pandaprobe.session(id):
            yield probe()

    generators = {"a": body("a"), "b": body("b")}
    assert [next(generator) for generator in generators.values()] == ["a", "b"]
    generators.pop(first).close()
    (left, generator) = generators.popitem()
    assert probe() == left
    generator.close()
    assert probe() is None
    assert "session.id" not in _baggage()


def _baggage() -> Any:
    from opentelemetry import baggage

    return baggage.get_all()


def test_generator_is_consumed_in_another_thread(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    def body() -> Iterator[str | None]:
        yield probe()
        yield probe()

    generator = body()
    seen: list[Any] = [next(generator)]
    worker = threading.Thread(target=lambda: seen.extend([*generator, probe()]))
    worker.start()
    worker.join()
    assert [*seen, probe()] == ["s", "s", None, None]


async def test_async_generator_is_consumed_and_closed_in_other_tasks(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    async def body() -> AsyncIterator[str | None]:
        try:
            while True:
                yield probe()
        finally:
            last.append(probe())

    last: list[Any] = []
    generator: Any = body()
    seen = [await anext(generator)]

    async def more() -> Any:
        return await anext(generator), probe()

    seen += await asyncio.create_task(more())

    async def close() -> Any:
        await generator.aclose()
        return probe()

    assert await asyncio.create_task(close()) is None
    assert [*seen, *last, probe()] == ["s", "s", None, "s", None]


@pytest.mark.parametrize("fresh", [True, False])
async def test_block_closed_in_another_task_leaves_nothing(probe: Probe, fresh: bool) -> None:
    async def body() -> AsyncIterator[str | None]:
        with pandaprobe.session("s"):
            yield probe()

    generator: Any = body()
    assert await anext(generator) == "s"

    async def close() -> Any:
        await generator.aclose()
        return probe()

    context = contextvars.Context() if fresh else contextvars.copy_context()
    assert await context.run(asyncio.create_task, close()) is None
    assert probe() is None


async def test_early_break_ends_the_body_in_its_session(probe: Probe, decorate: Any) -> None:
    last: list[Any] = []

    @decorate("s")
    async def body() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            last.append(probe())

    async for _ in body():
        break
    gc.collect()
    await asyncio.sleep(0.01)
    assert last == ["s"]
    assert probe() is None


def test_early_break_of_a_generator(probe: Probe, decorate: Any) -> None:
    last: list[Any] = []

    @decorate("s")
    def body() -> Iterator[int]:
        try:
            yield 1
        finally:
            last.append(probe())

    for _ in body():
        break
    gc.collect()
    assert [*last, probe()] == ["s", None]


def test_send_throw_and_return_reach_the_body(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    def body() -> Any:
        got = yield "ready"
        try:
            yield f"got {got} in {probe()}"
        except KeyError:
            yield f"caught in {probe()}"
        return f"returned in {probe()}"

    generator = body()
    assert next(generator) == "ready"
    assert generator.send("x") == "got x in s"
    assert generator.throw(KeyError) == "caught in s"
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "returned in s"


async def test_asend_and_athrow_reach_the_body(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    async def body() -> Any:
        got = yield "ready"
        try:
            yield f"got {got} in {probe()}"
        except KeyError:
            yield f"caught in {probe()}"

    generator = body()
    assert await anext(generator) == "ready"
    assert await generator.asend("x") == "got x in s"
    assert await generator.athrow(KeyError) == "caught in s"
    assert [item async for item in generator] == []


async def test_body_runs_in_the_task_of_its_consumer(decorate: Any) -> None:
    @decorate("s")
    async def body() -> AsyncIterator[Any]:
        yield asyncio.current_task()
        with anyio.CancelScope():
            yield asyncio.current_task()
        with anyio.move_on_after(5):
            await anyio.lowlevel.checkpoint()
            yield asyncio.current_task()

    assert {task async for task in body()} == {asyncio.current_task()}


async def test_timeout_scopes_of_the_body_and_the_consumer_work(decorate: Any) -> None:
    @decorate("s")
    async def body() -> AsyncIterator[str]:
        with anyio.move_on_after(0.01):
            await anyio.sleep(5)
        yield "timed out in the body"
        await anyio.sleep(5)

    seen: list[str] = []
    with anyio.move_on_after(0.05) as scope:
        async for item in body():
            seen.append(item)
    assert scope.cancelled_caught
    assert seen == ["timed out in the body"]


def test_decorated_functions_stay_what_they_are(decorate: Any) -> None:
    def plain() -> None: ...
    async def coroutine() -> None: ...
    def generator() -> Any:
        yield

    async def async_generator() -> Any:
        yield

    decorated = [decorate("s")(function) for function in (plain, coroutine, generator, async_generator)]
    assert not inspect.iscoroutinefunction(decorated[0])
    assert inspect.iscoroutinefunction(decorated[1])
    assert inspect.isgeneratorfunction(decorated[2])
    assert inspect.isasyncgenfunction(decorated[3])
    assert [function.__name__ for function in decorated] == [
        "plain",
        "coroutine",
        "generator",
        "async_generator",
    ]


def test_exception_of_the_body_reaches_the_consumer(probe: Probe, decorate: Any) -> None:
    @decorate("s")
    def body() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    generator = body()
    next(generator)
    with pytest.raises(LookupError, match="mine"):
        next(generator)
    assert probe() is None

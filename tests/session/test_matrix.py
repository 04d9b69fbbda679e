"""Every way to set a session, through everything that can carry it.

A row is a carrier. It yields what a span saw, and what it should have seen: "s" where the session holds, None
where it must not have leaked to.
"""

import _thread
import asyncio
import contextvars
import functools
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context

import pandaprobe_otel as pandaprobe

Probe = Callable[..., str | None]
Seen = tuple[str, str | None, str | None]
Inside = Callable[[Callable[[], Any]], Any]
InsideAsync = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

# The ways: each runs a function inside the session "s".


def by_with(function: Callable[[], Any]) -> Any:
    with pandaprobe.session("s"):
        return function()


def by_async_with(function: Callable[[], Any]) -> Any:
    async def main() -> Any:
        async with pandaprobe.session("s"):
            return function()

    return asyncio.run(main())


def by_decorator(function: Callable[[], Any]) -> Any:
    return pandaprobe.session("s")(function)()


def by_set_session(function: Callable[[], Any]) -> Any:
    pandaprobe.set_session("s")
    return function()


def by_parameter(function: Callable[[], Any]) -> Any:
    with pandaprobe.start_trace("turn", session_id="s"):
        return function()


async def async_by_with(function: Callable[[], Awaitable[Any]]) -> Any:
    with pandaprobe.session("s"):
        return await function()


async def async_by_async_with(function: Callable[[], Awaitable[Any]]) -> Any:
    async with pandaprobe.session("s"):
        return await function()


async def async_by_decorator(function: Callable[[], Awaitable[Any]]) -> Any:
    @pandaprobe.session("s")
    async def decorated() -> Any:
        return await function()

    return await decorated()


async def async_by_set_session(function: Callable[[], Awaitable[Any]]) -> Any:
    pandaprobe.set_session("s")
    return await function()


async def async_by_parameter(function: Callable[[], Awaitable[Any]]) -> Any:
    async with pandaprobe.start_trace("turn", session_id="s"):
        return await function()


WAYS = ["with", "async_with", "decorator", "set_session", "parameter"]

# The carriers of code without a loop.


def direct(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    yield "span", inside(probe), "s"


def own_span(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    def span() -> Any:
        with pandaprobe.start_trace("t") as trace, trace.span("x") as span:
            return [part._span.attributes.get("session.id") for part in (trace, span)]

    yield "trace and span", *(["".join(inside(span)), "ss"])


def nested(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    def nest() -> Any:
        with pandaprobe.session("inner"):
            inner = probe()
        return inner, probe()

    inner, outer = inside(nest)
    yield "inner", inner, "inner"
    yield "outer", outer, "s"


def thread(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    seen: list[Any] = []

    def run() -> None:
        worker = threading.Thread(target=lambda: seen.append(probe()))
        worker.start()
        worker.join()

    inside(run)
    clean(run)
    yield "thread", seen[0], "s"
    yield "next thread", seen[1], None


def thread_with_own_run(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    seen: list[Any] = []

    class Worker(threading.Thread):
        def run(self) -> None:
            seen.append(probe())

    def run() -> None:
        worker = Worker()
        worker.start()
        worker.join()

    inside(run)
    yield "thread", seen[0], "s"


def timer(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    seen: list[Any] = []

    def start() -> threading.Timer:
        timer = threading.Timer(0.01, lambda: seen.append(probe()))
        timer.start()
        return timer

    inside(start).join()
    yield "timer after the scope", seen[0], "s"


def submit(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    with ThreadPoolExecutor(1) as pool:
        yield "job", inside(lambda: pool.submit(probe).result()), "s"
        yield "next job", clean(lambda: pool.submit(probe).result()), None


def map_(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    with ThreadPoolExecutor(1) as pool:
        yield "job", inside(lambda: next(pool.map(lambda _: probe(), [1]))), "s"
        yield "next job", clean(lambda: next(pool.map(lambda _: probe(), [1]))), None


def pooled_job_after_the_scope(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    gate = threading.Event()

    def job() -> str | None:
        gate.wait(5)
        return probe()

    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] = inside(lambda: pool.submit(job))
        gate.set()
        yield "job", future.result(), "s"
        yield "next job", clean(lambda: pool.submit(probe).result()), None


def session_set_in_a_pooled_job(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    with ThreadPoolExecutor(1) as pool:
        yield "job", pool.submit(lambda: inside(probe)).result(), "s"
        yield "next job", clean(lambda: pool.submit(probe).result()), None
        yield "caller", clean(probe), None


def done_callback(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    seen: list[Any] = []
    with ThreadPoolExecutor(1) as pool:

        def run() -> None:
            gate = threading.Event()
            pool.submit(gate.wait, 5).add_done_callback(lambda _: seen.append(probe()))
            gate.set()

        inside(run)
    yield "worker between jobs", seen[0], None


def generator_body(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    def body() -> Iterator[str | None]:
        yield probe()
        yield probe()

    yield "items", ",".join(str(item) for item in inside(lambda: list(body()))), "s,s"


def generator_consumed_elsewhere(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    """Created inside the session and run after it, a generator is late work of nobody's but its consumer."""

    def body() -> Iterator[str | None]:
        yield probe()

    def create() -> Iterator[str | None]:
        return body()

    generator = inside(create)
    yield "item", clean(lambda: next(generator)), None


def explicit_empty_context_with_a_parent_span(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    from pandaprobe_otel import runtime

    parent = inside(lambda: runtime.tracer_provider().get_tracer("x").start_span("parent"))
    yield "child", clean(lambda: probe(set_span_in_context(parent, Context()))), "s"
    yield "inside", inside(lambda: probe(Context())), "s"


def callback_thread(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    """A thread that a C library makes has no context; only a parent span can bring the session there."""
    from pandaprobe_otel import runtime

    seen: list[Any] = []
    done = threading.Event()

    def callback(parent: Any) -> None:
        seen.append(probe())
        seen.append(probe(set_span_in_context(parent)))
        done.set()

    def run() -> None:
        _thread.start_new_thread(callback, (runtime.tracer_provider().get_tracer("x").start_span("parent"),))
        done.wait(5)

    inside(run)
    yield "without a parent", seen[0], None
    yield "with a parent", seen[1], "s"


def fork(probe: Probe, inside: Inside, clean: Any) -> Iterator[Seen]:
    def run() -> str | None:
        read, write = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns of threads beside a fork; the child here does nothing but start a span.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            os.write(write, str(probe()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read) as pipe:
            return pipe.read()

    yield "child", inside(run), "s"
    yield "next child", clean(run), "None"


# The carriers of asyncio.


async def coroutine(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    async def run() -> str | None:
        await asyncio.sleep(0)
        return probe()

    yield "coroutine", await inside(run), "s"


async def create_task(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    async def job() -> str | None:
        await asyncio.sleep(0)
        return probe()

    async def run() -> str | None:
        return await asyncio.create_task(job())

    yield "task", await inside(run), "s"


async def late_task(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    gate = asyncio.Event()

    async def job() -> tuple[str | None, str | None]:
        before = probe()
        await gate.wait()
        with pandaprobe.user("u"):
            return before, probe()

    async def run() -> Any:
        return asyncio.create_task(job())

    task = await inside(run)
    gate.set()
    yield "task", "".join(map(str, await task)), "ss"


async def gather(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    async def job(own: str) -> tuple[str | None, str | None]:
        before = probe()
        with pandaprobe.session(own):
            await asyncio.sleep(0.001)
            return before, probe()

    async def run() -> Any:
        return await asyncio.gather(job("a"), job("b"))

    seen = await inside(run)
    yield "tasks before their own", "".join(before for before, _ in seen), "ss"
    yield "tasks in their own", "".join(own for _, own in seen), "ab"


async def task_group(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    async def job() -> str | None:
        return probe()

    async def run() -> str | None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            task = group.create_task(job())
        return task.result()

    yield "task", await inside(run), "s"


async def to_thread(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    yield "thread", await inside(lambda: asyncio.to_thread(probe)), "s"


async def run_in_executor(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    with ThreadPoolExecutor(1) as pool:
        loop = asyncio.get_running_loop()
        yield "job", await inside(lambda: loop.run_in_executor(pool, probe)), "s"
        task = contextvars.Context().run(lambda: loop.run_in_executor(pool, probe))
        yield "next job", await task, None


async def callback_of_the_loop(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[Any] = loop.create_future()

    async def run() -> None:
        loop.call_later(0.001, lambda: seen.set_result(probe()))

    await inside(run)
    yield "callback after the scope", await seen, "s"


async def async_generator_body(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    async def body() -> AsyncIterator[str | None]:
        yield probe()
        await asyncio.sleep(0)
        yield probe()

    async def run() -> list[Any]:
        return [item async for item in body()]

    yield "items", ",".join(map(str, await inside(run))), "s,s"


async def async_generator_closed_in_another_task(probe: Probe, inside: InsideAsync) -> AsyncIterator[Seen]:
    seen: list[Any] = []

    async def body() -> AsyncIterator[None]:
        try:
            yield None
        finally:
            seen.append(probe())

    async def run() -> Any:
        generator = body()
        await anext(generator)
        return generator

    generator = await inside(run)

    async def close() -> str | None:
        await generator.aclose()
        return probe()

    task = contextvars.Context().run(asyncio.create_task, close())
    yield "closer", await task, None
    yield "clean-up", seen[0], None


SYNC = [
    direct,
    own_span,
    nested,
    thread,
    thread_with_own_run,
    timer,
    submit,
    map_,
    pooled_job_after_the_scope,
    session_set_in_a_pooled_job,
    done_callback,
    generator_body,
    generator_consumed_elsewhere,
    explicit_empty_context_with_a_parent_span,
    callback_thread,
    fork,
]
ASYNC = [
    coroutine,
    create_task,
    late_task,
    gather,
    task_group,
    to_thread,
    run_in_executor,
    callback_of_the_loop,
    async_generator_body,
    async_generator_closed_in_another_task,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("carrier", SYNC, ids=lambda carrier: carrier.__name__)
def test_session_holds_and_ends(
    carrier: Any, way: str, probe: Probe, clean: Any, caplog: pytest.LogCaptureFixture
) -> None:
    inside = globals()[f"by_{way}"]

    def run() -> None:
        for what, seen, expected in carrier(probe, inside, clean):
            assert seen == expected, what
        assert probe() == (
            "s" if way == "set_session" and carrier is not session_set_in_a_pooled_job else None
        ), "caller"

    clean(run)
    assert probe() is None
    assert "detach" not in caplog.text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("carrier", ASYNC, ids=lambda carrier: carrier.__name__)
def test_session_holds_and_ends_in_asyncio(
    carrier: Any, way: str, probe: Probe, clean: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if carrier is task_group and sys.version_info < (3, 11):
        pytest.skip("asyncio.TaskGroup is new in Python 3.11")
    inside = globals()[f"async_by_{way}"]

    async def run() -> None:
        async for what, seen, expected in carrier(probe, inside):
            assert seen == expected, what
        assert probe() == ("s" if way == "set_session" else None), "caller"

    clean(functools.partial(asyncio.run, run()))
    assert probe() is None
    assert "detach" not in caplog.text

"""Blocks: what they yield, how often they can be entered, and the baggage that they leave."""

import asyncio
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import trio
from opentelemetry import baggage, trace

import pandaprobe_otel as pandaprobe

Probe = Callable[..., str | None]


@pytest.fixture(autouse=True)
def _tracer(tracer: trace.Tracer) -> None:
    """A client without an exporter is running."""


def test_block_yields_its_id() -> None:
    with pandaprobe.session("s") as id, pandaprobe.user(7) as user:
        assert (id, user) == ("s", "7")
        assert (pandaprobe.current_session(), pandaprobe.current_user()) == ("s", "7")
    assert (pandaprobe.current_session(), pandaprobe.current_user()) == (None, None)


async def test_async_block_yields_its_id() -> None:
    async with pandaprobe.session("s") as id, pandaprobe.user("u") as user:
        assert (id, user) == ("s", "u")


def test_block_without_an_id_makes_a_uuid_each_time() -> None:
    scope = pandaprobe.session()
    with scope as first:
        pass
    with scope as second:
        pass
    assert first != second
    assert all(uuid.UUID(id).version == 4 for id in (first, second))


def test_decorated_function_without_an_id_gets_one_per_call() -> None:
    @pandaprobe.session()
    def call() -> str | None:
        return pandaprobe.current_session()

    assert call() != call()


def test_one_scope_can_be_entered_in_many_places_at_once() -> None:
    scope = pandaprobe.session("s")
    entered, leave = threading.Barrier(3), threading.Barrier(3)

    def enter() -> None:
        with scope:
            entered.wait(5)
            leave.wait(5)
        seen.append(pandaprobe.current_session())

    seen: list[Any] = []
    threads = [threading.Thread(target=enter) for _ in range(2)]
    for thread in threads:
        thread.start()
    with scope:
        with scope:
            entered.wait(5)
        assert pandaprobe.current_session() == "s"
        leave.wait(5)
    for thread in threads:
        thread.join()
    assert [*seen, pandaprobe.current_session()] == [None, None, None]


async def test_one_scope_can_be_entered_by_interleaved_tasks() -> None:
    scope = pandaprobe.session("s")

    async def enter(seconds: float) -> Any:
        async with scope:
            await asyncio.sleep(seconds)
            inside = pandaprobe.current_session()
        return inside, pandaprobe.current_session()

    assert await asyncio.gather(enter(0.02), enter(0.01)) == [("s", None), ("s", None)]


def test_session_ends_with_its_block_when_that_raises() -> None:
    with pytest.raises(LookupError), pandaprobe.session("s"):
        raise LookupError
    assert pandaprobe.current_session() is None


def test_ids_travel_as_baggage_and_other_baggage_stays() -> None:
    from opentelemetry.context import attach, detach

    token = attach(baggage.set_baggage("theirs", "1"))
    with pandaprobe.session("s"), pandaprobe.user("u"):
        assert baggage.get_all() == {"theirs": "1", "session.id": "s", "user.id": "u"}
        with pandaprobe.session(None):
            assert baggage.get_all() == {"theirs": "1", "user.id": "u"}
    assert baggage.get_all() == {"theirs": "1"}
    pandaprobe.set_session("set")
    with pandaprobe.session("s"):
        pandaprobe.set_session("later")
        assert baggage.get_baggage("session.id") == "s"
    assert baggage.get_all() == {"theirs": "1", "session.id": "later"}
    pandaprobe.set_session(None)
    assert baggage.get_all() == {"theirs": "1"}
    detach(token)


def test_late_trio_task_keeps_its_session(probe: Probe) -> None:
    async def main() -> list[Any]:
        seen: list[Any] = []
        gate = trio.Event()

        async def late() -> None:
            await gate.wait()
            seen.append(probe())

        async with trio.open_nursery() as nursery:
            with pandaprobe.session("s"):
                nursery.start_soon(late)
            seen.append(probe())
            gate.set()
        return seen

    assert trio.run(main) == [None, "s"]


def test_chain_of_tasks_that_start_each_other_keeps_no_block_alive() -> None:
    from opentelemetry.context import get_current

    from pandaprobe_otel.session import identity

    depth: list[int] = []

    async def job(left: int) -> None:
        with pandaprobe.session(str(left)):
            frame: Any = identity._frame_in(get_current())
            length = 0
            while frame is not None:
                frame, length = frame.outer, length + 1
            depth.append(length)
            if left:
                await asyncio.create_task(job(left - 1))

    asyncio.run(job(20))
    assert max(depth) <= 2

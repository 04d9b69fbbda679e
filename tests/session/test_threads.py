"""Threads: what goes along with the session, and what stays as it was."""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import thread as pools
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import trace
from wrapt import wrap_function_wrapper

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.session import threads
from pandaprobe_otel.session.threads import carry_into_threads

Probe = Callable[..., str | None]


def in_thread(function: Callable[[], Any]) -> Any:
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join()
    return seen[0]


def test_parents_of_other_peoples_spans_stay_as_they_were(tracer: trace.Tracer) -> None:
    def parent() -> Any:
        span: Any = tracer.start_span("in a thread")
        return span.parent

    with tracer.start_as_current_span("outside"), pandaprobe.session("s"):
        assert in_thread(parent) is None
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(parent).result() is None


def test_threads_of_a_trace_hang_under_it(tracer: trace.Tracer) -> None:
    def parent() -> Any:
        span: Any = tracer.start_span("in a thread")
        return span.parent.span_id

    with pandaprobe.start_trace("turn") as turn:
        span_id = turn._span.get_span_context().span_id
        assert in_thread(parent) == span_id
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(parent).result() == span_id


def test_it_is_switched_on_once(tracer: trace.Tracer) -> None:
    carry_into_threads()
    thread: Any = threading.Thread
    work_item: Any = pools._WorkItem
    for wrapper in (thread.start, thread._bootstrap_inner, work_item.__init__):
        assert not hasattr(wrapper.__wrapped__, "__wrapped__")


def test_it_leaves_the_context_to_the_official_instrumentation(
    tracer: trace.Tracer, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package pins another one exactly, so a stand-in says here that it is active."""

    class ThreadingInstrumentor:
        is_instrumented_by_opentelemetry = True

    module: Any = ModuleType("opentelemetry.instrumentation.threading")
    module.ThreadingInstrumentor = ThreadingInstrumentor
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pandaprobe.session("s"):
        assert in_thread(probe) is None
    pandaprobe.set_session("set")
    assert in_thread(probe) == "set"
    pandaprobe.set_session(None)


def test_names_of_python_that_are_used_are_there() -> None:
    """They are private to Python; this fails loudly on the day that one moves."""
    assert callable(threading.Thread._bootstrap_inner)  # type: ignore[attr-defined]
    assert callable(pools._WorkItem.run)
    assert callable(pools._worker)


def test_submit_itself_stays_as_it_was(tracer: trace.Tracer) -> None:
    """Logfire wraps it only where nobody else has, and carries the parents of a user's spans by it."""
    carry_into_threads()
    assert not hasattr(ThreadPoolExecutor.submit, "__wrapped__")


def test_job_that_comes_as_one_with_its_arguments_has_the_session(tracer: trace.Tracer) -> None:
    """As Python makes jobs from 3.14 on."""
    carry_into_threads()

    class Item:
        def __init__(self, future: object, task: Any) -> None:
            self.task = task

    wrap_function_wrapper(Item, "__init__", threads._submit)
    with pandaprobe.session("s"):
        function, *_ = Item(None, (pandaprobe.current_session, (), {})).task
        assert Item(None, b"pickled").task == b"pickled"
    assert in_thread(function) == "s"


def test_submit_keeps_arguments_results_and_errors(tracer: trace.Tracer) -> None:
    with pandaprobe.session("s"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda *args, **kwargs: (args, kwargs), 1, x=2).result() == ((1,), {"x": 2})
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result()
        with pytest.raises(TypeError):
            pool.submit()  # type: ignore[call-arg]


def test_session_set_in_a_thread_stays_there(tracer: trace.Tracer, probe: Probe) -> None:
    def set_it() -> Any:
        pandaprobe.set_session("in the thread")
        return probe()

    assert in_thread(set_it) == "in the thread"
    assert probe() is None

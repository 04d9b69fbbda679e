"""Outages, and the ends of processes: nothing is lost, or stored twice."""

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from otlp_receiver import Answer, Receiver, attributes_of
from programs import all_once, port_of, spool_is_empty, stored


def test_outage_of_twenty_seconds_loses_nothing_of_twenty_thousand_spans(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        port = port_of(receiver)
    code = """
        for second in range(20):
            make(1000, f"{second}.")
            time.sleep(1)
        print("made", flush=True)
        sys.exit(not pandaprobe.flush(60))
    """
    with run(receiver.url, code) as program:
        assert program.wait_for_line() == "made"
        with Receiver(port=port) as receiver:
            assert program.end() == 0
    expected: Counter[str] = Counter()
    for second in range(20):
        expected += all_once(1000, f"{second}.")
    assert stored(receiver) == expected
    assert spool_is_empty(tmp_path)


def test_outage_longer_than_the_process_is_made_good_by_the_next_one(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        port = port_of(receiver)
    with run(receiver.url, "make(1000)") as program:
        start = time.monotonic()
        assert program.end() == 0
        assert time.monotonic() - start < 4
    with Receiver(port=port) as receiver, run(receiver.url, "make(1, 'next')") as program:
        assert program.end() == 0
        assert stored(receiver) == all_once(1000) + all_once(1, "next")
    assert spool_is_empty(tmp_path)


@pytest.mark.parametrize("answer", [(503, {}, b""), None], ids=["503", "black hole"])
def test_receiver_that_fails_at_exit_delays_it_by_seconds_and_the_next_process_delivers(
    run: Any, tmp_path: Path, answer: Answer
) -> None:
    with Receiver(*[answer] * 50) as receiver:
        port = port_of(receiver)
        with run(receiver.url, "make(1000); print('made', flush=True)") as program:
            program.wait_for_line()
            start = time.monotonic()
            assert program.end() == 0
            assert time.monotonic() - start < 6
        assert not receiver.spans
    with Receiver(port=port) as receiver, run(receiver.url, "make(0); pandaprobe.flush(20)") as program:
        assert program.end() == 0
        receiver.wait_for(lambda: stored(receiver) == all_once(1000))


def test_sigterm_sends_what_is_queued_and_ends_as_before(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        code = "make(1000); print('made', flush=True); time.sleep(60)"
        with run(receiver.url, code, PANDAPROBE_FLUSH_INTERVAL="60") as program:
            program.wait_for_line()
            program.kill(signal.SIGTERM)
            assert program.end(10) == -signal.SIGTERM
        assert stored(receiver) == all_once(1000)


def test_sigterm_to_the_first_process_of_a_container_sends_what_is_queued_and_no_more(run: Any) -> None:
    """The kernel keeps SIGTERM from such a process without a handler; the process number stands in for it."""
    code = """
        import signal
        os.getpid = lambda: 1
        make(100, "before.")
        signal.raise_signal(signal.SIGTERM)
        make(100, "after.")
    """
    with Receiver() as receiver, run(receiver.url, code, PANDAPROBE_FLUSH_INTERVAL="60") as program:
        assert program.end() == 0
        assert stored(receiver) == all_once(100, "before.") + all_once(100, "after.")


def test_sigterm_of_somebody_else_stays_theirs(run: Any) -> None:
    with Receiver() as receiver:
        code = """
            import signal
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            pandaprobe.shutdown()
            pandaprobe.init(release="2")
            make(10)
            print('made', flush=True)
            time.sleep(60)
        """
        with run(receiver.url, code) as program:
            program.wait_for_line()
            program.kill(signal.SIGTERM)
            assert program.end(10) == 7
        assert stored(receiver) == all_once(10)


def test_sigkill_loses_at_most_the_last_flush_interval(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        port = port_of(receiver)
    code = """
        for number in range(1000):
            make(1, f"{number}.")
            if number == 995: print("now", flush=True)
            time.sleep(0.01)
    """
    with run(receiver.url, code, PANDAPROBE_FLUSH_INTERVAL="0.1") as program:
        assert program.wait_for_line() == "now"
        program.kill(signal.SIGKILL)
        assert program.end() == -signal.SIGKILL
    with Receiver(port=port) as receiver, run(receiver.url, "make(0); pandaprobe.flush(20)") as program:
        assert program.end() == 0
        receiver.wait_for(lambda: len(receiver.spans) >= 980)
        assert max(stored(receiver).values()) == 1


def test_forked_workers_send_their_own_spans_once(run: Any) -> None:
    code = """
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        make(10, "before.")
        pandaprobe.flush()
        make(10, "queued.")
        fork = multiprocessing.get_context("fork")
        def work(number):
            make(100, f"{number}.")
            # One is flushed by hand, the other when it ends.
            sys.exit(0 if number or pandaprobe.flush(20) else 1)
        workers = [fork.Process(target=work, args=(number,)) for number in range(2)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        make(10, "after.")
        sys.exit(max(worker.exitcode for worker in workers))
    """
    with Receiver() as receiver, run(receiver.url, code) as program:
        assert program.end() == 0
        assert stored(receiver) == (
            all_once(10, "before.")
            + all_once(10, "queued.")
            + all_once(10, "after.")
            + all_once(100, "0.")
            + all_once(100, "1.")
        )


def test_two_processes_share_a_spool(run: Any, tmp_path: Path) -> None:
    with Receiver() as receiver:
        port = port_of(receiver)
    with run(receiver.url, "make(500, 'a.')") as first, run(receiver.url, "make(500, 'b.')") as second:
        assert (first.end(), second.end()) == (0, 0)
    with Receiver(port=port) as receiver:
        both = [run(receiver.url, f"make(500, '{name}.'); pandaprobe.flush(20)") for name in "cd"]
        for program in both:
            assert program.end() == 0
        expected: Counter[str] = Counter()
        for name in "abcd":
            expected += all_once(500, f"{name}.")
        receiver.wait_for(lambda: stored(receiver) == expected)
    assert spool_is_empty(tmp_path)


def test_spans_that_are_open_at_exit_are_sent_and_marked(run: Any) -> None:
    code = """
        with pandaprobe.session("s"):
            span = trace.get_tracer("theirs").start_span("open")
        make(1)
    """
    with Receiver() as receiver, run(receiver.url, code) as program:
        assert program.end() == 0
        assert attributes_of(receiver.span("open"))["pandaprobe.span.open"] is True
        assert "pandaprobe.span.open" not in attributes_of(receiver.span("0"))


def test_memory_only_still_outlives_a_short_outage(run: Any) -> None:
    with Receiver((503, {}, b""), (503, {}, b"")) as receiver:
        code = "make(100); sys.exit(not pandaprobe.flush(20))"
        with run(receiver.url, code, PANDAPROBE_SPOOL_DIR="off") as program:
            assert program.end() == 0
        assert stored(receiver) == all_once(100)

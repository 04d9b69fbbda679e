"""What goes wrong between a span and PandaProbe, in real processes: nothing is lost, or stored twice."""

import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import in_process
import pytest
from otlp_receiver import Answer, Receiver

MAKE = """
import os, sys, time
import pandaprobe_otel as pandaprobe
from opentelemetry import trace

def make(count, prefix=""):
    tracer = trace.get_tracer("theirs")
    with pandaprobe.session("s"):
        for number in range(count):
            tracer.start_span(f"{prefix}{number}").end()

pandaprobe.init()
"""


class Program:
    """A process that makes spans."""

    def __init__(self, code: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", MAKE + textwrap.dedent(code)],
            env={**in_process.clean_environment(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def wait_for_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self, seconds: float = 60) -> int:
        _, errors = self._process.communicate(timeout=seconds)
        assert "Traceback" not in errors, errors
        return self._process.returncode


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Program]:
    """Runs a program with a spool of this test's own."""

    def run(url: str, code: str, **environment: str) -> Program:
        settings = {"PANDAPROBE_ENDPOINT": url, "PANDAPROBE_SPOOL_DIR": str(tmp_path / "spool")}
        return Program(code, **{**settings, **environment})

    return run


def stored(*receivers: Receiver) -> Counter[str]:
    return Counter(span.name for receiver in receivers for span in receiver.spans)


def all_once(count: int, prefix: str = "") -> Counter[str]:
    return Counter(f"{prefix}{number}" for number in range(count))


def port_of(receiver: Receiver) -> int:
    return int(receiver.url.rsplit(":", 1)[1])


def spool_is_empty(tmp_path: Path) -> bool:
    return not [path for path in (tmp_path / "spool").rglob("*") if path.suffix == ".db"]


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
        span = trace.get_tracer("theirs").start_span("open")
        make(1)
    """
    with Receiver() as receiver, run(receiver.url, code) as program:
        assert program.end() == 0
        from otlp_receiver import attributes_of

        assert attributes_of(receiver.span("open"))["pandaprobe.span.open"] is True
        assert "pandaprobe.span.open" not in attributes_of(receiver.span("0"))


def test_memory_only_still_outlives_a_short_outage(run: Any) -> None:
    with Receiver((503, {}, b""), (503, {}, b"")) as receiver:
        code = "make(100); sys.exit(not pandaprobe.flush(20))"
        with run(receiver.url, code, PANDAPROBE_SPOOL_DIR="off") as program:
            assert program.end() == 0
        assert stored(receiver) == all_once(100)


def test_folder_that_cannot_be_written_is_warned_of_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Receiver() as receiver:
        ended = in_process.run(
            MAKE + "make(300); sys.exit(not pandaprobe.flush(10))",
            PANDAPROBE_ENDPOINT=receiver.url,
            PANDAPROBE_SPOOL_DIR=str(tmp_path / "file" / "spool"),
        )
        assert stored(receiver) == all_once(300)
    assert ended.errors.count("spool") >= 1

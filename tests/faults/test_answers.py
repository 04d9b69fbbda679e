"""Whatever the receiver answers: spans made are spans stored, and none is stored twice."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from otlp_receiver import Answer, Fault, Receiver
from programs import all_once, port_of, spool_is_empty, stored

# Two batches: the first meets the fault.
COUNT, BATCH = 200, 128
CODE = f"make({COUNT}); tell(flushed=pandaprobe.flush(20))"


def set_aside(tmp_path: Path) -> list[Any]:
    (file,) = (tmp_path / "spool").rglob("set-aside.sqlite")
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT reason, count FROM items").fetchall()


@pytest.mark.parametrize(
    "answer",
    [
        (408, {}, b""),
        (413, {}, b""),
        (429, {}, b""),
        (429, {"Retry-After": "1"}, b""),
        (500, {}, b""),
        (502, {}, b"<html>"),
        (503, {}, b""),
        (504, {}, b""),
        Fault.RESET,
        Fault.SLOW,
        Fault.HALF_A_BODY,
    ],
    ids=str,
)
def test_answer_that_is_not_the_last_word_loses_nothing(run: Any, tmp_path: Path, answer: Answer) -> None:
    with Receiver(answer) as receiver, run(receiver.url, CODE, PANDAPROBE_PROTOCOL="otlp") as program:
        assert program.end() == 0
        assert program.told["flushed"]
        assert stored(receiver) == all_once(COUNT)
    assert (program.told["made"], program.told["sent"], program.told["lost"]) == (COUNT, COUNT, {})
    assert spool_is_empty(tmp_path)
    if isinstance(answer, tuple) and answer[1]:
        assert receiver.times[1] - receiver.times[0] >= 1, "Retry-After is heard"


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_what_a_setting_has_to_mend_is_said_once_and_the_spans_are_kept(
    run: Any, tmp_path: Path, status: int
) -> None:
    code = f"make({COUNT}); tell(first=pandaprobe.flush(20)); tell(then=pandaprobe.flush(20))"
    answer = (status, {"Location": "http://127.0.0.1:9/"} if status == 301 else {}, b"")
    with Receiver(answer) as receiver, run(receiver.url, code, PANDAPROBE_PROTOCOL="otlp") as program:
        assert program.end() == 0
        assert stored(receiver) == all_once(COUNT)
    assert (program.told["first"], program.told["then"]) == (False, True)
    assert (program.told["sent"], program.told["lost"]) == (COUNT, {})
    assert len(program.warnings) == 1
    assert f"HTTP {status}" in program.warnings[0]
    assert spool_is_empty(tmp_path)


def test_what_a_refused_key_leaves_is_sent_with_the_next_one(run: Any, tmp_path: Path) -> None:
    first, second = {"PANDAPROBE_API_KEY": "sk_pp_1"}, {"PANDAPROBE_API_KEY": "sk_pp_2"}
    port = None
    for answer, given_up in (((503, {}, b""), False), ((401, {}, b""), True)):
        with Receiver(*[answer] * 50, port=port or 0) as receiver:
            port = port_of(receiver)
            with run(receiver.url, f"make({COUNT}, '{answer[0]}.')", **first) as program:
                assert program.end() == 0
        with Receiver(port=port) as receiver:
            with run(receiver.url, f"make({COUNT}, 'new.'); pandaprobe.flush(20)", **second) as program:
                assert program.end() == 0
            sent = {name.partition(".")[0] for name in stored(receiver)}
        # It may be an organisation's of its own, as long as nobody says that it is no key any more.
        assert sent == ({"new", "503", "401"} if given_up else {"new"})
    assert spool_is_empty(tmp_path)


def test_batch_that_is_refused_is_set_aside_and_holds_up_nothing(run: Any, tmp_path: Path) -> None:
    with Receiver((400, {}, b"")) as receiver, run(receiver.url, CODE) as program:
        assert program.end() == 0
        assert sum(stored(receiver).values()) == COUNT - BATCH
    assert (program.told["sent"], program.told["lost"]) == (COUNT - BATCH, {"HTTP 400": BATCH})
    assert set_aside(tmp_path) == [("HTTP 400", BATCH)]


def test_batch_of_which_a_part_is_refused_is_set_aside_too(run: Any, tmp_path: Path) -> None:
    answers = [(413, {}, b""), (400, {}, b"")]
    with Receiver(*answers) as receiver, run(receiver.url, CODE) as program:
        assert program.end() == 0
        assert sum(stored(receiver).values()) == COUNT - BATCH // 2
    assert program.told["lost"] == {"HTTP 400": BATCH // 2}
    assert len(set_aside(tmp_path)) == 1


def test_spans_that_the_receiver_rejects_are_counted(run: Any) -> None:
    message = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=5))
    with Receiver((200, {}, message.SerializeToString())) as receiver, run(receiver.url, CODE) as program:
        assert program.end() == 0
        assert stored(receiver) == all_once(COUNT), "the others are not sent again"
    assert (program.told["sent"], program.told["lost"]) == (COUNT - 5, {"rejected": 5})


def test_span_of_seventy_megabytes_is_shortened_and_its_neighbours_arrive(run: Any) -> None:
    code = """
        import random
        text = random.Random(1).randbytes(35_000_000).hex()
        make(1, "before.")
        with pandaprobe.session("s"):
            trace.get_tracer("theirs").start_span("0", attributes={"text": text}).end()
        make(1, "after.")
        tell(flushed=pandaprobe.flush(50))
    """
    with Receiver() as receiver, run(receiver.url, code) as program:
        assert program.end(100) == 0
        assert stored(receiver) == all_once(1, "before.") + all_once(1) + all_once(1, "after.")
    assert program.told["flushed"]
    assert max(int(headers["Content-Length"]) for headers in receiver.headers) < 4 * 1024 * 1024

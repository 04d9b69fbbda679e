"""The REST wire against a running PandaProbe: what is read back is what was made.

PANDAPROBE_TEST_BACKEND       its base URL
PANDAPROBE_TEST_API_KEY       a key that may make projects
PANDAPROBE_TEST_PROJECT_NAME  the start of the names of the projects that are made
"""

import json
import os
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import in_process
import pytest
import urllib3
from pandaprobe_receiver import Client, Courier

from pandaprobe_otel import runtime
from pandaprobe_otel.export.spool import Item
from pandaprobe_otel.export.wire import Request
from pandaprobe_otel.tracing.trace import start_trace

BACKEND = os.environ.get("PANDAPROBE_TEST_BACKEND", "")
KEY = os.environ.get("PANDAPROBE_TEST_API_KEY", "")
PROJECT = os.environ.get("PANDAPROBE_TEST_PROJECT_NAME", "pandaprobe-otel")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not BACKEND, reason="PANDAPROBE_TEST_BACKEND names no running PandaProbe"),
]

# The worker of a small PandaProbe stores some traces a second; a path takes 200 requests a minute.
LONGEST_WAIT, POLL = 30.0, 0.35


class Backend:
    """A project of its own, and what arrived in it. Stands where `Courier` has its receiver."""

    def __init__(self) -> None:
        # It closes connections that nobody has used for five seconds, now and then just as one is used again.
        again = urllib3.Retry(2, allowed_methods=None, status=0, raise_on_status=False)
        self._pool = urllib3.PoolManager(retries=again, timeout=30)
        self.project = f"{PROJECT} {uuid4().hex[:12]}"
        self._headers = {"X-API-Key": KEY, "X-Project-Name": self.project}
        self.now = 0.0
        self.asked: list[tuple[str, str, int]] = []

    def answer(self, request: Request) -> urllib3.BaseHTTPResponse:
        url = BACKEND.rstrip("/") + request.path
        headers = {**self._headers, **request.headers}
        response = self._pool.request(request.method, url, body=request.body, headers=headers)
        self.asked.append((request.method, request.path, response.status))
        return response

    def get(self, path: str) -> Any:
        response = self._pool.request("GET", BACKEND.rstrip("/") + path, headers=self._headers)
        assert response.status in (200, 404), response.data
        return json.loads(response.data) if response.status == 200 else None

    def session(self, session_id: str, until: Callable[[Any], bool] = bool) -> Any:
        """The session, as soon as `until` is true of it."""
        end = monotonic() + LONGEST_WAIT
        while monotonic() < end:
            found = self.get(f"/sessions/{session_id}")
            if found and until(found):
                return found
            sleep(POLL)
        raise AssertionError(f"not there after {LONGEST_WAIT} s: {found}")

    def trace(self, trace_id: str) -> Any:
        end = monotonic() + LONGEST_WAIT
        while monotonic() < end:
            if found := self.get(f"/traces/{trace_id}"):
                return found
            sleep(POLL)
        raise AssertionError(f"no trace after {LONGEST_WAIT} s")


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def courier(backend: Backend) -> Courier:
    receiver: Any = backend
    return Courier(receiver)


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    runtime.activate(made)
    yield made
    runtime.activate(None)


@pytest.fixture
def session_id() -> str:
    return f"c-{uuid4()}"


def deliver(courier: Courier) -> None:
    """Sends until nothing waits, on the real clock as far as the answers go."""
    end = monotonic() + LONGEST_WAIT
    while not courier.wire.idle and monotonic() < end:
        sleep(0.5)
        courier.now += 10
        courier.run()
    assert courier.wire.idle
    assert courier.aside == []


def messages(role: str, text: str) -> Any:
    return {"messages": [{"role": role, "content": text}]}


def agent_turn(session_id: str, number: int) -> Any:
    with start_trace(
        f"turn {number}", session_id=session_id, user_id="u-1", tags=["shop", f"t{number}"]
    ) as turn:
        plan = turn.span("plan", kind="AGENT", metadata={"step": number})
        with plan, turn.span("chat", kind="LLM", model="gpt-5") as chat:
            chat.set_input(messages("user", f"question {number}"))
            chat.set_output(messages("assistant", f"answer {number}"))
            chat.set_token_usage(prompt_tokens=10 * number, completion_tokens=number)
            chat.set_cost(total=0.25 * number)
        with turn.span("search", kind="TOOL") as tool:
            tool.set_input({"query": "pandas"})
            tool.set_output(["a", "b"])
    return turn


def test_sessions_order_tokens_cost_users_and_tags(client, courier, backend, session_id):
    made = [agent_turn(session_id, number) for number in (1, 2, 3)]
    courier.bring(client.take())
    deliver(courier)
    found = backend.session(session_id, lambda session: session["trace_count"] == 3)
    assert [trace["trace_id"] for trace in found["traces"]] == [turn.trace_id for turn in made]
    assert [trace["name"] for trace in found["traces"]] == ["turn 1", "turn 2", "turn 3"]
    assert found["total_tokens"] == 66
    assert found["total_cost"] == pytest.approx(1.5)
    assert found["user_id"] == "u-1"
    assert sorted(found["tags"]) == ["shop", "t1", "t2", "t3"]
    assert found["has_error"] is False
    assert found["total_span_count"] == 9
    assert courier.acked == [1]
    first = found["traces"][0]
    assert (first["status"], first["session_id"]) == ("COMPLETED", session_id)
    assert first["input"] == messages("user", "question 1")
    assert first["output"] == messages("assistant", "answer 1")
    spans = {span["name"]: span for span in first["spans"]}
    assert {name: span["kind"] for name, span in spans.items()} == {
        "plan": "AGENT",
        "chat": "LLM",
        "search": "TOOL",
    }
    assert spans["chat"]["parent_span_id"] == spans["plan"]["span_id"]
    assert spans["plan"]["parent_span_id"] is None
    assert (spans["chat"]["model"], spans["chat"]["cost"]) == ("gpt-5", {"total": 0.25})
    assert spans["chat"]["token_usage"]["total_tokens"] == 11
    assert spans["plan"]["metadata"]["step"] == 1
    assert (spans["search"]["input"], spans["search"]["output"]) == ({"query": "pandas"}, ["a", "b"])


def test_errors(client, courier, backend, session_id):
    turn = start_trace("turn", session_id=session_id)
    with pytest.raises(ValueError, match="boom"), turn, turn.span("step"):
        raise ValueError("boom")
    courier.bring(client.take())
    found = backend.session(session_id)
    (trace,) = found["traces"]
    (span,) = trace["spans"]
    assert found["has_error"] is True
    assert (trace["status"], span["status"]) == ("ERROR", "ERROR")
    assert "boom" in span["error"]


def test_text_that_postgres_cannot_hold(client, courier, backend, session_id):
    with start_trace("turn", session_id=session_id, input="a\x00b") as turn:
        turn.set_output({"number": float("nan")})
    courier.bring(client.take())
    (trace,) = backend.session(session_id)["traces"]
    assert trace["input"] == "a\ufffdb"
    assert trace["output"] == {"number": None}


def test_600_spans(client, courier, backend, session_id):
    with start_trace("turn", session_id=session_id) as turn:
        for number in range(600):
            with turn.span(f"step {number}"):
                pass
    courier.bring(client.take())
    deliver(courier)
    found = backend.session(session_id, lambda session: session["total_span_count"] == 600)
    assert {span["name"] for span in found["traces"][0]["spans"]} == {f"step {n}" for n in range(600)}
    assert [method for method, path, _ in backend.asked if path == "/traces"] == ["POST"]


def test_late_span_and_score(client, courier, backend, session_id):
    turn = agent_turn(session_id, 1)
    *spans, late, entry = client.take()
    score = {"trace_id": turn.trace_id, "name": "quality", "value": "0.5", "data_type": "NUMERIC"}
    courier.bring([*spans, entry])
    courier.load(Item(9, "score", json.dumps({**score, "source": "PROGRAMMATIC"}).encode(), 0))
    courier.bring([late])
    deliver(courier)
    assert sorted(courier.acked) == [1, 2, 9]
    found = backend.session(session_id, lambda session: session["total_span_count"] == 3)
    assert {span["name"] for span in found["traces"][0]["spans"]} == {"plan", "chat", "search"}
    (scored,) = backend.get(f"/evaluations/trace-scores/{turn.trace_id}")
    assert (scored["name"], scored["value"]) == ("quality", "0.5")


def test_long_turn_is_completed_and_loses_nothing(client, courier, backend, session_id):
    with start_trace("turn", session_id=session_id, user_id="u-1", tags=["a"]) as turn:
        with turn.span("plan", kind="AGENT"):
            with turn.span("first", kind="LLM") as chat:
                chat.set_input(messages("user", "asked"))
                chat.set_output(messages("assistant", "thinking"))
                chat.set_token_usage(prompt_tokens=3, completion_tokens=4)
            courier.bring(client.take())
            courier.now += 61
            courier.run()
            deliver(courier)
            partial = backend.trace(turn.trace_id)
            assert (partial["status"], partial["ended_at"]) == ("RUNNING", None)
        with turn.span("second", kind="LLM") as chat:
            chat.set_output(messages("assistant", "answered"))
    courier.bring(client.take())
    deliver(courier)
    found = backend.session(session_id, lambda session: session["traces"][0]["status"] == "COMPLETED")
    (whole,) = found["traces"]
    assert (whole["name"], whole["tags"], whole["user_id"]) == ("turn", ["a"], "u-1")
    assert whole["input"] == messages("user", "asked")
    assert whole["output"] == messages("assistant", "answered")
    assert whole["ended_at"] is not None
    spans = {span["name"]: span for span in whole["spans"]}
    assert set(spans) == {"plan", "first", "second"}
    assert spans["first"]["parent_span_id"] == spans["plan"]["span_id"]
    assert found["total_tokens"] == 7


def test_same_items_twice(client, courier, backend, session_id):
    agent_turn(session_id, 1)
    spans = client.take()
    courier.bring(spans)
    before = backend.session(session_id)
    receiver: Any = backend
    again = Courier(receiver)
    again.bring(spans)
    sleep(2)
    assert backend.session(session_id) == before


def test_two_sessions_in_one_otel_trace(client, courier, backend, session_id):
    other = f"{session_id}-other"
    with (
        client.tracer.start_as_current_span("worker"),
        start_trace("outer", session_id=session_id),
        start_trace("inner", session_id=other),
    ):
        pass
    courier.bring(client.take())
    assert {trace["name"] for trace in backend.session(session_id)["traces"]} == {"outer"}
    assert {trace["name"] for trace in backend.session(other)["traces"]} == {"inner"}


def test_turn_that_is_open_for_long_has_its_start_and_no_lost_parents(backend, session_id):
    program = """
        import time
        import pandaprobe_otel as pandaprobe
        pandaprobe.init()
        with pandaprobe.start_trace("turn", session_id=%r) as turn:
            with turn.span("outer"), turn.span("first"):
                pass
            time.sleep(4)
            with turn.span("last"):
                pass
        tell(flushed=pandaprobe.flush(30), trace_id=turn.trace_id)
    """
    told = in_process.run(
        program % session_id,
        PANDAPROBE_ENDPOINT=BACKEND,
        PANDAPROBE_API_KEY=KEY,
        PANDAPROBE_PROJECT_NAME=backend.project,
        PANDAPROBE_PARTIAL_AFTER="0.5",
    ).told
    assert told["flushed"]
    found = backend.session(session_id, lambda session: session["traces"][0]["status"] == "COMPLETED")
    (trace,) = found["traces"]
    assert (trace["trace_id"], trace["name"]) == (told["trace_id"], "turn")
    spans = {span["name"]: span for span in trace["spans"]}
    assert set(spans) == {"outer", "first", "last"}
    assert trace["started_at"] < min(span["started_at"] for span in spans.values())
    assert spans["first"]["parent_span_id"] == spans["outer"]["span_id"]
    assert (spans["outer"]["parent_span_id"], spans["last"]["parent_span_id"]) == (None, None)

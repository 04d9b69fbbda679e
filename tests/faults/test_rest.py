"""PandaProbe's REST API over HTTP: turns that are long, large, odd, or one too many."""

from typing import Any

import pytest
from pandaprobe_receiver import Receiver
from pandaprobe_server import Server

CHAT = """
def chat(turn, name, question=None, answer=None, **usage):
    with turn.span(name, kind="LLM", model="m") as span:
        if question: span.set_input({"messages": [{"role": "user", "content": question}]})
        if answer: span.set_output({"messages": [{"role": "assistant", "content": answer}]})
        span.set_token_usage(prompt_tokens=1, completion_tokens=1)
"""


def said(value: Any) -> str:
    return value["messages"][0]["content"]


def test_turn_of_an_hour_is_sent_in_parts_and_nothing_of_it_is_put_out(run: Any) -> None:
    """An hour in 3 seconds: what waits a minute otherwise waits 50 ms here."""
    code = (
        CHAT
        + """
with pandaprobe.start_trace("turn", session_id="s", user_id="u", tags=["a"]) as turn:
    with turn.span("outer", kind="AGENT"):
        chat(turn, "first", "asked", "thinking")
        for minute in range(60):
            with turn.span(f"minute {minute}"): time.sleep(0.05)
            if minute == 30: print("half", flush=True)
    chat(turn, "last", answer="answered")
tell(flushed=pandaprobe.flush(20))
"""
    )
    environment = {"PANDAPROBE_PARTIAL_AFTER": "0.05", "PANDAPROBE_FLUSH_INTERVAL": "0.02"}
    with Server() as server, run(server.url, code, **environment) as program:
        assert program.wait_for_line() == "half"
        (partial,) = server.receiver.stored().values()
        assert (partial["name"], partial["status"], partial["ended_at"]) == ("turn", "RUNNING", None)
        assert (partial["session_id"], partial["user_id"], partial["tags"]) == ("s", "u", ["a"])
        assert program.end() == 0
        assert program.told["flushed"]
        whole = server.trace("turn")
    assert len(server.receiver.stored()) == 1
    assert (whole["status"], said(whole["input"]), said(whole["output"])) == (
        "COMPLETED",
        "asked",
        "answered",
    )
    assert (
        whole["started_at"] == partial["started_at"] < min(s["started_at"] for s in whole["spans"].values())
    )
    minutes = {f"minute {minute}": "outer" for minute in range(60)}
    assert whole["parents"] == {"outer": None, "first": "outer", "last": None, **minutes}
    assert server.receiver.paths(202) == ["POST /traces"]
    assert (program.told["made"], program.told["lost"]) == (64, {})


def test_what_is_sent_of_an_open_turn_is_redacted_too(run: Any) -> None:
    code = """
        pandaprobe.init(redact=lambda key, value: str(value).replace("secret", "…"))
        with pandaprobe.start_trace("turn", session_id="s", input="secret") as turn:
            make(1)
            while not pandaprobe.get_client().stats().sent: time.sleep(0.01)
            print("sent", flush=True)
            input()
    """
    with Server() as server, run(server.url, code, PANDAPROBE_PARTIAL_AFTER="0.1") as program:
        assert program.wait_for_line() == "sent"
        assert (server.trace("turn")["status"], server.trace("turn")["input"]) == ("RUNNING", "…")
        program.go_on()
        assert program.end() == 0
        assert (server.trace("turn")["status"], server.trace("turn")["input"]) == ("COMPLETED", "…")


def test_turn_of_600_spans_arrives_whole(run: Any) -> None:
    code = """
        with pandaprobe.start_trace("turn", session_id="s"):
            make(600)
        tell(flushed=pandaprobe.flush(20))
    """
    with Server(Receiver(lag=0.3)) as server, run(server.url, code) as program:
        assert program.end() == 0
        assert program.told["flushed"]
        assert server.trace("turn")["parents"] == {str(number): None for number in range(600)}
    assert server.receiver.paths(202) == ["POST /traces"]


def test_values_that_pandaprobe_cannot_hold_cost_nothing_else(run: Any) -> None:
    """The server refuses what is not in PandaProbe's schema; a NUL would lose a whole trace there."""
    code = r"""
        with pandaprobe.start_trace("turn", session_id="s", input="a\0b") as turn:
            with turn.span("nan") as span: span.set_output({"a": float("nan"), "b": float("inf")})
            with turn.span("tokens", kind="LLM") as span:
                usage = {"gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": 2**40}
                trace.get_current_span().set_attributes(usage)
            with turn.span("\ud800" * 3) as span: span.set_input("\udfff")
            with turn.span("x" * 10_000) as span: trace.get_current_span().set_attribute("bytes", b"\xff\0")
            with turn.span("object") as span: span.set_output(object())
        tell(flushed=pandaprobe.flush(20))
    """
    with Server() as server, run(server.url, code) as program:
        assert program.end() == 0
        assert program.told["flushed"]
        trace = server.trace("turn")
    spans = {span["name"][:6]: span for span in trace["spans"].values()}
    assert set(spans) == {"nan", "tokens", "\ufffd" * 3, "x" * 6, "object"}
    assert trace["input"] == "a\ufffdb"
    assert spans["nan"]["output"] == {"a": None, "b": None}
    usage = spans["tokens"]["token_usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (0, 2**31 - 1)
    assert program.told["lost"] == {}


def test_quota_stops_new_traces_and_is_said_once(run: Any) -> None:
    code = """
        def turn(number):
            with pandaprobe.start_trace(f"turn {number}", session_id="s"): make(1)
        for number in range(10):
            turn(number)
            start = time.monotonic()
            flushed = pandaprobe.flush(20)
        tell(flushed=flushed, seconds=time.monotonic() - start)
    """
    with Server(Receiver(quota=3)) as server, run(server.url, code) as program:
        assert program.end() == 0
        assert len(server.receiver.stored()) == 3
        assert server.receiver.paths(429) == ["POST /traces"]
    assert not program.told["flushed"]
    assert program.told["seconds"] < 5, "there is nothing to wait for"
    assert "quota" in program.told["last_error"]
    assert program.told["lost"] == {}
    assert len([line for line in program.warnings if "quota" in line]) == 1
    assert len(program.warnings) == 1


@pytest.mark.parametrize(
    ("status", "headers"), [(408, {}), (429, {"Retry-After": "1"}), (500, {}), (503, {})]
)
def test_trace_that_is_refused_for_now_arrives_once(run: Any, status: int, headers: dict[str, str]) -> None:
    code = """
        with pandaprobe.start_trace("turn", session_id="s"): make(3)
        tell(flushed=pandaprobe.flush(30))
    """
    with Server(None, (status, headers, b"{}")) as server, run(server.url, code) as program:
        assert program.end() == 0
        assert program.told["flushed"]
        assert server.trace("turn")["parents"] == {"0": None, "1": None, "2": None}
    assert server.receiver.paths() == ["POST /traces"]

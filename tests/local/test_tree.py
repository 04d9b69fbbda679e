"""What a session looks like as a tree."""

from typing import Any

from pandaprobe_otel.local.tree import ASCII, render

START = "2026-05-01T10:00:00.000000+00:00"


def span(name: str, **fields: Any) -> dict[str, Any]:
    ended = "2026-05-01T10:00:01.500000+00:00"
    return {
        "span_id": name,
        "parent_span_id": None,
        "name": name,
        "kind": "OTHER",
        "status": "UNSET",
        "started_at": START,
        "ended_at": ended,
        "error": None,
        "model": None,
        "token_usage": None,
        **fields,
    }


def session(*spans: dict[str, Any], **fields: Any) -> dict[str, Any]:
    trace = {
        "name": "turn",
        "started_at": START,
        "ended_at": None,
        "status": "COMPLETED",
        "spans": list(spans),
    }
    return {
        "session_id": "conversation-123",
        "trace_count": 1,
        "total_latency_ms": None,
        "total_tokens": 0,
        "traces": [{**trace, **fields}],
    }


def test_spans_stand_below_their_parents_in_the_order_of_their_start() -> None:
    usage = {"prompt_tokens": 27, "completion_tokens": 24, "reasoning_tokens": 16}
    drawn = render(
        {
            **session(
                span("late", started_at="2026-05-01T10:00:01.000000+00:00", kind="TOOL"),
                span("agent", kind="AGENT"),
                span("chat gpt", parent_span_id="agent", kind="LLM", model="gpt", token_usage=usage),
                span("lost", parent_span_id="never arrived", model="gpt"),
                input={
                    "messages": [
                        {"role": "system", "content": "Be brief."},
                        {"role": "user", "content": "Hi?"},
                    ]
                },
                output={"messages": [{"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}]},
                ended_at="2026-05-01T10:02:05.000000Z",
            ),
            "total_latency_ms": 125_000.0,
            "total_tokens": 1051,
            "has_error": True,
        }
    )
    assert drawn.splitlines() == [
        "Session conversation-123 · 1 trace · 2 min 5 s · 1,051 tokens · has errors",
        "└─ Trace turn · 2 min 5 s",
        "   │  Hi? → Hello.",
        "   ├─ AGENT agent · 1.5 s",
        "   │  └─ LLM chat gpt · 27 + 24 tokens (16 reasoning) · 1.5 s",
        "   ├─ OTHER lost · gpt · 1.5 s",
        "   └─ TOOL late · 500 ms",
    ]


def test_an_error_and_the_time_to_the_first_token_are_shown() -> None:
    drawn = render(
        session(
            span("a", status="ERROR", error="RateLimitError: slow\ndown", time_to_first_token_ms=87.4),
            span("b", parent_span_id="a"),
            status="ERROR",
        )
    )
    assert drawn.splitlines()[1:] == [
        "└─ Trace turn · ERROR",
        "   └─ OTHER a · 1.5 s · first token after 87 ms · ERROR",
        "      │  ! RateLimitError: slow down",
        "      └─ OTHER b · 1.5 s",
    ]


def test_every_line_fits_and_nothing_reaches_the_terminal_as_a_command() -> None:
    drawn = render(
        session(
            span("\x1b[31mred" + "x" * 300), input="\x1b]0;title\x07" + "why? " * 90, output={"answer": 42}
        ),
        width=60,
    )
    assert "\x1b" not in drawn
    assert [line for line in drawn.splitlines() if len(line) > 60] == []
    assert drawn.splitlines()[2].startswith("   │  ]0;title why? why?")


def test_a_tree_can_be_drawn_in_ascii() -> None:
    drawn = render(
        session(span("a"), span("b", parent_span_id="a"), span("c"), input="x" * 99), drawing=ASCII
    )
    assert drawn.isascii()
    assert drawn.splitlines()[1:] == [
        "`- Trace turn",
        f"   |  {'x' * 41}... -> (nothing)",
        "   |- OTHER a, 1.5 s",
        "   |  `- OTHER b, 1.5 s",
        "   `- OTHER c, 1.5 s",
    ]


def test_a_session_without_traces_is_its_first_line() -> None:
    assert (
        render({**session(), "trace_count": 0, "traces": []})
        == "Session conversation-123 · 0 traces · 0 tokens"
    )

"""A session as a tree of text: traces, their spans, and what both took."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

Json = dict[str, Any]


@dataclass(frozen=True)
class Drawing:
    """The characters that a tree is drawn with."""

    branch: str
    last: str
    through: str
    space: str
    dot: str
    arrow: str
    ellipsis: str


UNICODE = Drawing(branch="├─ ", last="└─ ", through="│  ", space="   ", dot=" · ", arrow=" → ", ellipsis="…")
ASCII = Drawing(branch="|- ", last="`- ", through="|  ", space="   ", dot=", ", arrow=" -> ", ellipsis="...")


@dataclass(frozen=True)
class _Node:
    line: str
    notes: list[str]
    children: "list[_Node]"


def render(session: Json, *, drawing: Drawing = UNICODE, width: int = 100) -> str:
    """Draws a session as PandaProbe answers `GET /sessions/{session_id}`.

    Args:
        drawing: `ASCII` for a terminal that can print nothing else.
        width: Columns; what is longer is shortened.
    """
    return "\n".join(_shorten(line, width, drawing) for line in _draw(_session(session, drawing), drawing))


def _draw(node: _Node, drawing: Drawing, indent: str = "") -> Iterator[str]:
    yield node.line
    for note in node.notes:
        yield f"{indent}{drawing.through if node.children else drawing.space}{note}"
    for child in node.children:
        is_last = child is node.children[-1]
        inner = indent + (drawing.space if is_last else drawing.through)
        head, *rest = _draw(child, drawing, inner)
        yield f"{indent}{drawing.last if is_last else drawing.branch}{head}"
        yield from rest


def _session(session: Json, drawing: Drawing) -> _Node:
    traces = sorted(_items(session, "traces"), key=_start)
    parts = [
        f"Session {_clean(session['session_id'])}",
        _count(session["trace_count"], "trace"),
        _duration(session.get("total_latency_ms")),
        _count(session["total_tokens"], "token"),
        "has errors" if session.get("has_error") else "",
    ]
    return _Node(_join(parts, drawing), [], [_trace(trace, drawing) for trace in traces])


def _trace(trace: Json, drawing: Drawing) -> _Node:
    spans = sorted(_items(trace, "spans"), key=_start)
    known = {span["span_id"] for span in spans}
    below: defaultdict[str | None, list[Json]] = defaultdict(list)
    for span in spans:
        parent = span.get("parent_span_id")
        below[parent if parent in known and parent != span["span_id"] else None].append(span)

    def node(span: Json) -> _Node:
        return _Node(
            _span_line(span, drawing), _errors(span), [node(child) for child in below[span["span_id"]]]
        )

    parts = [f"Trace {_clean(trace['name'])}", _duration(_took(trace)), _status(trace)]
    asked, answered = _text(trace.get("input")), _text(trace.get("output"))
    notes = [_said(asked, answered, drawing)] if asked or answered else []
    return _Node(_join(parts, drawing), notes, [node(span) for span in below[None]])


def _span_line(span: Json, drawing: Drawing) -> str:
    name, model = _clean(span["name"]), _clean(span.get("model") or "")
    to_first = _duration(span.get("time_to_first_token_ms"))
    parts = [
        f"{span['kind']} {name}",
        # Names of model calls end with the model.
        model if model not in name else "",
        _tokens(span.get("token_usage") or {}),
        _duration(_took(span)),
        f"first token after {to_first}" if to_first else "",
        _status(span),
    ]
    return _join(parts, drawing)


def _tokens(usage: Json) -> str:
    if not usage:
        return ""
    text = f"{usage.get('prompt_tokens', 0)} + {usage.get('completion_tokens', 0)} tokens"
    reasoning = usage.get("reasoning_tokens")
    return f"{text} ({reasoning} reasoning)" if reasoning else text


def _status(item: Json) -> str:
    return "ERROR" if item.get("status") == "ERROR" else ""


def _errors(span: Json) -> list[str]:
    return [f"! {_clean(span['error'])}"] if span.get("error") else []


def _said(asked: str, answered: str, drawing: Drawing) -> str:
    # Leaves half of the line to the answer.
    return drawing.arrow.join((_shorten(asked, 44, drawing) or "(nothing)", answered or "(nothing)"))


def _text(value: Any) -> str:
    """What a person would read of an input or output: the text of its last message, or all of it."""
    if isinstance(value, dict) and isinstance(cast(Json, value).get("messages"), list):
        messages = _items(cast(Json, value), "messages")
        value = messages[-1].get("content") if messages else ""
    if isinstance(value, list):
        parts = [cast(Json, part) for part in cast("list[Any]", value) if isinstance(part, dict)]
        value = " ".join(str(part["text"]) for part in parts if "text" in part) or cast(Any, value)
    if value is None or value == "":
        return ""
    return _clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))


def _clean(text: object) -> str:
    # What is traced may hold line ends, and escape sequences that a terminal would obey.
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())


def _took(item: Json) -> float | None:
    """Milliseconds from start to end."""
    started, ended = item.get("started_at"), item.get("ended_at")
    if not started or not ended:
        return None
    return (_time(ended) - _time(started)).total_seconds() * 1000


def _time(text: str) -> datetime:
    # Python 3.10 does not read `Z`.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def _join(parts: list[str], drawing: Drawing) -> str:
    return drawing.dot.join(part for part in parts if part)


def _shorten(text: str, width: int, drawing: Drawing) -> str:
    return text if len(text) <= width else text[: width - len(drawing.ellipsis)].rstrip() + drawing.ellipsis


def _items(holder: Json, key: str) -> list[Json]:
    return cast("list[Json]", holder.get(key) or [])


def _start(item: Json) -> str:
    return str(item.get("started_at") or "")

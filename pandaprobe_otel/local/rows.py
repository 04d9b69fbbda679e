"""PandaProbe traces and spans as rows: what queries ask for in columns, what is answered as one body."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

# Of PandaProbe's projects, of which there is only one here.
PROJECT_ID = "00000000-0000-0000-0000-000000000000"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """A moment as microseconds since 1970; without a time zone it is UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return (aware - _EPOCH) // _MICROSECOND


def moment(text: str | None) -> int | None:
    """An ISO 8601 time as microseconds since 1970."""
    return None if text is None else microseconds(datetime.fromisoformat(text))


def isoformat(time: int | None) -> str | None:
    """Microseconds since 1970 as ISO 8601."""
    return None if time is None else (_EPOCH + time * _MICROSECOND).isoformat(timespec="microseconds")


def trace_row(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a trace; `body` is PandaProbe's `TraceResponse` without the spans."""
    spans: Sequence[Mapping[str, Any]] = body["spans"]
    answer = {"project_id": PROJECT_ID, **body}
    del answer["spans"]
    return {
        "trace_id": body["trace_id"],
        "session_id": body["session_id"],
        "user_id": body["user_id"],
        "name": body["name"],
        "status": body["status"],
        "tags": json.dumps(body["tags"]),
        "started_at": moment(body["started_at"]),
        "ended_at": moment(body["ended_at"]),
        "span_count": len(spans),
        "total_tokens": sum(_tokens(span["token_usage"] or {}) for span in spans),
        "total_cost": sum(_cost(span["cost"] or {}) for span in spans),
        "body": json.dumps(answer),
    }


def span_row(trace_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a span; `body` is PandaProbe's `SpanResponse`."""
    answer = {
        **body,
        "trace_id": trace_id,
        "latency_ms": _milliseconds(body["started_at"], body["ended_at"]),
        "time_to_first_token_ms": _milliseconds(body["started_at"], body["completion_start_time"]),
    }
    return {"span_id": body["span_id"], "trace_id": trace_id, "body": json.dumps(answer)}


def _tokens(usage: Mapping[str, int]) -> int:
    # As PandaProbe adds up; other counts are parts of these two.
    return usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)


def _cost(cost: Mapping[str, float]) -> float:
    return cost.get("total", 0.0)


def _milliseconds(start: str, end: str | None) -> float | None:
    started, ended = moment(start), moment(end)
    return None if started is None or ended is None else (ended - started) / 1000

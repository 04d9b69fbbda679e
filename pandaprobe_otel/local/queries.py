"""What PandaProbe's API answers about sessions and traces, with its aggregates and filters."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .rows import isoformat
from .store import Store

SESSION_ORDERS = {
    "recent": "max(t.created_at)",
    "trace_count": "count(*)",
    "latency": "total_latency_ms",
    "cost": "total_cost",
}
TRACE_ORDERS = {
    "started_at": "t.started_at",
    "ended_at": "t.ended_at",
    "name": "t.name",
    "latency": "t.ended_at - t.started_at",
    "status": "t.status",
}
DIRECTIONS = {"asc": "ASC", "desc": "DESC"}

_HAS_ERROR = "max(t.status = 'ERROR')"
# The user and the tags of a session are those of all its traces, whatever the filter leaves of them.
_SESSIONS = f"""
    SELECT
        t.session_id,
        count(*) AS trace_count,
        min(t.started_at) AS first_trace_at,
        max(t.ended_at) AS last_trace_at,
        sum(t.ended_at - t.started_at) / 1000.0 AS total_latency_ms,
        {_HAS_ERROR} AS has_error,
        (
            SELECT u.user_id FROM traces u
            WHERE u.session_id = t.session_id AND u.user_id IS NOT NULL ORDER BY u.started_at LIMIT 1
        ) AS user_id,
        (
            SELECT json_group_array(DISTINCT tag.value) FROM traces g, json_each(g.tags) tag
            WHERE g.session_id = t.session_id
        ) AS tags,
        sum(t.span_count) AS total_span_count,
        sum(t.total_tokens) AS total_tokens,
        sum(t.total_cost) AS total_cost
    FROM traces t
"""


@dataclass(slots=True)
class Filter:
    """Which traces count: conditions that all hold."""

    conditions: list[str] = field(default_factory=list[str])
    values: list[Any] = field(default_factory=list[Any])

    def where(self, condition: str, *values: Any) -> None:
        """Adds a condition on the trace `t`, unless one of its values is None."""
        if None not in values:
            self.conditions.append(condition)
            self.values += values

    def where_tagged(self, tags: Sequence[str]) -> None:
        """Adds that a trace has one of the tags, unless there are none."""
        if tags:
            places = ", ".join("?" * len(tags))
            self.where(f"EXISTS (SELECT 1 FROM json_each(t.tags) WHERE value IN ({places}))", *tags)

    def sql(self) -> str:
        """The WHERE clause."""
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list.

    Args:
        order: One of the values of `SESSION_ORDERS` or `TRACE_ORDERS`.
        direction: One of the values of `DIRECTIONS`.
    """

    limit: int
    offset: int
    order: str
    direction: str

    def of(self, items: Sequence[dict[str, Any]], total: int) -> dict[str, Any]:
        """PandaProbe's `PaginatedResponse`."""
        return {"items": list(items), "total": total, "limit": self.limit, "offset": self.offset}


def list_sessions(store: Store, chosen: Filter, page: Page, has_error: bool | None) -> dict[str, Any]:
    """PandaProbe's page of `SessionSummary`."""
    chosen.where("t.session_id IS NOT NULL")
    having = "" if has_error is None else f"HAVING {_HAS_ERROR} = {int(has_error)}"
    grouped = f"{_SESSIONS} {chosen.sql()} GROUP BY t.session_id {having}"
    order = f"ORDER BY {page.order} {page.direction}, max(t.started_at) {page.direction}, t.session_id"
    with store.reading() as connection:
        (total,) = connection.execute(f"SELECT count(*) FROM ({grouped})", chosen.values).fetchone()
        rows = connection.execute(
            f"{grouped} {order} LIMIT ? OFFSET ?", [*chosen.values, page.limit, page.offset]
        ).fetchall()
    return page.of([_session(row) for row in rows], total)


def get_session(store: Store, session_id: str, limit: int, offset: int) -> dict[str, Any] | None:
    """PandaProbe's `SessionDetail`; None when no trace is in this session."""
    with store.reading() as connection:
        row = connection.execute(
            f"{_SESSIONS} WHERE t.session_id = ? GROUP BY t.session_id", (session_id,)
        ).fetchone()
        if row is None:
            return None
        traces = connection.execute(
            "SELECT trace_id, body FROM traces WHERE session_id = ?"
            " ORDER BY started_at, trace_id LIMIT ? OFFSET ?",
            (session_id, limit, offset),
        ).fetchall()
        return {**_session(row), "traces": [_trace(connection, trace) for trace in traces]}


def list_traces(store: Store, chosen: Filter, page: Page) -> dict[str, Any]:
    """PandaProbe's page of `TraceListItem`."""
    order = f"ORDER BY {page.order} {page.direction}, t.trace_id"
    with store.reading() as connection:
        (total,) = connection.execute(
            f"SELECT count(*) FROM traces t {chosen.sql()}", chosen.values
        ).fetchone()
        rows = connection.execute(
            f"SELECT t.* FROM traces t {chosen.sql()} {order} LIMIT ? OFFSET ?",
            [*chosen.values, page.limit, page.offset],
        ).fetchall()
    return page.of([_trace_item(row) for row in rows], total)


def get_trace(store: Store, trace_id: str) -> dict[str, Any] | None:
    """PandaProbe's `TraceResponse`; None when there is no such trace."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT trace_id, body FROM traces WHERE trace_id = ?", (trace_id,)
        ).fetchone()
        return None if row is None else _trace(connection, row)


def _session(row: sqlite3.Row) -> dict[str, Any]:
    return {
        **dict(row),
        "first_trace_at": isoformat(row["first_trace_at"]),
        "last_trace_at": isoformat(row["last_trace_at"]),
        "has_error": bool(row["has_error"]),
        "tags": sorted(json.loads(row["tags"])),
    }


def _trace(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    spans = connection.execute(
        "SELECT body FROM spans WHERE trace_id = ? ORDER BY position", (row["trace_id"],)
    )
    return {**json.loads(row["body"]), "spans": [json.loads(span["body"]) for span in spans]}


def _trace_item(row: sqlite3.Row) -> dict[str, Any]:
    body = json.loads(row["body"])
    latency_ms = None if row["ended_at"] is None else (row["ended_at"] - row["started_at"]) / 1000
    same = (
        "trace_id",
        "name",
        "status",
        "started_at",
        "ended_at",
        "session_id",
        "user_id",
        "tags",
        "environment",
        "release",
    )
    counted = ("span_count", "total_tokens", "total_cost")
    return {
        **{key: body[key] for key in same},
        "latency_ms": latency_ms,
        **{key: row[key] for key in counted},
    }

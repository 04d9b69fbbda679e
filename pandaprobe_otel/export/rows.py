"""What PandaProbe has of a trace, and the calls that bring it the rest."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from .assembly import Portion
from .mapping.clean import clean_json
from .mapping.traces import NO_RANK, Ranks

TRACES = "/traces"
# PandaProbe refuses a body with more.
MOST_SPANS = 500
# A model call, at a time before all of them: what it said first is not to be replaced by what it said later.
_ASSUMED = Ranks(input=(2, 1, 0), output=NO_RANK)
# What `PATCH /traces/{id}` takes of the row of a trace, besides its input and output.
_FIELDS = (
    *("name", "status", "metadata", "ended_at", "session_id", "user_id", "tags", "environment", "release"),
)


@dataclass(slots=True)
class Call:
    """What is asked of PandaProbe with one request.

    Args:
        trace_id: Of the trace that it is about.
        items: The items behind each span that it delivers, by PandaProbe's span ids; "" for the trace's own.
        instead: The trace to be posted when PandaProbe does not have it.
        is_foreign: Whether another process may have posted the trace.
        needs_row: Whether a 404 says that the trace is not there yet.
        misses: How often it was not.
    """

    method: str
    path: str
    body: Any
    trace_id: str
    items: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    instead: dict[str, Any] | None = None
    is_foreign: bool = False
    needs_row: bool = True
    misses: int = 0


@dataclass(slots=True)
class _Row:
    ranks: Ranks
    has_session: bool
    has_user: bool
    # By this process, so that it is only a matter of time until it can be read.
    is_posted: bool


class Rows:
    """The traces that were sent.

    Args:
        partial_after: A trace that took longer may have been posted in part by an earlier process.
        remembered: How many traces are remembered.
    """

    def __init__(self, partial_after: float, remembered: int = 10_000) -> None:
        self._partial_after = timedelta(seconds=partial_after)
        self._began = datetime.now(timezone.utc)
        self._remembered = remembered
        self._rows: OrderedDict[str, _Row] = OrderedDict()

    def calls(self, portion: Portion) -> Iterator[Call]:
        """The calls that deliver a portion, in order."""
        body, trace_id = portion.body, portion.body["trace_id"]
        path = f"{TRACES}/{trace_id}"
        spans: list[Any] = body["spans"]
        chunks = [spans[start : start + MOST_SPANS] for start in range(0, len(spans), MOST_SPANS)]
        own = {"": portion.root.items} if portion.root else {}
        is_old = self._is_old(body)
        row = self._rows.get(trace_id)
        if portion.is_whole and row is None and not (is_old and self._is_long(body)):
            self._remember(trace_id, _row_of(portion, is_posted=True))
            first = chunks.pop(0) if chunks else []
            whole: dict[str, Any] = {**body, "spans": first}
            yield Call("POST", TRACES, whole, trace_id, own | _items(portion, first), needs_row=False)
        elif portion.is_whole:
            row = row or self._remember(trace_id, _Row(_ASSUMED, True, True, False))
            whole = {**body, "spans": []}
            yield Call("PATCH", path, _update(row, portion), trace_id, own, whole, is_old)
        elif row is None:
            self._remember(trace_id, _row_of(portion, is_posted=False))
        elif row.is_posted and (update := _update(row, portion)):
            yield Call("PATCH", path, update, trace_id)
        for chunk in chunks:
            part: dict[str, Any] = {**body, "spans": chunk}
            instead = None if portion.is_whole else part
            is_foreign = is_old or portion.is_remote
            items = _items(portion, chunk)
            yield Call("POST", f"{path}/spans", chunk, trace_id, items, instead, is_foreign)

    def posted(self, trace_id: str) -> None:
        """The trace is posted in place of a call that needed it."""
        if trace_id in self._rows:
            self._rows[trace_id].is_posted = True

    def is_posted(self, trace_id: str) -> bool:
        """Whether this process has posted the trace."""
        return trace_id in self._rows and self._rows[trace_id].is_posted

    def _is_old(self, body: dict[str, Any]) -> bool:
        """Whether the trace began before this process could have sent it."""
        return datetime.fromisoformat(body["started_at"]) < self._began

    def _is_long(self, body: dict[str, Any]) -> bool:
        if body["ended_at"] is None:
            return True
        started_at, ended_at = (
            datetime.fromisoformat(body["started_at"]),
            datetime.fromisoformat(body["ended_at"]),
        )
        return ended_at - started_at > self._partial_after

    def _remember(self, trace_id: str, row: _Row) -> _Row:
        self._rows[trace_id] = row
        self._rows.move_to_end(trace_id)
        if len(self._rows) > self._remembered:
            self._rows.popitem(last=False)
        return row


def _row_of(portion: Portion, *, is_posted: bool) -> _Row:
    body = portion.body
    return _Row(portion.ranks, body["session_id"] is not None, body["user_id"] is not None, is_posted)


def _items(portion: Portion, spans: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {span["span_id"]: portion.spans[span["span_id"]].items for span in spans}


def _update(row: _Row, portion: Portion) -> dict[str, Any]:
    """The fields that these spans know better than the row; notes that it will have them."""
    body, ranks = portion.body, portion.ranks
    fields: set[str] = set(_FIELDS) if portion.is_whole else set()
    if not row.has_session:
        fields.add("session_id")
    if not row.has_user:
        fields.add("user_id")
    # An entry that was open when it was sent may say something else at its end.
    if ranks.input > row.ranks.input or (portion.is_whole and ranks.input == row.ranks.input):
        fields.add("input")
    if ranks.output > row.ranks.output or (portion.is_whole and ranks.output == row.ranks.output):
        fields.add("output")
    row.ranks = Ranks(max(ranks.input, row.ranks.input), max(ranks.output, row.ranks.output))
    # What cleaning leaves nothing of would put out what is stored.
    said = {name: clean_json(body[name]) for name in body if name in fields}
    update = {name: value for name, value in said.items() if value not in (None, [], {})}
    row.has_session |= "session_id" in update
    row.has_user |= "user_id" in update
    return update

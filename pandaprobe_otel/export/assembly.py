"""Which spans make a sendable PandaProbe trace, and when.

PandaProbe never changes the parent of a span that it has, and a trace that is posted twice loses what the
second body lacks. So a span is sent when its place is known: its parent has come, and the entry of its turn.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .. import attributes as keys
from ..ids import pandaprobe_span_id
from .mapping.grouping import Group, groups
from .mapping.kinds import is_entry, is_genai, span_kind, turn_of
from .mapping.record import SpanRecord
from .mapping.traces import Ranks, trace_body

# Spans of one OTel trace. Every new one has all that wait looked at again.
_MOST_WAITING = 5_000
_NEVER = float("inf")


@dataclass(slots=True)
class Waiting:
    """A span that has not been sent, the items that it came in, and since when it waits."""

    record: SpanRecord
    items: list[int]
    since: float


class Portion(NamedTuple):
    """Spans of one PandaProbe trace that are sent together.

    Args:
        body: The trace as `POST /traces` takes it, with these spans only.
        ranks: Of its input and output.
        root: The span that the trace row is made of, when it is among these and none of `spans`.
        spans: The spans, by PandaProbe's ids.
        is_whole: Whether the row can be made of these: their root is among them.
        is_remote: Whether some of them come from below a span of another process.
    """

    body: dict[str, Any]
    ranks: Ranks
    root: Waiting | None
    spans: dict[str, Waiting]
    is_whole: bool
    is_remote: bool


class Assembly:
    """Holds spans until they can be sent.

    Args:
        partial_after: After so many seconds spans are sent as they are.
        open_entry: Gives the entry of a turn while it is open in this process: what is sent without it gets
            its name, start and place from it, for PandaProbe changes neither start nor place later.
        remembered: How many spans that are done with are remembered, to know where late ones belong.
    """

    def __init__(
        self,
        partial_after: float,
        open_entry: Callable[[str], SpanRecord | None] = lambda trace_id: None,
        remembered: int = 10_000,
    ) -> None:
        self._partial_after = partial_after
        self._open_entry = open_entry
        self._waiting: dict[int, dict[int, Waiting]] = {}
        self._due: dict[int, float] = {}
        # By arrival, so that the turns of a session are sent in their order.
        self._changed: dict[int, None] = {}
        self._known = _Known(remembered)
        self._entries: OrderedDict[str, int] = OrderedDict()
        self._remembered = remembered
        self._done: list[int] = []

    @property
    def waiting(self) -> int:
        """How many spans are held."""
        return sum(map(len, self._waiting.values()))

    def add(self, record: SpanRecord, item: int, now: float) -> None:
        """Takes a span that came in an item; one that is known already is done with."""
        waiting = self._waiting.get(record.trace_id, {})
        if (record.trace_id, record.span_id) in self._known:
            self._done.append(item)
        elif record.span_id in waiting:
            waiting[record.span_id].items.append(item)
        else:
            self._waiting.setdefault(record.trace_id, {})[record.span_id] = Waiting(record, [item], now)
            self._changed[record.trace_id] = None

    def ready(self, now: float, *, final: bool) -> Iterator[Portion]:
        """What is to be sent now.

        Args:
            final: Whether nothing is worth waiting for.
        """
        due = dict.fromkeys(trace_id for trace_id, at in self._due.items() if final or at <= now)
        changed, self._changed = self._changed | due, {}
        for trace_id in changed:
            yield from self._settle(trace_id, _NEVER if final else now)

    def next_at(self) -> float | None:
        """When something will be sent that waits now."""
        return min(self._due.values(), default=None)

    def take_done(self) -> list[int]:
        """The items of spans that PandaProbe has no place for, or has already; one for every span."""
        done, self._done = self._done, []
        return done

    def _settle(self, trace_id: int, now: float) -> list[Portion]:
        waiting = self._waiting[trace_id]
        if len(waiting) > _MOST_WAITING:
            now = _NEVER
        records = self._known.around([each.record for each in waiting.values()])
        records |= {span_id: each.record for span_id, each in waiting.items()}
        if self._is_due(waiting.values(), now):
            turns = {turn_of(each.record) for each in waiting.values()}
            entries = [self._open_entry(turn) for turn in turns if turn is not None]
            records |= {entry.span_id: entry for entry in entries if entry and entry.span_id not in records}
        anchored = _anchored(records, waiting)
        portions: list[Portion] = []
        placed: set[int] = set()
        kept: set[int] = set()
        for group in groups(records.values()):
            fresh = {span.span_id for span in group.spans if span.span_id in waiting}
            if not group.awaits_entry and group.root.span_id in waiting:
                fresh.add(group.root.span_id)
            if not fresh:
                continue
            if self._is_due([waiting[span_id] for span_id in fresh], now):
                ready = fresh
            elif group.awaits_entry and self._open_entry(group.trace_id):
                ready = set[int]()
            else:
                ready = fresh & anchored
            placed |= ready
            kept |= fresh - ready
            if ready:
                portions.append(
                    self._portion(group, {span_id: waiting[span_id] for span_id in ready}, records)
                )
        for span_id, each in list(waiting.items()):
            nowhere = span_id not in kept and (span_id in anchored or self._is_due([each], now))
            if span_id in placed or nowhere:
                del waiting[span_id]
            if nowhere and span_id not in placed:
                self._known.add(_outline(each.record), is_stored=False)
                self._done += each.items
        if waiting:
            self._due[trace_id] = min(each.since for each in waiting.values()) + self._partial_after
        else:
            self._due.pop(trace_id, None)
            del self._waiting[trace_id]
        return portions

    def _is_due(self, waiting: Collection[Waiting], now: float) -> bool:
        return min(each.since for each in waiting) + self._partial_after <= now

    def _portion(
        self, group: Group, ready: Mapping[int, Waiting], records: Mapping[int, SpanRecord]
    ) -> Portion:
        root = group.root
        spans = [s for s in group.spans if s.span_id in ready or self._known.is_stored(s.trace_id, s.span_id)]
        inside = {span.span_id for span in spans}
        parents: dict[int, int] = {}
        for span in spans:
            parent = group.parents.get(span.span_id)
            while parent is not None and parent not in inside:
                parent = group.parents.get(parent)
            if parent is not None:
                parents[span.span_id] = parent
        body, ranks = trace_body(replace(group, spans=spans, parents=parents))
        if not group.awaits_entry:
            self._remember_entry(group.trace_id, root.span_id)
        sent: dict[str, Waiting] = {}
        bodies: list[dict[str, Any]] = []
        for span, span_body in zip(spans, body["spans"], strict=True):
            if span.span_id in ready:
                if span.span_id not in parents and self._parent_is_to_come(span, group.trace_id, records):
                    span_body["parent_span_id"] = pandaprobe_span_id(span.trace_id, span.parent_span_id or 0)
                bodies.append(span_body)
                sent[span_body["span_id"]] = ready[span.span_id]
                if span is not root:
                    self._known.add(_outline(span, span_body), is_stored=True)
        body["spans"] = bodies
        is_whole = not group.awaits_entry and root.span_id in ready
        is_known = not group.awaits_entry and (root.trace_id, root.span_id) in self._known
        if is_whole or is_known:
            self._known.add(_outline(root, body=None, group=group), is_stored=root.span_id in inside)
        is_row_only = is_whole and root.span_id not in inside
        is_remote = any(span.parent_is_remote for span in group.spans)
        return Portion(body, ranks, ready[root.span_id] if is_row_only else None, sent, is_whole, is_remote)

    def _remember_entry(self, trace_id: str, span_id: int) -> None:
        self._entries[trace_id] = span_id
        self._entries.move_to_end(trace_id)
        if len(self._entries) > self._remembered:
            self._entries.popitem(last=False)

    def _parent_is_to_come(self, span: SpanRecord, trace_id: str, records: Mapping[int, SpanRecord]) -> bool:
        """Whether the span is to name its parent now, because it cannot be told later.

        That of a span in another service's turn comes from there.
        """
        parent = span.parent_span_id
        if parent is None or parent in records or turn_of(span) != trace_id:
            return False
        if keys.PANDAPROBE_ENTRY_ID in span.attributes:
            return False
        as_entry = replace(span, span_id=parent)
        return parent != self._entries.get(trace_id) and not is_entry(as_entry)


def _anchored(records: Mapping[int, SpanRecord], waiting: Mapping[int, Waiting]) -> set[int]:
    """The spans above which nothing of this process is missing."""
    known: dict[int, bool] = {}
    for span_id in records:
        path: list[int] = []
        at: int | None = span_id
        is_anchored = False
        while at is not None and at not in known:
            span = records.get(at)
            if span is None:
                break
            path.append(at)
            known[at] = False
            is_anchored = at not in waiting or span.parent_is_remote or is_entry(span)
            at = None if is_anchored else span.parent_span_id
            is_anchored = is_anchored or at is None
        if at is not None:
            is_anchored = known.get(at, False)
        known.update(dict.fromkeys(path, is_anchored))
    return {span_id for span_id, is_anchored in known.items() if is_anchored}


def _outline(
    record: SpanRecord, body: Mapping[str, Any] | None = None, group: Group | None = None
) -> SpanRecord:
    """What has to be remembered of a span: where it stands, and whether its usage is counted.

    Args:
        body: The span as it was sent.
        group: The group that it is the root of.
    """
    kept = (keys.SESSION_ID, keys.USER_ID, keys.PANDAPROBE_TRACE_ID)
    attributes = {key: record.attributes[key] for key in kept if key in record.attributes}
    if is_genai(record):
        attributes[keys.PANDAPROBE_SPAN_KIND] = span_kind(record).value
    if body and body["token_usage"]:
        attributes[keys.PANDAPROBE_TOKEN_USAGE] = '{"total_tokens": 0}'
    if body and body["cost"]:
        attributes[keys.PANDAPROBE_COST] = "0"
    if group is not None:
        attributes[keys.PANDAPROBE_TRACE_ID] = group.trace_id
        if group.session_id is not None:
            attributes[keys.SESSION_ID] = group.session_id
    return SpanRecord(
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        name=record.name,
        start_ns=record.start_ns,
        end_ns=record.end_ns,
        status_code=record.status_code,
        attributes=attributes,
        resource=record.resource,
        scope_name=record.scope_name,
        scope_version=record.scope_version,
        parent_is_remote=record.parent_is_remote,
    )


class _Known:
    """Spans that are done with, the oldest forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._outlines: OrderedDict[tuple[int, int], tuple[SpanRecord, bool]] = OrderedDict()
        self._below: dict[tuple[int, int | None], set[int]] = {}

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._outlines

    def is_stored(self, trace_id: int, span_id: int) -> bool:
        """Whether PandaProbe has it as a span."""
        return self._outlines.get((trace_id, span_id), (None, False))[1]

    def add(self, outline: SpanRecord, *, is_stored: bool) -> None:
        key = outline.trace_id, outline.span_id
        self._outlines[key] = outline, is_stored
        self._outlines.move_to_end(key)
        self._below.setdefault((outline.trace_id, outline.parent_span_id), set()).add(outline.span_id)
        if len(self._outlines) > self._most:
            _, (oldest, _) = self._outlines.popitem(last=False)
            above = oldest.trace_id, oldest.parent_span_id
            self._below[above].discard(oldest.span_id)
            if not self._below[above]:
                del self._below[above]

    def around(self, records: Collection[SpanRecord]) -> dict[int, SpanRecord]:
        """The outlines above these spans of one OTel trace, and those below as far as the next entries."""
        found: dict[int, SpanRecord] = {}
        for record in records:
            trace_id, parent = record.trace_id, record.parent_span_id
            while parent is not None and parent not in found and (trace_id, parent) in self._outlines:
                self._outlines.move_to_end((trace_id, parent))
                found[parent] = self._outlines[trace_id, parent][0]
                parent = found[parent].parent_span_id
            below = [record.span_id]
            while below:
                for child in self._below.get((trace_id, below.pop()), set[int]()):
                    if child not in found:
                        found[child] = self._outlines[trace_id, child][0]
                        if not is_entry(found[child]):
                            below.append(child)
        return found

"""Which spans make a PandaProbe trace together.

A PandaProbe trace is one turn of an agent, in one session; an OTel trace may hold many turns, and much around
them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ... import attributes as keys
from ...ids import pandaprobe_trace_id
from .clean import clean_text, shortened_id
from .kinds import is_entry, is_genai, turn_of
from .reader import as_list
from .record import SpanRecord

_Spans = Mapping[int, SpanRecord]


@dataclass(slots=True)
class Group:
    """The spans of one PandaProbe trace.

    Args:
        trace_id: PandaProbe's id of it.
        root: The span that the trace row is made of. While the entry is missing, what is known of it.
        awaits_entry: Whether the entry is missing.
        session_id: The session of the root, or else the only one of its spans.
        spans: The spans that become PandaProbe spans, parents first, else by start.
        parents: The nearest span above each of them that is one of them, by span ids.
        ancestors: The names of the spans above the root, outermost first.
    """

    trace_id: str
    root: SpanRecord
    awaits_entry: bool
    session_id: str | None
    spans: list[SpanRecord] = field(default_factory=list[SpanRecord])
    parents: dict[int, int] = field(default_factory=dict[int, int])
    ancestors: list[str] = field(default_factory=list[str])

    def all(self) -> list[SpanRecord]:
        """The root, and the spans."""
        return [self.root, *self.spans]


def session_of(record: SpanRecord) -> str | None:
    """The session id that a span carries."""
    return identity(record.attributes.get(keys.SESSION_ID))


def identity(value: object) -> str | None:
    """A session or user id as PandaProbe takes it; None for an empty one."""
    text = "" if value is None else clean_text(str(value))
    return shortened_id(text) if text.strip() else None


def whole_groups(records: Iterable[SpanRecord]) -> Iterator[Group]:
    """`groups`, those of one PandaProbe trace as one: a span with a parent of its own choice leaves the OTel
    trace, and not the turn.
    """
    parts: dict[str, list[Group]] = {}
    for group in groups(records):
        parts.setdefault(group.trace_id, []).append(group)
    for same in parts.values():
        first, *others = sorted(same, key=lambda group: (group.awaits_entry, group.root.start_ns))
        for other in others:
            first.spans += other.spans
            first.parents |= other.parents
            first.session_id = first.session_id or other.session_id
        yield first


def groups(records: Iterable[SpanRecord]) -> Iterator[Group]:
    """The groups of any number of OTel traces. Spans that belong to no PandaProbe trace are in none."""
    traces: dict[int, dict[int, SpanRecord]] = {}
    for record in records:
        traces.setdefault(record.trace_id, {})[record.span_id] = record
    for spans in traces.values():
        yield from _groups_of_trace(spans)


def _groups_of_trace(spans: _Spans) -> Iterator[Group]:
    ordered = _parents_first(spans)
    parents = {span.span_id: parent for span, parent in ordered}
    heads, turns = _heads(ordered)
    sessions = _split_by_session(ordered, heads)
    above_turn = {above for head in turns for above in _ancestors(head, parents)}
    members: dict[int, list[SpanRecord]] = {}
    for span, _ in ordered:
        members.setdefault(heads[span.span_id], []).append(span)
    taken = set(turns.values())
    for head, inside in members.items():
        root = spans[head]
        steps = {span.span_id for span in inside if is_genai(span)}
        awaits_entry = head in turns and not is_entry(root)
        if awaits_entry:
            included = inside
        elif head in turns or (not steps and sessions[head] is not None and head not in above_turn):
            included = [span for span in inside if span is not root]
        elif steps:
            included = [span for span in inside if _is_step(span, root, steps, parents)]
        else:
            continue
        ids = {span.span_id for span in included}
        nearest = {span: _nearest(span, parents, ids) for span in ids}
        above = _ancestors(head, parents)
        trace_id = turns.get(head) or _derived_id(root, taken)
        taken.add(trace_id)
        yield Group(
            trace_id=trace_id,
            root=_stand_in(root) if awaits_entry else root,
            awaits_entry=awaits_entry,
            session_id=sessions[head],
            spans=included,
            parents={span: parent for span, parent in nearest.items() if parent is not None},
            ancestors=[] if awaits_entry else _names([root, *(spans[ancestor] for ancestor in above)]),
        )


def _is_step(span: SpanRecord, root: SpanRecord, steps: set[int], parents: Mapping[int, int | None]) -> bool:
    """Whether a span is a step of a turn that has no entry: by its own session, or below a GenAI span."""
    if span.span_id in steps:
        return True
    if span is root:
        return False
    return session_of(span) is not None or not steps.isdisjoint(_ancestors(span.span_id, parents))


def _names(upwards: list[SpanRecord]) -> list[str]:
    """The names above the first of these spans, outermost first, with those of spans that were not sent."""
    names: list[str] = []
    for span in reversed(upwards):
        names += as_list(span.attributes.get(keys.PANDAPROBE_SKIPPED)) or ()
        names.append(span.name)
    return names[:-1]


def _derived_id(root: SpanRecord, taken: set[str]) -> str:
    is_root = root.parent_span_id is None and keys.PANDAPROBE_SKIPPED not in root.attributes
    trace_id = pandaprobe_trace_id(root.trace_id, root.span_id, is_root=is_root)
    if trace_id in taken:
        trace_id = pandaprobe_trace_id(root.trace_id, root.span_id, is_root=False)
    return trace_id


def _stand_in(first: SpanRecord) -> SpanRecord:
    """What the first span of a turn tells of its entry."""
    return SpanRecord(
        trace_id=first.trace_id,
        span_id=first.span_id,
        parent_span_id=None,
        name=first.name,
        start_ns=first.start_ns,
        resource=first.resource,
    )


def _parents_first(spans: _Spans) -> list[tuple[SpanRecord, int | None]]:
    """Every span with its parent (None for a local root), by start, but never before its parent.

    The clocks of two services differ.
    """
    children: dict[int, list[SpanRecord]] = {}
    roots: list[SpanRecord] = []
    for span in spans.values():
        parent_id = span.parent_span_id
        if parent_id is not None and parent_id in spans:
            children.setdefault(parent_id, []).append(span)
        else:
            roots.append(span)
    placed: dict[int, tuple[int, int, int | None]] = {}

    def place(root: SpanRecord) -> None:
        waiting: list[tuple[SpanRecord, int, int, int | None]] = [(root, root.start_ns, 0, None)]
        while waiting:
            span, start_ns, depth, parent = waiting.pop()
            placed[span.span_id] = (start_ns, depth, parent)
            waiting += [
                (child, max(start_ns, child.start_ns), depth + 1, span.span_id)
                for child in children.get(span.span_id, ())
                if child.span_id not in placed
            ]

    for root in roots:
        place(root)
    # What no local root reaches are parents in a circle; the first span of it counts as a root.
    for span in sorted(spans.values(), key=lambda span: span.start_ns):
        if span.span_id not in placed:
            place(span)
    order = sorted(placed, key=lambda span_id: (*placed[span_id][:2], span_id))
    return [(spans[span_id], placed[span_id][2]) for span_id in order]


def _heads(ordered: list[tuple[SpanRecord, int | None]]) -> tuple[dict[int, int], dict[int, str]]:
    """The head of the group of each span when sessions are left aside: its entry or local root.

    And the PandaProbe trace of each head that is an entry, or the first of the spans whose entry is missing.
    """
    turns = {turn_of(span): span.span_id for span, _ in ordered if is_entry(span)}
    heads: dict[int, int] = {}
    for span, parent in ordered:
        turn = turn_of(span)
        if turn is not None:
            heads[span.span_id] = turns.setdefault(turn, span.span_id)
        else:
            heads[span.span_id] = span.span_id if parent is None else heads[parent]
    return heads, {head: turn for turn, head in turns.items() if turn is not None}


def _split_by_session(
    ordered: list[tuple[SpanRecord, int | None]], heads: dict[int, int]
) -> dict[int, str | None]:
    """Makes heads of spans whose session is not that of their group, and gives the session of each head."""
    found: dict[int, set[str]] = {}
    own: dict[int, str | None] = {}
    for span, _ in ordered:
        own[span.span_id] = session = session_of(span)
        inside = found.setdefault(heads[span.span_id], set())
        if session is not None:
            inside.add(session)
    sessions = {
        head: own[head] or (next(iter(inside)) if len(inside) == 1 else None)
        for head, inside in found.items()
    }
    for span, parent in ordered:
        if heads[span.span_id] == span.span_id:
            continue
        above = heads[span.span_id] if parent is None else heads[parent]
        head = above if turn_of(span) is None else heads[span.span_id]
        session = own[span.span_id]
        if session is not None and session != sessions[head]:
            head = above if sessions[above] == session else span.span_id
            sessions[head] = session
        heads[span.span_id] = head
    return sessions


def _ancestors(span_id: int, parents: Mapping[int, int | None]) -> Iterator[int]:
    parent = parents[span_id]
    while parent is not None:
        yield parent
        parent = parents[parent]


def _nearest(span_id: int, parents: Mapping[int, int | None], included: set[int]) -> int | None:
    return next((above for above in _ancestors(span_id, parents) if above in included), None)

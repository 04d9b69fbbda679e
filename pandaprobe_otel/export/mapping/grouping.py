"""Which spans make a PandaProbe trace together.

A PandaProbe trace is one turn of an agent, in one session; an OTel trace may hold many turns, and much around
them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ... import attributes as keys
from .clean import clean_text, shortened_id
from .kinds import is_entry, is_genai
from .record import SpanRecord

_Spans = Mapping[int, SpanRecord]


@dataclass(slots=True)
class Group:
    """The spans of one PandaProbe trace.

    Args:
        root: The span that the trace row is made of.
        session_id: The session of the root, or else the only one of its spans.
        spans: The spans that become PandaProbe spans, parents first, else by start.
        parents: The nearest span above each of them that is one of them, by span ids.
        ancestors: The names of the spans above the root, outermost first.
    """

    root: SpanRecord
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
    heads = _heads(ordered)
    sessions = _split_by_session(ordered, heads)
    above_entry = {
        above for span, _ in ordered if is_entry(span) for above in _ancestors(span.span_id, parents)
    }
    members: dict[int, list[SpanRecord]] = {}
    for span, _ in ordered:
        members.setdefault(heads[span.span_id], []).append(span)
    for head, inside in members.items():
        root = spans[head]
        steps = [span for span in inside if is_genai(span)]
        if is_entry(root):
            included = inside[1:]
        elif steps:
            included = steps
        elif sessions[head] is not None and head not in above_entry:
            included = inside[1:]
        else:
            continue
        ids = {span.span_id for span in included}
        nearest = {span: _nearest(span, parents, ids, heads) for span in ids}
        above = [spans[ancestor].name for ancestor in _ancestors(head, parents)]
        yield Group(
            root=root,
            session_id=sessions[head],
            spans=included,
            parents={span: parent for span, parent in nearest.items() if parent is not None},
            ancestors=above[::-1],
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


def _heads(ordered: list[tuple[SpanRecord, int | None]]) -> dict[int, int]:
    """The head of the group of each span when sessions are left aside: its entry or local root."""
    heads: dict[int, int] = {}
    for span, parent in ordered:
        heads[span.span_id] = span.span_id if parent is None or is_entry(span) else heads[parent]
    return heads


def _split_by_session(
    ordered: list[tuple[SpanRecord, int | None]], heads: dict[int, int]
) -> dict[int, str | None]:
    """Makes heads of spans whose session is not that of their group, and gives the session of each head."""
    found: dict[int, set[str]] = {}
    for span, _ in ordered:
        session = session_of(span)
        if session is not None:
            found.setdefault(heads[span.span_id], set()).add(session)
    sessions: dict[int, str | None] = {}
    for span, parent in ordered:
        session = session_of(span)
        if heads[span.span_id] == span.span_id:
            inside = found.get(span.span_id, set[str]())
            sessions[span.span_id] = session or (next(iter(inside)) if len(inside) == 1 else None)
            continue
        assert parent is not None
        head = heads[parent]
        if session is not None and session != sessions[head]:
            head = span.span_id
            sessions[head] = session
        heads[span.span_id] = head
    return sessions


def _ancestors(span_id: int, parents: Mapping[int, int | None]) -> Iterator[int]:
    parent = parents[span_id]
    while parent is not None:
        yield parent
        parent = parents[parent]


def _nearest(
    span_id: int, parents: Mapping[int, int | None], included: set[int], heads: Mapping[int, int]
) -> int | None:
    for ancestor in _ancestors(span_id, parents):
        if heads[ancestor] != heads[span_id]:
            return None
        if ancestor in included:
            return ancestor
    return None

"""Spans as a tree that a test can write down."""

from collections.abc import Iterable

from opentelemetry.sdk.trace import ReadableSpan


def tree(spans: Iterable[ReadableSpan]) -> list[str]:
    """Names by depth, in the order in which the spans started: `["agent", "  chat", "  tool"]`."""
    ordered = sorted(spans, key=lambda span: span.start_time or 0)
    known = {span.context.span_id for span in ordered}
    below: dict[int | None, list[ReadableSpan]] = {}
    for span in ordered:
        parent = span.parent.span_id if span.parent and span.parent.span_id in known else None
        below.setdefault(parent, []).append(span)

    def lines(parent: int | None, depth: int) -> Iterable[str]:
        for span in below.get(parent, ()):
            yield "  " * depth + span.name
            yield from lines(span.context.span_id, depth + 1)

    return list(lines(None, 0))


def named(spans: Iterable[ReadableSpan], name: str) -> ReadableSpan:
    """The only span of a name."""
    (found,) = [span for span in spans if span.name == name]
    return found

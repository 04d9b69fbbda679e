"""Under which span a span is sent: its nearest ancestor that is sent, in place of a parent that is not."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.trace import SpanContext

from .selection import Selection

# A span is sent a flush interval after it ends, and its parent mostly ends later. So this is enough for some
# thousand unselected spans a second, in some 5 MB.
_REMEMBERED = 16_384

T = TypeVar("T")


class Lineage:
    """The open spans, and those that have ended and are not sent.

    A span mostly ends before its parents, and what they will have said when they end is not known. So it is
    sent under the nearest one that is selected by what it says now, and that one is sent, whatever it says
    later. A parent that is selected only after its child was sent is sent too; the child stays where it is.
    """

    def __init__(self) -> None:
        self._open: dict[int, Span] = {}
        self._skipped: OrderedDict[int, tuple[str, SpanContext | None]] = OrderedDict()
        self._needed: OrderedDict[int, None] = OrderedDict()

    def start(self, span: Span) -> None:
        """Notes a span that has started."""
        self._open[span.get_span_context().span_id] = span

    def end(self, span_id: int) -> None:
        """Forgets a span that has ended."""
        self._open.pop(span_id, None)

    def skip(self, span: ReadableSpan) -> None:
        """Notes that a span is not sent."""
        if span.context is not None:
            _put(self._skipped, span.context.span_id, (span.name, span.parent))

    def need_root(self, span: ReadableSpan) -> None:
        """Has the local root of a span that is in no turn be sent: it is the turn."""
        root, parent = None, span.parent
        while parent is not None and (above := self._open.get(parent.span_id)) is not None:
            root, parent = parent.span_id, above.parent
        if root is not None and root not in self._needed and (parent is None or parent.is_remote):
            _put(self._needed, root, None)

    def is_needed(self, span_id: int) -> bool:
        """Whether a span is to be sent for the sake of others, that are its children or its turn."""
        return span_id in self._needed

    def open(self) -> list[Span]:
        """The spans that are open."""
        return list(self._open.values())

    def inherit(self, selection: Selection) -> None:
        """After a fork: the open spans are another process's to end, and to send as they are now."""
        for span in self.open():
            if not selection.selects(span):
                self.skip(span)
        self._open.clear()

    def above(self, span: ReadableSpan, selection: Selection) -> tuple[SpanContext | None, Sequence[str]]:
        """The parent that a span is sent with, and the names of the spans in between, outermost first.

        A parent in another process stays what it is.
        """
        parent = span.parent
        names: list[str] = []
        while parent is not None and not parent.is_remote:
            open_span = self._open.get(parent.span_id)
            if open_span is not None:
                if self.is_needed(parent.span_id) or selection.selects(open_span):
                    _put(self._needed, parent.span_id, None)
                    break
                name, parent = open_span.name, open_span.parent
            elif skipped := self._skipped.get(parent.span_id):
                name, parent = skipped
            elif parent.trace_flags.sampled:
                break
            else:
                # A sampler has dropped it, and processors are not told of such spans.
                parent = None
                break
            names.append(name)
        return parent, names[::-1]


def _put(into: OrderedDict[int, T], span_id: int, value: T) -> None:
    into[span_id] = value
    if len(into) > _REMEMBERED:
        into.popitem(last=False)

"""Usage that is counted once: PandaProbe adds up the tokens and costs of all spans of a trace."""

from collections.abc import Mapping, Sequence

from ...attributes import SpanKind
from .spans import Draft

_FIELDS = ("token_usage", "cost")


def count_once(spans: Sequence[Draft], parents: Mapping[int, int]) -> None:
    """Moves usage to `uncounted` where the model calls below have it.

    A model call directly below another is the same call, seen by two instrumentations.

    Args:
        parents: The parent of each span that has one, by OTel span ids.
    """
    by_id = {span.record.span_id: span for span in spans}
    for field in _FIELDS:
        sums: set[int] = set()
        for span_id, span in by_id.items():
            if span.kind is not SpanKind.LLM or getattr(span, field) is None:
                continue
            below, above = span_id, parents.get(span_id)
            while above is not None:
                same_call = below == span_id and by_id[above].kind is SpanKind.LLM
                if same_call or by_id[above].kind not in (SpanKind.LLM, SpanKind.EMBEDDING):
                    sums.add(above)
                below, above = above, parents.get(above)
        for span_id in sums:
            span = by_id[span_id]
            if (value := getattr(span, field)) is not None:
                span.uncounted[field] = value
                setattr(span, field, None)

"""What was stamped on the spans that are open, to be put back on those whose attributes overflow."""

from collections.abc import Mapping

# Spans that never end would stay here for ever; the oldest go when this many are open.
_MOST = 65_536

_open: dict[int, Mapping[str, str]] = {}


def remember(span_id: int, stamp: Mapping[str, str]) -> None:
    """Notes what an open span carries."""
    _open[span_id] = stamp
    if len(_open) > _MOST:
        _open.pop(next(iter(list(_open)), 0), None)


def add(span_id: int, key: str, id: str) -> None:
    """Notes one more id of an open span."""
    remember(span_id, {**_open.get(span_id, {}), key: id})


def forget(span_id: int) -> Mapping[str, str] | None:
    """Gives back what was noted of a span, and forgets it."""
    return _open.pop(span_id, None)

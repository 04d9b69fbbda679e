"""What was stamped on the spans that are open: to be put back on those whose attributes overflow.

With `PANDAPROBE_STAMP=own` it is kept here instead of being set, and is put back on what PandaProbe is sent.
"""

from collections.abc import Mapping
from typing import Any

# Whether only our exporter is to see it.
aside = False

# Spans that never end would stay here for ever; the oldest go when this many are open.
_MOST = 65_536

_open: dict[int, Mapping[str, str]] = {}


def remember(span_id: int, stamp: Mapping[str, str]) -> None:
    """Notes what an open span carries."""
    _open[span_id] = stamp
    if len(_open) > _MOST:
        _open.pop(next(iter(list(_open)), 0), None)


def keep_aside(yes: bool) -> None:
    """From here on, whether spans are left as they are."""
    global aside
    aside = yes


def add(span: Any, key: str, id: str) -> None:
    """Stamps one more id on an open span."""
    if not aside:
        span.set_attribute(key, id)
    span_id = span.get_span_context().span_id
    remember(span_id, {**_open.get(span_id, {}), key: id})


def of(span_id: int) -> Mapping[str, str]:
    """What was noted of an open span."""
    return _open.get(span_id, {})


def said(span: Any) -> Mapping[str, Any]:
    """The attributes of an open span, and what is kept aside of it."""
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    return {**of(span.get_span_context().span_id), **attributes} if aside else attributes


def forget(span_id: int) -> Mapping[str, str] | None:
    """Gives back what was noted of a span, and forgets it."""
    return _open.pop(span_id, None)

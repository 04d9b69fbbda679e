"""Scores of traces, as PandaProbe's `POST /evaluations/trace-scores` takes them."""

import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ..attributes import ScoreDataType


def score_body(
    trace_id: str | UUID,
    name: str,
    value: str | float | bool,
    data_type: ScoreDataType | str,
    reason: str | None,
    metadata: Mapping[str, Any] | None,
) -> bytes:
    """The request's body.

    Raises:
        ValueError: When the trace's id is no UUID, the name is empty, the kind of value is not known, or the
            value is none of that kind.
    """
    if not name:
        raise ValueError("a score has a name")
    try:
        id = str(UUID(str(trace_id)))
    except ValueError:
        raise ValueError(f"{trace_id!r} is no trace id of PandaProbe; `Trace.trace_id` is one") from None
    try:
        kind = ScoreDataType(data_type)
    except ValueError:
        known = ", ".join(ScoreDataType.__members__)
        raise ValueError(f"{data_type!r} is no kind of score; they are {known}") from None
    body = {
        "trace_id": id,
        "name": name,
        "value": _text(value, kind),
        "data_type": kind.value,
        "source": "PROGRAMMATIC",
        "reason": reason,
        "metadata": dict(metadata or {}),
    }
    return json.dumps(body, default=repr).encode()


def _text(value: object, kind: ScoreDataType) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if kind is ScoreDataType.NUMERIC and not _is_number(value, text):
        raise ValueError(f"the value of a NUMERIC score is a finite number, not {value!r}")
    if kind is ScoreDataType.BOOLEAN and text not in ("true", "false"):
        raise ValueError(f"the value of a BOOLEAN score is true or false, not {value!r}")
    return text


def _is_number(value: object, text: str) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(text))
    except ValueError:
        return False

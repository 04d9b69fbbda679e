"""Spans as PandaProbe's `TraceCreate`, the body of `POST /traces`."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ... import attributes as keys
from ...attributes import SpanKind, SpanStatusCode, TraceStatus
from .clean import MAX_NAME_LENGTH, MAX_TEXT_LENGTH, clean_json, clean_text, timestamp
from .content import take_input, take_output
from .counting import count_once
from .grouping import Group, identity, whole_groups
from .messages import ASSISTANT_ROLES, USER_ROLES, last_message
from .reader import AttributeReader, as_list, structured
from .record import SpanRecord
from .spans import Draft, draft, error_of, fitting, metadata_of, name_of, read, span_body

# Before it was renamed, in semantic conventions 1.27.
_DEPLOYMENT_ENVIRONMENT = "deployment.environment"

# How well a span speaks for its trace, then when it did.
Rank = tuple[int, int, int]
NO_RANK: Rank = (0, 0, 0)
_OF_ROOT: Rank = (3, 0, 0)
_LEVELS = {SpanKind.LLM: 2, SpanKind.AGENT: 1, SpanKind.CHAIN: 1}


class Ranks(NamedTuple):
    """Whether the input and output of one part of a trace stand for the whole: the higher ones do."""

    input: Rank
    output: Rank


def to_traces(records: Iterable[SpanRecord]) -> list[dict[str, Any]]:
    """PandaProbe traces of the spans, complete bodies of `POST /traces`, by start.

    A body has all spans of its trace, parents before children; PandaProbe takes 500 of them in one request.

    Args:
        records: Spans of any number of OTel traces. A span that comes later can change the traces of its OTel
            trace, so that all its spans known so far belong together.
    """
    bodies = [clean_json(trace_body(group)[0]) for group in whole_groups(records)]
    return sorted(bodies, key=lambda body: body["started_at"])


def trace_body(group: Group) -> tuple[dict[str, Any], Ranks]:
    """The PandaProbe trace of a group, yet to be cleaned, and where its input and output stand."""
    root = group.root
    reader = read(root)
    spans = [draft(span) for span in group.spans]
    count_once(spans, group.parents)
    cut: dict[str, int] = {}
    own = next((span for span in spans if span.record is root), None)
    given = (take_input(reader), take_output(reader)) if own is None else (own.input, own.output)
    trace_input, trace_output, ranks = _content(given, spans)
    body = {
        "trace_id": group.trace_id,
        "name": fitting(name_of(root), MAX_NAME_LENGTH, "name", cut),
        "status": _status(root, reader),
        "input": trace_input,
        "output": trace_output,
        "started_at": timestamp(root.start_ns),
        "ended_at": None if root.end_ns is None else timestamp(root.end_ns),
        "session_id": group.session_id,
        "user_id": _user_id(group, reader, spans, cut),
        "tags": _tags(reader),
        "environment": _of_resource(root, keys.DEPLOYMENT_ENVIRONMENT_NAME, "environment", cut)
        or _of_resource(root, _DEPLOYMENT_ENVIRONMENT, "environment", cut),
        "release": _of_resource(root, keys.SERVICE_VERSION, "release", cut),
    }
    _note_cut_id(group.session_id, keys.SESSION_ID, "session_id", group, cut)
    if own is not None:
        # All of it stands on that span.
        reader.drop(root.attributes)
    # A trace has no field for its error.
    extra = {"error": error_of(root), "otel.ancestors": group.ancestors}
    body["metadata"] = metadata_of(root, reader, {key: value for key, value in extra.items() if value}, cut)
    if group.awaits_entry:
        del body["metadata"]["otel.span_id"]
    body["spans"] = [span_body(span, group.parents.get(span.record.span_id)) for span in spans]
    return body, ranks


def _status(root: SpanRecord, reader: AttributeReader) -> str:
    given = reader.take(keys.PANDAPROBE_STATUS)
    if given in [status.value for status in TraceStatus]:
        return given
    if root.status_code == SpanStatusCode.ERROR.value:
        return TraceStatus.ERROR.value
    return (TraceStatus.RUNNING if root.end_ns is None else TraceStatus.COMPLETED).value


def _content(of_root: tuple[Any, Any], spans: Sequence[Draft]) -> tuple[Any, Any, Ranks]:
    """The last user and assistant messages of the turn: of the root, or else of the model calls in it."""
    inputs: list[tuple[Rank, Any]] = [(_OF_ROOT, of_root[0])]
    outputs: list[tuple[Rank, Any]] = [(_OF_ROOT, of_root[1])]
    for span in spans:
        if span.kind in _LEVELS:
            level, start_ns, span_id = _LEVELS[span.kind], span.record.start_ns, span.record.span_id
            inputs.append(((level, -start_ns, -span_id), span.input))
            outputs.append(((level, start_ns, span_id), span.output))
    input_rank, trace_input = _best(inputs)
    output_rank, trace_output = _best(outputs)
    return (
        last_message(trace_input, USER_ROLES),
        last_message(trace_output, ASSISTANT_ROLES),
        Ranks(input_rank, output_rank),
    )


def _best(values: Sequence[tuple[Rank, Any]]) -> tuple[Rank, Any]:
    given = (pair for pair in values if pair[1] is not None)
    return max(given, key=lambda pair: pair[0], default=(NO_RANK, None))


def _user_id(
    group: Group, reader: AttributeReader, spans: Sequence[Draft], cut: dict[str, int]
) -> str | None:
    user = next(filter(None, (identity(span.attributes.get(keys.USER_ID)) for span in group.all())), None)
    # Another user than that of the trace stays in the metadata of the span.
    for known in (reader, *(span.reader for span in spans)):
        if identity(known.get(keys.USER_ID)) == user:
            known.take(keys.USER_ID)
    _note_cut_id(user, keys.USER_ID, "user_id", group, cut)
    return user


def _note_cut_id(id: str | None, key: str, field: str, group: Group, cut: dict[str, int]) -> None:
    if id is None or len(id) < MAX_TEXT_LENGTH:
        return
    length = max(len(str(span.attributes.get(key, ""))) for span in group.all())
    if length > MAX_TEXT_LENGTH:
        cut[field] = length


def _tags(reader: AttributeReader) -> list[str]:
    value = structured(reader.take(keys.PANDAPROBE_TAGS))
    tags = as_list(value)
    if tags is None:
        tags = [] if value is None else [value]
    return list(dict.fromkeys(str(tag) for tag in tags))


def _of_resource(root: SpanRecord, key: str, field: str, cut: dict[str, int]) -> str | None:
    value = clean_text(str(root.resource.get(key) or ""))
    return fitting(value, MAX_TEXT_LENGTH, field, cut) if value else None

"""Spans as PandaProbe's `TraceCreate`, the body of `POST /traces`."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from ... import attributes as keys
from ...attributes import SpanKind, SpanStatusCode, TraceStatus
from ...ids import pandaprobe_trace_id
from .clean import MAX_NAME_LENGTH, MAX_TEXT_LENGTH, clean_json, clean_text, timestamp
from .content import take_input, take_output
from .counting import count_once
from .grouping import Group, groups, identity
from .messages import ASSISTANT_ROLES, USER_ROLES, last_message
from .reader import AttributeReader, as_list, structured
from .record import SpanRecord
from .spans import Draft, draft, error_of, fitting, metadata_of, name_of, read, span_body

# Before it was renamed, in semantic conventions 1.27.
_DEPLOYMENT_ENVIRONMENT = "deployment.environment"


def to_traces(records: Iterable[SpanRecord]) -> list[dict[str, Any]]:
    """PandaProbe traces of the spans, complete bodies of `POST /traces`, by start.

    A body has all spans of its trace, parents before children; PandaProbe takes 500 of them in one request.

    Args:
        records: Spans of any number of OTel traces. A span that comes later can change the traces of its OTel
            trace, so that all its spans known so far belong together.
    """
    bodies: dict[str, dict[str, Any]] = {}
    for group in groups(records):
        body = clean_json(_trace_body(group, bodies))
        bodies[body["trace_id"]] = body
    return sorted(bodies.values(), key=lambda body: body["started_at"])


def _trace_body(group: Group, others: Mapping[str, Any]) -> dict[str, Any]:
    root = group.root
    reader = read(root)
    spans = [draft(span) for span in group.spans]
    count_once(spans, group.parents)
    cut: dict[str, int] = {}
    trace_input, trace_output = _content(reader, spans)
    body = {
        "trace_id": _trace_id(root, others),
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
    _note_cut_id(keys.SESSION_ID, "session_id", group, cut)
    if any(span.record is root for span in spans):
        # All of it stands on that span.
        reader.drop(root.attributes)
    # A trace has no field for its error.
    extra = {"error": error_of(root), "otel.ancestors": group.ancestors}
    body["metadata"] = metadata_of(root, reader, {key: value for key, value in extra.items() if value}, cut)
    body["spans"] = [span_body(span, group.parents.get(span.record.span_id)) for span in spans]
    return body


def _trace_id(root: SpanRecord, others: Mapping[str, Any]) -> str:
    """The id that the entry was given when it started, if it can be believed: attributes get copied."""
    ids = [
        pandaprobe_trace_id(root.trace_id, root.span_id, is_root=root.parent_span_id is None),
        pandaprobe_trace_id(root.trace_id, root.span_id, is_root=False),
    ]
    with suppress(ValueError):
        ids.insert(0, str(UUID(str(root.attributes.get(keys.PANDAPROBE_TRACE_ID)))))
    return next((id for id in ids if id not in others), ids[-1])


def _status(root: SpanRecord, reader: AttributeReader) -> str:
    given = reader.take(keys.PANDAPROBE_STATUS)
    if given in [status.value for status in TraceStatus]:
        return given
    if root.status_code == SpanStatusCode.ERROR.value:
        return TraceStatus.ERROR.value
    return (TraceStatus.RUNNING if root.end_ns is None else TraceStatus.COMPLETED).value


def _content(reader: AttributeReader, spans: Sequence[Draft]) -> tuple[Any, Any]:
    """The last user and assistant messages of the turn: of the root, or else of the model calls in it."""
    trace_input, trace_output = take_input(reader), take_output(reader)
    talking = [span for span in spans if span.kind is SpanKind.LLM]
    talking = talking or [span for span in spans if span.kind in (SpanKind.AGENT, SpanKind.CHAIN)]
    if trace_input is None:
        trace_input = next((span.input for span in talking if span.input is not None), None)
    if trace_output is None:
        trace_output = next((span.output for span in reversed(talking) if span.output is not None), None)
    return last_message(trace_input, USER_ROLES), last_message(trace_output, ASSISTANT_ROLES)


def _user_id(
    group: Group, reader: AttributeReader, spans: Sequence[Draft], cut: dict[str, int]
) -> str | None:
    user = next(filter(None, (identity(span.attributes.get(keys.USER_ID)) for span in group.all())), None)
    # Another user than that of the trace stays in the metadata of the span.
    for known in (reader, *(span.reader for span in spans)):
        if identity(known.get(keys.USER_ID)) == user:
            known.take(keys.USER_ID)
    _note_cut_id(keys.USER_ID, "user_id", group, cut)
    return user


def _note_cut_id(key: str, field: str, group: Group, cut: dict[str, int]) -> None:
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

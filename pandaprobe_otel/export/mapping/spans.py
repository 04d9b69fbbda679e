"""One span as PandaProbe's `SpanCreate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import attributes as keys
from ...attributes import SpanKind
from ...ids import pandaprobe_span_id
from .clean import MAX_NAME_LENGTH, MAX_TEXT_LENGTH, amount, clean_text, shortened, timestamp
from .content import take_input, take_output
from .kinds import span_kind
from .messages import chat_messages, conversation, reasoning_summary
from .reader import AttributeReader
from .record import SpanRecord, StatusCode
from .usage import take_cost, take_token_usage

_NANOSECONDS = 1_000_000_000
# What the trace row says, or what the ids, the kind and the session of a span have been read from.
_SAID_ELSEWHERE = (
    keys.SESSION_ID,
    keys.PANDAPROBE_TRACE_ID,
    keys.PANDAPROBE_ENTRY_ID,
    keys.PANDAPROBE_SPAN_KIND,
    keys.PANDAPROBE_SKIPPED,
)


@dataclass(slots=True)
class Draft:
    """A span whose content has been read, and whose place in the trace decides the rest.

    Args:
        uncounted: Usage and cost that the spans below already have, by field.
    """

    record: SpanRecord
    kind: SpanKind
    reader: AttributeReader
    input: Any
    output: Any
    token_usage: dict[str, int] | None
    cost: dict[str, float] | None
    uncounted: dict[str, Any] = field(default_factory=dict[str, Any])


def read(record: SpanRecord) -> AttributeReader:
    """A reader of what the attributes say beyond the place and kind of a span."""
    reader = AttributeReader(record.attributes)
    reader.drop(_SAID_ELSEWHERE)
    return reader


def draft(record: SpanRecord) -> Draft:
    """Reads the content of a span."""
    reader = read(record)
    kind = span_kind(record)
    taken_input, taken_output = take_input(reader), take_output(reader)
    if kind is SpanKind.LLM:
        taken_input, taken_output = conversation(taken_input), conversation(taken_output)
    usage, cost = take_token_usage(reader), take_cost(reader)
    return Draft(record, kind, reader, taken_input, taken_output, usage, cost)


def span_body(span: Draft, parent_id: int | None) -> dict[str, Any]:
    """The span as `POST /traces` takes it.

    Args:
        parent_id: The OTel span id of the parent, when that is a span of the same trace.
    """
    record, reader = span.record, span.reader
    cut: dict[str, int] = {}
    model = _take_model(reader)
    parameters = _take_model_parameters(reader)
    completion_start = _take_completion_start(record, reader)
    body = {
        "span_id": pandaprobe_span_id(record.trace_id, record.span_id),
        "parent_span_id": None if parent_id is None else pandaprobe_span_id(record.trace_id, parent_id),
        "name": fitting(name_of(record), MAX_NAME_LENGTH, "name", cut),
        "kind": span.kind.value,
        "status": _status(record),
        "input": span.input,
        "output": span.output,
        "model": fitting(model, MAX_TEXT_LENGTH, "model", cut) if model else None,
        "token_usage": span.token_usage,
        "started_at": timestamp(record.start_ns),
        "ended_at": None if record.end_ns is None else timestamp(record.end_ns),
        "error": error_of(record),
        "completion_start_time": completion_start,
        "model_parameters": parameters or None,
        "cost": span.cost,
    }
    summary = reasoning_summary(chat_messages(span.output) or ()) if span.kind is SpanKind.LLM else None
    extra = {"reasoning_summary": summary, "pandaprobe.uncounted": span.uncounted}
    body["metadata"] = metadata_of(record, reader, {key: value for key, value in extra.items() if value}, cut)
    return body


def _status(record: SpanRecord) -> StatusCode:
    """OK for a span that ended without a word, as PandaProbe's own SDK sends it."""
    return "OK" if record.status_code == "UNSET" and record.end_ns is not None else record.status_code


def name_of(record: SpanRecord) -> str:
    """The name of a span, which PandaProbe wants to be there."""
    return clean_text(record.name) or "unnamed"


def error_of(record: SpanRecord) -> str | None:
    """Why a span failed; None when it did not, or nothing says why."""
    if record.status_code != "ERROR":
        return None
    exceptions = [event.attributes for event in record.events if event.name == keys.EXCEPTION_EVENT]
    last: Mapping[str, Any] = exceptions[-1] if exceptions else {}
    said = (
        record.status_message,
        last.get(keys.EXCEPTION_MESSAGE),
        last.get(keys.EXCEPTION_TYPE),
        record.attributes.get(keys.ERROR_TYPE),
    )
    return next((str(text) for text in said if text), None)


def metadata_of(
    record: SpanRecord, reader: AttributeReader, extra: Mapping[str, Any], cut: Mapping[str, int]
) -> dict[str, Any]:
    """What no field of PandaProbe holds: untaken attributes, what the user gave, where the span comes from.

    Args:
        extra: What else there is to say; what the user gave holds over it.
        cut: The lengths that shortened fields had, by field.
    """
    given = reader.take_object(keys.PANDAPROBE_METADATA)
    metadata = {
        **reader.rest(),
        **extra,
        **given,
        "otel.trace_id": f"{record.trace_id:032x}",
        "otel.span_id": f"{record.span_id:016x}",
    }
    if record.scope_name:
        metadata["otel.scope.name"] = record.scope_name
    if record.scope_version:
        metadata["otel.scope.version"] = record.scope_version
    if record.events:
        metadata["otel.events"] = [
            {"name": event.name, "time": timestamp(event.time_ns), "attributes": dict(event.attributes)}
            for event in record.events
        ]
    if service := record.resource.get(keys.SERVICE_NAME):
        metadata[keys.SERVICE_NAME] = service
    if cut:
        metadata["pandaprobe.shortened"] = dict(cut)
    return metadata


def fitting(value: str, limit: int, field: str, cut: dict[str, int]) -> str:
    """The text within a length; when it is shortened, its length is noted in `cut`."""
    if len(value) > limit:
        cut[field] = len(value)
    return shortened(value, limit)


def _take_model(reader: AttributeReader) -> str | None:
    named = (
        keys.GEN_AI_REQUEST_MODEL,
        keys.LLM_MODEL_NAME,
        keys.EMBEDDING_MODEL_NAME,
        keys.GEN_AI_RESPONSE_MODEL,
    )
    models = {key: clean_text(str(model)) for key in named if (model := reader.get(key))}
    if not models:
        return None
    model = next(iter(models.values()))
    reader.drop(key for key, name in models.items() if name == model)
    return model


def _take_model_parameters(reader: AttributeReader) -> dict[str, Any]:
    return {
        **reader.take_object(keys.LLM_INVOCATION_PARAMETERS),
        **{
            name: value
            for name, value in reader.take_prefixed(keys.GEN_AI_REQUEST_PREFIX).items()
            if name != "model"
        },
        **reader.take_object(keys.PANDAPROBE_MODEL_PARAMETERS),
    }


def _take_completion_start(record: SpanRecord, reader: AttributeReader) -> str | None:
    given = reader.get(keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    seconds = None if given is None else amount(given)
    if seconds is None or seconds < 0:
        return None
    reader.take(keys.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    return timestamp(record.start_ns + round(seconds * _NANOSECONDS))

"""What a span stands for, in the words of whoever made it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from ... import attributes as keys
from ...attributes import SpanKind
from ...ids import pandaprobe_trace_id
from .record import SpanRecord

_KIND_OF_OPERATION = {
    "chat": SpanKind.LLM,
    "text_completion": SpanKind.LLM,
    "generate_content": SpanKind.LLM,
    "execute_tool": SpanKind.TOOL,
    "invoke_agent": SpanKind.AGENT,
    "create_agent": SpanKind.AGENT,
    "embeddings": SpanKind.EMBEDDING,
    "retrieval": SpanKind.RETRIEVER,
    "invoke_workflow": SpanKind.CHAIN,
}
_KIND_OF_OPENINFERENCE = {
    **{kind.value: kind for kind in SpanKind},
    "RERANKER": SpanKind.RETRIEVER,
}
_KIND_OF_TRACELOOP = {
    "workflow": SpanKind.CHAIN,
    "task": SpanKind.CHAIN,
    "agent": SpanKind.AGENT,
    "tool": SpanKind.TOOL,
}
# The only mark of a kind on OpenLLMetry's spans of model calls.
_KIND_OF_REQUEST_TYPE = {
    "chat": SpanKind.LLM,
    "completion": SpanKind.LLM,
    "embedding": SpanKind.EMBEDDING,
    "rerank": SpanKind.RETRIEVER,
}
_VOCABULARIES = (
    (keys.PANDAPROBE_SPAN_KIND, {kind.value: kind for kind in SpanKind}),
    (keys.GEN_AI_OPERATION_NAME, _KIND_OF_OPERATION),
    (keys.OPENINFERENCE_SPAN_KIND, _KIND_OF_OPENINFERENCE),
    (keys.TRACELOOP_SPAN_KIND, _KIND_OF_TRACELOOP),
    (keys.LLM_REQUEST_TYPE, _KIND_OF_REQUEST_TYPE),
)
# Not all of `gen_ai.`: some instrumentations put `gen_ai.conversation.id` or an agent's name on every span.
MARKS = frozenset(
    {
        *(key for key, _ in _VOCABULARIES),
        keys.GEN_AI_PROVIDER_NAME,
        keys.GEN_AI_SYSTEM,
        keys.LLM_MODEL_NAME,
    }
)
# Their spans say what they are when they end, and one attribute per field of a message may drive that out.
_SCOPES = ("openinference.instrumentation.", "opentelemetry.instrumentation.genai.")
# What we say of any span.
NO_MARKS = (
    keys.PANDAPROBE_TRACE_ID,
    keys.PANDAPROBE_ENTRY_ID,
    keys.PANDAPROBE_SPAN_OPEN,
    keys.PANDAPROBE_SKIPPED,
)

# Every span is asked for its turn several times.
_REMEMBERED = 1024


def span_kind(record: SpanRecord) -> SpanKind:
    """The kind that the first vocabulary with a known word gives."""
    for key, kinds in _VOCABULARIES:
        word = record.attributes.get(key)
        if isinstance(word, str) and word in kinds:
            return kinds[word]
    return SpanKind.OTHER


def is_genai(record: SpanRecord) -> bool:
    """Whether a span is a step of an agent, and not only of the program around it."""
    return says_genai(record.attributes, record.scope_name)


def says_genai(attributes: Mapping[str, Any], scope_name: str) -> bool:
    """`is_genai` of a span with these attributes."""
    return (
        not MARKS.isdisjoint(attributes)
        or scope_name.startswith(_SCOPES)
        or any(key.startswith("pandaprobe.") and key not in NO_MARKS for key in attributes)
    )


def turn_of(record: SpanRecord) -> str | None:
    """The id of the PandaProbe trace that a span was made in; None when it says none."""
    given = record.attributes.get(keys.PANDAPROBE_TRACE_ID)
    return None if given is None else _as_uuid(str(given))


def is_entry(record: SpanRecord) -> bool:
    """Whether a span is the root of the PandaProbe trace that it was made in: the one its id comes from."""
    turn = turn_of(record)
    return turn is not None and (
        turn == _derived_id(record.trace_id, record.span_id, is_root=False)
        or (record.parent_span_id is None and turn == str(UUID(int=record.trace_id)))
    )


@lru_cache(_REMEMBERED)
def _as_uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


_derived_id = lru_cache(_REMEMBERED)(pandaprobe_trace_id)

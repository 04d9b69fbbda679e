"""What a span stands for, in the words of whoever made it."""

from ... import attributes as keys
from ...attributes import SpanKind
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
_MARKS = (
    *(key for key, _ in _VOCABULARIES),
    keys.GEN_AI_PROVIDER_NAME,
    keys.GEN_AI_SYSTEM,
    keys.LLM_MODEL_NAME,
)


def span_kind(record: SpanRecord) -> SpanKind:
    """The kind that the first vocabulary with a known word gives."""
    for key, kinds in _VOCABULARIES:
        word = record.attributes.get(key)
        if isinstance(word, str) and word in kinds:
            return kinds[word]
    return SpanKind.OTHER


def is_genai(record: SpanRecord) -> bool:
    """Whether a span is a step of an agent, and not only of the program around it."""
    return any(key in record.attributes for key in _MARKS) or any(
        key.startswith("pandaprobe.") for key in record.attributes
    )


def is_entry(record: SpanRecord) -> bool:
    """Whether a span is the root of a PandaProbe trace of its own."""
    return keys.PANDAPROBE_TRACE_ID in record.attributes

# pyright: reportMissingTypeStubs=false
"""Whether a call is one that a span stands for already."""

from opentelemetry.context import get_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span
from opentelemetry.util.genai.invocation import CLIENT_EMBEDDING_CONTEXT_KEY, CLIENT_INFERENCE_CONTEXT_KEY

from ... import guard
from ...attributes import GEN_AI_OPERATION_NAME

_OWN = "pandaprobe_otel"
_CALLS = ("chat", "embeddings", "generate_content", "text_completion")


@guard.never_raises
def is_traced() -> bool:
    """Whether this runs inside a model call that has a span by OpenTelemetry's GenAI packages."""
    keys = (CLIENT_INFERENCE_CONTEXT_KEY, CLIENT_EMBEDDING_CONTEXT_KEY)
    return any(get_value(key) is not None for key in keys)


@guard.never_raises
def is_covered() -> bool:
    """Whether the current span stands for this very call, made in another way, as Google's ADK makes them.

    Inside a span by them a call gets none either, but tells that one what it knows.
    """
    span = get_current_span()
    return (
        isinstance(span, ReadableSpan)
        and (span.attributes or {}).get(GEN_AI_OPERATION_NAME) in _CALLS
        and not is_traced()
        and not str(span.instrumentation_scope and span.instrumentation_scope.name).startswith(_OWN)
    )

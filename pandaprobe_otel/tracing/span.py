"""`Span`: one step of a trace."""

from collections.abc import Mapping
from datetime import datetime, timezone
from time import time_ns
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import INVALID_SPAN, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace import Span as OTelSpan
from opentelemetry.trace import SpanKind as OTelSpanKind
from typing_extensions import Self

from ..attributes import (
    GEN_AI_AGENT_NAME,
    GEN_AI_OPERATION_NAME,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_REQUEST_PREFIX,
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    GEN_AI_TOOL_CALL_ARGUMENTS,
    GEN_AI_TOOL_CALL_RESULT,
    GEN_AI_TOOL_NAME,
    OPERATION_OF_KIND,
    PANDAPROBE_COST,
    PANDAPROBE_MODEL_PARAMETERS,
    PANDAPROBE_SPAN_KIND,
    PANDAPROBE_TOKEN_USAGE,
    REQUEST_PARAMETERS,
    USAGE_ATTRIBUTES,
    SpanKind,
)
from ..ids import pandaprobe_span_id
from .recording import Recording

# The GenAI conventions make calls to another service CLIENT spans.
_CLIENT_KINDS = {SpanKind.LLM, SpanKind.EMBEDDING, SpanKind.RETRIEVER}
_NAME_OF_KIND = {SpanKind.AGENT: GEN_AI_AGENT_NAME, SpanKind.TOOL: GEN_AI_TOOL_NAME}


class Span(Recording):
    """One step of a trace; a context manager, sync and async. PandaProbe's `SpanContext`.

    with trace.span("search", kind="TOOL") as span:
        span.set_input({"query": query})
        span.set_output(search(query))
    """

    def __init__(
        self,
        name: str,
        *,
        kind: SpanKind | str = SpanKind.OTHER,
        model: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        parent: OTelSpan = INVALID_SPAN,
    ) -> None:
        self.kind = _kind(kind)
        otel_kind = OTelSpanKind.CLIENT if self.kind in _CLIENT_KINDS else OTelSpanKind.INTERNAL
        super().__init__(name, metadata, otel_kind)
        self._parent = parent
        self._started_ns = 0
        self._set(PANDAPROBE_SPAN_KIND, self.kind.value)
        if self.kind in OPERATION_OF_KIND:
            self._set(GEN_AI_OPERATION_NAME, OPERATION_OF_KIND[self.kind])
        if self.kind in _NAME_OF_KIND:
            self._set(_NAME_OF_KIND[self.kind], name)
        if model is not None:
            self.set_model(model)

    def __enter__(self) -> Self:
        super().__enter__()
        self._started_ns = getattr(self._span, "start_time", None) or time_ns()
        return self

    @property
    def span_id(self) -> str:
        """The id that PandaProbe shows, a UUID; all zeros when nothing is recorded."""
        context = self._span.get_span_context()
        return pandaprobe_span_id(context.trace_id, context.span_id)

    def set_model(self, model: str) -> None:
        """Records the model that is called.

        Args:
            model: Its name; GenAI's `gen_ai.request.model`.
        """
        self._set(GEN_AI_REQUEST_MODEL, str(model))

    def set_model_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Records the parameters of the model's call.

        Args:
            parameters: Names and values, as temperature or max_tokens; GenAI's `gen_ai.request.*` where it
                has them.
        """
        others = dict(parameters)
        for name in REQUEST_PARAMETERS & others.keys():
            if isinstance(others[name], (int, float)):
                self._set(GEN_AI_REQUEST_PREFIX + name, others.pop(name))
        if others:
            self._set_json(PANDAPROBE_MODEL_PARAMETERS, others)

    def set_token_usage(self, *, prompt_tokens: int = 0, completion_tokens: int = 0, **others: int) -> None:
        """Records how many tokens were used.

        Args:
            prompt_tokens: All tokens that were read, cached ones included; `gen_ai.usage.input_tokens`.
            completion_tokens: All tokens that were written, reasoning included; `gen_ai.usage.output_tokens`.
            others: `reasoning_tokens`, `cache_read_tokens`, `cache_creation_tokens` and any more.
        """
        counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, **others}
        for name in USAGE_ATTRIBUTES.keys() & counts.keys():
            self._set(USAGE_ATTRIBUTES[name], counts.pop(name))
        if counts:
            self._set_json(PANDAPROBE_TOKEN_USAGE, counts)

    def set_cost(self, *, total: float, **parts: float) -> None:
        """Records what the call cost.

        Args:
            total: US dollars.
            parts: Parts of the total, in US dollars, as `input` and `output`.
        """
        self._set_json(PANDAPROBE_COST, {"total": total, **parts})

    def set_completion_start_time(self, time: datetime) -> None:
        """Records when the first piece of the answer came; `gen_ai.response.time_to_first_chunk`.

        Args:
            time: The time; UTC when it has no time zone.
        """
        time = time if time.tzinfo else time.replace(tzinfo=timezone.utc)
        self._set(GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, max(0.0, time.timestamp() - self._started_ns / 1e9))

    def set_error(self, error: str) -> None:
        """Marks the span as failed.

        Args:
            error: What went wrong.
        """
        self._set_status(StatusCode.ERROR, error)

    def _context(self) -> Context:
        context = get_current()
        parent = self._parent.get_span_context()
        if parent.is_valid and get_current_span(context).get_span_context().trace_id != parent.trace_id:
            return set_span_in_context(self._parent, context)
        return context

    def set_input(self, value: object) -> None:
        """Records the input, as it is now.

        Args:
            value: Any value; messages as `{"messages": [{"role": …, "content": …}]}`.
        """
        if self.kind is SpanKind.TOOL:
            self._set_text(GEN_AI_TOOL_CALL_ARGUMENTS, value)
        else:
            super().set_input(value)

    def set_output(self, value: object) -> None:
        """Records the output, as it is now.

        Args:
            value: Any value; messages as `{"messages": [{"role": …, "content": …}]}`.
        """
        if self.kind is SpanKind.TOOL:
            self._set_text(GEN_AI_TOOL_CALL_RESULT, value)
        else:
            super().set_output(value)

    def _set_text(self, key: str, value: object) -> None:
        if isinstance(value, str):
            self._set(key, value)
        else:
            self._set_json(key, value)


def _kind(kind: SpanKind | str) -> SpanKind:
    try:
        return SpanKind(kind)
    except ValueError:
        kinds = ", ".join(SpanKind.__members__)
        raise ValueError(f"{kind!r} is no kind of span; the kinds are {kinds}") from None

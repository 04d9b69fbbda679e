"""What `Trace` and `Span` share: an OpenTelemetry span that is current inside a block."""

from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import Any

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace import Span as OTelSpan
from typing_extensions import Self

from .. import runtime
from ..attributes import (
    ERROR_TYPE,
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_OUTPUT_MESSAGES,
    PANDAPROBE_INPUT,
    PANDAPROBE_METADATA,
    PANDAPROBE_OUTPUT,
)
from ..guard import never_raises
from ..session.identity import put_back
from .messages import messages_of, to_genai
from .values import to_json


class Recording:
    """An OpenTelemetry span that is made when its block is entered and ends with it."""

    def __init__(
        self, name: str, metadata: Mapping[str, Any] | None, otel_kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a name is a non-empty str, not {name!r}")
        self.name = name
        self._otel_kind = otel_kind
        self._span: OTelSpan = INVALID_SPAN
        self._before: dict[str, Any] | None = {}
        self._token: Token[Context] | None = None
        self._metadata: dict[str, Any] = {}
        if metadata is not None:
            self.set_metadata(metadata)

    def __enter__(self) -> Self:
        self._token = attach(self._context_inside(self._start(self._context())))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._end(error)
        if self._token is not None:
            put_back(self._token)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def set_input(self, value: object) -> None:
        """Records the input, as it is now.

        Args:
            value: Any value; messages as `{"messages": [{"role": …, "content": …}]}`.
        """
        self._set_content(GEN_AI_INPUT_MESSAGES, PANDAPROBE_INPUT, value)

    def set_output(self, value: object) -> None:
        """Records the output, as it is now.

        Args:
            value: Any value; messages as `{"messages": [{"role": …, "content": …}]}`.
        """
        self._set_content(GEN_AI_OUTPUT_MESSAGES, PANDAPROBE_OUTPUT, value)

    def set_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Adds metadata to what was set before.

        Args:
            metadata: Names and any values.

        Raises:
            TypeError: When it is not a mapping.
        """
        if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"metadata is a dict, not {type(metadata).__name__}")
        self._metadata |= metadata
        self._set_json(PANDAPROBE_METADATA, self._metadata)

    def _start(self, context: Context, start_ns: int | None = None) -> Context:
        attributes, self._before = self._before, None
        self._span = runtime.tracer().start_span(
            self.name, context, self._otel_kind, attributes, start_time=start_ns
        )
        return set_span_in_context(self._span, context)

    def _end(self, error: BaseException | None) -> None:
        # A generator that is closed early and a process that exits did not fail.
        if error is not None and not isinstance(error, (GeneratorExit, SystemExit)):
            self._failed(error)
        self._span.end()

    def _context(self) -> Context:
        return get_current()

    def _context_inside(self, context: Context) -> Context:
        return context

    @property
    def _records(self) -> bool:
        return self._before is not None or self._span.is_recording()

    def _set(self, key: str, value: Any) -> None:
        if self._before is not None:
            self._before[key] = value
        else:
            self._span.set_attribute(key, value)

    @never_raises
    def _set_json(self, key: str, value: object) -> None:
        if self._records:
            self._set(key, to_json(value))

    @never_raises
    def _set_content(self, messages_key: str, key: str, value: object) -> None:
        messages = messages_of(value)
        if messages is None:
            self._set_json(key, value)
        else:
            self._set_json(messages_key, to_genai(messages))

    def _set_status(self, code: StatusCode, description: str | None = None) -> None:
        self._span.set_status(Status(code, description))

    @never_raises
    def _failed(self, error: BaseException) -> None:
        self._span.record_exception(error)
        self._span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        self._set_status(StatusCode.ERROR, str(error) or type(error).__qualname__)

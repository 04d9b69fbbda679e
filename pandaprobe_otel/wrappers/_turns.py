"""Answers of a model over a connection: each has a span that ends, whatever becomes of the connection."""

from abc import abstractmethod
from typing import Any, cast

from wrapt import ObjectProxy

from .. import guard
from ._genai import keep_open
from ._genai.parts import Error, InferenceInvocation


class Turn:
    """One answer of the model, asked for or begun; its span is open until `end`."""

    def __init__(self, invocation: InferenceInvocation | None) -> None:
        # None where it is not traced, as while instrumentation is suppressed.
        self.invocation = invocation
        self.begun = False
        self.error: Error | None = None
        """What the server reported since it was heard of last."""
        if invocation is not None:
            keep_open(self)

    @property
    def keeps_content(self) -> bool:
        """Whether what is said is to go on the span."""
        return self.invocation is not None and self.invocation.should_capture_content

    def begin(self) -> None:
        """Takes the time of the first of the answer."""
        if not self.begun:
            self.begun = True
            if self.invocation is not None:
                self.invocation.record_stream_chunk()

    def end(self, error: Error | BaseException | None = None, at: int | None = None) -> None:
        """Writes what was asked and answered, and ends the span.

        Args:
            at: When it ended, in nanoseconds; left out, now.
        """
        invocation, self.invocation = self.invocation, None
        if invocation is None:
            return
        if at is not None:
            span: Any = _EndedAt(invocation.span)
            span._self_at = at
            invocation.span = span
        try:
            self.tell(invocation)
        finally:
            if error is None:
                invocation.stop()
            else:
                invocation.fail(error)

    @guard.never_raises
    def _pandaprobe_abandon(self) -> None:
        self.end()

    @abstractmethod
    def tell(self, invocation: InferenceInvocation) -> None:
        """Writes what was asked and answered."""


class _EndedAt(ObjectProxy):  # pyright: ignore[reportUntypedBaseClass, reportMissingTypeArgument]
    """A span that ended before anybody knew it."""

    _self_at: int

    def end(self) -> None:
        cast(Any, self).__wrapped__.end(self._self_at)

"""What was said once of all calls of a wrapped client, or of all runs under a handler."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.trace import Span

from ..attributes import PANDAPROBE_METADATA, PANDAPROBE_TAGS
from ..session.identity import UNKNOWN, Frame, Known, Source, current, open_frame
from ..session.validation import clean_id
from .values import to_json

Id = str | UUID | int


class Labels:
    """A session, a user, tags and metadata; any of them may be missing.

    Args:
        session_id: Stronger than a `session()` block around the call, as every explicit parameter.
        user_id: Likewise.
        tags: Tags of the spans that `put_on` is given.
        metadata: Names and any values, for the same spans.

    Raises:
        TypeError: When an argument has the wrong type.
    """

    def __init__(
        self,
        *,
        session_id: Id | None = None,
        user_id: Id | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self._session = explicit(session_id, "session")
        self._user = explicit(user_id, "user")
        self._attributes: dict[str, Any] = {}
        if tags is not None:
            self._attributes[PANDAPROBE_TAGS] = checked_tags(tags)
        if metadata is not None:
            if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"metadata is a dict, not {type(metadata).__name__}")
            self._attributes[PANDAPROBE_METADATA] = to_json(metadata)

    def __bool__(self) -> bool:
        return bool(self._attributes) or not (self._session is UNKNOWN and self._user is UNKNOWN)

    def frame(
        self, framework_session_id: str | None = None, framework_user_id: str | None = None
    ) -> Frame | None:
        """The frame that makes session and user hold; None when none is named.

        Args:
            framework_session_id: The framework's own id of the session, which holds where nobody names one,
                no run of a framework around this one either.
            framework_user_id: Likewise, of the user.
        """
        session, user = self._session, self._user
        if session is UNKNOWN:
            session = _of_framework(framework_session_id, "session")
        if user is UNKNOWN:
            user = _of_framework(framework_user_id, "user")
        if session is UNKNOWN and user is UNKNOWN:
            return None
        return open_frame(session=session, user=user)

    def context(self) -> Context | None:
        """The current context with session and user holding in it; None when neither is named."""
        frame = self.frame()
        return None if frame is None else frame.context()

    @contextmanager
    def applied(self, framework_session_id: str | None = None) -> Generator[None]:
        """A block in which session and user hold."""
        frame = self.frame(framework_session_id)
        if frame is None:
            yield
            return
        frame.enter()
        try:
            yield
        finally:
            frame.leave()

    def put_on(self, span: Span) -> None:
        """Writes tags and metadata on a span."""
        span.set_attributes(self._attributes)


def checked_tags(tags: Sequence[str]) -> list[str]:
    """Tags as a list.

    Raises:
        TypeError: When it is not a sequence of strings.
    """
    given: list[object] = list(tags)
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in given):
        raise TypeError(f"tags is a list of str, not {type(tags).__name__}")
    return list(tags)


def explicit(given: Id | None, field: str) -> Known:
    """An id that was given as a parameter."""
    id = None if given is None else clean_id(given, field)
    return UNKNOWN if id is None else Known(id, Source.BLOCK)


def _of_framework(given: str | None, field: str) -> Known:
    if not given or getattr(current(), field).source is Source.FRAMEWORK:
        return UNKNOWN
    id = clean_id(given, field)
    return UNKNOWN if id is None else Known(id, Source.FRAMEWORK)

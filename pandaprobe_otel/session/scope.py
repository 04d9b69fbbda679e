"""`session()` and `user()` blocks, `set_session()` and `set_user()`, and what they have set."""

import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar
from uuid import UUID

from opentelemetry.context import get_current
from opentelemetry.trace import get_current_span

from .. import runtime
from ..attributes import SESSION_ID, USER_ID
from ..guard import never_raises
from . import identity, stamps
from .decorating import decorate
from .identity import BLOCK, NOBODY, UNKNOWN, Frame, Known, Source
from .validation import clean_id

F = TypeVar("F", bound=Callable[..., Any])


class _New:
    def __repr__(self) -> str:
        return "NEW"


# Stands for "make an id", where None already stands for "no session".
NEW: Final = _New()


class Scope:
    """A block, or a decorated function, inside which a session or a user holds.

    One object can be entered any number of times, also at once in several threads and tasks.
    """

    def __init__(self, field: str, known: Known | None) -> None:
        self._field = field
        # None where every entry makes an id.
        self._known = known
        self._frames: list[Frame] = []

    def __enter__(self) -> str | None:
        runtime.ensure_started()
        known = self._known or Known(str(uuid.uuid4()), BLOCK)
        frame = identity.open_frame(**{self._field: known})
        frame.enter()
        self._frames.append(frame)
        return known.id if known is not UNKNOWN else getattr(identity.current(), self._field).id

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        frames = self._frames
        frame = frames.pop()
        if frames and not frame.opened_here:
            # Another thread or task is in this scope too; where no frame is of this one, any will do.
            frames.append(frame)
            frame = next((frame for frame in reversed(frames) if frame.opened_here), frame)
            frames.remove(frame)
        frame.leave()

    async def __aenter__(self) -> str | None:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        return decorate(function, lambda args, kwargs: Scope(self._field, self._known))

    def returned(self, value: Any) -> None:
        """A scope takes no note of what a function returned."""

    def yielded(self, item: Any) -> None:
        """A scope takes no note of a generator's items."""


def session(session_id: str | UUID | int | _New | None = NEW) -> Scope:
    """A block, or a decorated function, whose spans all belong to a session.

    Works as `with`, as `async with` and as a decorator of functions, coroutines, generators and async
    generators; it yields the session's id. See PandaProbe's documentation of sessions; the id travels as
    OpenTelemetry's `session.id`.

        with pandaprobe.session("conversation-123"):
            agent.run()

    Args:
        session_id: The id; a new UUID when not given. None means that there is no session in the block.

    Raises:
        TypeError: When the id is neither a `str`, a `uuid.UUID` nor an `int`.
    """
    return Scope("session", None if session_id is NEW else _known(session_id, "session"))


def user(user_id: str | UUID | int | None) -> Scope:
    """A block, or a decorated function, whose spans all belong to a user; OpenTelemetry's `user.id`.

        with pandaprobe.user("user-42"):
            agent.run()

    Args:
        user_id: The id. None means that there is no user in the block.

    Raises:
        TypeError: When the id is neither a `str`, a `uuid.UUID` nor an `int`.
    """
    return Scope("user", _known(user_id, "user"))


def set_session(session_id: str | UUID | int | None) -> None:
    """Sets the session from here on, for this context and what is started from it.

    It does not end by itself; prefer `session()` where a block can hold it. Inside a `session()` block it
    changes nothing until the block ends. The span that is current joins the session.

    Args:
        session_id: The id; None unsets it.

    Raises:
        TypeError: When the id is neither a `str`, a `uuid.UUID` nor an `int`.
    """
    hold("session", session_id)


def set_user(user_id: str | UUID | int | None) -> None:
    """Sets the user from here on, as `set_session` does the session.

    Args:
        user_id: The id; None unsets it.

    Raises:
        TypeError: When the id is neither a `str`, a `uuid.UUID` nor an `int`.
    """
    hold("user", user_id)


def current_session() -> str | None:
    """The id of the session that a span started here would belong to."""
    return identity.current().session.id


def current_user() -> str | None:
    """The id of the user that a span started here would belong to."""
    return identity.current().user.id


def _known(given: object, field: str) -> Known:
    id = None if given is None else clean_id(given, field)
    # An empty id is ignored, so its block changes nothing.
    return UNKNOWN if id is None and given is not None else Known(id, BLOCK)


def hold(field: str, given: object, source: Source = Source.SET) -> None:
    """Sets the session or user ("session", "user") from here on; the span that is current joins it."""
    id = None if given is None else clean_id(given, field)
    if id is None and given is not None:
        return
    runtime.ensure_started()
    identity.keep_guard()
    before = identity.ambient.get()
    after = before._replace(**{field: UNKNOWN if id is None else Known(id, source)})
    identity.ambient.set(NOBODY if after == NOBODY else after)
    identity.publish(get_current(), before)
    if id is not None and not identity.in_block(field):
        _join(_KEYS[field], id)


_KEYS = {"session": SESSION_ID, "user": USER_ID}


@never_raises
def _join(key: str, id: str) -> None:
    span: Any = get_current_span()
    if span.is_recording() and key not in stamps.said(span):
        stamps.add(span, key, id)

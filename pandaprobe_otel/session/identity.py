"""Who the work at hand is for: session and user, where that comes from, and which source wins.

Sessions and users live in OpenTelemetry's context, as baggage for others and as a `Frame` for us. A frame
knows when its block has ended and where it was opened, because contexts alone cannot tell: a generator that
holds a block open, or closes it in another task, leaves the context of the block behind in its consumer.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from enum import IntEnum
from typing import Any, NamedTuple, cast
from weakref import ref

from opentelemetry import baggage
from opentelemetry.context import Context, attach, create_key, detach, get_current, set_value
from opentelemetry.trace import get_current_span

from ..attributes import SESSION_ID, USER_ID
from . import stamps
from .conversations import conversation_in
from .validation import clean_id


class Source(IntEnum):
    """Where an id comes from; the lower, the stronger."""

    BLOCK = 1
    SET = 2
    FRAMEWORK = 3
    INBOUND = 4
    PARENT = 5
    NOWHERE = 6


# Python 3.11 runs Python code wherever a member is looked up in its class.
BLOCK, SET, FRAMEWORK, INBOUND, PARENT, NOWHERE = Source


class Known(NamedTuple):
    """An id and where it comes from; None from a block means that there is none in it."""

    id: str | None
    source: Source


UNKNOWN = Known(None, NOWHERE)


class Identity(NamedTuple):
    """A session and a user."""

    session: Known = UNKNOWN
    user: Known = UNKNOWN


NOBODY = Identity()


def ids_in(header: str) -> Identity:
    """Session and user of a `baggage` that only we can have written."""
    if not header:
        return NOBODY
    from opentelemetry.baggage.propagation import W3CBaggagePropagator

    held = baggage.get_all(W3CBaggagePropagator().extract({"baggage": header}, Context()))
    ids = [
        clean_id(held[key], what) if isinstance(held.get(key), str) else None
        for key, what in ((SESSION_ID, "session"), (USER_ID, "user"))
    ]
    return Identity(*[UNKNOWN if id is None else Known(id, INBOUND) for id in ids])


# What `session_env` has put into the environment of this process.
INHERITED = ids_in(os.environ.get("BAGGAGE", ""))

# What `set_session`, `set_user`, a request or the start of the process has set.
# A context variable of its own, for OpenTelemetry's context is put back when a span closes, and closing a
# span must not undo `set_session`.
ambient: ContextVar[Identity] = ContextVar("pandaprobe_ambient", default=INHERITED)

# Called where ids are named and before a call is made, so that a propagator that somebody has set since is
# guarded; the boundaries put it here.
keep_guard: Callable[[], object] = lambda: None  # noqa: E731

_KEY = create_key("pandaprobe-frame")
_threads = threading.local()


class Frame:
    """One block that names a session, a user or both."""

    __slots__ = ("_left_at", "_opened_at", "_token", "closed", "names", "outer", "whole")

    def __init__(self, names: Identity, outer: "Frame | None") -> None:
        self.names = names
        self.outer = outer
        # What holds here for as long as no frame of the chain is closed.
        self.whole = names if outer is None else _inside(names, _named(outer))
        self.closed = False
        self._opened_at = _here()
        self._left_at: object = None
        self._token: Token[Context] | None = None

    @property
    def opened_here(self) -> bool:
        """Whether this thread and task opened the block."""
        return self._opened_at == _here()

    @property
    def ended_here(self) -> bool:
        """Whether the block has ended for this thread and task, because it opened or closed the block.

        Any other that was started inside the block keeps its session, however late it runs.
        """
        return self.closed and _here() in (self._opened_at, self._left_at)

    def enter(self) -> Identity:
        """Makes the block current; what holds in it."""
        known = _of_frame(self)
        self._token = attach(_with_baggage(set_value(_KEY, self), known))
        return known

    def context(self) -> Context:
        """The current context with the block in it, for what outlives the call that starts it."""
        return _with_baggage(set_value(_KEY, self), _of_frame(self))

    def leave(self) -> None:
        """Ends the block, also out of order or in another task than the one that entered it."""
        self.closed = True
        if not self.opened_here:
            self._left_at = _here()
        token, self._token = self._token, None
        # Under another frame, the context of the block that is still open above must stay.
        if token is not None and get_current().get(_KEY) is self:
            put_back(token)
        _settle()


def open_frame(*, session: Known = UNKNOWN, user: Known = UNKNOWN) -> Frame:
    """A frame inside the current one; `enter` makes it current."""
    keep_guard()
    return Frame(Identity(session, user), _outer(_frame_in(None)))


def received(context: Context, session: Known, user: Known) -> Context:
    """`context` with what has come in from another process, inside the block that is open in it or here."""
    frame = _outer(_frame_in(context) or _frame_in(None))
    # A consumer that never detaches what it has attached is still in the context of its last message.
    while frame is not None and INBOUND in (frame.names.session.source, frame.names.user.source):
        frame = frame.outer
    if session is not UNKNOWN or user is not UNKNOWN:
        frame = Frame(Identity(session, user), frame)
    if frame is not None:
        context = set_value(_KEY, frame, context)
    return _with_baggage(context, _of_frame(frame))


def put_back(token: Token[Any]) -> None:
    """`opentelemetry.context.detach` that stays silent in another task than the one that attached.

    OpenTelemetry's own logs an error with a traceback there, though nothing is left to detach.
    """
    # `suppress` would cost more than all the rest.
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        pass
    except AttributeError:
        # The token of a context that is not OpenTelemetry's own.
        detach(token)


def current(context: Context | None = None) -> Identity:
    """The session and user that a span started in `context` belongs to."""
    frame = _frame_in(context)
    if frame is None and context is not None:
        frame = _frame_in(None)
    session, user = known = _of_frame(frame)
    if session.source is BLOCK and user.source is BLOCK:
        # Nothing is stronger.
        return known
    if context is not None and INBOUND in (session.source, user.source):
        # What came in holds in the context that it was read into, and less than a block that is open here.
        session, user = known = _inside(known, _of_frame(_frame_in(None)))
    if session.source > FRAMEWORK and (conversation := conversation_in(context)):
        session = Known(clean_id(conversation, "session"), FRAMEWORK)
        known = Identity(session, user)
    if session.source is NOWHERE or user.source is NOWHERE:
        attributes = stamps.said(get_current_span(context))
        if attributes:
            session = _or_parent(session, attributes.get(SESSION_ID))
            user = _or_parent(user, attributes.get(USER_ID))
            return Identity(session, user)
    return known


def in_block(field: str) -> bool:
    """Whether a block names `field` ("session" or "user") here."""
    return getattr(_named(_frame_in(None)), field).source is BLOCK


def publish(context: Context, gone: Identity = NOBODY) -> None:
    """Makes `context` current with the baggage that holds in it; the ids in `gone` hold no longer."""
    renewed = _with_baggage(context, _of_frame(_frame_in(context)), gone)
    if renewed is not get_current():
        attach(renewed)


def with_ids(context: Context) -> Context:
    """`context` with the baggage that holds in it."""
    return _with_baggage(context, current(context))


def transplant(source: Context, context: Context) -> Context:
    """`context` with the frame of `source` instead of its own, and with nothing else of `source`."""
    held, frame = _frame_in(context), _frame_in(source)
    if held is not frame:
        context = _with_baggage(set_value(_KEY, frame, context), _of_frame(frame), _of_frame(held))
    return context


def _frame_in(context: Context | None) -> Frame | None:
    return cast("Frame | None", (get_current() if context is None else context).get(_KEY))


def _of_frame(frame: Frame | None) -> Identity:
    named, set_here = _named(frame), ambient.get()
    if set_here is NOBODY:
        return named
    return _inside(named, set_here)


def _named(frame: Frame | None) -> Identity:
    if frame is None:
        return NOBODY
    at: Frame | None = frame
    while at is not None and not at.closed:
        at = at.outer
    if at is None:
        return frame.whole
    session = user = UNKNOWN
    while frame is not None:
        if not frame.ended_here:
            session, user = _stronger(session, frame.names.session), _stronger(user, frame.names.user)
        frame = frame.outer
    return Identity(session, user)


def _inside(names: Identity, outer: Identity) -> Identity:
    return Identity(_stronger(names.session, outer.session), _stronger(names.user, outer.user))


def _stronger(inner: Known, outer: Known) -> Known:
    return outer if outer.source < inner.source else inner


def _outer(frame: Frame | None) -> Frame | None:
    """The frame that a new one is inside of: `frame`, or what is left of it."""
    while frame is not None and frame.ended_here:
        frame = frame.outer
    if frame is not None and not frame.opened_here:
        # What was opened elsewhere never ends here, so its values are enough; a chain of tasks that each
        # start the next would otherwise keep every block alive.
        frame = Frame(_named(frame), None)
    return frame


def _or_parent(known: Known, id: object) -> Known:
    if known.source is NOWHERE and isinstance(id, str):
        return Known(id, PARENT)
    return known


def _settle() -> None:
    """Takes what has ended off the top of the current context, and brings its baggage up to date."""
    context = get_current()
    frame, gone = _frame_in(context), NOBODY
    while frame is not None and frame.ended_here:
        gone = Identity(*map(_stronger, gone, frame.names))
        frame = frame.outer
    if gone is not NOBODY:
        publish(set_value(_KEY, frame, context), gone)
    elif ambient.get() is not NOBODY:
        publish(context)


def _with_baggage(context: Context, identity: Identity, gone: Identity = NOBODY) -> Context:
    session, user = identity
    if session is not UNKNOWN or gone.session is not UNKNOWN:
        context = _with_entry(context, SESSION_ID, session, gone.session)
    if user is not UNKNOWN or gone.user is not UNKNOWN:
        context = _with_entry(context, USER_ID, user, gone.user)
    return context


def _with_entry(context: Context, key: str, known: Known, former: Known) -> Context:
    id, source = known
    held = baggage.get_baggage(key, context)
    if id is not None:
        return context if held == id else baggage.set_baggage(key, id, context)
    if held is not None and (source is BLOCK or held == former.id):
        return baggage.remove_baggage(key, context)
    return context


def _here() -> object:
    """The task that runs this, or else the thread; equal wherever it is the same one."""
    # Without either module there is no task, and neither is imported for asking.
    asyncio: Any = sys.modules.get("asyncio")
    # `current_task` raises without a running loop, which costs eight times as much as asking first.
    if asyncio is not None and asyncio._get_running_loop() is not None:
        task = asyncio.current_task()
        if task is not None:
            return ref(task)
    trio: Any = sys.modules.get("trio")
    if trio is not None:
        try:
            return ref(trio.lowlevel.current_task())
        except (AttributeError, RuntimeError):
            pass
    # Thread idents are used again as soon as a thread has ended; an object that is still referred to is not.
    try:
        return _threads.thread
    except AttributeError:
        _threads.thread = thread = object()
        return thread

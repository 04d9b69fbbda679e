"""What may leave the process of session, user and turn, and what is believed of what comes in.

Beside `session.id` and `user.id`, which other vendors read, goes one entry that holds both and the turn,
signed; only that is believed. The ids are written last into the `baggage` header, so that everybody else's
entries are what they would be without us.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache, partial
from importlib import import_module
from secrets import token_hex
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry.context import Context, create_key, get_current, set_value
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import get_current_span

from .. import runtime
from ..attributes import PANDAPROBE_CONTEXT, SESSION_ID, USER_ID
from ..guard import caught, never_raises, warn_once
from ..settings import Settings
from . import identity
from .identity import UNKNOWN, Known, Source
from .keeping import keep_ours
from .peers import are_ours, host_of, is_ours
from .signing import Ids, opened, sealed, signing_key
from .turn import open_turn, turn_of_text, with_turn
from .validation import clean_id

_logger = logging.getLogger("pandaprobe_otel.session")

_HEADER = "baggage"
_OURS = (SESSION_ID, USER_ID, PANDAPROBE_CONTEXT)
# W3C Baggage; OpenTelemetry for Python ignores a longer header whole.
_MOST_BYTES = 8192
# gRPC's servers begin to refuse calls beyond 8192 bytes, with 32 for each entry; gRPC has entries of its own.
_MOST_BYTES_OF_METADATA = 7168
_BYTES_OF_ENTRY = 32

# A property of the signed entry that `propagation.inject` has written here: other processes know others.
_BY_HAND = f";by={token_hex(4)}"

_DELIBERATE = create_key("pandaprobe-deliberate")
_GUARDED = create_key("pandaprobe-guarded")


class _Rules(NamedTuple):
    key: bytes | None
    propagate_to: frozenset[str]
    trust_incoming: bool


_rules: _Rules | None = None


@never_raises
def guard_boundaries(settings: Settings | None) -> None:
    """Puts a `PandaProbePropagator` around the global propagator, and sets the rules of all of them.

    Args:
        settings: Those in force; with None, or when they say that PandaProbe is off, nothing of ours leaves
            or comes in.
    """
    global _rules
    keep_ours(_without_ours)
    _guard_global()
    identity.keep_guard = partial(_keep_guard, import_module("opentelemetry.propagate").get_global_textmap)
    if settings is None or not settings.enabled:
        _rules = None
    else:
        key = signing_key(settings.api_key, settings.project_name)
        _rules = _Rules(key, frozenset(settings.propagate_to), settings.trust_incoming)


def _guard_global() -> None:
    # Its import loads the propagators that the environment names, ours among them.
    from opentelemetry.propagate import get_global_textmap, set_global_textmap

    propagator: Any = get_global_textmap()
    outer = None
    # Logfire takes its own wrapper off for threads of this process; it must find it, so ours goes inside.
    while isinstance(getattr(propagator, "wrapped", None), TextMapPropagator):
        outer, propagator = propagator, propagator.wrapped
    if isinstance(propagator, PandaProbePropagator):
        return
    if outer is None:
        set_global_textmap(PandaProbePropagator(propagator))
    else:
        outer.wrapped = PandaProbePropagator(propagator)


@never_raises
def _keep_guard(get_global_textmap: Callable[[], TextMapPropagator]) -> None:
    if not isinstance(get_global_textmap(), PandaProbePropagator):
        _guard_global()


class PandaProbePropagator(TextMapPropagator):
    """Lets session and user go to hosts that are ours only, and come in only with the project's signature.

    `init` puts it around the global propagator, also around one that is set later. Around another:

        BotocoreInstrumentor().propagator = PandaProbePropagator(CompositePropagator([...]))

    As `pandaprobe` in OTEL_PROPAGATORS it has PandaProbe started by what comes in.

    Args:
        inner: What does the rest. Where that carries no baggage, nothing of ours is carried either.
    """

    def __init__(self, inner: TextMapPropagator | None = None) -> None:
        self._is_member = inner is None
        self._inner = inner or CompositePropagator([])
        self._carries_baggage = self._is_member or _HEADER in self._inner.fields

    @property
    def fields(self) -> set[str]:
        """The headers that may be set."""
        return {*self._inner.fields, _HEADER} if self._is_member else self._inner.fields

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """What came in, with session, user and turn as far as they are proven."""
        if self._is_member:
            runtime.ensure_started()
            context = Context() if context is None else context
        extracted = self._inner.extract(carrier, context, getter)
        if _rules is None or not self._carries_baggage:
            return extracted
        extracted = _without_ours(extracted)
        try:
            return _received(_rules, extracted, _members(getter.get(carrier, _HEADER)))
        except Exception as error:
            caught("PandaProbePropagator.extract", error)
            return extracted

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Writes what others carry, and session, user and turn where they may go."""
        context = get_current() if context is None else context
        if self._is_member:
            # Alone it cannot see what others have written; the one around the global propagator does it all.
            _guard_global()
        elif context.get(_GUARDED):
            self._inner.inject(carrier, context, setter)
        else:
            self._inject(carrier, context, setter)

    def _inject(self, carrier: CarrierT, context: Context, setter: Setter[CarrierT]) -> None:
        may_leave, members, held = False, "", ""
        try:
            by_hand = bool(context.get(_DELIBERATE))
            held = "" if by_hand else _written_by_hand(carrier)
            may_leave = by_hand or bool(held) or _may_leave(context, setter)
            if held:
                members = held
            elif may_leave and (self._carries_baggage or by_hand):
                members = _written(_rules, context)
            if by_hand and members:
                # Behind the last of ours, which is the signed one.
                members += _BY_HAND
        except Exception as error:
            caught("PandaProbePropagator.inject", error)
        # Ids that somebody has put into the baggage by hand are theirs, as far as inside.
        if members or not may_leave:
            context = _without_ours(context)
        adding = _Adding(setter, members)
        self._inner.inject(carrier, set_value(_GUARDED, True, context), adding)
        if not may_leave:
            _clean(carrier, setter)
        elif not adding.done and not held and _fit(len(members)):
            setter.set(carrier, _HEADER, members)


def guarded_global() -> "PandaProbePropagator":
    """The global propagator, with the guard around it also where it was set after `init`."""
    from opentelemetry.propagate import get_global_textmap

    textmap = get_global_textmap()
    return textmap if isinstance(textmap, PandaProbePropagator) else PandaProbePropagator(textmap)


def to_anyone(context: Context) -> Context:
    """`context` in which session, user and turn may go to any host."""
    return set_value(_DELIBERATE, True, context)


class _Adding(Setter[Any]):
    """Adds members to the baggage that others write."""

    def __init__(self, setter: Setter[Any], members: str) -> None:
        self._setter = setter
        self._members = members
        self.done = not members

    def set(self, carrier: Any, key: str, value: str) -> None:
        if not self.done and key.lower() == _HEADER:
            self.done = True
            if _fit(len(value) + 1 + len(self._members)):
                value = f"{value},{self._members}"
        self._setter.set(carrier, key, value)


def _fit(length: int, most: int = _MOST_BYTES) -> bool:
    if length > most:
        warn_once(
            _logger,
            "full baggage",
            "the baggage leaves no room for the session in %d bytes: it does not go along",
            most,
        )
    return length <= most


@never_raises
def _clean(carrier: Any, setter: Setter[Any]) -> None:
    """Takes out what was written for another host: httpx copies headers when it follows a redirect."""
    name, held = _held_by(carrier)
    if PANDAPROBE_CONTEXT in held:
        setter.set(carrier, name, ",".join(member for member in held.split(",") if not _is_ours(member)))


def _written_by_hand(carrier: Any) -> str:
    """Ours of what was sent past the guard: clients inject once more into the headers that they are given."""
    _, held = _held_by(carrier)
    return ",".join(filter(_is_ours, held.split(","))) if _BY_HAND in held else ""


def _held_by(carrier: Any) -> tuple[str, str]:
    # urllib's requests write the names of headers with a capital.
    names = (_HEADER, _HEADER.title()) if hasattr(carrier, "get") else ()
    return next(((name, held) for name in names if isinstance(held := carrier.get(name), str)), (_HEADER, ""))


@never_raises
def clean_for(url: str, headers: Any) -> None:
    """Takes out what was written for another host, where these headers go to one that is not ours.

    Args:
        url: Who is called.
        headers: Any mapping that can be written to.
    """
    if not may_go_to({host_of(url)}) and not _written_by_hand(headers):
        _clean(headers, default_setter)


def _is_ours(member: str) -> bool:
    return member.partition("=")[0].strip() in _OURS


def _may_leave(context: Context, setter: Setter[Any]) -> bool:
    listed = _rules.propagate_to if _rules else ()
    return is_ours(get_current_span(context), listed, into_headers=setter is default_setter)


def may_go_to(hosts: Collection[str]) -> bool:
    """Whether session, user and turn may go where these hosts are, in every case."""
    return _rules is not None and are_ours(hosts, _rules.propagate_to)


def with_ours(metadata: Iterable[tuple[str, Any]], hosts: Collection[str]) -> list[tuple[str, Any]] | None:
    """What was injected where nobody knew who is called, with session, user and turn.

    Args:
        metadata: What goes along with a call.
        hosts: Who is called.

    Returns:
        None where it stays as it is.
    """
    from opentelemetry.propagate import get_global_textmap

    fields, pairs = get_global_textmap().fields, list(metadata)
    held = ",".join(value for key, value in pairs if key == _HEADER)
    if PANDAPROBE_CONTEXT in held or fields.isdisjoint(key for key, _ in pairs) or not may_go_to(hosts):
        return None
    members = _written(_rules, get_current()) if _HEADER in fields else ""
    if not members:
        return None
    written = [pair for pair in pairs if pair[0] != _HEADER]
    written.append((_HEADER, f"{held},{members}" if held else members))
    length = sum(len(key) + len(value) + _BYTES_OF_ENTRY for key, value in written)
    return written if _fit(length, _MOST_BYTES_OF_METADATA) else None


def _written(rules: _Rules | None, context: Context) -> str:
    if rules is None:
        return ""
    session, user = identity.current(context)
    turn = open_turn(context, session.id)
    return _members_of(Ids(session.id, user.id, turn.text if turn else None), rules.key)


@lru_cache(1024)
def _members_of(ids: Ids, key: bytes | None) -> str:
    if not any(ids):
        return ""
    values = {SESSION_ID: ids.session_id, USER_ID: ids.user_id, PANDAPROBE_CONTEXT: sealed(ids, key)}
    # OpenTelemetry for Python would write a space as `+`, which nobody else reads as one.
    return ",".join(
        f"{name}={quote(value, safe='', errors='replace')}" for name, value in values.items() if value
    )


def _without_ours(context: Context) -> Context:
    for key in _OURS:
        if baggage.get_baggage(key, context) is not None:
            context = baggage.remove_baggage(key, context)
    return context


def _members(headers: Iterable[Any] | None) -> dict[str, str]:
    """Our members of baggage headers, as they stand there."""
    found: dict[str, str] = {}
    for header in (headers,) if isinstance(headers, str) else headers or ():
        for member in str(header).split(","):
            key, _, value = member.partition("=")
            if (key := key.strip()) in _OURS:
                found[key] = value.partition(";")[0].strip()
    return found


def _received(rules: _Rules, context: Context, members: dict[str, str]) -> Context:
    ids = Ids()
    if PANDAPROBE_CONTEXT in members:
        # OpenTelemetry for Python takes a property for a part of the value.
        text = unquote(members[PANDAPROBE_CONTEXT]).partition(";")[0]
        ids = opened(text, rules.key, unsigned=rules.trust_incoming) or ids
    elif rules.trust_incoming:
        ids = Ids(*(unquote(members.get(key, "")) for key in (SESSION_ID, USER_ID)))
    session, user = _known(ids.session_id, "session"), _known(ids.user_id, "user")
    context = identity.received(context, session, user)
    turn = turn_of_text(ids.turn or "", session.id)
    return with_turn(turn, context) if turn else context


def _known(id: str | None, what: str) -> Known:
    id = clean_id(id, what) if id else None
    return Known(id, Source.INBOUND) if id else UNKNOWN

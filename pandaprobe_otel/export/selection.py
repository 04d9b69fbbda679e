"""Which spans are sent: those of sessions, of turns and of agents, of the sessions that the sample holds."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from ..attributes import PANDAPROBE_TRACE_ID, SESSION_ID
from .mapping.kinds import says_genai

_REMEMBERED = 4096


class Selection:
    """The rule of `PANDAPROBE_EXPORT` and `PANDAPROBE_SESSION_SAMPLE_RATE`.

    Args:
        export: `session` for spans that carry a session, are part of a turn or say something of GenAI;
            `genai` for the last of these; or `all`.
        session_sample_rate: The share of the sessions that are sent; spans without a session always are.
        unseen: Gives the stamp of a span, as far as its attributes do not show it.
    """

    def __init__(
        self,
        export: str = "session",
        session_sample_rate: float = 1.0,
        unseen: Callable[[ReadableSpan], Mapping[str, str]] = lambda span: {},
    ) -> None:
        self._export = export
        self._rate = session_sample_rate
        self._unseen = unseen

    def said_by(self, span: ReadableSpan) -> dict[str, Any]:
        """What a span says so far, by its attributes and by its stamp."""
        attributes: Any = span.attributes
        # A copy, because every look-up in the SDK's attributes runs in Python.
        said: dict[str, Any] = attributes.copy() if attributes is not None else {}
        if (SESSION_ID not in said or PANDAPROBE_TRACE_ID not in said) and (stamp := self._unseen(span)):
            said |= stamp
        return said

    def selects(self, span: ReadableSpan, said: Mapping[str, Any] | None = None) -> bool:
        """Whether a span is to be sent, by what it says so far."""
        said = self.said_by(span) if said is None else said
        session_id = said.get(SESSION_ID)
        if session_id is not None:
            if self._rate < 1 and not in_sample(str(session_id), self._rate):
                return False
            if self._export == "session":
                return True
        if self._export == "all" or (self._export == "session" and PANDAPROBE_TRACE_ID in said):
            return True
        scope = span.instrumentation_scope
        return says_genai(said, scope.name if scope else "")


@lru_cache(_REMEMBERED)
def in_sample(session_id: str, rate: float) -> bool:
    """Whether a session is in the sample: the same answer in every process.

    A session that is in the sample of one rate is in that of every higher one.
    """
    digest = sha256(session_id.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8], "big") < rate * 2**64

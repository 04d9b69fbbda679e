"""What a wire is: how spooled items become requests, and what an answer means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from time import time
from typing import Any, NamedTuple, Protocol

import urllib3

from .spool import Item

# Where scores go, on any wire.
SCORES = "/evaluations/trace-scores"
JSON_HEADERS = {"Content-Type": "application/json"}
# An endpoint that answers so does not have this wire; the next one is tried.
NOT_THERE = (404, 405, 415)


class Outcome(Enum):
    """What an answer means for the request, and for those after it."""

    DELIVERED = auto()
    # This one fails, and may pass later.
    FAILED = auto()
    # This one will never be taken.
    REFUSED = auto()
    TOO_LARGE = auto()
    # Nothing gets through for now; it may pass by itself.
    AWAY = auto()
    # Nothing gets through until somebody changes a setting.
    DENIED = auto()


class Verdict(NamedTuple):
    """What an answer means, and what to tell the user where its status alone does not say it."""

    outcome: Outcome
    problem: str = ""


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Args:
        spans: How many spans it delivers.
        of: What the wire needs to know of it.
        not_before: The clock of `time.monotonic`.
    """

    path: str
    body: bytes
    headers: dict[str, str]
    spans: int
    of: Any
    method: str = "POST"
    attempts: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class Settled:
    """What became of the items behind a request.

    Args:
        done: The items of which nothing is left to send.
        aside: Those of them with a part that was refused, and why.
        rejected: How many spans the receiver did not take.
    """

    done: list[int] = field(default_factory=list[int])
    aside: dict[int, str] = field(default_factory=dict[int, str])
    rejected: int = 0


class Ledger:
    """How many parts of each item are on their way, and which items had one refused."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._refused: dict[int, str] = {}
        self._settled = Settled()

    def __contains__(self, seq: int) -> bool:
        return seq in self._open

    def add(self, seq: int, parts: int) -> None:
        """Opens so many parts of an item; one without any is done."""
        if parts:
            self._open[seq] = self._open.get(seq, 0) + parts
        else:
            self._settled.done.append(seq)

    def close(self, seqs: Iterable[int], refused: str = "") -> None:
        """Closes a part of each item; `refused` says why it will never be taken."""
        for seq in seqs:
            if seq not in self._open:
                continue
            if refused:
                self._refused[seq] = refused
            self._open[seq] -= 1
            if not self._open[seq]:
                del self._open[seq]
                if seq in self._refused:
                    self._settled.aside[seq] = self._refused.pop(seq)
                else:
                    self._settled.done.append(seq)

    def take(self, *, rejected: int = 0) -> Settled:
        """The items that were settled since this was asked."""
        settled, self._settled = self._settled, Settled()
        settled.rejected = rejected
        return settled


class Wire(Protocol):
    """Turns items into requests. All of it runs in the delivery thread."""

    name: str

    @property
    def loaded(self) -> int:
        """How many spans are held in memory."""
        ...

    @property
    def idle(self) -> bool:
        """Whether there is no request; spans that wait for the end of their turn are none yet."""
        ...

    def load(self, items: Sequence[Item]) -> None:
        """Takes items in."""
        ...

    def next(self, now: float, *, final: bool) -> Request | None:
        """The next request that is ready; the same one until it is settled or its time is moved.

        Args:
            final: Whether the process ends, so that nothing is worth waiting for.
        """
        ...

    def next_at(self) -> float | None:
        """When there will be a request that is not ready yet."""
        ...

    def delivered(self, request: Request, response: urllib3.BaseHTTPResponse) -> Settled:
        """The receiver has taken the request."""
        ...

    def settled(self) -> Settled:
        """The items that were done with without a request, since this was asked."""
        ...

    def split(self, request: Request) -> bool:
        """Puts smaller requests in the place of one; False when it cannot be made smaller."""
        ...

    def given_up(self, request: Request, cause: str) -> Settled:
        """The request will never be taken; its items are set aside when their other parts are settled."""
        ...

    def judge(self, request: Request, response: urllib3.BaseHTTPResponse) -> Verdict:
        """What an answer means here, where that is special."""
        ...


_OUTCOMES = {
    401: Outcome.DENIED,
    403: Outcome.DENIED,
    404: Outcome.DENIED,
    405: Outcome.DENIED,
    408: Outcome.AWAY,
    413: Outcome.TOO_LARGE,
    429: Outcome.AWAY,
    500: Outcome.FAILED,
    502: Outcome.AWAY,
    503: Outcome.AWAY,
    504: Outcome.AWAY,
}


def outcome_of(status: int) -> Outcome:
    """What a status means on any wire."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    if 300 <= status < 400:
        return Outcome.DENIED
    return _OUTCOMES.get(status, Outcome.AWAY if status >= 500 else Outcome.REFUSED)


def retry_after(response: urllib3.BaseHTTPResponse) -> float:
    """Seconds that the receiver asks to wait; 0 when it does not say."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except ValueError:
        return 0.0

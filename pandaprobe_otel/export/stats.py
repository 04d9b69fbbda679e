"""What became of the spans, in numbers."""

from collections import Counter
from dataclasses import dataclass, field
from threading import Lock

# What is lost before it reaches the spool.
QUEUE_FULL = "queue full"
NOT_ENCODED = "not encoded"


@dataclass
class Stats:
    """Counts of spans since the client started.

    Args:
        selected: Ended, sampled, and to be sent.
        unselected: Ended, sampled, and not to be sent, by the settings or the sample of sessions.
        spooled: Written to the spool.
        sent: Accepted by PandaProbe.
        retried: Requests that were sent again.
        lost: Not sent and never will be, by cause.
        wire: How spans are sent now.
        last_error: The last failure, in words.
    """

    selected: int = 0
    unselected: int = 0
    spooled: int = 0
    sent: int = 0
    retried: int = 0
    lost: Counter[str] = field(default_factory=Counter[str])
    wire: str = ""
    last_error: str = ""
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    @property
    def made(self) -> int:
        """Ended and sampled."""
        return self.selected + self.unselected

    def reset(self) -> None:
        """Begins to count anew."""
        self.__init__(wire=self.wire)

    def add(self, **counts: int) -> None:
        """Adds to counts."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def lose(self, cause: str, spans: int) -> None:
        """Counts spans as lost."""
        with self._lock:
            self.lost[cause] += spans

"""What the adapters of frameworks have in common: each traces one framework, for the whole process."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from typing_extensions import Self

from ..tracing.labels import Id, Labels

_lock = threading.RLock()
# By the class of the adapter: two at a time would make every span twice.
_active: dict[type, "Adapter"] = {}


class Adapter(ABC):
    """Traces a framework from `instrument()` to `uninstrument()`, or inside its `with` block.

    Args:
        session_id: The session of all runs. Without it `session()` holds, and then the framework's own id.
        user_id: The user of all runs.
        tags: Tags of all runs.
        metadata: Names and any values, for all runs.

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
        self._labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)

    def instrument(self) -> bool:
        """Traces what the framework does from now on, in place of an earlier adapter of this class.

        Returns:
            True. PandaProbe's own SDK says here whether the framework is installed; without it this class
            cannot be imported.
        """
        with _lock:
            before = _active.get(type(self))
            if before is not self:
                if before is not None:
                    before.uninstrument()
                self._start()
                _active[type(self)] = self
        return True

    def uninstrument(self) -> None:
        """Traces no more; runs that are under way end as they began."""
        with _lock:
            if _active.get(type(self)) is self:
                del _active[type(self)]
                self._stop()

    def __enter__(self) -> Self:
        self.instrument()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstrument()

    @abstractmethod
    def _start(self) -> None: ...

    @abstractmethod
    def _stop(self) -> None: ...

"""The ends of a process that Python tells nobody of: SIGTERM, and the end of a forked worker."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from ..export.forks import Forked


class Ends(Forked):
    """Calls `drain` at those ends.

    Args:
        drain: Sends or keeps what is queued, and ends; it takes seconds at most.
        flush: Sends what is queued within so many seconds, and goes on.
        patience: How long it may take, in seconds.
    """

    def __init__(
        self, drain: Callable[[], object], flush: Callable[[float], object], patience: float
    ) -> None:
        self.drain = drain
        self._flush = flush
        self._patience = patience

    def watch_sigterm(self) -> None:
        """Drains at SIGTERM, and then dies of it as before; only where nobody else handles it."""
        if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, number: int, frame: object) -> None:
        # The first process of a container does not die of SIGTERM unless it handles it; it goes on as before.
        survives = os.getpid() == 1
        work = partial(self._flush, self._patience) if survives else self.drain
        # In a thread of its own, since the main thread may hold a lock that draining needs.
        thread = threading.Thread(target=work, name="pandaprobe-drain", daemon=True)
        thread.start()
        thread.join(self._patience + 1)
        if survives:
            return
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def after_fork_in_child(self) -> None:
        """Drains when a worker of multiprocessing or Celery ends: both leave by `os._exit`."""
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:
            # The child's own start clears all finalizers, and calls this after that.
            util.register_after_fork(self, partial(_drain_worker, util))
        celery: Any = sys.modules.get("celery.signals")
        if celery is not None:
            celery.worker_process_shutdown.connect(self._worker_ends, weak=False)

    def _worker_ends(self, **_: object) -> None:
        self.drain()


def _drain_worker(util: Any, ends: Ends) -> None:
    util.Finalize(None, ends.drain, exitpriority=0)

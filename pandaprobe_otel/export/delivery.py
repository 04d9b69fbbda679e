"""The delivery thread: takes what is spooled, sends it, and leaves what cannot be sent where it is."""

import logging
import random
import threading
from collections.abc import Callable
from time import monotonic

import urllib3

from ..guard import REPEATED, report, warn_once
from .connection import Connection
from .forks import Forked, tell_of_forks
from .spool import Spool
from .stats import Stats
from .wire import NOT_THERE, Outcome, Request, Settled, Wire, retry_after

_logger = logging.getLogger("pandaprobe_otel.export")

# Seconds. A wait is doubled at every further failure.
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
# Somebody has to change a setting first.
_DENIED_WAIT = 60.0
# After these, a request that fails alone is set aside.
_MOST_ATTEMPTS = 6
# More is left on disk.
_MOST_LOADED = 10_000
_ADOPT_EVERY = 30.0
_NEVER = float("inf")

_FIXES = {
    401: "the API key is refused; set PANDAPROBE_API_KEY to a valid key",
    403: "the API key may not write to this project; check PANDAPROBE_PROJECT_NAME and the key's rights",
    404: "there is no receiver there; PANDAPROBE_ENDPOINT is the base URL, without /v1/traces",
}


class Delivery(Forked):
    """Sends the items of a spool, in a thread of its own that sleeps until there are any.

    Args:
        spool: Where the items are.
        connection: Where they go.
        wires: Makes the wires to try, the first one first.
        timeout: Longest time for one request, in seconds.
        on_error: Is told of every final failure, in the delivery thread.
    """

    def __init__(
        self,
        spool: Spool,
        connection: Connection,
        wires: Callable[[], list[Wire]],
        stats: Stats,
        timeout: float,
        on_error: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._connection = connection
        self._wires = wires
        self._stats = stats
        self._timeout = timeout
        self._on_error = on_error
        self._begin()
        tell_of_forks(self)

    def _begin(self) -> None:
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._untried = self._wires()
        self._use_next_wire()
        self._held_until = 0.0
        self._wait = _FIRST_WAIT
        self._key_is_refused: bool | None = None
        self._last_put = 0
        self._known_lost = {"spool full": 0, "spool damaged": 0}
        self._drained_to = 0
        # Something was put or asked for since the last round began.
        self._has_news = False
        # Nothing more gets through before the last of those that wait stops waiting.
        self._is_hopeless = False
        self._waited_for_until = 0.0
        self._end_at = _NEVER
        self._arrived = False
        self._adopt_at = 0.0

    def _use_next_wire(self) -> None:
        self._wire = self._untried.pop(0)
        self._stats.wire = self._wire.name
        # What the wire before had loaded is still in the spool.
        self._loaded: set[int] = set()

    def put(self, kind: str, body: bytes, spans: int) -> None:
        """Spools an item and has it sent."""
        seq = self._spool.put(kind, body, spans)
        self._count_lost()
        with self._wake:
            self._last_put = max(self._last_put, seq)
            self._has_news = True
            self._start()
            self._wake.notify_all()

    def _count_lost(self) -> None:
        with self._wake:
            now = {"spool full": self._spool.stats.dropped, "spool damaged": self._spool.stats.lost}
            before, self._known_lost = self._known_lost, now
        for cause, count in now.items():
            if count > before[cause]:
                self._lose(cause, count - before[cause])

    def _lose(self, cause: str, spans: int) -> None:
        self._stats.lose(cause, spans)
        self._on_error(f"{spans} spans are lost: {cause}")

    def flush(self, timeout: float) -> bool:
        """Waits until what was put is sent; whether it was, within `timeout` seconds."""
        with self._wake:
            target = self._last_put
            self._start()
            self._held_until = 0.0
            self._is_hopeless = False
            self._has_news = True
            self._waited_for_until = max(self._waited_for_until, monotonic() + timeout)
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._drained_to >= target or self._is_hopeless, timeout)
            return self._drained_to >= target

    def stop(self, timeout: float) -> bool:
        """Sends what can be sent within `timeout` seconds, leaves the rest in the spool, and ends."""
        with self._wake:
            if self._end_at < _NEVER:
                return self._arrived
            self._end_at = monotonic() + timeout
        self._arrived = self.flush(timeout)
        if self._thread is not None:
            self._thread.join(max(0.0, self._end_at - monotonic()))
        self._spool.close()
        self._count_lost()
        self._connection.close()
        return self._arrived

    def after_fork_in_child(self) -> None:
        """Begins anew: what the parent holds is the parent's to send."""
        self._begin()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pandaprobe-delivery", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                # While the interpreter shuts down; what is spooled is sent by the next process.
                self._thread = None

    def _run(self) -> None:
        while True:
            try:
                pause = self._round()
            except Exception as error:
                report("Delivery", error)
                pause = _LONGEST_WAIT
            with self._wake:
                now, ends = monotonic(), self._end_at < _NEVER
                if now < self._end_at and (pause == 0 or self._has_news):
                    continue
                # At the end of the process, what is on disk need not wait for a receiver that is away.
                is_over = ends and (pause is None or now >= self._end_at or self._spool.is_durable)
                if is_over or (pause is not None and now + pause >= self._waited_for_until):
                    self._is_hopeless = True
                    self._wake.notify_all()
                if is_over:
                    return
                self._wake.wait(min(pause, self._end_at - now) if pause is not None and ends else pause)

    def _round(self) -> float | None:
        """Sends one request; seconds to sleep then, None for until there is more."""
        self._has_news = False
        now, final, put = monotonic(), self._end_at < _NEVER, self._last_put
        # Also while nothing can be sent: what is in memory outlives a file that is damaged.
        has_all = self._load(now)
        self._count_lost()
        if now < self._held_until:
            return self._held_until - now
        request = self._wire.next(now, final=final)
        self._forget(self._wire.settled())
        if request is None:
            with self._wake:
                if has_all and self._wire.idle:
                    self._drained_to = put
                self._wake.notify_all()
            later = self._wire.next_at()
            if later is None:
                return None if self._wire.idle else _FIRST_WAIT
            return max(0.01, later - now)
        self._send(request, min(now + self._timeout, self._end_at))
        return 0

    def _load(self, now: float) -> bool:
        """Gives the wire what it has room for; whether that was all."""
        if now >= self._adopt_at:
            self._adopt_at = now + _ADOPT_EVERY
            self._spool.adopt()
        while self._wire.loaded < _MOST_LOADED:
            items = self._spool.take(16, besides=self._loaded)
            if not items:
                return True
            self._loaded.update(item.seq for item in items)
            self._wire.load(items)
        return False

    def _send(self, request: Request, give_up_at: float) -> None:
        if request.attempts:
            self._stats.add(retried=1)
        request.attempts += 1
        try:
            response = self._connection.request(
                request.method, request.path, request.body, request.headers, give_up_at
            )
        except urllib3.exceptions.HTTPError as error:
            kind = type(error).__name__
            self._hold(Outcome.AWAY, f"no answer ({kind}); is PANDAPROBE_ENDPOINT right and reachable?")
            return
        outcome, problem = self._wire.judge(request, response)
        refused = response.status == 401
        if (refused or outcome is Outcome.DELIVERED) and refused != self._key_is_refused:
            self._key_is_refused = refused
            self._spool.note_key(refused=refused)
        if outcome is Outcome.DELIVERED:
            self._wait = _FIRST_WAIT
            self._settle(request, self._wire.delivered(request, response), "rejected")
        elif outcome is Outcome.TOO_LARGE and self._wire.split(request):
            pass
        elif outcome in (Outcome.AWAY, Outcome.DENIED):
            if response.status in NOT_THERE and self._untried:
                before, endpoint = self._wire.name, self._connection.endpoint
                self._use_next_wire()
                _logger.info("%s takes no %s; spans go by %s", endpoint, before, self._wire.name)
                return
            problem = problem or f"HTTP {response.status}; {fix_for(response)}"
            self._hold(outcome, problem, retry_after(response))
        elif outcome is Outcome.FAILED and request.attempts < _MOST_ATTEMPTS:
            pause = min(_FIRST_WAIT * 2**request.attempts, _LONGEST_WAIT)
            request.not_before = monotonic() + _jittered(pause)
        else:
            self._say(f"HTTP {response.status}; it is not tried again")
            cause = f"HTTP {response.status}"
            self._settle(request, self._wire.given_up(request, cause), cause)

    def _settle(self, request: Request, settled: Settled, cause: str) -> None:
        self._stats.add(sent=request.spans - settled.rejected)
        if settled.rejected:
            self._lose(cause, settled.rejected)
        self._forget(settled)

    def _forget(self, settled: Settled) -> None:
        for seq, reason in settled.aside.items():
            self._spool.set_aside(seq, reason)
        if settled.done:
            self._spool.ack(settled.done)
        self._loaded.difference_update(settled.done, settled.aside)

    def _hold(self, outcome: Outcome, problem: str, asked: float = 0.0) -> None:
        self._say(problem)
        with self._wake:
            if outcome is Outcome.DENIED:
                pause = _DENIED_WAIT
                self._is_hopeless = True
            else:
                pause, self._wait = _jittered(self._wait), min(self._wait * 2, _LONGEST_WAIT)
            self._held_until = monotonic() + max(pause, asked)
            self._wake.notify_all()

    def _say(self, problem: str) -> None:
        self._stats.last_error = problem
        endpoint = self._connection.endpoint
        cause, message = f"{endpoint} {problem}", "spans do not reach %s: %s"
        warn_once(_logger, cause, message, endpoint, problem, every=REPEATED)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)


def fix_for(response: urllib3.BaseHTTPResponse) -> str:
    """What to do about an answer that was not the wanted one."""
    location = response.headers.get("Location")
    if 300 <= response.status < 400 and location:
        return f"set PANDAPROBE_ENDPOINT to where it redirects, {location.removesuffix('/v1/traces')}"
    return _FIXES.get(response.status, "it is tried again")

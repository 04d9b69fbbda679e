"""`init` and the client that it starts; `flush` and `shutdown`."""

import logging
import os
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any
from uuid import UUID

from opentelemetry import trace
from typing_extensions import Unpack

from .. import runtime
from .._version import __version__
from ..attributes import ScoreDataType
from ..export.exporter import PandaProbeSpanExporter
from ..export.forks import tell_of_forks
from ..export.processor import ExportProcessor, Pipeline
from ..export.stats import Stats
from ..guard import report, warn_once
from ..session.channels import carry_into_grpc
from ..session.children import join_parent
from ..session.propagation import guard_boundaries
from ..session.queues import carry_into_celery
from ..session.redirects import clean_redirects
from ..session.stamping import unseen
from ..session.stamps import keep_aside
from ..session.threads import carry_into_threads
from ..settings import Settings, SettingsKeywords, resolve
from .ends import Ends
from .provider import join_or_build, stamp_logs
from .scores import score_body

_logger = logging.getLogger("pandaprobe_otel.setup")

_lock = RLock()


class Client:
    """PandaProbe in this process: its settings, and where its spans are made and sent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tracer_provider: trace.TracerProvider = runtime.NO_PROVIDER
        self.tracer: trace.Tracer = runtime.NO_TRACER
        self._processor: ExportProcessor | None = None
        self._exporter: PandaProbeSpanExporter | None = None
        if settings.enabled:
            keep_aside(settings.stamp == "own")
            self.tracer_provider, self._processor = join_or_build(settings)
            self.tracer = self.tracer_provider.get_tracer("pandaprobe_otel", __version__)
            pipeline = Pipeline(settings, self._processor.lineage, unseen)
            self._exporter = pipeline.exporter
            self._processor.use(pipeline)
            self._ends = Ends(self._processor.end, self._processor.flush, settings.shutdown_timeout)
            tell_of_forks(self._ends)
            if settings.handle_sigterm:
                self._ends.watch_sigterm()
            if settings.stamp == "all":
                stamp_logs()
            carry_into_threads()
            carry_into_celery()
            carry_into_grpc()
            clean_redirects()
            join_parent()

    @property
    def enabled(self) -> bool:
        """Whether anything is traced."""
        return self.settings.enabled

    @property
    def captures_content(self) -> bool:
        """Whether inputs, outputs and messages are recorded."""
        return self.settings.capture_content

    def stats(self) -> Stats:
        """What became of the spans since this client started, in numbers."""
        return self._exporter.stats if self._exporter is not None else Stats()

    def on_error(self, callback: Callable[[str], object]) -> None:
        """Has every final failure told.

        Args:
            callback: Gets a sentence with the cause and the number of spans; called in the delivery thread.
        """
        if self._exporter is not None:
            self._exporter.on_error.append(callback)

    def put_score(self, body: bytes) -> None:
        """Sends a score that `score` has made."""
        if self._exporter is not None:
            self._exporter.put_score(body)

    def flush(self, timeout: float = 30.0) -> bool:
        """Sends what has ended so far.

        Args:
            timeout: Longest time to wait, in seconds.

        Returns:
            Whether all of it was accepted in time.
        """
        return self._processor is None or self._processor.flush(timeout)

    def shutdown(self, timeout: float = 5.0) -> bool:
        """Sends what has ended so far and stops; spans that end later are not sent.

        Args:
            timeout: Longest time to wait, in seconds.

        Returns:
            Whether all of it was accepted in time.
        """
        return self._processor is None or self._processor.end(timeout)


def init(**settings: Unpack[SettingsKeywords]) -> Client:
    """Starts PandaProbe in this process, or changes its settings.

    Joins the global TracerProvider, or sets one when there is none. Every setting may also come from the
    environment, as `PANDAPROBE_API_KEY` for `api_key`. Called again with the same settings it changes
    nothing; with others, spans that have ended still go where they belonged.

        pandaprobe.init(api_key="sk_pp_…", project_name="support-agent")

    Args:
        settings: The settings; `docs/settings.md` lists them.

    Raises:
        TypeError: For a setting that does not exist.
        ValueError: For a value that cannot be read, or when the API key or the project is missing.
    """
    wanted = resolve(settings)
    if wanted.enabled and wanted.missing:
        names = " and ".join(f"{option.keyword} ({option.env})" for option in wanted.missing)
        raise ValueError(f"init() needs {names}; without them it sends only to an endpoint on loopback")
    global _by_init
    _by_init = True
    return _start(wanted)


def get_client() -> Client | None:
    """The client of this process, started from the environment at first use; None where that cannot be."""
    runtime.ensure_started()
    return _current()


def score(
    trace_id: str | UUID,
    name: str,
    value: str | float | bool,
    *,
    data_type: ScoreDataType | str = ScoreDataType.NUMERIC,
    reason: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Scores a trace; it is sent like a span, again until PandaProbe has the trace.

        pandaprobe.score(trace.trace_id, "helpfulness", 0.9)

    Args:
        trace_id: The id that PandaProbe shows, `Trace.trace_id`.
        name: What is scored.
        value: A number, true or false, or a word, as `data_type` says.
        data_type: NUMERIC, BOOLEAN or CATEGORICAL.
        reason: Why, in words.
        metadata: Names and any values.

    Raises:
        ValueError: When the id is no UUID, the name is empty, or the value does not fit.
    """
    body = score_body(trace_id, name, value, data_type, reason, metadata)
    client = get_client()
    if client is not None:
        client.put_score(body)


def flush(timeout: float = 30.0) -> bool:
    """Sends what has ended so far.

    Args:
        timeout: Longest time to wait, in seconds.

    Returns:
        Whether all of it was accepted in time; True when there is no client.
    """
    client = _current()
    return client is None or client.flush(timeout)


def shutdown(timeout: float = 5.0) -> bool:
    """Sends what has ended so far and stops; spans that end later are not sent until `init` is called again.

    Args:
        timeout: Longest time to wait, in seconds.

    Returns:
        Whether all of it was accepted in time; True when there is no client.
    """
    global _stopped
    client = _current()
    if client is None:
        return True
    _stopped = True
    return client.shutdown(timeout)


# The environment that was not enough to start from, so that it is not read again for every span.
_unusable: tuple[str | None, ...] | None = None
_stopped = False
_by_init = False


def start_from_environment() -> None:
    """Starts the client from the environment, where that says enough and `init` has not; never raises."""
    global _by_init, _unusable
    if _by_init and _current() is not None:
        return
    _by_init = False
    found = tuple(
        os.environ.get(f"PANDAPROBE_{name}") for name in ("API_KEY", "PROJECT_NAME", "ENDPOINT", "ENABLED")
    )
    if found == _unusable:
        return
    # Sessions are set all the same, and must not leave.
    guard_boundaries(None)
    try:
        wanted = resolve(strict=False)
        if not wanted.enabled or not wanted.missing:
            _start(wanted)
            return
        names = " and ".join(option.env for option in wanted.missing)
        warn_once(_logger, f"missing {names}", "nothing is traced: set %s, or call init()", names)
    except Exception as error:
        report("start_from_environment", error)
    _unusable = found


def _start(wanted: Settings) -> Client:
    global _stopped
    with _lock:
        guard_boundaries(wanted)
        client = _current()
        if client is None or client.settings != wanted or _stopped:
            if wanted.debug:
                logging.getLogger("pandaprobe_otel").setLevel(logging.DEBUG)
            former, client = client, Client(wanted)
            runtime.activate(client)
            _stopped = False
            if former is not None and former._processor is not client._processor:  # pyright: ignore[reportPrivateUsage]
                former.shutdown()
        return client


def _current() -> Client | None:
    client = runtime.active()
    return client if isinstance(client, Client) else None

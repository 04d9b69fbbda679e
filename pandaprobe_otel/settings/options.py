"""Every option once: environment variable, keyword of `init`, type, default and help.

Names and meaning are PandaProbe's where it documents them; the table in the docs, `--help` and `doctor` are
made from these records.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any, TypedDict
from urllib.parse import urlsplit

from .kinds import (
    COUNT,
    FLAG,
    FUNCTION,
    HOSTS,
    PROTOCOL,
    RATE,
    SECONDS,
    SELECTION,
    STAMP,
    TEXT,
    URL,
    Kind,
    read_flag,
)

# Gets the key and the value of an attribute, and gives back what may be sent.
Redact = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Option:
    """One option, as it is documented.

    `otel` is the OpenTelemetry variable that holds when ours is not set, and how its text becomes ours.
    """

    keyword: str
    env: str
    kind: Kind[Any]
    default: object
    help: str
    otel: tuple[str, Callable[[str], str]] | None = None

    @property
    def type_name(self) -> str:
        """The type, in words."""
        return self.kind.name

    @property
    def default_text(self) -> str:
        """The default, as it would stand in the environment."""
        if self.default is None or self.default == ():
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def same(text: str) -> str:
    """The text as it is."""
    return text


def _seconds_of_milliseconds(text: str) -> str:
    return str(float(text) / 1000)


def _not(text: str) -> str:
    return str(not read_flag(text))


def _is_debug(text: str) -> str:
    return str(text.strip().lower() == "debug")


def _option(
    env: str,
    kind: Kind[Any],
    default: Any,
    help: str,
    *,
    otel: tuple[str, Callable[[str], str]] | None = None,
    secret: bool = False,
) -> Any:
    return field(default=default, repr=not secret, metadata={"record": (env, kind, default, help, otel)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options in force; `resolve` reads them."""

    api_key: str | None = _option(
        "PANDAPROBE_API_KEY",
        TEXT,
        None,
        "API key of the PandaProbe organization; required unless the endpoint is on loopback.",
        secret=True,
    )
    project_name: str | None = _option(
        "PANDAPROBE_PROJECT_NAME",
        TEXT,
        None,
        "Project that receives the traces; required unless the endpoint is on loopback.",
    )
    endpoint: str = _option(
        "PANDAPROBE_ENDPOINT", URL, "https://api.pandaprobe.com", "Base URL of the PandaProbe API."
    )
    environment: str | None = _option(
        "PANDAPROBE_ENVIRONMENT", TEXT, None, "Deployment environment, as `deployment.environment.name`."
    )
    release: str | None = _option(
        "PANDAPROBE_RELEASE",
        TEXT,
        None,
        "Release of the application, as `service.version` where that is unset.",
    )
    enabled: bool = _option(
        "PANDAPROBE_ENABLED",
        FLAG,
        True,
        "Whether anything is traced; when false, every call of the API does nothing.",
        otel=("OTEL_SDK_DISABLED", _not),
    )
    debug: bool = _option(
        "PANDAPROBE_DEBUG",
        FLAG,
        False,
        "Whether the loggers of this package speak at level DEBUG.",
        otel=("OTEL_LOG_LEVEL", _is_debug),
    )
    # PandaProbe's SDK says 10; its items are whole traces, ours are spans. From 64 to 128 spans the cost of a
    # span on the wire is at its lowest, and larger batches only hold the interpreter longer.
    batch_size: int = _option(
        "PANDAPROBE_BATCH_SIZE",
        COUNT,
        128,
        "Most spans in one request.",
        otel=("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", same),
    )
    # PandaProbe's SDK says 5; a process that is killed loses what the last interval made.
    flush_interval: float = _option(
        "PANDAPROBE_FLUSH_INTERVAL",
        SECONDS,
        1.0,
        "Longest time that an ended span waits before it is sent.",
        otel=("OTEL_BSP_SCHEDULE_DELAY", _seconds_of_milliseconds),
    )
    # PandaProbe's SDK says 1000 traces; at some 8 spans a trace this holds as many.
    max_queue_size: int = _option(
        "PANDAPROBE_MAX_QUEUE_SIZE",
        COUNT,
        8192,
        "Most ended spans that wait in memory; then the oldest are dropped.",
        otel=("OTEL_BSP_MAX_QUEUE_SIZE", same),
    )
    timeout: float = _option(
        "PANDAPROBE_TIMEOUT",
        SECONDS,
        10.0,
        "Longest time for one request.",
        otel=("OTEL_EXPORTER_OTLP_TIMEOUT", same),
    )
    shutdown_timeout: float = _option(
        "PANDAPROBE_SHUTDOWN_TIMEOUT",
        SECONDS,
        5.0,
        "Longest time that the end of the process waits for delivery; what is left is sent by the next one.",
    )
    handle_sigterm: bool = _option(
        "PANDAPROBE_HANDLE_SIGTERM",
        FLAG,
        True,
        "Whether SIGTERM, where nobody else handles it, waits for what is queued to be sent or kept.",
    )
    protocol: str = _option(
        "PANDAPROBE_PROTOCOL",
        PROTOCOL,
        "auto",
        "How spans are sent: as OTLP, by PandaProbe's REST API, or as OTLP where the endpoint takes it.",
    )
    partial_after: float = _option(
        "PANDAPROBE_PARTIAL_AFTER",
        SECONDS,
        60.0,
        "How long spans wait for the end of their trace before REST sends them without it.",
    )
    traces_per_minute: int = _option(
        "PANDAPROBE_TRACES_PER_MINUTE",
        COUNT,
        100,
        "Most traces that REST sends in a minute; PandaProbe refuses more.",
    )
    max_request_bytes: int = _option(
        "PANDAPROBE_MAX_REQUEST_BYTES",
        COUNT,
        4 * 1024 * 1024,
        "Most bytes in one OTLP request, compressed; a larger batch is split, a larger span shortened.",
    )
    flush_on_trace_end: bool = _option(
        "PANDAPROBE_FLUSH_ON_TRACE_END",
        FLAG,
        False,
        "Whether the end of a trace waits until it is sent; for functions that are frozen after each call.",
    )
    spool_dir: str | None = _option(
        "PANDAPROBE_SPOOL_DIR",
        TEXT,
        None,
        "Folder for what is not sent yet; the user's cache folder when not set, none with `off`.",
    )
    spool_max_bytes: int = _option(
        "PANDAPROBE_SPOOL_MAX_BYTES",
        COUNT,
        512 * 1024 * 1024,
        "Most bytes in that folder for one project; then the oldest spans are dropped.",
    )
    export: str = _option(
        "PANDAPROBE_EXPORT",
        SELECTION,
        "session",
        "Which spans are sent: those of sessions, of traces and of GenAI; all; or the steps of agents only.",
    )
    session_sample_rate: float = _option(
        "PANDAPROBE_SESSION_SAMPLE_RATE",
        RATE,
        1.0,
        "Share of the sessions that are sent, each whole or not at all; spans without a session always are.",
    )
    # Ruff takes a function for a mutable default.
    redact: Redact | None = _option(  # noqa: RUF009
        "PANDAPROBE_REDACT",
        FUNCTION,
        None,
        "Gets the key and the value of each attribute, and gives back what may be sent; None takes it out.",
    )
    capture_content: bool = _option(
        "PANDAPROBE_CAPTURE_CONTENT",
        FLAG,
        True,
        "Whether inputs, outputs, messages and the texts of errors are sent.",
    )
    max_media_bytes: int = _option(
        "PANDAPROBE_MAX_MEDIA_BYTES",
        COUNT,
        32 * 1024,
        "Most bytes of an image or other base64 media; larger is sent as its type, size and hash.",
    )
    stamp: str = _option(
        "PANDAPROBE_STAMP",
        STAMP,
        "all",
        "Whether every exporter sees session and user on spans, or only PandaProbe's own.",
    )
    propagate_to: tuple[str, ...] = _option(
        "PANDAPROBE_PROPAGATE_TO",
        HOSTS,
        (),
        "Hosts besides internal ones that session and user are sent to; `.example.com` means all below it.",
    )
    trust_incoming: bool = _option(
        "PANDAPROBE_TRUST_INCOMING",
        FLAG,
        False,
        "Whether session and user from outside hold without the signature of the project.",
    )

    @property
    def missing(self) -> list[Option]:
        """The options without which the endpoint will refuse us: none when it is on loopback."""
        if is_loopback(urlsplit(self.endpoint).hostname or ""):
            return []
        return [BY_KEYWORD[name] for name in ("api_key", "project_name") if not getattr(self, name)]


class SettingsKeywords(TypedDict, total=False):
    """The keywords of `init`, for type checkers; `Settings` says what each means."""

    api_key: str | None
    project_name: str | None
    endpoint: str | None
    environment: str | None
    release: str | None
    enabled: bool | None
    debug: bool | None
    batch_size: int | None
    flush_interval: float | None
    max_queue_size: int | None
    timeout: float | None
    shutdown_timeout: float | None
    handle_sigterm: bool | None
    protocol: str | None
    partial_after: float | None
    traces_per_minute: int | None
    max_request_bytes: int | None
    flush_on_trace_end: bool | None
    spool_dir: str | None
    spool_max_bytes: int | None
    export: str | None
    session_sample_rate: float | None
    redact: Redact | None
    capture_content: bool | None
    max_media_bytes: int | None
    stamp: str | None
    propagate_to: Iterable[str] | None
    trust_incoming: bool | None


BY_KEYWORD = {item.name: Option(item.name, *item.metadata["record"]) for item in fields(Settings)}


def options() -> tuple[Option, ...]:
    """Every option, in the order of the documentation."""
    return tuple(BY_KEYWORD.values())


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

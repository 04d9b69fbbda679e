"""Every option once: environment variable, keyword of `init`, type, default and help.

Names and meaning are PandaProbe's where it documents them; the table in the docs, `--help` and `doctor` are
made from these records.
"""

import difflib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import urlsplit

from .guard import warn_once

T = TypeVar("T")

_logger = logging.getLogger("pandaprobe_otel.settings")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A type of value: how it is read, and what is accepted, in words."""

    name: str
    accepts: str
    read: Callable[[object], T]


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _read_flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _FLAG_WORDS:
        raise ValueError
    return _FLAG_WORDS[word]


_FLAG_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _read_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    number = int(value)
    if number < 1:
        raise ValueError
    return number


def _read_seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not 0 < number < 1e6:
        raise ValueError
    return number


def _read_url(value: object) -> str:
    text = _read_text(value).strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    _ = parts.port
    return text


def _read_protocol(value: object) -> str:
    word = _read_text(value).strip().lower()
    if word not in ("auto", "otlp", "rest"):
        raise ValueError
    return word


TEXT = Kind("text", "text", _read_text)
FLAG = Kind("true or false", "true, false, 1, 0, yes, no, on or off", _read_flag)
COUNT = Kind("whole number", "a whole number from 1", _read_count)
SECONDS = Kind("seconds", "a number of seconds above 0", _read_seconds)
PROTOCOL = Kind("auto, otlp or rest", "auto, otlp or rest", _read_protocol)
URL = Kind("URL", "a URL with http:// or https:// and a host", _read_url)


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
        if self.default is None:
            return ""
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def _same(text: str) -> str:
    return text


def _seconds_of_milliseconds(text: str) -> str:
    return str(float(text) / 1000)


def _not(text: str) -> str:
    return str(not _read_flag(text))


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
        otel=("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _same),
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
        otel=("OTEL_BSP_MAX_QUEUE_SIZE", _same),
    )
    timeout: float = _option(
        "PANDAPROBE_TIMEOUT",
        SECONDS,
        10.0,
        "Longest time for one request.",
        otel=("OTEL_EXPORTER_OTLP_TIMEOUT", _same),
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

    @property
    def missing(self) -> list[Option]:
        """The options without which the endpoint will refuse us: none when it is on loopback."""
        if is_loopback(urlsplit(self.endpoint).hostname or ""):
            return []
        return [_BY_KEYWORD[name] for name in ("api_key", "project_name") if not getattr(self, name)]


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


def options() -> tuple[Option, ...]:
    """Every option, in the order of the documentation."""
    return tuple(_BY_KEYWORD.values())


_BY_KEYWORD = {item.name: Option(item.name, *item.metadata["record"]) for item in fields(Settings)}


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def resolve(
    keywords: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    strict: bool = True,
) -> Settings:
    """Reads the options: keyword, else `PANDAPROBE_*`, else the matching `OTEL_*`, else the default.

    Args:
        keywords: What was given to `init`; None counts as not given.
        environ: The environment; the process's own when not given.
        strict: Whether a value that cannot be read raises; else it is warned of once, and the default holds.

    Raises:
        TypeError: For a keyword that does not exist.
        ValueError: For a value that cannot be read, when strict.
    """
    keywords = keywords or {}
    environ = os.environ if environ is None else environ
    for name in keywords:
        if name not in _BY_KEYWORD:
            close = difflib.get_close_matches(name, _BY_KEYWORD, 1)
            raise TypeError(
                f"init() has no setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            )
    values = {
        option.keyword: _value(option, keywords.get(option.keyword), environ, strict) for option in options()
    }
    if values["batch_size"] > values["max_queue_size"]:
        _refuse(
            _BY_KEYWORD["batch_size"].env,
            values["batch_size"],
            "a number up to PANDAPROBE_MAX_QUEUE_SIZE",
            strict,
        )
        values["batch_size"] = values["max_queue_size"]
    return Settings(**values)


def _value(option: Option, keyword: object, environ: Mapping[str, str], strict: bool) -> Any:
    source, value, convert = f"init({option.keyword}=…)", keyword, _same
    if keyword is None:
        # An empty variable counts as not set, as the OpenTelemetry specification has it.
        if environ.get(option.env, "").strip():
            source, value = option.env, environ[option.env]
        elif option.otel and environ.get(option.otel[0], "").strip():
            source, convert = option.otel
            value = environ[source]
        else:
            return option.default
    try:
        return option.kind.read(convert(value) if isinstance(value, str) else value)
    except ValueError:
        _refuse(source, "<hidden>" if option.keyword == "api_key" else value, option.kind.accepts, strict)
        return option.default


def _refuse(source: str, value: object, accepts: str, strict: bool) -> None:
    message = f"{source}: {value!r} is not accepted; it takes {accepts}"
    if strict:
        raise ValueError(message)
    warn_once(_logger, message, "%s. The default is used.", message)

"""Which source of an option wins, and what is said of a value that cannot be read."""

import difflib
import logging
import os
from collections.abc import Mapping
from typing import Any

from ..guard import warn_once
from .options import BY_KEYWORD, Option, Settings, options, same

_logger = logging.getLogger("pandaprobe_otel.settings")


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
        if name not in BY_KEYWORD:
            close = difflib.get_close_matches(name, BY_KEYWORD, 1)
            raise TypeError(
                f"init() has no setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
            )
    values = {
        option.keyword: _value(option, keywords.get(option.keyword), environ, strict) for option in options()
    }
    if values["batch_size"] > values["max_queue_size"]:
        _refuse(
            BY_KEYWORD["batch_size"].env,
            values["batch_size"],
            "a number up to PANDAPROBE_MAX_QUEUE_SIZE",
            strict,
        )
        values["batch_size"] = values["max_queue_size"]
    return Settings(**values)


def _value(option: Option, keyword: object, environ: Mapping[str, str], strict: bool) -> Any:
    source, value, convert = f"init({option.keyword}=…)", keyword, same
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

"""Which source of an option wins, and what is said of a value that cannot be read."""

import difflib
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..guard import warn_once
from .options import BY_KEYWORD, Option, Settings, options, same

_logger = logging.getLogger("pandaprobe_otel.settings")

# What a configuration file of OpenTelemetry says of us.
_from_file: dict[str, object] = {}


def configure(block: Mapping[str, object]) -> None:
    """Takes options from a configuration file; they win over the environment, and keywords over them.

    An option that does not exist is warned of, and passed over.
    """
    for name, value in block.items():
        if name in BY_KEYWORD:
            _from_file[name] = value
        else:
            message = _unknown("distribution.pandaprobe", name)
            warn_once(_logger, message, "OTEL_CONFIG_FILE: %s", message)


def resolve(
    keywords: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    strict: bool = True,
) -> Settings:
    """Reads the options: keyword, else configuration file, else `PANDAPROBE_*`, else the matching `OTEL_*`.

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
            raise TypeError(_unknown("init()", name))
    values = {
        option.keyword: _value(option, keywords.get(option.keyword), environ, strict) for option in options()
    }
    if values["batch_size"] > values["max_queue_size"]:
        fits = "a number up to PANDAPROBE_MAX_QUEUE_SIZE"
        _refuse(_not_accepted(BY_KEYWORD["batch_size"].env, values["batch_size"], fits), strict)
        values["batch_size"] = values["max_queue_size"]
    return Settings(**values)


class Found(NamedTuple):
    """The value of an option, where it comes from, and what is wrong with what was given instead."""

    value: Any
    source: str
    problem: str = ""


def explain(environ: Mapping[str, str] | None = None) -> dict[str, Found]:
    """Every option by its keyword, as `resolve` reads it without keywords, and where it comes from."""
    environ = os.environ if environ is None else environ
    found: dict[str, Found] = {}
    for option in options():
        try:
            found[option.keyword] = _find(option, None, environ)
        except ValueError as error:
            found[option.keyword] = Found(option.default, _DEFAULT, str(error))
    return found


_DEFAULT = "default"


def _value(option: Option, keyword: object, environ: Mapping[str, str], strict: bool) -> Any:
    try:
        return _find(option, keyword, environ).value
    except ValueError as error:
        _refuse(str(error), strict)
        return option.default


def _find(option: Option, keyword: object, environ: Mapping[str, str]) -> Found:
    source, value, convert = f"init({option.keyword}=…)", keyword, same
    if keyword is None and _from_file.get(option.keyword) is not None:
        source, value = f"distribution.pandaprobe.{option.keyword}", _from_file[option.keyword]
    elif keyword is None:
        # An empty variable counts as not set, as the OpenTelemetry specification has it.
        if environ.get(option.env, "").strip():
            source, value = option.env, environ[option.env]
        elif option.otel and environ.get(option.otel[0], "").strip():
            source, convert = option.otel
            value = environ[source]
        else:
            return Found(option.default, _DEFAULT)
    try:
        return Found(option.kind.read(convert(value) if isinstance(value, str) else value), source)
    except ValueError:
        shown = "<hidden>" if option.keyword == "api_key" else value
        raise ValueError(_not_accepted(source, shown, option.kind.accepts)) from None


def _not_accepted(source: str, value: object, accepts: str) -> str:
    return f"{source}: {value!r} is not accepted; it takes {accepts}"


def _unknown(where: str, name: str) -> str:
    close = difflib.get_close_matches(name, BY_KEYWORD, 1)
    return f"{where} has no setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _refuse(message: str, strict: bool) -> None:
    if strict:
        raise ValueError(message)
    warn_once(_logger, message, "%s. The default is used.", message)

"""Functions that google-genai calls itself when the model asks for them (automatic function calling)."""

import inspect
from collections.abc import Mapping
from typing import Any, cast

from ... import guard
from .._chat_messages import field, items
from .._genai import Recorder
from .._tools import Tool, traced

_TRACED = "_pandaprobe_traced"


def with_traced_tools(config: Any, recorder: Recorder) -> Any:
    """The configuration of a request with its functions traced; the caller's own stays as it is."""
    return _with_traced_tools(config, recorder) or config


@guard.never_raises
def _with_traced_tools(config: Any, recorder: Recorder) -> Any:
    given = items(field(config, "tools"))
    tools = [_traced(tool, recorder) if inspect.isroutine(tool) else tool for tool in given]
    if tools == given:
        return None
    if isinstance(config, Mapping):
        return {**cast("Mapping[str, Any]", config), "tools": tools}
    return config.model_copy(update={"tools": tools})


def _traced(function: Any, recorder: Recorder) -> Any:
    """No proxy, which the SDK would take for one of its models."""
    if hasattr(function, _TRACED):
        return function
    tool = Tool(function.__name__, inspect.getdoc(function), "a function of wrap_gemini")
    made = traced(function, tool, recorder, lambda _, kwargs: kwargs)
    vars(made)[_TRACED] = True
    return made

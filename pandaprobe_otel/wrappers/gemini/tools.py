"""Functions that google-genai calls itself when the model asks for them (automatic function calling)."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

from ... import guard
from .._calls import attempt, attempt_async
from .._chat_messages import field, items
from .._genai import Recorder, is_traced
from .._genai.parts import object_to_any_value

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


def _traced(tool: Any, recorder: Recorder) -> Any:
    """A function of the same name and signature; no proxy, which the SDK would take for one of its models.

    Inside a model call it makes no span: it is the official instrumentation's, which calls that one.
    """
    if hasattr(tool, _TRACED):
        return tool
    where = "a function of wrap_gemini"
    if inspect.iscoroutinefunction(tool):

        @wraps(tool)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            if is_traced():
                return await tool(*args, **kwargs)

            async def call(method: Callable[..., Any]) -> Any:
                with _started(recorder, tool, kwargs) as invocation:
                    return _told(invocation, await method(*args, **kwargs))

            return await attempt_async(where, tool, call, args, kwargs)

        traced = traced_async
    else:

        @wraps(tool)
        def traced_sync(*args: Any, **kwargs: Any) -> Any:
            if is_traced():
                return tool(*args, **kwargs)

            def call(method: Callable[..., Any]) -> Any:
                with _started(recorder, tool, kwargs) as invocation:
                    return _told(invocation, method(*args, **kwargs))

            return attempt(where, tool, call, args, kwargs)

        traced = traced_sync
    vars(traced)[_TRACED] = True
    return traced


def _started(recorder: Recorder, tool: Any, arguments: dict[str, Any]) -> Any:
    invocation = recorder.handler().tool(tool.__name__, tool_type="function")
    invocation.tool_description = inspect.getdoc(tool)
    invocation.arguments = object_to_any_value(arguments)
    return invocation


def _told(invocation: Any, result: Any) -> Any:
    invocation.tool_result = object_to_any_value(result)
    return result

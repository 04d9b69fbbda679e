"""Functions of the user that an SDK calls itself when the model asks for them: each run has a span."""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import get_current_span, get_tracer_provider

from .. import runtime
from ..attributes import (
    GEN_AI_OPERATION_NAME,
    GEN_AI_TOOL_CALL_ARGUMENTS,
    GEN_AI_TOOL_CALL_RESULT,
    GEN_AI_TOOL_NAME,
)
from ..tracing.values import to_json
from ._calls import Args, Kwargs, attempt, attempt_async
from ._genai import Recorder, is_traced
from ._genai.parts import object_to_any_value


@dataclass(frozen=True)
class Tool:
    """What is told of a function.

    Args:
        name: What the model calls it.
        description: What the model is told that it does.
        where: What is traced, for the report of a fault.
        native: The instrumentation scope of spans that the SDK may make of the same runs.
    """

    name: str
    description: str | None
    where: str
    native: str | None = None


def traced(
    function: Callable[..., Any], tool: Tool, recorder: Recorder, asked: Callable[[Args, Kwargs], Any]
) -> Callable[..., Any]:
    """A function of the same name and signature, each run of which has a span with its arguments and result.

    Inside a model call it makes no span: it is the official instrumentation's, which calls that one.

    Args:
        asked: Gives the arguments that the model named, from those of a run.
    """
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def traced_async(*args: Any, **kwargs: Any) -> Any:
            if is_traced():
                return await function(*args, **kwargs)

            async def call(method: Callable[..., Any]) -> Any:
                with _Run(tool, recorder, asked(args, kwargs)) as run:
                    return run.told(await method(*args, **kwargs))

            return await attempt_async(tool.where, function, call, args, kwargs)

        return traced_async

    @wraps(function)
    def traced_sync(*args: Any, **kwargs: Any) -> Any:
        if is_traced():
            return function(*args, **kwargs)

        def call(method: Callable[..., Any]) -> Any:
            with _Run(tool, recorder, asked(args, kwargs)) as run:
                return run.told(method(*args, **kwargs))

        return attempt(tool.where, function, call, args, kwargs)

    return traced_sync


class _Run:
    """One run, in a span of its own or on that of the SDK, which may not say what went in and came out."""

    def __init__(self, tool: Tool, recorder: Recorder, arguments: Any) -> None:
        self._invocation: Any = None
        self._native = get_current_span()
        self._block: AbstractContextManager[Any] = nullcontext()
        handler = recorder.handler()
        self._tells = handler.should_capture_content()
        if _stands_for(self._native, tool):
            self._put(GEN_AI_TOOL_CALL_ARGUMENTS, arguments)
            return
        self._block = self._invocation = handler.tool(tool.name, tool_type="function")
        self._invocation.tool_description = tool.description
        self._invocation.arguments = object_to_any_value(arguments)

    def told(self, result: Any) -> Any:
        if self._invocation is None:
            self._put(GEN_AI_TOOL_CALL_RESULT, result)
        else:
            self._invocation.tool_result = object_to_any_value(result)
        return result

    def _put(self, key: str, value: Any) -> None:
        if self._tells:
            self._native.set_attribute(key, to_json(value))

    def __enter__(self) -> "_Run":
        self._block.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._block.__exit__(*error)


def _stands_for(span: Any, tool: Tool) -> bool:
    """Whether a span is the SDK's of this very run, and arrives where ours do."""
    if tool.native is None or not isinstance(span, ReadableSpan) or not span.attributes:
        return False
    scope = span.instrumentation_scope
    return (
        scope is not None
        and scope.name == tool.native
        and span.attributes.get(GEN_AI_OPERATION_NAME) == "execute_tool"
        and span.attributes.get(GEN_AI_TOOL_NAME) == tool.name
        and get_tracer_provider() is runtime.tracer_provider()
    )

"""Functions that openai's `ResponsesToolRunner` calls itself when the model asks for them."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from functools import cache, partial
from typing import Any
from weakref import WeakKeyDictionary

from wrapt import register_post_import_hook

from .. import guard
from . import _calls
from ._genai import Recorder
from ._tools import Tool, traced
from ._wrapping import Wrapping

_MODULE = "openai.lib.responses_tool_runner"
# A client, or a class of clients, that is traced -> what makes its spans.
_recorders: WeakKeyDictionary[Any, Recorder] = WeakKeyDictionary()


def trace_functions(of: Any, wrapping: Wrapping) -> None:
    """Traces the functions that are called for one client, or for those of a class."""
    _recorders[of] = wrapping.recorder
    wrapping.at_undo(partial(_recorders.pop, of, None))
    _watch()


@cache
def _watch() -> None:
    # Once, however many clients there are, and copies of them: it is kept.
    register_post_import_hook(guard.never_raises(_wrap_runners), _MODULE)


def _wrap_runners(module: Any) -> None:
    def iterate(wrapped: Any, runner: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        return (_with_traced_functions(wrapped, runner, args, kwargs) or wrapped)(*args, **kwargs)

    # For good: for a client that is not traced it changes nothing.
    for kind in (module.ResponsesToolRunner, module.AsyncResponsesToolRunner):
        _calls.wrap_method(kind, "iterate", iterate)


@guard.never_raises
def _with_traced_functions(
    method: Any, runner: Any, args: _calls.Args, kwargs: _calls.Kwargs
) -> Callable[..., Any] | None:
    client = args[0] if args else kwargs.get("client")
    recorder = next((_recorders[of] for of in (client, *type(client).__mro__) if of in _recorders), None)
    if recorder is None or not _calls.is_on():
        return None
    # It shares all else with the user's own.
    tracing = copy(runner)
    tracing._functions = {name: _traced(name, held, recorder) for name, held in runner._functions.items()}
    return partial(method.__func__, tracing)


def _traced(name: str, function: Any, recorder: Recorder) -> Any:
    tool = Tool(name, function.tool.get("description"), "a function of wrap_openai")
    return replace(function, execute=traced(function.execute, tool, recorder, _arguments))


def _arguments(args: _calls.Args, _: _calls.Kwargs) -> Any:
    return args[0].model_dump(mode="json") if hasattr(args[0], "model_dump") else args[0]

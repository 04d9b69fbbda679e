"""Calls of an SDK that has no official instrumentation, as spans.

A wrapper says in a `Shape` how the calls of one method read; what is the same for all is here: one span per
call that ends on every edge, and no fault of the reading in the user's way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from .. import guard
from ..attributes import PANDAPROBE_MODEL_PARAMETERS
from ..tracing.values import to_json
from . import _genai
from ._calls import Args, Kwargs, Traced, unobtrusive
from ._genai.parts import EmbeddingInvocation, InferenceInvocation, bind_arguments

Invocation = InferenceInvocation | EmbeddingInvocation


@dataclass(frozen=True)
class Shape:
    """How the calls of one method read.

    Args:
        start: Starts the span, given the object that the method belongs to and the parameters of the call.
        ask: Writes what is asked on it, given the same parameters.
        answer: Writes the answer on it.
        reader: Makes what reads an answer that comes in chunks; None where answers come whole.
        unparsed: Reads a response that the caller is to parse, where the SDK is not openai. It is given the
            span, what makes of a stream one that ends it, and what writes a whole answer.
    """

    start: Callable[[_genai.TelemetryHandler, Any, Kwargs], Any]
    ask: Callable[[Any, Kwargs], None]
    answer: Callable[[Any, Any], None]
    reader: Callable[[InferenceInvocation], _genai.Reader] | None = None
    unparsed: Callable[[Any, Any, Callable[[Any], Any], Callable[[Any], None]], Any] | None = None


def traced(shape: Shape, recorder: _genai.Recorder, where: str) -> Traced:
    """The tracing function of a method.

    Args:
        where: What is traced, for the report of a fault.
    """

    def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if _genai.is_covered():
            return wrapped(*args, **kwargs)
        kwargs = _readable_twice(kwargs)
        invocation = _started(shape, recorder, wrapped, instance, args, kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            invocation.fail(error)
            raise
        return _answered(shape, invocation, result, asynchronous=False)

    return unobtrusive(call, where)


def traced_async(shape: Shape, recorder: _genai.Recorder, where: str) -> Traced:
    """`traced` for coroutine methods."""

    async def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        if _genai.is_covered():
            return await wrapped(*args, **kwargs)
        kwargs = _readable_twice(kwargs)
        invocation = _started(shape, recorder, wrapped, instance, args, kwargs)
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            invocation.fail(error)
            raise
        return _answered(shape, invocation, result, asynchronous=True)

    return unobtrusive(call, where)


def put_parameters(invocation: Any, parameters: Mapping[str, Any]) -> None:
    """Writes the parameters of a request that no convention has an attribute for."""
    given = {name: value for name, value in parameters.items() if value is not None}
    if given:
        invocation.attributes[PANDAPROBE_MODEL_PARAMETERS] = to_json(given)


def _readable_twice(kwargs: Kwargs) -> Kwargs:
    """Parameters that may be generators, as lists: the span reads them before the request does.

    An open file is an iterator too, but only its name is read.
    """
    return {
        name: list(cast("Iterator[Any]", value))
        if isinstance(value, Iterator) and not hasattr(cast("Any", value), "read")
        else value
        for name, value in kwargs.items()
    }


def _started(
    shape: Shape, recorder: _genai.Recorder, wrapped: Any, instance: Any, args: Args, kwargs: Kwargs
) -> Invocation:
    request = {**bind_arguments(wrapped, args, {}), **kwargs} if args else kwargs
    invocation = shape.start(recorder.handler(), instance, request)
    _step(shape.ask, invocation, request)
    return invocation


def _answered(shape: Shape, invocation: Any, result: Any, *, asynchronous: bool) -> Any:
    def streamed(stream: Any) -> Any:
        assert shape.reader is not None
        return _genai.read_with(shape.reader(invocation), stream, invocation, asynchronous=asynchronous)

    if shape.reader is not None and hasattr(result, "__anext__" if asynchronous else "__next__"):
        return streamed(result)
    if shape.unparsed is not None and hasattr(result, "http_response"):
        return shape.unparsed(result, invocation, streamed, partial(_step, shape.answer, invocation))
    if _genai.is_unread(result):
        return _genai.read_raw_with(result, invocation, streamed, partial(_step, shape.answer, invocation))
    _step(shape.answer, invocation, result)
    invocation.stop()
    return result


@guard.never_raises
def _step(step: Callable[[Any, Any], None], invocation: Any, read: Any) -> None:
    step(invocation, read.parse() if hasattr(read, "http_response") else read)

"""`wrap_openai`: the calls of one OpenAI client become GenAI spans.

The spans are made by OpenTelemetry's own instrumentation of the openai package, here put around the methods
of one client instead of the classes of the process.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .. import guard
from . import _calls, _genai

if TYPE_CHECKING:
    import openai

    C = TypeVar("C", bound=openai.OpenAI | openai.AsyncOpenAI)

_SCOPE = "pandaprobe_otel.wrappers.openai"

# Resource -> method -> patch function, as the official instrumentation pairs them. The patch functions
# for AsyncOpenAI have `async_` in front.
_CHAT = {"create": "chat_completions_create_v_new", "parse": "chat_completions_create_v_new"}
_TRACED = {
    "chat.completions": _CHAT,
    "beta.chat.completions": _CHAT,
    "embeddings": {"create": "embeddings_create"},
    "responses": {
        "create": "responses_create",
        "parse": "responses_create",
        "stream": "responses_stream",
        "retrieve": "responses_retrieve",
    },
}
# What the SDK caches of these resources' methods.
_VIEWS = ("with_raw_response", "with_streaming_response")
# Parameters that the SDK takes as any iterable.
_ITERABLES = frozenset({"messages", "tools", "input"})
# Methods that make a changed copy of a client.
_COPIERS = ("copy", "with_options")


def wrap_openai(client: "C") -> "C":
    """Traces the calls of one OpenAI client, streams and errors included; other clients stay as they are.

        client = wrap_openai(openai.OpenAI())

    Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the messages on them unless
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise. Where OpenTelemetry's
    `OpenAIInstrumentor` is active too, a call still makes one span.

    Args:
        client: An `openai.OpenAI`, `AsyncOpenAI` or subclass, such as `AzureOpenAI`. Wrapping it twice is the
            same as once. Copies that it makes (`with_options`) are traced too.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else.
        ImportError: The `openai` extra is not installed.
    """
    _check(client)
    _wrap(client)
    return client


def unwrap_openai(client: "C") -> "C":
    """Undoes `wrap_openai`; returns the same client."""
    _check(client)
    if isinstance(vars(client).get("beta"), _OnFirstUse):
        del vars(client)["beta"]
    for path, methods in _TRACED.items():
        resource = _resource(client, path)
        for method in methods:
            if resource is not None:
                _calls.unwrap_method(resource, method)
    for name in _COPIERS:
        _calls.unwrap_method(client, name)
    _forget_views(client)
    return client


def _check(client: object) -> None:
    try:
        import openai

        _genai.openai_patch(_CHAT["create"])
    except ImportError as error:
        raise ImportError(
            "wrap_openai() needs openai and OpenTelemetry's instrumentation of it: "
            "pip install 'pandaprobe-otel[openai]'"
        ) from error
    if not isinstance(client, (openai.OpenAI, openai.AsyncOpenAI)):
        given = f"the class {client.__name__}" if isinstance(client, type) else f"a {type(client).__name__}"
        raise TypeError(
            f"wrap_openai() takes an openai.OpenAI or openai.AsyncOpenAI client, not {given}; "
            "write wrap_openai(openai.OpenAI())"
        )


@guard.never_raises
def _wrap(client: Any) -> None:
    for path in _TRACED:
        if path.startswith("beta.") and _calls.is_uncached(client, "beta"):
            vars(client)["beta"] = _OnFirstUse(client, path)
        else:
            _wrap_resource(client, path)
    for name in _COPIERS:
        _calls.wrap_method(client, name, _wrap_copy)
    _forget_views(client)


@guard.never_raises
def _wrap_resource(client: Any, path: str) -> None:
    resource = _resource(client, path)
    if resource is None:
        return
    handler = _genai.handler(_SCOPE)
    for method, patch in _TRACED[path].items():
        # Old versions of openai lack some.
        if hasattr(resource, method) and (traced := _traced(patch, handler, _is_async(client))):
            _calls.wrap_method(resource, method, traced)


def _wrap_copy(wrapped: Any, _: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
    copy = wrapped(*args, **kwargs)
    _wrap(copy)
    return copy


@cache
def _traced(patch: str, handler: _genai.TelemetryHandler, asynchronous: bool) -> _calls.Traced | None:
    make = _genai.openai_patch(f"async_{patch}" if asynchronous else patch)
    if make is None:
        return None
    traced = _calls.unobtrusive(make(handler), "wrap_openai", _genai.beneath_official)

    def call(wrapped: Any, instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        return traced(wrapped, instance, args, {name: _readable_twice(name, kwargs[name]) for name in kwargs})

    return call


def _readable_twice(name: str, value: Any) -> Any:
    """The parameters that may be generators, as lists: the span reads them before the request does."""
    return list(cast(Iterator[Any], value)) if name in _ITERABLES and isinstance(value, Iterator) else value


def _is_async(client: Any) -> bool:
    import openai

    return isinstance(client, openai.AsyncOpenAI)


def _resource(client: Any, path: str) -> Any:
    resource = client
    for name in path.split("."):
        resource = getattr(resource, name, None)
    return resource


def _forget_views(client: object) -> None:
    for path in _TRACED:
        node = client
        for name in ("", *path.split(".")):
            node = vars(node).get(name) if name else node
            if node is None or isinstance(node, _OnFirstUse):
                break
            _calls.forget_cached(node, *_VIEWS)


class _OnFirstUse:
    """Stands for `client.beta` until something of it is used: loading it takes 0.7 s with openai 3."""

    def __init__(self, client: object, path: str) -> None:
        self._client = client
        self._path = path

    def __getattr__(self, name: str) -> Any:
        vars(self._client).pop("beta", None)
        _wrap_resource(self._client, self._path)
        return getattr(_resource(self._client, "beta"), name)

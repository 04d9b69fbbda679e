"""`wrap_gemini`: the calls of one google-genai client become GenAI spans.

Automatic function calling makes several requests in one `generate_content`, with the user's functions called
in between. Each request is a call of the model with its own answer and usage, and so has its own span.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from opentelemetry.context import attach

from ...attributes import SpanKind
from ...session.decorating import Step
from ...session.identity import current, open_frame, put_back
from ...tracing.labels import Id, Labels
from .. import _calls, _connections, _genai, _operations, _spans
from .._instrumentor import Instrumentor
from .._wrapping import Wrapping, wrap
from . import calls, interactions
from .live import LiveWatch
from .tools import with_traced_tools

C = TypeVar("C")

_CONTENT = _spans.Shape(calls.start, calls.ask, calls.answer, calls.Reader)
# One request each: what the public methods go through, and chats with them.
_REQUESTS = {
    "_generate_content": _CONTENT,
    "_generate_content_stream": _CONTENT,
    "embed_content": _spans.Shape(calls.start_embedding, calls.ask_to_embed, calls.answer_with_embeddings),
    "count_tokens": _operations.shape(
        _operations.Operation(
            "count_tokens",
            ("contents", "config"),
            ("total_tokens", "cached_content_token_count"),
            kind=SpanKind.OTHER,
        ),
        calls.server,
    ),
    "generate_images": _operations.shape(
        _operations.Operation(
            "generate_content",
            ("prompt",),
            ("generated_images",),
            output_type="image",
            parameters=("config",),
        ),
        calls.server,
    ),
}


def wrap_gemini(
    client: C,
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> C:
    """Traces the calls of one google-genai client, streams and errors included; others stay as they are.

        client = wrap_gemini(genai.Client())

    `models`, `chats`, `interactions` and their `aio` twins, and `aio.live`, for the Gemini API and for Vertex
    AI. Each request and each turn of a live connection makes a span, and so does each function of the user
    that the SDK calls between two requests. Spans and attributes follow OpenTelemetry's GenAI semantic
    conventions, with the messages on them unless `PANDAPROBE_CAPTURE_CONTENT` or
    `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise.

    Args:
        client: A `google.genai.Client`. Wrapping it twice is the same as once; with other labels, these hold
            instead.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else, or a label has the wrong type.
        ImportError: The `gemini` extra is not installed.
    """
    GeminiInstrumentor().check_installed()
    from google import genai

    if not isinstance(client, genai.Client):
        raise _calls.not_a_client("wrap_gemini", client, "google.genai.Client", "genai.Client()")
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if GeminiInstrumentor().supports_installed():
        wrap(client, GeminiInstrumentor.scope, labels, partial(_fill_client, client))
    return client


class GeminiInstrumentor(Instrumentor):
    """Traces every client of the process, as `wrap_gemini` traces one."""

    name = "gemini"
    scope = "pandaprobe_otel.wrappers.gemini"
    versions = ("google-genai >= 1.32, < 4",)

    def check_imports(self) -> None:
        from google import genai  # noqa: F401  # pyright: ignore[reportUnusedImport]

    def fill(self, wrapping: Wrapping) -> None:
        from google.genai import client, live, models

        _fill(models.Models, models.AsyncModels, live.AsyncLive, wrapping)
        interactions.trace(client.Client, client.AsyncClient, wrapping)


def _fill_client(client: Any, wrapping: Wrapping) -> None:
    _fill(client.models, client.aio.models, client.aio.live, wrapping)
    interactions.trace(client, client.aio, wrapping)


def _fill(models: Any, async_models: Any, live: Any, wrapping: Wrapping) -> None:
    recorder = wrapping.recorder
    for target, trace, stream in (
        (models, _spans.traced, _call),
        (async_models, _spans.traced_async, _async_stream),
    ):
        for name, shape in _REQUESTS.items():
            wrapping.method(target, name, trace(shape, recorder, "wrap_gemini"))
        for name, call in (("generate_content", _call), ("generate_content_stream", stream)):
            wrapping.method(target, name, _calls.unobtrusive(call(_of_request(recorder)), "wrap_gemini"))
        _recorders[target] = recorder
        wrapping.at_undo(partial(_forget, target))
    _wrap_chats()
    connecting = _connections.connecting(partial(_watching, recorder), "wrap_gemini")
    wrapping.method(live, "connect", connecting)


def _watching(
    recorder: _genai.Recorder, live: Any, _: _calls.Args, kwargs: _calls.Kwargs
) -> Callable[[], _connections.Watch]:
    server, model = calls.server(live), kwargs.get("model")
    return partial(LiveWatch, recorder, server, "generate_content", model, config=kwargs.get("config"))


# Whose chats are traced: a client's models, or their class.
_recorders: WeakKeyDictionary[Any, _genai.Recorder] = WeakKeyDictionary()


def _wrap_chats() -> None:
    """Wraps the class of chats, which call functions themselves; a client makes a new one at each access."""
    from google.genai import chats

    for kind, stream in ((chats.Chat, _call), (chats.AsyncChat, _async_stream)):
        for name, call in (("send_message", _call), ("send_message_stream", stream)):
            _calls.wrap_method(kind, name, _calls.unobtrusive(call(_of_chat), "wrap_gemini"))


def _forget(models: Any) -> None:
    from google.genai import chats

    _recorders.pop(models, None)
    if not _recorders:
        for kind in (chats.Chat, chats.AsyncChat):
            for name in ("send_message", "send_message_stream"):
                _calls.unwrap_method(kind, name)


# Gives the parameters of a call with its functions traced.
_Prepare = Callable[[Any, _calls.Args, _calls.Kwargs], tuple[_calls.Args, _calls.Kwargs]]


def _of_request(recorder: _genai.Recorder) -> _Prepare:
    def prepared(_: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> tuple[_calls.Args, _calls.Kwargs]:
        return args, {**kwargs, "config": with_traced_tools(kwargs.get("config"), recorder)}

    return prepared


def _of_chat(chat: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> tuple[_calls.Args, _calls.Kwargs]:
    models = chat._modules
    recorder = _recorders.get(models) or _recorders.get(type(models))
    if recorder is None:
        return args, kwargs
    # After the message.
    config = next(iter(args[1:]), None) or kwargs.get("config") or chat._config
    return args[:1], {**kwargs, "config": with_traced_tools(config, recorder)}


def _call(prepare: _Prepare) -> _calls.Traced:
    def call(wrapped: Any, instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        args, kwargs = prepare(instance, args, kwargs)
        result = wrapped(*args, **kwargs)
        return _steps(cast("Generator[Any]", result), _step()) if isinstance(result, Generator) else result

    return call


def _async_stream(prepare: _Prepare) -> _calls.Traced:
    async def call(wrapped: Any, instance: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        args, kwargs = prepare(instance, args, kwargs)
        return _async_steps(await wrapped(*args, **kwargs), _step())

    return call


# A stream makes its request when it is read first, maybe long after the call, whose session it belongs to.


def _step() -> Step:
    """Steps in the session of now, also when its block has ended by then."""
    session, user = current()
    token = attach(open_frame(session=session, user=user).context())
    try:
        return Step()
    finally:
        put_back(token)


def _steps(body: Generator[Any], step: Step) -> Generator[Any]:
    try:
        while True:
            with step:
                item = next(body, _END)
            if item is _END:
                return
            yield item
    finally:
        with step:
            body.close()


async def _async_steps(body: AsyncGenerator[Any], step: Step) -> AsyncGenerator[Any]:
    try:
        while True:
            with step:
                item = await anext(body, _END)
            if item is _END:
                return
            yield item
    finally:
        with step:
            await body.aclose()


_END = object()

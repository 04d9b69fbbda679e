"""Interactions, the API of google-genai that keeps a conversation on Google's side: one span for each.

The SDK loads them as they are used first, which takes 0.7 s from version 2 on. So their methods are wrapped
as they are reached through a client.
"""

import inspect
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, ref

from opentelemetry.trace import get_current_span

from ... import guard
from ...attributes import GEN_AI_AGENT_NAME
from ...tracing.labels import Labels
from .. import _calls, _genai, _spans
from .._calls import Kwargs
from .._chat_messages import field, tool_definitions
from .._genai.parts import InferenceInvocation, TextPart
from .._wrapping import Wrapping
from . import interaction_answers, steps
from .unparsed import read_unparsed

_NAME = "interactions"
_OFFICIAL = "opentelemetry.instrumentation.google_genai"
# What version 1 caches of the methods of a resource.
_VIEWS = ("with_raw_response", "with_streaming_response")
# Field of the generation's configuration -> attribute of an inference.
_PARAMETERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "seed": "seed",
    "thinking_level": "reasoning_level",
}
# Parameters without an attribute of their own.
_OTHERS = ("background", "store", "response_modalities", "cached_content", "service_tier", "agent_config")
_OUTPUT_TYPES = {"text": "text", "image": "image", "audio": "speech"}

# A client or the class -> what it is wrapped by, and what makes a tracing function.
_wrappings: WeakKeyDictionary[Any, tuple["ref[Wrapping]", Any]] = WeakKeyDictionary()
# A class whose property is watched -> the property.
_properties: dict[type[Any], property] = {}


def trace(clients: Any, async_clients: Any, wrapping: Wrapping) -> None:
    """Traces the interactions of one client, or of all.

    Args:
        clients: A `Client` or the class.
        async_clients: What is the `aio` of it, or the class.
    """
    for target, make in ((clients, _spans.traced), (async_clients, _spans.traced_async)):
        kinds = (target if isinstance(target, type) else cast("type[Any]", type(target))).__mro__
        home = next((kind for kind in kinds if _NAME in vars(kind)), None)
        # Versions before 1.55 have none.
        if home is not None:
            _watch(home)
            _wrappings[target] = ref(wrapping), make
            # Not the client itself, which closes its connections as it goes.
            wrapping.at_undo(partial(_forget, ref(target), home))
            if not isinstance(target, type) and _is_made(target):
                getattr(target, _NAME)


def _is_made(client: Any) -> bool:
    made = getattr(client, "_interactions", None)
    older: dict[str, Any] = getattr(getattr(client, "_nextgen_client_instance", None), "__dict__", {})
    return made is not None or _NAME in older


class _Watched(property):
    """The property of a client, which tells when it is reached."""

    def __get__(self, client: Any, owner: type[Any] | None = None, /) -> Any:
        resource = super().__get__(client, owner)
        if client is not None:
            _reached(client, resource)
        return resource


def _watch(home: type[Any]) -> None:
    original = vars(home)[_NAME]
    if isinstance(original, property) and home not in _properties:
        _properties[home] = original
        setattr(home, _NAME, _Watched(original.fget, original.fset, original.fdel, original.__doc__))


def _forget(target: "ref[Any]", home: type[Any]) -> None:
    if (known := target()) is not None:
        _wrappings.pop(known, None)
    watched = any(one is home or isinstance(one, home) for one in list(_wrappings))
    if home in _properties and not watched:
        original = _properties.pop(home)
        # Unless somebody put theirs in its place.
        if isinstance(vars(home)[_NAME], _Watched):
            setattr(home, _NAME, original)


@guard.never_raises
def _reached(client: Any, resource: Any) -> None:
    kinds = cast("type[Any]", type(client)).__mro__
    for known, target in ((client, resource), *((kind, cast(Any, type(resource))) for kind in kinds)):
        wrapping, make = _wrappings.get(known) or (None, None)
        held = wrapping and wrapping()
        if held is None or make is None or _calls.is_wrapped(target, "create"):
            continue
        traced = _once(make(_SHAPE, held.recorder, "wrap_gemini"), held.recorder)
        _calls.forget_cached(resource, *_VIEWS)
        if target is resource:
            held.method(resource, "create", traced)
            held.at_undo(partial(_calls.forget_cached, resource, *_VIEWS))
        else:
            held.method(target, "create", held.while_it_lasts(traced))


def _once(traced: _calls.Traced, recorder: _genai.Recorder) -> _calls.Traced:
    """Leaves an agent to OpenTelemetry's instrumentation where that is active.

    Two model calls in one another make one span by OpenTelemetry's own rules, but two agents would make two.
    """
    labels = recorder.labels or Labels()

    def call(wrapped: Any, resource: Any, args: _calls.Args, kwargs: Kwargs) -> Any:
        if not _is_official(resource, kwargs):
            return traced(wrapped, resource, args, kwargs)
        with labels.applied():
            result = wrapped(*args, **kwargs)
        return _awaited(result, labels) if inspect.isawaitable(result) else result

    return call


async def _awaited(result: Awaitable[Any], labels: Labels) -> Any:
    with labels.applied():
        return await result


@guard.never_raises
def _is_official(resource: Any, request: Kwargs) -> bool:
    if field(_body(request), "agent") is None:
        return False
    layers = [vars(kind).get("create") for kind in cast("type[Any]", type(resource)).__mro__]
    homes = [getattr(getattr(layer, "_self_wrapper", None), "__module__", None) for layer in layers]
    return any(str(home).startswith(_OFFICIAL) for home in homes)


def _start(handler: _genai.TelemetryHandler, resource: Any, request: Kwargs) -> InferenceInvocation:
    provider, address, port = _server(resource)
    body = _body(request)
    model, agent = field(body, "model"), field(body, "agent")
    around = get_current_span()
    invocation = handler.inference(
        provider,
        request_model=None if model is None else str(model),
        operation_name="invoke_agent" if agent else "generate_content",
        server_address=address,
        server_port=port,
    )
    if agent:
        invocation.attributes[GEN_AI_AGENT_NAME] = str(agent)
        if invocation.span is not around:
            invocation.span.update_name(f"invoke_agent {agent}")
    return invocation


def _ask(invocation: InferenceInvocation, request: Kwargs) -> None:
    body = _body(request)
    config = field(body, "generation_config")
    for name, attribute in _PARAMETERS.items():
        setattr(invocation, attribute, field(config, name))
    invocation.stop_sequences = field(config, "stop_sequences")
    invocation.previous_response_id = field(body, "previous_interaction_id")
    invocation.output_type = _output_type(field(body, "response_format"), field(body, "response_mime_type"))
    _spans.put_parameters(invocation, {name: field(body, name) for name in _OTHERS})
    if invocation.should_capture_content:
        invocation.input_messages = steps.input_messages(field(body, "input"))
        instruction = field(body, "system_instruction")
        invocation.system_instruction = [TextPart(str(instruction))] if instruction else []
        invocation.tool_definitions = tool_definitions(field(body, "tools")) or None


_SHAPE = _spans.Shape(
    _start, _ask, interaction_answers.answer, interaction_answers.Reader, unparsed=read_unparsed
)


def _body(request: Kwargs) -> Mapping[str, Any]:
    """The parameters, which may come as one object."""
    body = field(request.get("request"), "body")
    if body is None:
        return request
    # Its fields as they are: reading one that is deprecated warns.
    return cast("Mapping[str, Any]", body if isinstance(body, Mapping) else vars(body))


def _server(resource: Any) -> tuple[str, str | None, int | None]:
    # Up to version 2.8 another generator made the SDK.
    if (client := getattr(resource, "_client", None)) is not None:
        on_vertex, address = bool(getattr(client, "_is_vertex", False)), client.base_url
    else:
        settings = resource.sdk_configuration
        on_vertex = "/projects/" in str(settings.globals.api_version)
        address = settings.get_server_details()[0]
    url = urlsplit(str(address))
    return "gcp.vertex_ai" if on_vertex else "gcp.gemini", url.hostname, url.port


def _output_type(format: Any, mime_type: Any) -> str | None:
    kind = str(field(format, "mime_type") or mime_type or "")
    if "json" in kind:
        return "json"
    known = _OUTPUT_TYPES.get(kind.partition("/")[0]) or _OUTPUT_TYPES.get(str(field(format, "type")))
    # A schema, as the first versions had it.
    return known or ("json" if isinstance(format, Mapping) else None)

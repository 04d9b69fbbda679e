# pyright: reportMissingTypeStubs=false
"""The official instrumentations' patch functions, put around methods that are chosen here."""

import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

from opentelemetry.util.genai.handler import TelemetryHandler

from ... import guard
from .._calls import Args, Kwargs, Traced, unobtrusive
from .follow import follow
from .handlers import Recorder
from .streams import Reads

_logger = logging.getLogger("pandaprobe_otel.wrappers")

_HOME = "opentelemetry.instrumentation.genai."

# Where the functions come from that trace.
_TRACERS = (_HOME, "pandaprobe_otel.wrappers.")

_BOTOCORE = "opentelemetry.instrumentation.botocore"

# Provider -> the modules of its instrumentation that have patch functions.
_MODULES = {
    "openai": ("openai.patch", "openai.patch_responses"),
    "anthropic": ("anthropic.patch",),
    "bedrock": ("bedrock.patch",),
}

UNDOCUMENTED = {
    f"{_HOME}openai.patch": (
        "chat_completions_create_v_new",
        "async_chat_completions_create_v_new",
    ),
    f"{_HOME}openai.patch_responses": (
        "responses_create",
        "async_responses_create",
        "responses_stream",
        "async_responses_stream",
        "responses_retrieve",
        "async_responses_retrieve",
    ),
    f"{_HOME}anthropic.patch": (
        "messages_create",
        "async_messages_create",
        "messages_stream",
        "async_messages_stream",
    ),
    f"{_HOME}bedrock.patch": ("_make_api_call_wrapper", "_make_aio_api_call_wrapper"),
    f"{_HOME}bedrock.stream": ("AsyncBedrockStreamingBodyWrapper._finalize",),
    f"{_HOME}anthropic._raw_response": ("RawResponseProxy._finalize_once",),
    f"{_HOME}openai._raw_response": (
        "RawResponseStreamProxy._finalize_once",
        "RawResponseStreamProxy._wrap_parsed",
    ),
}


def check_installed(provider: str) -> None:
    """Imports the official instrumentation of a provider's SDK, and so the SDK.

    Raises:
        ImportError: One of them is not installed.
    """
    for module in _MODULES[provider]:
        import_module(_HOME + module)


def official(provider: str, patch: str, recorder: Recorder, reads: Reads) -> Traced | None:
    """Traces a method by an official patch function; None, with one warning, when its name is gone.

    Args:
        patch: The name of a function that takes a handler and gives a tracing function.
        recorder: Makes the spans.
        reads: Makes the reader of a stream, for what the patch function leaves out.
    """
    make = _find(provider, patch)
    if make is None:
        return None
    known: dict[TelemetryHandler, Traced] = {}

    def traced_now() -> Traced:
        handler = recorder.handler()
        if handler not in known:
            known[handler] = make(handler)
        return known[handler]

    async def call_async(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        return follow(await traced_now()(wrapped, instance, args, kwargs), reads)

    def call(wrapped: Callable[..., Any], instance: Any, args: Args, kwargs: Kwargs) -> Any:
        return follow(traced_now()(wrapped, instance, args, kwargs), reads)

    is_async = inspect.iscoroutinefunction(make(recorder.handler()))
    return unobtrusive(call_async if is_async else call, f"wrap_{provider}", beneath)


def _find(provider: str, patch: str) -> Callable[[TelemetryHandler], Traced] | None:
    for module in _MODULES[provider]:
        found = getattr(import_module(_HOME + module), patch, None)
        if found is not None:
            return found
    guard.warn_once(
        _logger,
        f"{provider} {patch}",
        "opentelemetry-instrumentation-genai-%s %s has no %s, so some calls are not traced. "
        "Upgrade pandaprobe-otel, or install an older version of that package.",
        provider,
        version(f"opentelemetry-instrumentation-genai-{provider}"),
        patch,
    )
    return None


def beneath(method: Any) -> Any:
    """The method without the layers that trace it too: the official instrumentation's, and ours further down.

    Two layers would make one span too, but with wrapt before 2.2 and Python 3.12 or newer the outer one fails
    on streams of the inner one.
    """
    return _beneath(method, _TRACERS)


def beneath_botocore(method: Any) -> Any:
    """The method without the layer of the instrumentation of botocore, which traces model calls too."""
    return _beneath(method, _BOTOCORE)


def _beneath(method: Any, homes: str | tuple[str, ...]) -> Any:
    while str(getattr(getattr(method, "_self_wrapper", None), "__module__", "")).startswith(homes):
        method = method.__wrapped__
    return method

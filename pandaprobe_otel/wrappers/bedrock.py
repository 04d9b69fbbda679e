# pyright: reportMissingTypeStubs=false
"""`wrap_bedrock`: the model calls of one Bedrock client become GenAI spans.

The spans are made by OpenTelemetry's own instrumentation of Bedrock, here put around one client of boto3 or
aiobotocore, or around their base classes.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from .. import guard
from ..attributes import SpanKind
from ..tracing.labels import Id, Labels
from . import _calls, _genai, _operations, _spans
from ._instrumentor import Instrumentor
from ._wrapping import Wrapping, wrap

C = TypeVar("C")

# Every operation of a client goes through it; botocore's events do not see what is read of a stream.
_METHOD = "_make_api_call"
_MODEL_CALLS = ("Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream")
_SERVICES = ("bedrock-runtime", "bedrock-agent-runtime")


def wrap_bedrock(
    client: C,
    *,
    session_id: Id | None = None,
    user_id: Id | None = None,
    tags: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> C:
    """Traces the model calls of one Bedrock client, streams and errors included; no others.

        client = wrap_bedrock(boto3.client("bedrock-runtime"))

    Spans and attributes follow OpenTelemetry's GenAI semantic conventions, with the messages on them unless
    `PANDAPROBE_CAPTURE_CONTENT` or `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says otherwise. Where
    OpenTelemetry's `BedrockInstrumentor` is active too, a call still makes one span.

    Args:
        client: A `bedrock-runtime` client of boto3 or aiobotocore. Wrapping it twice is the same as once;
            with other labels, these hold instead.
        session_id: The session of all its calls, stronger than a `session()` block around them.
        user_id: Likewise.
        tags: Tags of the spans of its calls.
        metadata: Names and any values, for the same spans.

    Returns:
        The same client.

    Raises:
        TypeError: `client` is something else, or a label has the wrong type.
        ImportError: The `bedrock` extra is not installed.
    """
    instrumentor = BedrockInstrumentor()
    instrumentor.check_installed()
    if _service(client) not in _SERVICES:
        raise _calls.not_a_client(
            "wrap_bedrock", client, 'boto3 "bedrock-runtime"', 'boto3.client("bedrock-runtime")'
        )
    labels = Labels(session_id=session_id, user_id=user_id, tags=tags, metadata=metadata)
    if instrumentor.supports_installed():
        asynchronous = iscoroutinefunction(getattr(type(client), _METHOD))
        wrap(client, instrumentor.scope, labels, lambda wrapping: _fill(wrapping, client, asynchronous))
    return client


def _service(client: Any) -> str | None:
    from botocore.client import BaseClient

    return None if not isinstance(client, BaseClient) else cast(Any, client).meta.service_model.service_name


class BedrockInstrumentor(Instrumentor):
    """Traces every client of the process, as `wrap_bedrock` traces one."""

    name = "bedrock"
    scope = "pandaprobe_otel.wrappers.bedrock"
    versions = ("boto3 >= 1.40.46, < 2",)

    def check_imports(self) -> None:
        _genai.check_installed("bedrock")

    def fill(self, wrapping: Wrapping) -> None:
        from botocore.client import BaseClient

        _fill(wrapping, BaseClient, asynchronous=False)
        if find_spec("aiobotocore"):
            from aiobotocore.client import AioBaseClient

            _fill(wrapping, AioBaseClient, asynchronous=True)


def _fill(wrapping: Wrapping, target: object, asynchronous: bool) -> None:
    beneath = guard.never_raises(_genai.beneath_botocore)
    patch = "_make_aio_api_call_wrapper" if asynchronous else "_make_api_call_wrapper"
    official = _genai.official("bedrock", patch, wrapping.recorder, lambda _: _genai.Beginning(_begins))
    make = _spans.traced_async if asynchronous else _spans.traced
    own = {name: make(shape, wrapping.recorder, "wrap_bedrock") for name, shape in _OWN.items()}

    def call(wrapped: Any, client: Any, args: _calls.Args, kwargs: _calls.Kwargs) -> Any:
        # botocore gives the operation and its parameters in order.
        given: Any = args if len(args) == 2 else (None, {})
        operation, request = given
        if operation in own and _service(client) == _SERVICES[0]:
            asked = {"model": request.get("modelId"), **request}
            return own[operation](_asking(wrapped, args, asynchronous), client, (), asked)
        if official is None or (operation in _MODEL_CALLS and _genai.is_covered()):
            return wrapped(*args, **kwargs)
        if operation in _MODEL_CALLS and _calls.is_on():
            wrapped = beneath(wrapped) or wrapped
        return official(wrapped, client, args, kwargs)

    wrapping.method(target, _METHOD, call)


def _asking(wrapped: Any, args: _calls.Args, asynchronous: bool) -> Any:
    def ask(**_: Any) -> Any:
        return wrapped(*args)

    async def ask_async(**_: Any) -> Any:
        return await wrapped(*args)

    return ask_async if asynchronous else ask


def _server(client: Any, _: _calls.Kwargs) -> tuple[str, str | None, int | None]:
    url = urlsplit(str(client.meta.endpoint_url))
    return "aws.bedrock", url.hostname, url.port


def _operation(name: str, asked: tuple[str, ...], told: tuple[str, ...]) -> _spans.Shape:
    return _operations.shape(_operations.Operation(name, asked, told, kind=SpanKind.OTHER), _server)


# What the official instrumentation leaves out.
_OWN = {
    "CountTokens": _operation("count_tokens", ("input",), ("inputTokens",)),
    "ApplyGuardrail": _operation("moderation", ("content", "source"), ("action", "outputs", "assessments")),
}


def _begins(event: Mapping[str, Any]) -> bool:
    if "chunk" in event:
        # Of `invoke_model_with_response_stream`, in the words of the model's own vendor.
        body = json.loads(event["chunk"]["bytes"])
        return body.get("type", "content_block_delta") == "content_block_delta"
    return "contentBlockDelta" in event or "toolUse" in event.get("contentBlockStart", {}).get("start", {})

"""The id that a provider gives to a request, by which its support finds it.

It is written as the response header that it came in, as the semantic conventions of HTTP name one.
"""

from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.trace import Span

from .. import guard

# OpenAI's, Anthropic's, AWS's, Mistral's.
_OPENAI, _ANTHROPIC = "x-request-id", "request-id"
_HEADERS = (_OPENAI, _ANTHROPIC, "x-amzn-requestid", "mistral-correlation-id")
# Where SDKs keep the response that an answer, a stream or an error came in; the last is of openai's helper.
_RESPONSES = ("response", "http_response", "raw_response", "sdk_http_response", "_response")
# What litellm has before the names of a provider's headers.
_LITELLM = "llm_provider-"


@guard.never_raises
def note(span: Span, given: Any) -> None:
    """Writes the id of a request onto its span.

    Args:
        given: What the SDK returned or raised.
    """
    headers = _headers(given)
    found = [(name, headers.get(name)) for name in _HEADERS] if headers is not None else []
    # openai and anthropic leave the answer no more than this.
    header = _ANTHROPIC if type(given).__module__.startswith("anthropic.") else _OPENAI
    found.append((header, getattr(given, "_request_id", None)))
    for name, id in found:
        if isinstance(id, str):
            span.set_attribute(f"http.response.header.{name}", [id])
            return


def _headers(given: Any) -> Any:
    if isinstance(given, Mapping):
        # botocore's answers.
        told: Any = cast("Mapping[str, Any]", given).get("ResponseMetadata") or {}
        return told.get("HTTPHeaders")
    hidden: Any = getattr(given, "_hidden_params", None)
    if isinstance(hidden, dict) and (headers := cast("dict[str, Any]", hidden).get("additional_headers")):
        return {name.removeprefix(_LITELLM): value for name, value in headers.items()}
    held = (getattr(given, name, None) for name in _RESPONSES)
    response = next((response for response in held if response is not None), given)
    return _headers(response) if isinstance(response, Mapping) else getattr(response, "headers", None)

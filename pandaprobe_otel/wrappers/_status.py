"""The HTTP status of a call that failed, as the semantic conventions of HTTP name it."""

from collections.abc import Mapping
from typing import Any, cast

from opentelemetry.trace import Span

from .. import guard
from ..attributes import HTTP_RESPONSE_STATUS_CODE


@guard.never_raises
def note(span: Span, error: BaseException) -> None:
    """Writes the status of an error onto the span of its call, where the SDK tells it."""
    status = _of(error)
    if isinstance(status, int):
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)


def _of(error: Any) -> object:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        # botocore's.
        return cast("Mapping[str, Any]", response).get("ResponseMetadata", {}).get("HTTPStatusCode")
    # `code` is what google-genai calls it.
    return getattr(error, "status_code", None) or getattr(error, "code", None)

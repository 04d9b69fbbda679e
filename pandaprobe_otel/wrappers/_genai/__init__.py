"""OpenTelemetry's GenAI packages: the one room that touches names of theirs that are not documented.

`opentelemetry-util-genai` and the official instrumentations are betas. What is used of them beyond their
documentation is listed in `UNDOCUMENTED`, which a test resolves against the versions that are installed.
"""

from .endings import keep_open
from .handlers import Recorder, TelemetryHandler
from .nesting import is_covered, is_traced
from .official import UNDOCUMENTED as _OF_INSTRUMENTATIONS
from .official import beneath, beneath_botocore, check_installed, official
from .raw import is_unread, read_raw_with
from .streams import Beginning, Reader, read_with

__all__ = [
    "UNDOCUMENTED",
    "Beginning",
    "Reader",
    "Recorder",
    "TelemetryHandler",
    "beneath",
    "beneath_botocore",
    "check_installed",
    "is_covered",
    "is_traced",
    "is_unread",
    "keep_open",
    "official",
    "read_raw_with",
    "read_with",
]

# Module -> names.
UNDOCUMENTED = {
    "opentelemetry.util.genai.handler": (
        "TelemetryHandler._content_capturing_mode",
        "TelemetryHandler._capture_content",
    ),
    "opentelemetry.util.genai.invocation": ("InferenceInvocation._on_stream_chunk",),
    "opentelemetry.util.genai.stream": (
        "SyncStreamWrapper._process_chunk",
        "SyncStreamWrapper._finalize_failure",
        "AsyncStreamWrapper._process_chunk",
        "SyncStreamManagerWrapper._wrap_stream",
        "AsyncStreamManagerWrapper._wrap_stream",
    ),
    **_OF_INSTRUMENTATIONS,
}

# pyright: reportMissingTypeStubs=false
"""What messages and tools are made of, in the GenAI conventions' terms."""

from opentelemetry.util.genai.invocation import EmbeddingInvocation, InferenceInvocation
from opentelemetry.util.genai.types import (
    BlobPart,
    Error,
    FilePart,
    FunctionToolDefinition,
    GenericToolDefinition,
    InputMessage,
    MessagePart,
    Modality,
    OutputMessage,
    ReasoningPart,
    ServerToolCallPart,
    ServerToolCallResponsePart,
    SystemInstructionPart,
    TextPart,
    ToolCallRequestPart,
    ToolCallResponsePart,
    ToolDefinition,
    UriPart,
)
from opentelemetry.util.genai.utils import (
    bind_arguments,
    decode_base64,
    image_from_url,
    object_to_any_value,
    tool_arguments_to_any_value,
)

__all__ = [
    "BlobPart",
    "EmbeddingInvocation",
    "Error",
    "FilePart",
    "FunctionToolDefinition",
    "GenericToolDefinition",
    "InferenceInvocation",
    "InputMessage",
    "MessagePart",
    "Modality",
    "OutputMessage",
    "ReasoningPart",
    "ServerToolCallPart",
    "ServerToolCallResponsePart",
    "SystemInstructionPart",
    "TextPart",
    "ToolCallRequestPart",
    "ToolCallResponsePart",
    "ToolDefinition",
    "UriPart",
    "bind_arguments",
    "decode_base64",
    "image_from_url",
    "object_to_any_value",
    "tool_arguments_to_any_value",
]

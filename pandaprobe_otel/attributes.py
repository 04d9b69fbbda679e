"""Every attribute key that is read or written, with the convention that it comes from.

OpenTelemetry's semantic conventions are in development for GenAI and for sessions, and the Python package
of constants marks all of them deprecated without a replacement; so the keys stand here, as text.
"""

from enum import Enum

# Semantic conventions, `session` and `user` registries (development).
SESSION_ID = "session.id"
USER_ID = "user.id"

# Semantic conventions, stable.
ERROR_TYPE = "error.type"
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
DEPLOYMENT_ENVIRONMENT_NAME = "deployment.environment.name"
TELEMETRY_DISTRO_NAME = "telemetry.distro.name"
TELEMETRY_DISTRO_VERSION = "telemetry.distro.version"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
EXCEPTION_EVENT = "exception"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_STACKTRACE = "exception.stacktrace"
# Where the text of a span's status stands, for whom it is an attribute.
OTEL_STATUS_DESCRIPTION = "otel.status_description"
SERVER_ADDRESS = "server.address"
URL_FULL = "url.full"
# Their spellings until semantic conventions 1.20 and 1.21; instrumentations still use them by default.
NET_PEER_NAME = "net.peer.name"
HTTP_URL = "http.url"
# Semantic conventions, messaging and RPC (development).
MESSAGING_SYSTEM = "messaging.system"
RPC_SYSTEM = "rpc.system"

# GenAI semantic conventions (development).
GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_AGENT_ID = "gen_ai.agent.id"
GEN_AI_AGENT_NAME = "gen_ai.agent.name"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result"
GEN_AI_REQUEST_PREFIX = "gen_ai.request."
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_USAGE_CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
# Spelling of `cache_write` until semantic-conventions-genai #440; released instrumentations still emit it.
GEN_AI_USAGE_CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
# Spelling of `gen_ai.provider.name` until semantic conventions 1.37.
GEN_AI_SYSTEM = "gen_ai.system"
# Spellings of the token counts until semantic conventions 1.27.
GEN_AI_USAGE_PROMPT_TOKENS = "gen_ai.usage.prompt_tokens"
GEN_AI_USAGE_COMPLETION_TOKENS = "gen_ai.usage.completion_tokens"

# Google's, in the manner of the conventions: why a prompt got no answer.
GCP_BLOCK_REASON = "gcp.gemini.prompt_feedback.block_reason"

# OpenLLMetry (Traceloop). Messages have one attribute per field: `gen_ai.prompt.0.role`.
GEN_AI_PROMPT_PREFIX = "gen_ai.prompt."
GEN_AI_COMPLETION_PREFIX = "gen_ai.completion."
TRACELOOP_SPAN_KIND = "traceloop.span.kind"
TRACELOOP_ENTITY_INPUT = "traceloop.entity.input"
TRACELOOP_ENTITY_OUTPUT = "traceloop.entity.output"
LLM_REQUEST_TYPE = "llm.request.type"

# OpenInference (Arize). Likewise: `llm.input_messages.0.message.role`.
OPENINFERENCE_SPAN_KIND = "openinference.span.kind"
INPUT_VALUE = "input.value"
INPUT_MIME_TYPE = "input.mime_type"
OUTPUT_VALUE = "output.value"
OUTPUT_MIME_TYPE = "output.mime_type"
LLM_INPUT_MESSAGES_PREFIX = "llm.input_messages."
LLM_OUTPUT_MESSAGES_PREFIX = "llm.output_messages."
LLM_MODEL_NAME = "llm.model_name"
LLM_INVOCATION_PARAMETERS = "llm.invocation_parameters"
LLM_TOKEN_COUNT_PROMPT = "llm.token_count.prompt"
LLM_TOKEN_COUNT_COMPLETION = "llm.token_count.completion"
LLM_TOKEN_COUNT_TOTAL = "llm.token_count.total"
LLM_TOKEN_COUNT_REASONING = "llm.token_count.completion_details.reasoning"
LLM_TOKEN_COUNT_CACHE_READ = "llm.token_count.prompt_details.cache_read"
LLM_TOKEN_COUNT_CACHE_WRITE = "llm.token_count.prompt_details.cache_write"
LLM_COST_PREFIX = "llm.cost."
EMBEDDING_MODEL_NAME = "embedding.model_name"

# PandaProbe's own: what its data model has and no convention names.
# On every span of a PandaProbe trace that `start_trace` made: its id, a UUID. The span that it is derived
# from is the entry, the root of that trace.
PANDAPROBE_TRACE_ID = "pandaprobe.trace.id"
# On a span whose parent is that entry, in another process: its span id, which no other span tells there.
PANDAPROBE_ENTRY_ID = "pandaprobe.entry.id"
# In baggage only: session, user and turn, signed.
PANDAPROBE_CONTEXT = "pandaprobe.context"
PANDAPROBE_SPAN_KIND = "pandaprobe.span.kind"
# JSON text.
PANDAPROBE_INPUT = "pandaprobe.input"
PANDAPROBE_OUTPUT = "pandaprobe.output"
PANDAPROBE_METADATA = "pandaprobe.metadata"
PANDAPROBE_MODEL_PARAMETERS = "pandaprobe.model_parameters"
PANDAPROBE_TOKEN_USAGE = "pandaprobe.token_usage"
PANDAPROBE_COST = "pandaprobe.cost"
# True on a span that was exported before it ended.
PANDAPROBE_SPAN_OPEN = "pandaprobe.span.open"
# Names of the spans between this one and its parent that are not sent, outermost first.
PANDAPROBE_SKIPPED = "pandaprobe.skipped"
# A list of strings.
PANDAPROBE_TAGS = "pandaprobe.tags"
# One of `TraceStatus`.
PANDAPROBE_STATUS = "pandaprobe.status"


class SpanKind(str, Enum):
    """What a PandaProbe span stands for (PandaProbe's `SpanKind`)."""

    AGENT = "AGENT"
    TOOL = "TOOL"
    LLM = "LLM"
    RETRIEVER = "RETRIEVER"
    CHAIN = "CHAIN"
    EMBEDDING = "EMBEDDING"
    OTHER = "OTHER"


class SpanStatusCode(str, Enum):
    """How a PandaProbe span ended (PandaProbe's `SpanStatusCode`)."""

    UNSET = "UNSET"
    OK = "OK"
    ERROR = "ERROR"


class TraceStatus(str, Enum):
    """How a PandaProbe trace ended (PandaProbe's `TraceStatus`)."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"


class ScoreDataType(str, Enum):
    """What the value of a score is (PandaProbe's `ScoreDataType`)."""

    NUMERIC = "NUMERIC"
    BOOLEAN = "BOOLEAN"
    CATEGORICAL = "CATEGORICAL"


# `gen_ai.operation.name` of each kind of span; CHAIN and OTHER have none.
OPERATION_OF_KIND = {
    SpanKind.AGENT: "invoke_agent",
    SpanKind.TOOL: "execute_tool",
    SpanKind.LLM: "chat",
    SpanKind.RETRIEVER: "retrieval",
    SpanKind.EMBEDDING: "embeddings",
}

# PandaProbe's names of token counts, and the attribute that carries each.
USAGE_ATTRIBUTES = {
    "prompt_tokens": GEN_AI_USAGE_INPUT_TOKENS,
    "completion_tokens": GEN_AI_USAGE_OUTPUT_TOKENS,
    "reasoning_tokens": GEN_AI_USAGE_REASONING_TOKENS,
    "cache_read_tokens": GEN_AI_USAGE_CACHE_READ_TOKENS,
    "cache_creation_tokens": GEN_AI_USAGE_CACHE_WRITE_TOKENS,
}

# Parameters of a model call that have an attribute of their own, `gen_ai.request.<name>`.
REQUEST_PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "max_tokens", "frequency_penalty", "presence_penalty", "seed"}
)

"""What a span used: tokens and money."""

from ... import attributes as keys
from .clean import amount, token_count
from .reader import AttributeReader, parsed

# Newest spelling first. The keys of the last ones are OpenLLMetry's.
_SPELLINGS = {
    "prompt_tokens": (
        keys.USAGE_ATTRIBUTES["prompt_tokens"],
        keys.GEN_AI_USAGE_PROMPT_TOKENS,
        keys.LLM_TOKEN_COUNT_PROMPT,
    ),
    "completion_tokens": (
        keys.USAGE_ATTRIBUTES["completion_tokens"],
        keys.GEN_AI_USAGE_COMPLETION_TOKENS,
        keys.LLM_TOKEN_COUNT_COMPLETION,
    ),
    "reasoning_tokens": (
        keys.USAGE_ATTRIBUTES["reasoning_tokens"],
        keys.LLM_TOKEN_COUNT_REASONING,
    ),
    "cache_read_tokens": (
        keys.USAGE_ATTRIBUTES["cache_read_tokens"],
        keys.LLM_TOKEN_COUNT_CACHE_READ,
    ),
    "cache_creation_tokens": (
        keys.USAGE_ATTRIBUTES["cache_creation_tokens"],
        keys.GEN_AI_USAGE_CACHE_CREATION_TOKENS,
        keys.LLM_TOKEN_COUNT_CACHE_WRITE,
    ),
    "total_tokens": (keys.LLM_TOKEN_COUNT_TOTAL,),
}
_KEYS = frozenset({keys.PANDAPROBE_TOKEN_USAGE}).union(*_SPELLINGS.values())


def take_token_usage(reader: AttributeReader) -> dict[str, int] | None:
    """The token counts of a span in PandaProbe's names. What is no number stays untaken."""
    present = reader.present(_KEYS)
    if not present:
        return None
    usage: dict[str, int] = {}
    for name, spellings in _SPELLINGS.items():
        for key in spellings:
            if key in present and (count := token_count(reader.get(key))) is not None:
                reader.take(key)
                usage.setdefault(name, count)
    for name, value in reader.take_object(keys.PANDAPROBE_TOKEN_USAGE).items():
        count = token_count(value)
        if count is not None:
            usage[name] = count
    if "total_tokens" not in usage and "prompt_tokens" in usage and "completion_tokens" in usage:
        total = token_count(usage["prompt_tokens"] + usage["completion_tokens"])
        usage["total_tokens"] = total or 0
    return usage or None


def take_cost(reader: AttributeReader) -> dict[str, float] | None:
    """The cost of a span, part by part. What is no number stays untaken."""
    given = reader.get(keys.PANDAPROBE_COST)
    if given is not None and (total := amount(parsed(given))) is not None:
        reader.take(keys.PANDAPROBE_COST)
        return {"total": total}
    parts = reader.take_object(keys.PANDAPROBE_COST) or reader.take_prefixed(keys.LLM_COST_PREFIX)
    cost = {name: number for name, part in parts.items() if (number := amount(part)) is not None}
    return cost or None

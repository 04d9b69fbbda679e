"""OpenTelemetry ids as PandaProbe ids.

PandaProbe's trace and span ids are UUIDs and global keys: two spans with one id overwrite each other, whoever
owns them. So a 64-bit span id is never padded, but joined with the random half of its trace id.
"""

from uuid import UUID, uuid5

_NAMESPACE = UUID("5f1a6d0e-6f0f-5c40-9d1c-0b6b1a3c7e55")
_LOW_HALF = (1 << 64) - 1


def pandaprobe_trace_id(trace_id: int, span_id: int, *, is_root: bool) -> str:
    """The id of the PandaProbe trace that this span is the entry of; as its root, the OTel trace id."""
    if is_root:
        return _as_uuid(trace_id)
    return str(uuid5(_NAMESPACE, f"{trace_id:032x}{span_id:016x}"))


def pandaprobe_span_id(trace_id: int, span_id: int) -> str:
    """The id of a PandaProbe span; both OTel ids can be read back from it."""
    return _as_uuid((trace_id & _LOW_HALF) << 64 | span_id)


def _as_uuid(number: int) -> str:
    # A third of what `UUID` takes.
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

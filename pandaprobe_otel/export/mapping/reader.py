"""The attributes of a span, and which of them have been used: the others are its metadata."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .clean import MAX_DEPTH, clean_json

_NO_MAPPINGS = (str, list, tuple, type(None))
_decode = json.JSONDecoder(parse_int=lambda digits: clean_json(int(digits))).decode


def parsed(value: Any) -> Any:
    """What a JSON text stands for; any other value, and text that is no JSON, as it is.

    OTel's limit of attribute lengths cuts JSON anywhere, so that text may be part of one.
    """
    if not isinstance(value, str):
        return value
    try:
        found = _decode(value)
    except (ValueError, RecursionError):
        return value
    # What has no more brackets is no deeper, and they are counted at once.
    return found if value.count("[") + value.count("{") <= MAX_DEPTH else clean_json(found)


def structured(value: Any) -> Any:
    """What a JSON text stands for when that is an object or an array; any other value as it is.

    For attributes that hold either JSON or plain text, in which `42` is text.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return parsed(value)
    return value


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """The value when it is a mapping."""
    # Still of any type for the checker, where `cast` would be a call.
    given = value
    # The check of the class runs in Python.
    if isinstance(value, dict) or (not isinstance(value, _NO_MAPPINGS) and isinstance(value, Mapping)):
        return given
    return None


def as_list(value: Any) -> Sequence[Any] | None:
    """The value when it is a list."""
    given = value
    return given if isinstance(value, (list, tuple)) else None


class AttributeReader:
    """Reads attributes; what is taken does not show up in `rest`."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._attributes = attributes
        self._taken: set[str] = set()
        # One text, each behind a line break: most conventions that are looked for are not those of the span.
        self.keys = "\n" + "\n".join(attributes)

    def present(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of the keys that are there."""
        return keys.intersection(self._attributes)

    def get(self, key: str) -> Any:
        return self._attributes.get(key)

    def take(self, key: str) -> Any:
        self._taken.add(key)
        return self._attributes.get(key)

    def drop(self, keys: Iterable[str]) -> None:
        self._taken.update(keys)

    def take_object(self, key: str) -> Mapping[str, Any]:
        """A JSON object; when the attribute is none it stays untaken, and the answer is empty."""
        value = as_mapping(parsed(self._attributes[key])) if key in self._attributes else None
        if value is None:
            return {}
        self._taken.add(key)
        return value

    def take_prefixed(self, prefix: str) -> dict[str, Any]:
        """All attributes below a prefix, by the rest of their keys."""
        if f"\n{prefix}" not in self.keys:
            return {}
        found = [key for key in self._attributes if key.startswith(prefix)]
        self._taken.update(found)
        return {key[len(prefix) :]: self._attributes[key] for key in found}

    def rest(self) -> dict[str, Any]:
        """What nobody has taken."""
        return {key: value for key, value in self._attributes.items() if key not in self._taken}

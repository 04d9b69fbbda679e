"""The options of the package: what there is, how each is read, and which source wins."""

from .options import Option, Settings, SettingsKeywords, is_loopback, options
from .resolving import Found, configure, explain, resolve

__all__ = [
    "Found",
    "Option",
    "Settings",
    "SettingsKeywords",
    "configure",
    "explain",
    "is_loopback",
    "options",
    "resolve",
]

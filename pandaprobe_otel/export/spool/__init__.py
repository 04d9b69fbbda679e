"""What is not sent yet: a queue on disk that survives the process, and moves to memory where it must."""

from .folder import project_key
from .items import Item, Load, SetAside
from .spool import Spool, SpoolStats

__all__ = ["Item", "Load", "SetAside", "Spool", "SpoolStats", "project_key"]

"""Secrets, so that a report can be shown to anybody."""

from urllib.parse import urlsplit


def masked(secret: str) -> str:
    """What a dashboard shows of a key; nothing of what is too short to be one."""
    return f"{secret[:6]}…{secret[-4:]}" if len(secret) >= 32 else "***"


def without_password(url: str) -> str:
    """A URL in which nobody can read a password."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}").geturl() if at else url

"""Connections of OpenAI's clients, sync and async, used in one way."""

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from .surfaces import lasting, parts

KINDS = {
    "sync": ("OpenAI", "DefaultHttpxClient"),
    "async": ("AsyncOpenAI", "DefaultAsyncHttpxClient"),
}


def client_of(kind: str, url: str) -> Any:
    """A client of `KINDS` that connects to a URL."""
    import openai

    client, http_client = KINDS[kind]
    # Reading all certificates takes longer than the rest.
    http = getattr(openai, http_client)(verify=False)
    url = url.replace("http:", "ws:")
    return getattr(openai, client)(api_key="none", websocket_base_url=f"{url}/v1", http_client=http)


async def settled(value: Any) -> Any:
    """What either kind of client gives."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """The connection of a manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as connection:
            yield connection
    else:
        with manager as connection:
            yield connection


async def hears(connection: Any, *kinds: str) -> list[Any]:
    """What is received until an event of one of these types."""
    seen: list[Any] = []
    while not seen or seen[-1].type not in kinds:
        seen.append(await settled(connection.recv()))
    return seen


def plain(events: list[Any]) -> list[Any]:
    """Events without what differs from one connection to the next."""
    dumped = [event.model_dump(mode="json", warnings=False, exclude={"event_id"}) for event in events]
    for event in dumped:
        event.get("session", {}).pop("expires_at", None)
    return lasting(dumped)


def said(span: ReadableSpan, direction: str = "output") -> list[str]:
    """The texts of a span's messages."""
    return [part["content"] for part in parts(span, direction)]

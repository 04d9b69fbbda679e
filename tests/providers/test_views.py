"""What a client made of its methods before the process was traced: `with_raw_response` and its like."""

from collections.abc import Iterator
from typing import Any

import pytest
import scripted_api

from pandaprobe_otel.testing import Captured
from pandaprobe_otel.wrappers import instrument, uninstrument

from .surfaces import close, collect
from .test_request_id import ANSWERS, ASKED

CLIENTS = ["OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic"]
VIEWS = ["with_raw_response", "with_streaming_response"]


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with scripted_api.running(ANSWERS) as url:
        yield url


@pytest.mark.parametrize("of_client", [False, True])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("kind", CLIENTS)
async def test_views_that_a_client_has_already_are_traced_in_the_whole_process(
    api: str, kind: str, view: str, of_client: bool, spans: Captured
) -> None:
    provider = kind.removeprefix("Async").lower()
    sdk = pytest.importorskip(provider)
    client = getattr(sdk, kind)(base_url=api, api_key="x", max_retries=0)

    def held() -> Any:
        start = getattr(client, view) if of_client else client
        resource = start.messages if provider == "anthropic" else start.chat.completions
        return resource if of_client else getattr(resource, view)

    async def call() -> None:
        asked = {**ASKED, "max_tokens": 9}
        await collect(held().create(**asked))

    before = held()
    await call()
    instrument(provider)
    try:
        await call()
        assert held() is held() is not before
        kept = held()
    finally:
        uninstrument(provider)
    assert len(spans.spans) == 1
    await collect(kept.create(**ASKED, max_tokens=9))
    await call()
    instrument(provider)
    try:
        await call()
    finally:
        uninstrument(provider)
    await close([client])
    assert len(spans.spans) == 2

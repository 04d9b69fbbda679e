"""An AMQP broker at a port, which is not ours: `amqp-mock`, with both of its servers on loopback."""

import asyncio
import sys

from amqp_mock import AmqpServer, HttpServer, Storage, create_amqp_mock


async def serve(amqp: int, http: int) -> None:
    storage = Storage()
    servers = HttpServer(storage, "127.0.0.1", http), AmqpServer(storage, "127.0.0.1", amqp)
    async with create_amqp_mock(*servers, storage):
        await asyncio.Event().wait()


asyncio.run(serve(*map(int, sys.argv[1:])))

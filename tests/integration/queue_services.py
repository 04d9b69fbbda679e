"""Services that send and take messages: `send`, `forge` and `work`, by `kafka` or `pika`, over a broker."""

import sys
from typing import Any

from opentelemetry.context import attach, detach

import pandaprobe_otel as pandaprobe
from pandaprobe_otel import propagation

# The topic, or the queue.
WORK = "work"
FORGED = "session.id=victim,pandaprobe.context=1.dmljdGltCgo.x"


def work() -> None:
    with pandaprobe.start_trace("work"):
        sys.stdout.write(f"works for {pandaprobe.current_session()}\n")


def kafka_sends(broker: str, headers: Any) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker)
    producer.send(WORK, b"hi", headers=headers and [(key, value.encode()) for key, value in headers.items()])
    producer.close()


def kafka_works(broker: str) -> None:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    consumer.subscribe([WORK])
    for _ in range(2):
        message = next(consumer)
        # Its instrumentation ends with the taking.
        headers = {key: value.decode() for key, value in message.headers}
        token = attach(propagation.extract(headers))
        work()
        detach(token)
    consumer.close()


def channel_of(broker: str) -> Any:
    import pika

    host, port = broker.split(":")
    channel = pika.BlockingConnection(pika.ConnectionParameters(host, int(port))).channel()
    channel.exchange_declare(WORK)
    channel.queue_declare(WORK)
    channel.queue_bind(WORK, WORK, WORK)
    return channel


def pika_sends(broker: str, headers: Any) -> None:
    import pika

    channel = channel_of(broker)
    channel.basic_publish(WORK, WORK, b"hi", pika.BasicProperties(headers=headers))
    channel.connection.close()


def pika_works(broker: str) -> None:
    taken: list[object] = []

    def take(channel: Any, *_: object) -> None:
        work()
        taken.append(None)
        if len(taken) == 2:
            channel.stop_consuming()

    channel = channel_of(broker)
    channel.basic_consume(WORK, take, auto_ack=True)
    channel.start_consuming()
    channel.connection.close()


kind, role, broker = sys.argv[1:]
sends, works = (kafka_sends, kafka_works) if kind == "kafka" else (pika_sends, pika_works)
if role == "work":
    works(broker)
elif role == "forge":
    sends(broker, {"baggage": FORGED})
else:
    with pandaprobe.session("c-1"), pandaprobe.start_trace("turn"):
        sends(broker, None)

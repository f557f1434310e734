"""A writer and a reader that are not Java: confluent-kafka (librdkafka).

The writer takes (bootstrap, topic, codec, records); the reader takes (bootstrap, topics) and gives
the records of each topic's partition 0, read by assignment.
"""

import time

import confluent_kafka

from processes import check

PATIENCE = 20


def write_confluent(bootstrap, topic, codec, records):
    errors = []
    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True,
        "linger.ms": 20, "message.timeout.ms": PATIENCE * 1000})
    for made in records:
        producer.produce(
            topic, key=made["key"], value=made["value"], headers=made["headers"],
            timestamp=made["timestamp"], partition=0,
            on_delivery=lambda error, _: error and errors.append(str(error)))
    left = producer.flush(PATIENCE)
    check(not errors and not left, f"confluent-kafka to {topic}: {errors} {left} left")


def read_confluent(bootstrap, topics):
    found = {topic: [] for topic in topics}
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0) for topic in topics])
    left, deadline = set(topics), time.monotonic() + PATIENCE
    while left:
        check(time.monotonic() < deadline, f"confluent-kafka found no end of {left}")
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            at_end = message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            check(at_end, f"confluent-kafka: {message.error()}")
            left.discard(message.topic())
            continue
        found[message.topic()].append({
            "key": message.key(), "value": message.value(), "headers": message.headers() or [],
            "timestamp": message.timestamp()[1], "offset": message.offset()})
    consumer.close()
    return found

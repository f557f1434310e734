"""Writers and readers in Python: confluent-kafka (librdkafka), kafka-python and aiokafka.

Writers take (bootstrap, topic, codec, records); readers take (bootstrap, topics) and give the
records of each topic's partition 0, read by assignment.
"""

import asyncio
import time

import aiokafka
import confluent_kafka
import kafka

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


def offset_for_time_confluent(bootstrap, topic, when):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    partition = confluent_kafka.TopicPartition(topic, 0, when)
    [found] = consumer.offsets_for_times([partition], timeout=PATIENCE)
    consumer.close()
    return found.offset


def write_kafka_python(bootstrap, topic, codec, records):
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
        enable_idempotence=True, linger_ms=20)
    sent = [producer.send(topic, key=made["key"], value=made["value"], partition=0,
                          headers=made["headers"], timestamp_ms=made["timestamp"])
            for made in records]
    for future in sent:
        future.get(timeout=PATIENCE)
    producer.close()


def read_kafka_python(bootstrap, topics):
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    partitions = [kafka.TopicPartition(topic, 0) for topic in topics]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends, found = consumer.end_offsets(partitions), {topic: [] for topic in topics}
    deadline = time.monotonic() + PATIENCE
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        check(time.monotonic() < deadline, "kafka-python did not reach the end")
        for partition, messages in consumer.poll(timeout_ms=200).items():
            found[partition.topic] += map(plain, messages)
    consumer.close()
    return found


def offset_for_time_kafka_python(bootstrap, topic, when):
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap)
    partition = kafka.TopicPartition(topic, 0)
    found = consumer.offsets_for_times({partition: when})[partition]
    consumer.close()
    return -1 if found is None else found.offset


def write_aiokafka(bootstrap, topic, codec, records):
    async def write():
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec,
            enable_idempotence=True, linger_ms=20)
        await producer.start()
        try:
            sent = [await producer.send(
                topic, key=made["key"], value=made["value"], partition=0,
                headers=made["headers"], timestamp_ms=made["timestamp"]) for made in records]
            await asyncio.wait_for(asyncio.gather(*sent), PATIENCE)
        finally:
            await producer.stop()
    asyncio.run(write())


def read_aiokafka(bootstrap, topics):
    async def read():
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [aiokafka.TopicPartition(topic, 0) for topic in topics]
            consumer.assign(partitions)
            ends, found = await consumer.end_offsets(partitions), {topic: [] for topic in topics}
            deadline = time.monotonic() + PATIENCE
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                check(time.monotonic() < deadline, "aiokafka did not reach the end")
                for partition, messages in (await consumer.getmany(timeout_ms=200)).items():
                    found[partition.topic] += map(plain, messages)
            return found
        finally:
            await consumer.stop()
    return asyncio.run(read())


def plain(message):
    """A record of kafka-python or aiokafka, which name its parts alike."""
    return {"key": message.key, "value": message.value, "headers": list(message.headers),
            "timestamp": message.timestamp, "offset": message.offset}

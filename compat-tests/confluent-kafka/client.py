"""confluent-kafka, librdkafka for Python, as the harness asks it."""

import contextlib
import pathlib
import sys
import time

import confluent_kafka as ck
from confluent_kafka import admin as ck_admin

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "harness"))
import serve  # noqa: E402

SECONDS = 15
# What it gets wrong by itself (README.md).
STUCK = "send_offsets_to_transaction may never return after the broker was away"


class Client:
    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap}
        self.admin = ck_admin.AdminClient(self.common)
        self.endurance = None
        self.members = serve.Members()
        self.transactional = {}

    def hello(self):
        return {"version": ck.__version__, "consumer_protocol": True,
                "own": {"txn-restart": STUCK, "txn-kill-9": STUCK}}

    def producer(self, **options):
        return ck.Producer(self.common | {"linger.ms": 20, "message.timeout.ms": SECONDS * 1000}
                           | {name.replace("_", "."): value for name, value in options.items()})

    def produce(self, topic, partition, codec, acks, idempotent, max_bytes, auto_create, records):
        producer = self.producer(
            compression_type=codec, acks=acks, enable_idempotence=idempotent,
            message_max_bytes=max_bytes, allow_auto_create_topics=auto_create)
        told = []
        for made in map(serve.record, records):
            producer.produce(
                topic, made["value"], made["key"], partition, timestamp=made["timestamp"],
                headers=made["headers"], on_delivery=lambda *what: told.append(what))
        left = producer.flush(SECONDS)
        for error, _ in told:
            if error:
                raise ck.KafkaException(error)
        if left:
            raise TimeoutError(f"{left} records were not delivered")
        return [] if acks == "0" else [message.offset() for _, message in told]

    def consume(self, topic, partition, count, start, at, then, committed=False):
        consumer = self.consumer(**{
            "isolation.level": "read_committed" if committed else "read_uncommitted"})
        try:
            offset = {"start": ck.OFFSET_BEGINNING, "end": ck.OFFSET_END}.get(start, at)
            if start == "time":
                offset = self.offset_for_time(consumer, topic, partition, at)
            elif start == "end":
                # Resolved now: the assignment alone would ask for it later.
                offset = consumer.get_watermark_offsets(
                    ck.TopicPartition(topic, partition), timeout=SECONDS)[1]
            consumer.assign([ck.TopicPartition(topic, partition, offset)])
            if then:
                self.produce(topic, partition, "none", "all", False, 10**6, False, then)
            found, deadline = [], time.monotonic() + SECONDS
            while len(found) < count:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{len(found)} records came, not {count}")
                message = consumer.poll(0.5)
                if message is not None and message.error():
                    raise ck.KafkaException(message.error())
                if message is not None:
                    found.append(serve.shown(message.offset(), message.timestamp()[1],
                                             message.key(), message.value(), message.headers()))
            return found
        finally:
            consumer.close()

    def consumer(self, **options):
        return ck.Consumer(self.common | {
            "group.id": "unused", "enable.auto.commit": False, "fetch.wait.max.ms": 100} | options)

    def offset_for_time(self, consumer, topic, partition, at):
        wanted = ck.TopicPartition(topic, partition, at)
        [found] = consumer.offsets_for_times([wanted], timeout=SECONDS)
        if found.error:
            raise ck.KafkaException(found.error)
        return found.offset

    def list_offsets(self, topic, partition, at):
        spec = {"earliest": ck_admin.OffsetSpec.earliest, "latest": ck_admin.OffsetSpec.latest}
        spec = spec[at]() if at in spec else ck_admin.OffsetSpec.for_timestamp(at)
        [found] = self.admin.list_offsets({ck.TopicPartition(topic, partition): spec}).values()
        return found.result(SECONDS).offset

    def unknown_topic(self, topic):
        producer = self.producer(allow_auto_create_topics=False,
                                 topic_metadata_propagation_max_ms=1000)
        told = []
        producer.produce(topic, b"x", on_delivery=lambda error, _: told.append(error))
        producer.flush(SECONDS)
        raise ck.KafkaException(told[0])

    def list_topics(self):
        return list(self.admin.list_topics(timeout=SECONDS).topics)

    def describe_topic(self, topic):
        [found] = self.admin.describe_topics(ck.TopicCollection([topic])).values()
        return len(found.result(SECONDS).partitions)

    def create_topic(self, topic, partitions, configs):
        [done] = self.admin.create_topics(
            [ck_admin.NewTopic(topic, partitions, 1, config=configs)]).values()
        done.result(SECONDS)

    def delete_topic(self, topic):
        [done] = self.admin.delete_topics([topic]).values()
        done.result(SECONDS)

    def describe_cluster(self):
        found = self.admin.describe_cluster().result(SECONDS)
        return {"brokers": [{"id": one.id, "host": one.host, "port": one.port}
                            for one in found.nodes],
                "controller": found.controller.id, "cluster_id": found.cluster_id}

    def delete_records(self, topic, partition, offset):
        [done] = self.admin.delete_records([ck.TopicPartition(topic, partition, offset)]).values()
        return done.result(SECONDS).low_watermark

    def create_partitions(self, topic, count):
        [done] = self.admin.create_partitions([ck_admin.NewPartitions(topic, count)]).values()
        done.result(SECONDS)

    def describe_configs(self, topic):
        resource = ck_admin.ConfigResource(ck_admin.ResourceType.TOPIC, topic)
        [found] = self.admin.describe_configs([resource]).values()
        return {name: entry.value for name, entry in found.result(SECONDS).items()}

    def alter_configs(self, topic, configs):
        entries = [ck_admin.ConfigEntry(
            name, value, incremental_operation=ck_admin.AlterConfigOpType.SET)
            for name, value in configs.items()]
        resource = ck_admin.ConfigResource(ck_admin.ResourceType.TOPIC, topic,
                                           incremental_configs=entries)
        [done] = self.admin.incremental_alter_configs([resource]).values()
        done.result(SECONDS)

    def endure(self, topic):
        producer = self.producer(enable_idempotence=True, acks="all", linger_ms=2,
                                 message_timeout_ms=60_000)

        def send(numbers):
            told = []
            for number in numbers:
                producer.produce(
                    topic, b"%d" % number, partition=0, on_delivery=lambda error, message:
                    told.append(None if error else int(message.value())))
            producer.flush(60)
            return [number for number in told if number is not None]
        self.endurance = serve.Endurance(send)

    def endured(self):
        return len(self.endurance.acked)

    def calm(self):
        return self.endurance.calm()

    def join(self, member, group, topics, pattern, instance, cooperative, session, heartbeat, log,
             protocol="classic"):
        ways = {"group.protocol": "consumer"} if protocol == "consumer" else {
            "session.timeout.ms": session, "heartbeat.interval.ms": heartbeat,
            "partition.assignment.strategy": "cooperative-sticky" if cooperative else "range"}
        consumer = ck.Consumer(self.common | ways | {
            "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
            "fetch.wait.max.ms": 100, "topic.metadata.refresh.interval.ms": 1000,
            **({"group.instance.id": instance} if instance else {})})
        self.members.join(member, log, lambda log, over: self.poll(
            consumer, topics or [pattern], log, over))

    @staticmethod
    def poll(consumer, topics, log, over):
        done = {}  # offsets to commit: a rebalance refuses them while it is under way

        def commit():
            offsets = [ck.TopicPartition(*one, offset) for one, offset in done.items()]
            for one in consumer.commit(offsets=offsets, asynchronous=False) if offsets else ():
                if not one.error:
                    del done[one.topic, one.partition]
                elif one.error.code() != ck.KafkaError.REBALANCE_IN_PROGRESS:
                    log.error(one.error)

        def taken(_, partitions):
            with contextlib.suppress(ck.KafkaException):
                commit()
            for one in partitions:
                done.pop((one.topic, one.partition), None)
            log.taken(partitions)

        consumer.subscribe(topics, on_assign=lambda _, given: log.given(given), on_revoke=taken,
                           on_lost=lambda _, lost: (done.clear(), log.taken(lost)))
        while not over.is_set():
            message = consumer.poll(0.1)
            try:
                if message is not None and message.error():
                    raise ck.KafkaException(message.error())
                if message is not None:
                    log.record(message.topic(), message.partition(), message.offset())
                    done[message.topic(), message.partition()] = message.offset() + 1
                commit()
            except ck.KafkaException as error:
                log.error(error)
        consumer.close()

    def leave(self, member):
        self.members.leave(member)

    def with_transactions(self, name):
        producer = self.producer(transactional_id=name, linger_ms=0)
        producer.init_transactions(SECONDS)
        return producer

    def txn_open(self, handle, id):
        self.transactional[handle] = [self.with_transactions(id), False]

    def transact(self, handle, topic, values, end):
        producer, is_begun = self.transactional[handle]
        if not is_begun:
            producer.begin_transaction()
        self.transactional[handle][1] = end == "none"
        for partition, value in values:
            producer.produce(topic, value, partition=partition)
        producer.flush(SECONDS)
        if end != "none":
            act = producer.commit_transaction if end == "commit" else producer.abort_transaction
            act(SECONDS)

    def txn_close(self, handle):
        del self.transactional[handle]

    def copy(self, member, id, group, source, target, session, heartbeat, abort, log):
        aborts = ["once"] if abort else []
        self.members.copy(member, log, lambda log, over: self.copy_job(
            id, source, target, aborts, over, {
                "group.id": group, "isolation.level": "read_committed",
                "session.timeout.ms": session, "heartbeat.interval.ms": heartbeat,
                "auto.offset.reset": "earliest"}))

    def copy_job(self, name, source, target, aborts, over, options):
        producer, consumer = self.with_transactions(name), self.consumer(**options)
        try:
            consumer.subscribe([source])
            while not over.is_set():
                polled = consumer.consume(5, 0.1)
                for one in polled:
                    if one.error():
                        raise ck.KafkaException(one.error())
                if not polled:
                    continue
                producer.begin_transaction()
                for one in polled:
                    producer.produce(target, b"%d" % one.offset(), partition=0)
                at = ck.TopicPartition(source, 0, polled[-1].offset() + 1)
                producer.send_offsets_to_transaction(
                    [at], consumer.consumer_group_metadata(), SECONDS)
                if aborts:
                    aborts.pop()
                    producer.flush(SECONDS)
                    producer.abort_transaction(SECONDS)
                    raise InterruptedError("aborted as it was asked to")
                producer.commit_transaction(SECONDS)
        finally:
            consumer.close()


serve.serve(Client(sys.argv[1]))

"""kafka-python, as the harness asks it."""

import pathlib
import sys
import time

import kafka
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, for_code

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "harness"))
import serve  # noqa: E402

SECONDS = 15
# A member that joins may lose what a SyncGroup gave it if its poll ends meanwhile (README.md).
POLL_MS = 1000


class Client:
    def __init__(self, bootstrap):
        self._bootstrap = bootstrap
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        self._endurance = None
        self._members = serve.Members()
        self._transactional = {}

    def hello(self):
        return {"version": kafka.__version__, "cannot": ["null-headers"],
                "own": {"group-pattern-later": "now and then it does not join again"}}

    def _producer(self, **options):
        return kafka.KafkaProducer(bootstrap_servers=self._bootstrap, **options)

    def produce(self, topic, partition, codec, acks, idempotent, max_bytes, auto_create, records):
        producer = self._producer(
            compression_type=None if codec == "none" else codec, linger_ms=20,
            acks="all" if acks == "all" else int(acks), enable_idempotence=idempotent,
            max_request_size=max_bytes, allow_auto_create_topics=auto_create,
            max_block_ms=SECONDS * 1000)
        try:
            sent = [producer.send(topic, made["value"], made["key"], made["headers"], partition,
                                  made["timestamp"]) for made in map(serve.record, records)]
            told = [one.get(SECONDS) for one in sent]
        finally:
            producer.close(SECONDS)
        return [] if acks == "0" else [one.offset for one in told]

    def _consumer(self, committed=False, **options):
        return kafka.KafkaConsumer(
            bootstrap_servers=self._bootstrap, fetch_max_wait_ms=100, enable_auto_commit=False,
            isolation_level="read_committed" if committed else "read_uncommitted", **options)

    def consume(self, topic, partition, count, start, at, then, committed=False):
        consumer, one = self._consumer(committed), kafka.TopicPartition(topic, partition)
        try:
            consumer.assign([one])
            if start == "start":
                consumer.seek_to_beginning(one)
            elif start == "end":
                consumer.seek_to_end(one)
                consumer.position(one)
            else:
                consumer.seek(one, at if start == "offset"
                              else consumer.offsets_for_times({one: at})[one].offset)
            if then:
                self.produce(topic, partition, "none", "all", False, 10**6, False, then)
            found, deadline = [], time.monotonic() + SECONDS
            while len(found) < count:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{len(found)} records came, not {count}")
                for messages in consumer.poll(timeout_ms=500).values():
                    found += [serve.shown(one.offset, one.timestamp, one.key, one.value,
                                          one.headers) for one in messages]
            return found
        finally:
            consumer.close()

    def list_offsets(self, topic, partition, at):
        one = kafka.TopicPartition(topic, partition)
        spec = {"earliest": -2, "latest": -1}.get(at, at)
        return self._admin.list_partition_offsets({one: spec})[one].offset

    def unknown_topic(self, topic):
        [found] = self._admin.describe_topics([topic])
        if found["error_code"]:
            raise for_code(found["error_code"])(topic)

    def list_topics(self):
        return self._admin.list_topics()

    def describe_topic(self, topic):
        [found] = self._admin.describe_topics([topic])
        return len(found["partitions"])

    def create_topic(self, topic, partitions, configs):
        self._admin.create_topics({topic: {
            "num_partitions": partitions, "replication_factor": 1, "configs": configs}})

    def delete_topic(self, topic):
        self._admin.delete_topics([topic])

    def describe_cluster(self):
        found = self._admin.describe_cluster()
        return {"brokers": [{"id": one["broker_id"], "host": one["host"], "port": one["port"]}
                            for one in found["brokers"]],
                "controller": found["controller_id"], "cluster_id": found["cluster_id"]}

    def delete_records(self, topic, partition, offset):
        one = kafka.TopicPartition(topic, partition)
        found = self._admin.delete_records({one: offset})[one]
        return found["low_watermark"] if isinstance(found, dict) else found.low_watermark

    def create_partitions(self, topic, count):
        self._admin.create_partitions({topic: count})

    def describe_configs(self, topic):
        found = self._admin.describe_configs([ConfigResource("topic", topic)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def alter_configs(self, topic, configs):
        self._admin.alter_configs([ConfigResource("topic", topic, configs)])

    def endure(self, topic):
        producer = self._producer(linger_ms=2, acks="all", delivery_timeout_ms=60_000,
                                  retry_backoff_ms=50)

        def send(numbers):
            sent = [(number, producer.send(topic, b"%d" % number, partition=0))
                    for number in numbers]
            return [number for number, one in sent if one.get(60)]
        self._endurance = serve.Endurance(send)

    def endured(self):
        return len(self._endurance.acked)

    def calm(self):
        return self._endurance.calm()

    def join(self, member, group, topics, pattern, instance, cooperative, session, heartbeat, log):
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=self._bootstrap, group_id=group, group_instance_id=instance,
            auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=100,
            session_timeout_ms=session, heartbeat_interval_ms=heartbeat,
            metadata_max_age_ms=1000 if pattern else 60_000,
            partition_assignment_strategy=[
                CooperativeStickyAssignor if cooperative else RangePartitionAssignor])

        def poll(log, over):
            consumer.subscribe(topics, pattern, Listener(log))
            while not over.is_set():
                try:
                    polled = consumer.poll(timeout_ms=POLL_MS)
                    for one in (one for messages in polled.values() for one in messages):
                        log.record(one.topic, one.partition, one.offset)
                    if polled:
                        consumer.commit()
                except KafkaError as error:
                    log.error(error)
            consumer.close()
        self._members.join(member, log, poll)

    def leave(self, member):
        self._members.leave(member)

    def _with_transactions(self, name):
        producer = self._producer(transactional_id=name, max_block_ms=SECONDS * 1000)
        try:
            producer.init_transactions()
        except BaseException:
            producer.close(0)
            raise
        return producer

    def txn_open(self, handle, id):
        self._transactional[handle] = [self._with_transactions(id), False]

    def transact(self, handle, topic, values, end):
        producer, is_begun = self._transactional[handle]
        if not is_begun:
            producer.begin_transaction()
        self._transactional[handle][1] = end == "none"
        sent = [producer.send(topic, value.encode(), partition=partition)
                for partition, value in values]
        for one in sent:
            one.get(SECONDS)
        if end != "none":
            (producer.commit_transaction if end == "commit" else producer.abort_transaction)()

    def txn_close(self, handle):
        self._transactional.pop(handle)[0].close(5)

    def copy(self, member, id, group, source, target, session, heartbeat, abort, log):
        aborts = ["once"] if abort else []
        self._members.copy(member, log, lambda log, over: self._copy_job(
            id, source, target, aborts, over, {
                "group_id": group, "auto_offset_reset": "earliest", "max_poll_records": 5,
                "session_timeout_ms": session, "heartbeat_interval_ms": heartbeat}))

    def _copy_job(self, name, source, target, aborts, over, options):
        producer = self._with_transactions(name)
        consumer = self._consumer(committed=True, **options)
        try:
            consumer.subscribe([source])
            while not over.is_set():
                for partition, polled in consumer.poll(timeout_ms=POLL_MS).items():
                    producer.begin_transaction()
                    for one in polled:
                        producer.send(target, b"%d" % one.offset, partition=0)
                    at = kafka.OffsetAndMetadata(polled[-1].offset + 1, "", -1)
                    producer.send_offsets_to_transaction({partition: at},
                                                         consumer.group_metadata())
                    if aborts:
                        aborts.pop()
                        producer.flush(SECONDS)
                        producer.abort_transaction()
                        raise InterruptedError("aborted as it was asked to")
                    producer.commit_transaction()
        finally:
            consumer.close()
            producer.close(5)


class Listener(kafka.ConsumerRebalanceListener):
    def __init__(self, log):
        self.log = log

    def on_partitions_assigned(self, given):
        self.log.given(given)

    def on_partitions_revoked(self, taken):
        self.log.taken(taken)


serve.serve(Client(sys.argv[1]))

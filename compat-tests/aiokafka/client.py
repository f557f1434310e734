"""aiokafka, as the harness asks it: one event loop in a thread of its own."""

import asyncio
import pathlib
import sys
import threading

import aiokafka
from aiokafka.admin import (AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete)
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, for_code

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "harness"))
import serve  # noqa: E402

SECONDS = 15


class Client:
    def __init__(self, bootstrap):
        self._bootstrap = bootstrap
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._endurance = None
        self._members = {}
        self._transactional = {}

    def _wait(self, coroutine, seconds=3 * SECONDS):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def hello(self):
        return {"version": aiokafka.__version__, "cannot": ["null-headers"],
                "own": {"group-fencing": "its heartbeats do not name the static member"}}

    async def _producer(self, **options):
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self._bootstrap, **options)
        await producer.start()
        return producer

    def produce(self, **question):
        # Topics are always created by use: it has no word for it, so there is no unknown_topic.
        return self._wait(self._produce(**question))

    async def _produce(self, topic, partition, codec, acks, idempotent, max_bytes, records,
                       auto_create=False):
        producer = await self._producer(
            compression_type=None if codec == "none" else codec, linger_ms=20,
            acks="all" if acks == "all" else int(acks), enable_idempotence=idempotent,
            max_request_size=max_bytes)
        try:
            sent = [await producer.send(
                topic, made["value"], made["key"], partition, made["timestamp"], made["headers"])
                for made in map(serve.record, records)]
            told = await asyncio.wait_for(asyncio.gather(*sent), SECONDS)
        finally:
            await producer.stop()
        return [] if acks == "0" else [one.offset for one in told]

    def consume(self, **question):
        return self._wait(self._consume(**question))

    async def _consume(self, topic, partition, count, start, at, then, committed=False):
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, fetch_max_wait_ms=100,
            isolation_level="read_committed" if committed else "read_uncommitted")
        await consumer.start()
        try:
            one = aiokafka.TopicPartition(topic, partition)
            consumer.assign([one])
            if start == "start":
                await consumer.seek_to_beginning(one)
            elif start == "end":
                await consumer.seek_to_end(one)
            else:
                found = at if start == "offset" else (
                    await consumer.offsets_for_times({one: at}))[one].offset
                consumer.seek(one, found)
            if then:
                await self._produce(topic, partition, "none", "all", False, 10**6, then)
            found = []
            async with asyncio.timeout(SECONDS):
                while len(found) < count:
                    for messages in (await consumer.getmany(timeout_ms=500)).values():
                        found += [serve.shown(one.offset, one.timestamp, one.key, one.value,
                                              one.headers) for one in messages]
            return found
        finally:
            await consumer.stop()

    def list_offsets(self, topic, partition, at):
        async def ask():
            consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
            await consumer.start()
            try:
                one = aiokafka.TopicPartition(topic, partition)
                if at == "earliest":
                    return (await consumer.beginning_offsets([one]))[one]
                if at == "latest":
                    return (await consumer.end_offsets([one]))[one]
                found = (await consumer.offsets_for_times({one: at}))[one]
                return -1 if found is None else found.offset
            finally:
                await consumer.stop()
        return self._wait(ask())

    def _admin(self, act):
        async def run():
            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            await admin.start()
            try:
                return await act(admin)
            finally:
                await admin.close()
        return self._wait(run())

    @staticmethod
    def _check(code, text):
        if code:
            raise for_code(code)(text)

    def list_topics(self):
        return self._admin(lambda admin: admin.list_topics())

    def describe_topic(self, topic):
        [found] = self._admin(lambda admin: admin.describe_topics([topic]))
        return len(found["partitions"])

    def create_topic(self, topic, partitions, configs):
        new = NewTopic(topic, partitions, 1, topic_configs=configs)
        for _, code, *_ in self._admin(lambda admin: admin.create_topics([new])).topic_errors:
            self._check(code, topic)

    def delete_topic(self, topic):
        done = self._admin(lambda admin: admin.delete_topics([topic]))
        for _, code in done.topic_error_codes:
            self._check(code, topic)

    def describe_cluster(self):
        found = self._admin(lambda admin: admin.describe_cluster())
        return {"brokers": [{"id": one["node_id"], "host": one["host"], "port": one["port"]}
                            for one in found["brokers"]],
                "controller": found["controller_id"]}

    def delete_records(self, topic, partition, offset):
        one = aiokafka.TopicPartition(topic, partition)
        return self._admin(lambda admin: admin.delete_records({one: RecordsToDelete(offset)}))[one]

    def create_partitions(self, topic, count):
        new = {topic: NewPartitions(count)}
        for _, code, _ in self._admin(
                lambda admin: admin.create_partitions(new)).topic_errors:
            self._check(code, topic)

    def describe_configs(self, topic):
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic)
        [told] = self._admin(lambda admin: admin.describe_configs([wanted]))
        [(code, text, _, _, entries)] = told.resources
        self._check(code, text)
        return {entry[0]: entry[1] for entry in entries}

    def alter_configs(self, topic, configs):
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        for told in self._admin(lambda admin: admin.alter_configs([wanted])):
            for code, text, *_ in told.resources:
                self._check(code, text)

    def endure(self, topic):
        producer = self._wait(self._producer(linger_ms=2, enable_idempotence=True,
                                             request_timeout_ms=60_000))

        async def burst(numbers):
            sent = [await producer.send(topic, b"%d" % number, partition=0) for number in numbers]
            await asyncio.gather(*sent)
            return list(numbers)
        self._endurance = serve.Endurance(lambda numbers: self._wait(burst(numbers), 60))

    def endured(self):
        return len(self._endurance.acked)

    def calm(self):
        return self._endurance.calm()

    def join(self, member, cooperative, log, **options):
        if cooperative:
            raise serve.Unoffered("client: its rebalances are eager")
        over = asyncio.Event()
        running = asyncio.run_coroutine_threadsafe(
            poll(self._bootstrap, serve.Log(log), over, **options), self._loop)
        self._members[member] = over, running

    def leave(self, member):
        over, running = self._members.pop(member)
        self._loop.call_soon_threadsafe(over.set)
        running.result(20)

    def txn_open(self, handle, id):
        self._transactional[handle] = [self._wait(self._producer(transactional_id=id)), False]

    def transact(self, handle, topic, values, end):
        producer, is_begun = self._transactional[handle]
        self._transactional[handle][1] = end == "none"

        async def run():
            if not is_begun:
                await producer.begin_transaction()
            sent = [await producer.send(topic, value.encode(), partition=partition)
                    for partition, value in values]
            await asyncio.gather(*sent)
            if end != "none":
                await (producer.commit_transaction if end == "commit"
                       else producer.abort_transaction)()
        self._wait(asyncio.wait_for(run(), SECONDS))

    def txn_close(self, handle):
        self._wait(asyncio.wait_for(self._transactional.pop(handle)[0].stop(), 5))

    def copy(self, member, log, abort, **options):
        over = asyncio.Event()
        running = asyncio.run_coroutine_threadsafe(
            copies(self._bootstrap, serve.Log(log), over, ["once"] if abort else [], **options),
            self._loop)
        self._members[member] = over, running


async def poll(bootstrap, log, over, group, topics, pattern, instance, session, heartbeat):
    """A member of a group, until `over`."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, group_instance_id=instance,
        auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=100,
        session_timeout_ms=session, heartbeat_interval_ms=heartbeat,
        metadata_max_age_ms=1000 if pattern else 60_000,
        partition_assignment_strategy=[RangePartitionAssignor])
    listener = Listener(log)
    consumer.subscribe(topics, pattern, listener)
    await consumer.start()
    while not over.is_set():
        try:
            polled = await consumer.getmany(timeout_ms=100)
            async with listener.busy:
                for one in (one for owner, messages in polled.items() for one in messages
                            if owner in listener.owned):
                    log.record(one.topic, one.partition, one.offset)
                if listener.owned.intersection(polled):
                    await consumer.commit()
        except KafkaError as error:
            log.error(error)
    await consumer.stop()


async def copies(bootstrap, log, over, aborts, **options):
    """A copy job, which begins anew whatever goes wrong, until `over`."""
    while not over.is_set():
        try:
            await copy_job(bootstrap, over, aborts, **options)
        except Exception as error:
            log.error(error)
            await asyncio.sleep(0.1)


async def copy_job(bootstrap, over, aborts, id, group, source, target, session, heartbeat):
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=id)
    consumer = aiokafka.AIOKafkaConsumer(
        source, bootstrap_servers=bootstrap, group_id=group, isolation_level="read_committed",
        auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=100,
        session_timeout_ms=session, heartbeat_interval_ms=heartbeat)
    async with producer, consumer:
        while not over.is_set():
            polled = await consumer.getmany(timeout_ms=100, max_records=5)
            for partition, records in polled.items():
                await producer.begin_transaction()
                for one in records:
                    await producer.send(target, b"%d" % one.offset, partition=0)
                await producer.send_offsets_to_transaction(
                    {partition: records[-1].offset + 1}, group)
                if aborts:
                    aborts.pop()
                    await producer.flush()
                    await producer.abort_transaction()
                    raise InterruptedError("aborted as it was asked to")
                await producer.commit_transaction()


class Listener(aiokafka.ConsumerRebalanceListener):
    """Rebalances come while records are processed: they wait until these are committed."""

    def __init__(self, log):
        self.log, self.busy, self.owned = log, asyncio.Lock(), set()

    async def on_partitions_revoked(self, taken):
        async with self.busy:
            self.owned -= set(taken)
            self.log.taken(taken)

    async def on_partitions_assigned(self, given):
        self.owned |= set(given)
        self.log.given(given)


serve.serve(Client(sys.argv[1]))

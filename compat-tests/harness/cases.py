"""What is asked of every client: one function a capability, the same for all of them.

A case ends well, or raises `Failed` with one sentence, or `Needs` with what is missing. Topics
are named by client, case and run, so that a broker may be used again.
"""

import copy
import re
import struct
import time

import raw
import records
from adapter import ClientError, Failed, Needs, check
from records import CODECS, FIRST_TIME, STEP, numbered, record

# Name of each API of which the client's call is useless without the broker's.
API_NAMES = {19: "CreateTopics", 20: "DeleteTopics", 21: "DeleteRecords", 22: "InitProducerId",
             24: "AddPartitionsToTxn", 25: "AddOffsetsToTxn", 26: "EndTxn", 28: "TxnOffsetCommit",
             32: "DescribeConfigs", 33: "AlterConfigs", 37: "CreatePartitions",
             44: "IncrementalAlterConfigs", 60: "DescribeCluster"}
# Kafka's max.message.bytes, and what a batch with one record without key takes beside its value.
LARGEST_BATCH, AROUND_VALUE = 1_048_588, 61 + 11
RAISED = 4_000_000

CASES = {}


def case(name, *apis, calls=()):
    """Registers a case, with the APIs and the calls of the client without which it cannot work."""
    def register(function):
        CASES[name] = (function, apis, calls)
        return function
    return register


# What a client may say that it cannot send, and the records that it then leaves out.
CANNOT = {
    "null-keys": lambda made: made["key"] is None,
    "empty-keys": lambda made: made["key"] == b"",
    "null-values": lambda made: made["value"] is None,
    "empty-values": lambda made: made["value"] == b"",
    "headers": lambda made: made["headers"],
    "null-headers": lambda made: any(value is None for _, value in made["headers"]),
    "empty-headers": lambda made: any(value == b"" for _, value in made["headers"]),
    "repeated-headers": lambda made: len(dict(made["headers"])) < len(made["headers"]),
    "binary-headers": lambda made: any(
        value and not value.isascii() for _, value in made["headers"]),
}


class Subject:
    """A client in front of a broker, with what cases do to both."""

    # Seconds until what a group does not become is a failure.
    patience = 40

    def __init__(self, adapter, broker, run, eyes):
        self.adapter, self.broker, self.run, self.eyes = adapter, broker, run, eyes
        self.name = adapter.name
        self.ask = adapter.ask
        self.hello = {}

    def anew(self):
        """The same with other names of topics and groups."""
        other = copy.copy(self)
        other.run = f"{self.run}-2"
        return other

    def greet(self):
        """What the client says about itself; needed before anything else."""
        self.hello = self.ask("hello")

    def hurried(self, names):
        """The same with little patience, if it is known to get one of these capabilities wrong."""
        if not set(names) & set(self.hello.get("own", ())):
            return self
        hurried = copy.copy(self)
        hurried.patience = 12  # two sessions
        return hurried

    def missing(self, made):
        """Why the client cannot send this record, or None."""
        return next((what for what in self.hello.get("cannot", ()) if CANNOT[what](made)), None)

    def reader(self):
        """Who reads what this client wrote: itself, if it tells empty from null."""
        return self.eyes if self.hello.get("empty_is_null", False) else self.adapter

    def codecs(self):
        """What it can read, whoever wrote it."""
        return self.hello.get("codecs", CODECS)

    def fields(self):
        """What is compared: a client that sends the clock's times is not held to others."""
        timed = self.hello.get("timestamps", True)
        return ("key", "value", "headers", "timestamp")[:None if timed else 3]

    def topic(self, case_name, partitions=1, create=True, configs=()):
        name = f"{self.name}-{case_name}-{self.run}"
        if create:
            raw.create_topic(self.broker.bootstrap, name, partitions, configs)
        return name

    def produce(self, topic, made, partition=0, codec="none", acks="all", idempotent=False,
                auto_create=False):
        """The offsets that the client was told; none with acks=0."""
        for one in made:
            if self.missing(one):
                raise Needs(f"client: cannot send {self.missing(one)}")
        return self.ask(
            "produce", topic=topic, partition=partition, codec=codec, acks=acks,
            idempotent=idempotent, max_bytes=RAISED, auto_create=auto_create,
            records=list(map(records.packed, made)))

    def consume(self, topic, count, partition=0, start="start", at=0, then=(), by=None):
        found = (by or self.adapter).ask(
            "consume", topic=topic, partition=partition, count=count, start=start, at=at,
            then=list(map(records.packed, then)))
        return list(map(records.unpacked, found))

    def expect(self, expected, found):
        wrong = records.difference(expected, found, self.fields())
        check(wrong is None, wrong)

    def stored(self, topic, made, partition=0):
        """The topic holds these records: read by the client, or else by another one."""
        found = self.consume(topic, len(made), partition, by=self.reader())
        self.expect(made, found)
        offsets = [one["offset"] for one in found]
        check(offsets == list(range(len(made))), f"offsets are {offsets}")

    def there_and_back(self, topic, made, **options):
        offsets = self.produce(topic, made, **options)
        expected = [] if options.get("acks") == "0" else list(range(len(made)))
        # A client may have no way to tell offsets.
        check(offsets in (expected, None), f"acknowledged offsets are {offsets}")
        self.stored(topic, made, options.get("partition", 0))

    def first_batch(self, topic):
        """The header of the first batch on the disk, where the disk can be seen."""
        if self.broker.data is None:
            return None
        [log] = (self.broker.data / f"{topic}-0").glob("*.log")
        with open(log, "rb") as file:
            return file.read(61)


def codec_case(codec, acks):
    def run(subject):
        topic = subject.topic(f"{codec}-{acks}")
        subject.there_and_back(topic, numbered(5, size=400), codec=codec, acks=acks)
        header = subject.first_batch(topic)
        if header is not None:
            found = CODECS[header[22] & 7]
            check(found == codec, f"the batch is stored with {found}")
    case(f"{codec}-acks-{acks}")(run)


for codec in CODECS:
    for acks in ("0", "1", "all"):
        codec_case(codec, acks)


@case("idempotent", 22)
def idempotent(subject):
    topic = subject.topic("idempotent")
    subject.there_and_back(topic, numbered(50), idempotent=True)
    header = subject.first_batch(topic)
    if header is not None:
        producer, = struct.unpack_from(">q", header, 43)
        check(producer >= 0, "the batch has no producer id")


@case("headers")
def headers(subject):
    subject.there_and_back(subject.topic("headers"), [
        record(b"order", b"1", [("z", b"1"), ("a", b"2")]),
        record(b"empty", b"2", [("empty", b"")]),
        record(b"bytes", b"3", [("bytes", records.EVERY_BYTE[1:])])])


@case("repeated-headers")
def repeated_headers(subject):
    subject.there_and_back(subject.topic("repeated-headers"), [
        record(b"k", b"1", [("z", b"1"), ("a", b"2"), ("z", b"3"), ("z", b"1")])])


@case("null-headers")
def null_headers(subject):
    subject.there_and_back(subject.topic("null-headers"), [
        record(b"null", b"1", [("null", None)]), record(b"both", b"2", [("x", None), ("y", b"")])])


@case("null-keys")
def null_keys(subject):
    subject.there_and_back(subject.topic("null-keys"), [record(None, b"a"), record(b"k", b"b")])


@case("empty-keys")
def empty_keys(subject):
    subject.there_and_back(subject.topic("empty-keys"), [record(b"", b"a"), record(b"k", b"b")])


@case("tombstones")
def tombstones(subject):
    subject.there_and_back(subject.topic("tombstones"),
                           [record(b"a", b"1"), record(b"a", None), record(b"b", None)])


@case("empty-values")
def empty_values(subject):
    subject.there_and_back(subject.topic("empty-values"), [record(b"a", b""), record(b"", b"")])


@case("timestamps")
def timestamps(subject):
    if not subject.hello.get("timestamps", True):
        raise Needs("client: sends the clock's time")
    times = [FIRST_TIME + 7, FIRST_TIME + 3, FIRST_TIME + 99 * STEP]
    subject.there_and_back(subject.topic("timestamps"),
                           [record(b"k", b"v", timestamp=time) for time in times])


@case("partitions")
def partitions(subject):
    topic = subject.topic("partitions", partitions=3)
    for partition in range(3):
        subject.there_and_back(topic, numbered(3 + partition), partition=partition)


@case("sizes")
def sizes(subject):
    """From one byte to the largest batch that the topic takes."""
    topic = subject.topic("sizes")
    made = [record(None, b"x" * size)
            for size in (1, 100, 1_000, 10_000, 100_000, LARGEST_BATCH - AROUND_VALUE)]
    for number, one in enumerate(made):
        offsets = subject.produce(topic, [one])
        check(offsets in ([number], None), f"{len(one['value'])} B are at {offsets}")
    subject.stored(topic, made)


@case("too-large")
def too_large(subject):
    """One byte more is refused, and the client says so; what follows is taken."""
    topic = subject.topic("too-large")
    expect_error(subject, r"too.?large|message.?size|TooLarge|MSG_SIZE|larger than", lambda: (
        subject.produce(topic, [record(None, b"x" * (LARGEST_BATCH - AROUND_VALUE + 1))])))
    subject.there_and_back(topic, [record(None, b"small")])


def expect_error(subject, pattern, act):
    try:
        given = act()
    except ClientError as error:
        check(re.search(pattern, str(error), re.IGNORECASE), f"the error is {error}")
        return
    raise Failed(f"no error, but {str(given)[:100]}")


@case("unknown-topic", calls=["unknown_topic"])
def unknown_topic(subject):
    """A topic that is not there, asked for without creating it: an error, and no topic."""
    topic = subject.topic("unknown", create=False)
    expect_error(subject, r"unknown.?topic|not host|does not exist|UNKNOWN_PART",
                 lambda: subject.ask("unknown_topic", topic=topic))
    check(topic not in subject.ask("list_topics"), "it was created")


@case("auto-create")
def auto_create(subject):
    topic = subject.topic("auto-create", create=False)
    made = numbered(3)
    subject.there_and_back(topic, made, auto_create=True)


def ten(subject, name):
    topic, made = subject.topic(name), numbered(10)
    subject.produce(topic, made)
    return topic, made


@case("from-start")
def from_start(subject):
    topic, made = ten(subject, "from-start")
    subject.expect(made, subject.consume(topic, 10))


@case("from-end")
def from_end(subject):
    topic, _ = ten(subject, "from-end")
    later = [record(b"later", b"1"), record(b"later", b"2")]
    subject.expect(later, subject.consume(topic, 2, start="end", then=later))


@case("from-offset")
def from_offset(subject):
    topic, made = ten(subject, "from-offset")
    for at in (7, 9, 1):
        found = subject.consume(topic, 10 - at, start="offset", at=at)
        subject.expect(made[at:], found)
        check(found[0]["offset"] == at, f"begins at {found[0]['offset']}, not {at}")


@case("from-time")
def from_time(subject):
    topic, made = subject.topic("from-time"), numbered(10)
    if subject.hello.get("timestamps", True):
        subject.produce(topic, made)
        at = FIRST_TIME + 6 * STEP - 1
    else:
        subject.produce(topic, made[:6])
        time.sleep(0.1)
        at = int(time.time() * 1000)
        subject.produce(topic, made[6:])
    subject.expect(made[6:], subject.consume(topic, 4, start="time", at=at))


@case("list-topics")
def list_topics(subject):
    topic = subject.topic("listed")
    check(topic in subject.ask("list_topics"), "a topic is not in the list")


@case("describe-topic")
def describe_topic(subject):
    topic = subject.topic("described", partitions=4)
    found = subject.ask("describe_topic", topic=topic)
    check(found == 4, f"{found} partitions, not 4")


def described(subject, topic):
    """The number of partitions, or the error."""
    try:
        return subject.ask("describe_topic", topic=topic)
    except ClientError as error:
        return error


@case("create-topic", 19, calls=["create_topic"])
def create_topic(subject):
    topic = subject.topic("created", create=False)
    configs = {"segment.bytes": "2097152"}
    subject.ask("create_topic", topic=topic, partitions=3, configs=configs)
    # With Apache Kafka it is there a moment later.
    deadline = time.monotonic() + 5
    while (found := described(subject, topic)) != 3:
        check(time.monotonic() < deadline, f"{found} partitions, not 3")
        time.sleep(0.1)
    expect_error(subject, r"exist", lambda: subject.ask(
        "create_topic", topic=topic, partitions=3, configs=configs))


@case("delete-topic", 20, calls=["delete_topic"])
def delete_topic(subject):
    topic = subject.topic("deleted")
    subject.ask("delete_topic", topic=topic)
    deadline = time.monotonic() + 5
    while topic in subject.ask("list_topics"):
        check(time.monotonic() < deadline, "it is still there")
        time.sleep(0.1)


@case("describe-cluster")
def describe_cluster(subject):
    found = subject.ask("describe_cluster")
    host, port = subject.broker.bootstrap.rsplit(":", 1)
    brokers = [(one["host"], one["port"]) for one in found["brokers"]]
    if subject.broker.data is not None:
        check(brokers == [(host, int(port))], f"brokers are {brokers}")
    check(brokers, "no brokers")
    ids = [one["id"] for one in found["brokers"]]
    check(found.get("controller", ids[0]) in ids, f"controller {found.get('controller')}")
    cluster_id = found.get("cluster_id", "x" * 22)
    check(len(cluster_id) == 22, f"cluster id {cluster_id}")


@case("list-offsets")
def list_offsets(subject):
    topic = subject.topic("offsets")
    made = numbered(10)
    subject.produce(topic, made)
    wanted = {"earliest": 0, "latest": 10}
    if subject.hello.get("timestamps", True):
        wanted |= {FIRST_TIME: 0, FIRST_TIME + 6 * STEP - 1: 6, FIRST_TIME + 10 * STEP: -1}
    for at, expected in wanted.items():
        found = subject.ask("list_offsets", topic=topic, partition=0, at=at)
        # Some clients say the end where there is no offset for a time.
        end = found == 10 and subject.hello.get("no_offset_is_end", False)
        check(found == expected or expected == -1 and end, f"{at} is at {found}, not {expected}")


@case("delete-records", 21, calls=["delete_records"])
def delete_records(subject):
    topic, made = ten(subject, "shortened")
    start = subject.ask("delete_records", topic=topic, partition=0, offset=4)
    check(start in (4, None), f"the new start is {start}")
    subject.expect(made[4:], subject.consume(topic, 6, by=subject.reader()))


@case("create-partitions", 37, calls=["create_partitions"])
def create_partitions(subject):
    topic = subject.topic("grown", partitions=2)
    subject.ask("create_partitions", topic=topic, count=5)
    deadline = time.monotonic() + 5
    while (found := subject.ask("describe_topic", topic=topic)) != 5:
        check(time.monotonic() < deadline, f"{found} partitions, not 5")
        time.sleep(0.1)
    subject.there_and_back(topic, numbered(3), partition=4)


@case("describe-configs", 32, calls=["describe_configs"])
def describe_configs(subject):
    topic = subject.topic("configs", configs={"retention.ms": "86400000"})
    found = subject.ask("describe_configs", topic=topic)
    check(found.get("retention.ms") == "86400000", f"retention.ms is {found.get('retention.ms')}")
    check(found.get("cleanup.policy") == "delete", f"cleanup is {found.get('cleanup.policy')}")


@case("alter-configs", 32, 33, 44, calls=["alter_configs"])
def alter_configs(subject):
    topic = subject.topic("altered")
    subject.ask("alter_configs", topic=topic, configs={"retention.ms": "123456789"})
    deadline = time.monotonic() + 5
    while (found := subject.ask("describe_configs", topic=topic)
           .get("retention.ms")) != "123456789":
        check(time.monotonic() < deadline, f"retention.ms is {found}")
        time.sleep(0.1)

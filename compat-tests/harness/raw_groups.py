"""More requests by hand: what the broker says about a group, and records for its members.

FindCoordinator v0 says when groups can be formed, DescribeGroups v0 tells members and assignments,
ConsumerGroupDescribe v0 those of consumer groups (KIP-848),
OffsetFetch v1 what is committed; Produce v3 writes to many partitions at once, so that no client's
producer stands between a case and its time.
"""

import struct
import time

import raw
from raw import text

PRODUCE, OFFSET_FETCH, FIND_COORDINATOR, DESCRIBE_GROUPS = 0, 9, 10, 15
CONSUMER_GROUP_DESCRIBE = 69
NOT_LEADER = 6


class Reader:
    """The fields of an answer, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        found, = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return found

    def bytes(self, form):
        length = max(self.take(form), 0)
        self.at += length
        return self.data[self.at - length:self.at]

    def text(self):
        return self.bytes(">h").decode()

    def each(self):
        return range(self.take(">i"))

    # The same in flexible versions; a length is one more than it is, and 0 is null.

    def number(self):
        number, shift = 0, 0
        while True:
            byte = self.take(">B")
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def compact(self):
        length = max(self.number() - 1, 0)
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def each_compact(self):
        return range(self.number() - 1)

    def tags(self):
        for _ in range(self.number()):
            self.number()
            self.at += self.number()


def wait_until_coordinated(bootstrap, seconds=60):
    """Until groups have a coordinator: the first one who asks has to wait for the topic of all."""
    deadline = time.monotonic() + seconds
    while Reader(raw.ask(bootstrap, FIND_COORDINATOR, 0, text("any"))).take(">h"):
        if time.monotonic() > deadline:
            raise TimeoutError("there is no coordinator")
        time.sleep(0.1)


def describe_group(bootstrap, group):
    """The state, and each member's partitions by its id; "" where nobody can say yet."""
    answer = Reader(raw.ask(bootstrap, DESCRIBE_GROUPS, 0, struct.pack(">i", 1) + text(group)))
    [_] = answer.each()
    error = answer.take(">h")
    answer.text()
    state = answer.text()
    answer.text(), answer.text()
    members = {}
    for _ in answer.each():
        member = answer.text()
        answer.text(), answer.text(), answer.bytes(">i")
        members[member] = assigned(answer.bytes(">i"))
    return ("" if error else state), members


def describe_consumer_group(bootstrap, group):
    """The same of a consumer group; "" where there is none of this name."""
    name = varuint(len(group) + 1) + group.encode()
    body = varuint(2) + name + b"\0" + b"\0"
    fields = Reader(raw.ask(bootstrap, CONSUMER_GROUP_DESCRIBE, 0, body, flexible=True))
    fields.take(">i")
    [_] = fields.each_compact()
    error = fields.take(">h")
    fields.compact(), fields.compact()
    state = fields.compact()
    fields.take(">i"), fields.take(">i"), fields.compact()
    members = {}
    for _ in fields.each_compact():
        member = fields.compact()
        fields.compact(), fields.compact(), fields.take(">i")
        fields.compact(), fields.compact()
        for _ in fields.each_compact():
            fields.compact()
        fields.compact()
        members[member] = compactly_assigned(fields)
        compactly_assigned(fields)  # its target
        fields.tags()
    return ("" if error else state), members


def compactly_assigned(fields):
    found = []
    for _ in fields.each_compact():
        fields.at += 16  # the topic's id
        topic = fields.compact()
        found += [(topic, fields.take(">i")) for _ in fields.each_compact()]
        fields.tags()
    fields.tags()
    return found


def assigned(data):
    """The (topic, partition) pairs of an assignment of the consumer's protocol."""
    if not data:
        return []
    fields = Reader(data)
    fields.take(">h")
    found = []
    for _ in fields.each():
        topic = fields.text()
        found += [(topic, fields.take(">i")) for _ in fields.each()]
    return found


def committed(bootstrap, group, partitions):
    """The committed offset of each (topic, partition), -1 where there is none."""
    body = text(group) + struct.pack(">i", len(partitions))
    for topic, partition in partitions:
        body += text(topic) + struct.pack(">ii", 1, partition)
    answer = Reader(raw.ask(bootstrap, OFFSET_FETCH, 1, body))
    found = {}
    for _ in answer.each():
        topic = answer.text()
        for _ in answer.each():
            partition, offset = answer.take(">i"), answer.take(">q")
            answer.text()
            found[topic, partition] = -1 if answer.take(">h") else offset
    return found


def produce(bootstrap, partitions, count, patient=True):
    """Appends `count` records to each (topic, partition), with acks=all."""
    body = struct.pack(">hhii", -1, -1, 10_000, len(partitions))
    records = batch([b"%d" % number for number in range(count)])
    for topic, partition in partitions:
        body += text(topic) + struct.pack(">iii", 1, partition, len(records)) + records
    answer = Reader(raw.ask(bootstrap, PRODUCE, 3, body))
    not_led = []
    for _ in answer.each():
        topic = answer.text()
        for _ in answer.each():
            partition, error = answer.take(">i"), answer.take(">h")
            answer.take(">q"), answer.take(">q")
            if error == NOT_LEADER and patient:
                not_led.append((topic, partition))
            elif error:
                raise ConnectionError(f"produce to {topic}:{partition} says error {error}")
    if not_led:  # With Apache Kafka a topic is told a moment before it can be written to.
        time.sleep(1)
        produce(bootstrap, not_led, count, patient=False)


def batch(values):
    now = int(time.time() * 1000)
    records = b"".join(record(number, value) for number, value in enumerate(values))
    body = struct.pack(">hiqqqhii", 0, len(values) - 1, now, now, -1, -1, -1, len(values))
    body += records
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body


def record(number, value):
    body = b"\0\0" + varint(number) + varint(-1) + varint(len(value)) + value + varint(0)
    return varint(len(body)) + body


def varint(number):
    return varuint(number << 1 ^ number >> 63)


def varuint(number):
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def crc_entry(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


TABLE = list(map(crc_entry, range(256)))

"""A transaction that hangs: its records are in a log, and its coordinator does not know of it.

InitProducerId v0 and Produce v3 by hand, while `transaction.partition.verification.enable` is false: so
a client of before KIP-890 may do it whose AddPartitionsToTxn was overtaken by the transaction's end.
"""

import struct
import time

import raw
import raw_groups
from raw import text
from raw_groups import Reader
from records import FIRST_TIME

PRODUCE, INIT_PRODUCER_ID = 0, 22
TRANSACTIONAL = 0x10
TIMEOUT_MS, SECONDS = 60_000, 30
# The coordinator loads, is not there yet, or is busy with the last transaction.
AGAIN = (14, 15, 16, 51)


def hang(bootstrap, name, topic, partition):
    producer, epoch = producer_of(bootstrap, name)
    records = batch(b"hangs", producer, epoch)
    body = text(name) + struct.pack(">hii", -1, 10_000, 1) + text(topic)
    body += struct.pack(">iii", 1, partition, len(records)) + records
    answer = Reader(raw.ask(bootstrap, PRODUCE, 3, body))
    [_] = answer.each()
    answer.text()
    [_] = answer.each()
    answer.take(">i")
    error = answer.take(">h")
    if error:
        raise ConnectionError(f"produce to {topic}:{partition} says error {error}")


def producer_of(bootstrap, name):
    deadline = time.monotonic() + SECONDS
    while True:
        told = raw.ask(bootstrap, INIT_PRODUCER_ID, 0, text(name) + struct.pack(">i", TIMEOUT_MS))
        _, error, producer, epoch = struct.unpack_from(">ihqh", told)
        if not error:
            return producer, epoch
        if error not in AGAIN or time.monotonic() > deadline:
            raise ConnectionError(f"a producer id for {name} says error {error}")
        time.sleep(0.1)


def batch(value, producer, epoch):
    """One record of a producer, of a time long ago: tools take it for one that hangs."""
    body = struct.pack(">hiqqqhii", TRANSACTIONAL, 0, FIRST_TIME, FIRST_TIME, producer, epoch, 0, 1)
    body += raw_groups.record(0, value)
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, raw_groups.crc32c(body)) + body

"""A raw Fetch: the bytes of a partition's batches, and the list of aborted transactions.

Fetch v10 is the oldest with which brokers give zstd away, and has no flexible fields.
"""

import socket
import struct

from brokers import check

FETCH, VERSION, READ_COMMITTED = 1, 10, 1
BYTES_MAX = 1 << 20


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


class Connection:
    def __init__(self, bootstrap):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 20)

    def exactly(self, count):
        parts = b""
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            check(part, "the broker closed the connection of a raw Fetch")
            parts += part
        return parts

    def fetch(self, topic, partition, offset):
        """Error, high watermark, stable offset, aborted transactions and batches."""
        body = struct.pack(">iiiibiii", -1, 100, 1, BYTES_MAX, READ_COMMITTED, 0, -1, 1)
        body += text(topic)
        body += struct.pack(">iiiqqii", 1, partition, -1, offset, -1, BYTES_MAX, 0)
        head = struct.pack(">hhi", FETCH, VERSION, 7) + text("takeover")
        self.socket.sendall(struct.pack(">i", len(head + body)) + head + body)
        answer = self.exactly(struct.unpack(">i", self.exactly(4))[0])
        at = 4 + 4 + 2 + 4 + 4 + 2 + len(topic) + 4
        _, error, high, stable, _, count = struct.unpack_from(">ihqqqi", answer, at)
        at += 34
        aborted = [struct.unpack_from(">qq", answer, at + 16 * i) for i in range(max(count, 0))]
        at += 16 * max(count, 0)
        [size] = struct.unpack_from(">i", answer, at)
        return error, high, stable, aborted, answer[at + 4:at + 4 + max(size, 0)]


def batches(data):
    """Offset after each whole batch, and its bytes."""
    at = 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from(">qi", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        [delta] = struct.unpack_from(">i", data, at + 23)
        yield base + delta + 1, data[at:end]
        at = end


def read_all(bootstrap, view):
    """By partition: its stable offset, all aborted transactions, and each batch up to there."""
    connection = Connection(bootstrap)
    found = {}
    for name, seen in view.items():
        topic, partition = name.rsplit("-", 1)
        offset, aborted, read = seen["start"], set(), []
        while True:
            error, _, stable, gone, data = connection.fetch(topic, int(partition), offset)
            check(error == 0, f"raw Fetch of {name} at {offset}: error {error}")
            aborted.update(gone)
            if offset >= stable:
                break
            before = offset
            for offset, batch in batches(data):
                read.append(batch.hex())
            check(offset > before, f"raw Fetch of {name} at {offset}: nothing, end is {stable}")
        found[name] = {"stable": stable, "aborted": sorted(aborted), "batches": read}
    connection.socket.close()
    return found

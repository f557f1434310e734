"""Three requests by hand, so that the harness needs no client of its own.

ApiVersions v0 says what a broker has; CreateTopics v2 makes a topic as a case wants it; Metadata v4
says when it can be used, which with Apache Kafka is a moment later.
"""

import contextlib
import socket
import struct
import time

METADATA, API_VERSIONS, CREATE_TOPICS = 3, 18, 19
ALREADY_EXISTS = 36
SECONDS = 30


def ask(bootstrap, api, version, body, flexible=False):
    """The body of the answer to one request with a header of version 1, or of version 2, without
    tags, if the request is a flexible one."""
    host, port = bootstrap.rsplit(":", 1)
    client = b"compat"
    head = struct.pack(">hhih", api, version, 1, len(client)) + client + b"\0" * flexible
    with socket.create_connection((host, int(port)), SECONDS) as stream:
        stream.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        length, = struct.unpack(">i", exactly(stream, 4))
        return exactly(stream, length)[4 + flexible:]


def exactly(stream, count):
    found = b""
    while len(found) < count:
        piece = stream.recv(count - len(found))
        if not piece:
            raise ConnectionError("the broker closed the connection")
        found += piece
    return found


def api_versions(bootstrap):
    """The keys of all APIs that the broker has."""
    answer = ask(bootstrap, API_VERSIONS, 0, b"")
    error, count = struct.unpack_from(">hi", answer)
    if error:
        raise ConnectionError(f"ApiVersions says error {error}")
    return {key for key, _, _ in struct.iter_unpack(">hhh", answer[6:6 + 6 * count])}


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def create_topic(bootstrap, name, partitions=1, configs=()):
    """Creates a topic; one that is there already stays."""
    body = struct.pack(">i", 1) + text(name) + struct.pack(">ihi", partitions, 1, 0)
    body += struct.pack(">i", len(configs))
    body += b"".join(text(key) + text(value) for key, value in dict(configs).items())
    answer = ask(bootstrap, CREATE_TOPICS, 2, body + struct.pack(">i?", 10_000, False))
    at = 8 + 2 + len(name)
    error, = struct.unpack_from(">h", answer, at)
    if error not in (0, ALREADY_EXISTS):
        raise ConnectionError(f"creating {name} says error {error}")
    deadline = time.monotonic() + SECONDS
    while not has_leaders(bootstrap, name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} has no leaders")
        time.sleep(0.02)


def has_leaders(bootstrap, name):
    """Whether clients are told of the topic and of leaders for all its partitions."""
    answer = ask(bootstrap, METADATA, 4, struct.pack(">i", 1) + text(name) + b"\0")
    at = 4

    def take(form):
        nonlocal at
        found, = struct.unpack_from(form, answer, at)
        at += struct.calcsize(form)
        return found

    def skip_text():
        nonlocal at
        length = max(take(">h"), 0)
        at += length

    for _ in range(take(">i")):  # brokers
        take(">i"), skip_text(), take(">i"), skip_text()
    skip_text(), take(">i"), take(">i")  # cluster, controller, number of topics
    errors = [take(">h")]
    skip_text(), take(">b")
    for _ in range(take(">i")):
        errors.append(take(">h"))
        take(">i"), take(">i")
        for _ in range(2):  # replicas, ISR
            count = take(">i")
            at += 4 * count
    return len(errors) > 1 and not any(errors)


def wait_until_ready(bootstrap, seconds=60):
    """An open port is a ready broker."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            api_versions(bootstrap)
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no broker answers at {bootstrap}")
        time.sleep(0.05)

"""Two requests by hand, so that the harness needs no client of its own.

ApiVersions v0 says what a broker has; CreateTopics v2 makes a topic as a case wants it.
"""

import contextlib
import socket
import struct
import time

API_VERSIONS, CREATE_TOPICS = 18, 19
ALREADY_EXISTS = 36
SECONDS = 10


def ask(bootstrap, api, version, body):
    """The body of the answer to one request with a header of version 1."""
    host, port = bootstrap.rsplit(":", 1)
    client = b"compat"
    head = struct.pack(">hhih", api, version, 1, len(client)) + client
    with socket.create_connection((host, int(port)), SECONDS) as stream:
        stream.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        length, = struct.unpack(">i", exactly(stream, 4))
        return exactly(stream, length)[4:]


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


def create_topic(bootstrap, name, partitions=1, configs=()):
    """Creates a topic; one that is there already stays."""
    text = lambda value: struct.pack(">h", len(value)) + value.encode()
    body = struct.pack(">i", 1) + text(name) + struct.pack(">ihi", partitions, 1, 0)
    body += struct.pack(">i", len(configs))
    body += b"".join(text(key) + text(value) for key, value in dict(configs).items())
    answer = ask(bootstrap, CREATE_TOPICS, 2, body + struct.pack(">i?", 10_000, False))
    at = 8 + 2 + len(name)
    error, = struct.unpack_from(">h", answer, at)
    if error not in (0, ALREADY_EXISTS):
        raise ConnectionError(f"creating {name} says error {error}")


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

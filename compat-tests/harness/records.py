"""The records that every client writes and every other one must find again.

A record is a dict: key and value as bytes or None, headers as (name, bytes or None) in order,
timestamp in ms, and offset once it was read. Towards adapters bytes are base64.
"""

import base64

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
# In this order one after the other in what is exchanged: those come last that some cannot read.
EXCHANGED = ["none", "gzip", "lz4", "snappy", "zstd"]
FIRST_TIME = 1_700_000_000_000
STEP = 1_000
EVERY_BYTE = bytes(range(256))


def record(key, value, headers=(), timestamp=FIRST_TIME):
    return {"key": key, "value": value, "headers": list(headers), "timestamp": timestamp}


def numbered(count, size=20):
    """Records that differ, with ascending times."""
    return [record(b"key-%d" % number, b"%d-" % number + b"v" * size,
                   timestamp=FIRST_TIME + number * STEP) for number in range(count)]


# What all of them exchange. A client names the ones that it has no way to send.
SHARED = [
    record(b"key", b"value"),
    record(None, b"a value without key"),
    record(b"tombstone", None),
    record(b"", b""),
    record(b"headers", b"in order", [("z", b"1"), ("a", b"2"), ("z", b"3"), ("z", b"1")]),
    record(b"headers", b"null", [("null", None), ("null", b"not")]),
    record(b"headers", b"empty", [("empty", b"")]),
    record("ключ".encode(), "значение".encode(), [("имя", "слово".encode())]),
    record(EVERY_BYTE[1:], EVERY_BYTE, [("bytes", EVERY_BYTE[1:])]),
    record(b"long", b"0123456789abcdef" * 4096),
]
for number, made in enumerate(SHARED):
    made["timestamp"] = FIRST_TIME + number * STEP


def packed(made):
    """A record as it travels to an adapter."""
    text = lambda data: None if data is None else base64.b64encode(data).decode()
    return {"key": text(made["key"]), "value": text(made["value"]),
            "headers": [[name, text(value)] for name, value in made["headers"]],
            "timestamp": made["timestamp"]}


def unpacked(plain):
    """A record as an adapter tells it."""
    data = lambda text: None if text is None else base64.b64decode(text)
    return {"key": data(plain["key"]), "value": data(plain["value"]),
            "headers": [(name, data(value)) for name, value in plain.get("headers") or []],
            "timestamp": plain["timestamp"], "offset": plain["offset"]}


def empty_as_null(made):
    """The record as a client sees it that does not tell empty from null."""
    return {**made, "key": made["key"] or None, "value": made["value"] or None,
            "headers": [(name, value or None) for name, value in made["headers"]]}


def headers_by_name(made):
    """The record as a client sees it that keeps the order of headers of one name only."""
    return {**made, "headers": sorted(made["headers"], key=lambda pair: pair[0])}


def difference(expected, found, fields=("key", "value", "headers", "timestamp")):
    """One line about the first difference, or None."""
    for number, (left, right) in enumerate(zip(expected, found)):
        for field in fields:
            if left[field] != right[field]:
                return (f"record {number}: {field} is {right[field]!r:.80}, "
                        f"not {left[field]!r:.80}")
    if len(expected) != len(found):
        return f"{len(found)} records, not {len(expected)}"
    return None

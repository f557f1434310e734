"""The records that every writer writes and every reader must find again.

A record is a dict: key and value as bytes or None, headers as (name, bytes or None) in order,
timestamp in ms, and offset once it was read.
"""

FIRST_TIME = 1_700_000_000_000
STEP = 1_000
BYTES = bytes(byte for byte in range(256) if byte not in b"\r\n")


def record(key, value, headers=()):
    return {"key": key, "value": value, "headers": list(headers)}


ANY = [
    record(b"key", b"value"),
    record(None, b"a value without key"),
    record(b"tombstone", None),
    record(None, None),
    record(b"", b""),
    record(b"headers", b"in order", [("z", b"1"), ("a", b"2"), ("z", b"3"), ("z", b"1")]),
    record(b"headers", b"null", [("null", None), ("null", b"not")]),
    record(b"headers", b"empty", [("empty", b""), ("", b"no name")]),
    record("ключ".encode(), "значение".encode(), [("имя", "слово".encode())]),
    record(BYTES, BYTES, [("bytes", BYTES)]),
    record(b"long", b"0123456789abcdef" * 4096),
]
for number, made in enumerate(ANY):
    made["timestamp"] = FIRST_TIME + number * STEP

# Tools that are fed lines cannot write everything; their timestamps are the clock's.
LINES = [record(b"key-%d" % number, b"value-%d " % number + b"-" * 300, [("a", b"1"), ("b", b"2")])
         for number in range(3)]
LINES.append(record(b"tombstone", None, [("a", b"1"), ("b", b"2")]))


def with_offsets(records):
    return [{**made, "offset": offset} for offset, made in enumerate(records)]


def from_hex(plain):
    """A record as the JVM spells it."""
    as_bytes = lambda text: None if text is None else bytes.fromhex(text)
    return {"key": as_bytes(plain["key"]), "value": as_bytes(plain["value"]),
            "headers": [(name, as_bytes(value)) for name, value in plain["headers"]],
            "timestamp": plain["timestamp"], "offset": plain.get("offset")}


def to_hex(made):
    as_text = lambda data: None if data is None else data.hex()
    return {"key": as_text(made["key"]), "value": as_text(made["value"]),
            "headers": [[name, as_text(value)] for name, value in made["headers"]],
            "timestamp": made["timestamp"]}


def difference(expected, found):
    """One line about the first difference, or None."""
    for number, (left, right) in enumerate(zip(expected, found)):
        for field in left:
            if left[field] != right.get(field):
                return (f"record {number}: {field} is {right.get(field)!r:.200}, "
                        f"not {left[field]!r:.200}")
    if len(expected) != len(found):
        return f"{len(found)} records, not {len(expected)}"
    return None

"""Kafka's console tools, which are fed lines and print lines."""

from processes import check

NULL = "(null)"


def write_console(jvm, bootstrap, topic, codec, records):
    lines = b"".join(
        b",".join(b"%s:%s" % (name.encode(), value) for name, value in made["headers"])
        + b"\t" + made["key"] + b"\t"
        + (NULL.encode() if made["value"] is None else made["value"]) + b"\n"
        for made in records)
    jvm.tool("ConsoleProducer", "--bootstrap-server", bootstrap, "--topic", topic,
             "--compression-codec", codec, "--reader-property", "parse.key=true",
             "--reader-property", "parse.headers=true",
             "--reader-property", f"null.marker={NULL}", stdin=lines)


def console_shape(made):
    """A record as the formatter of `read_console` shows it."""
    text = lambda data: NULL.encode() if data is None else data
    headers = b",".join(name.encode() + b":" + text(value) for name, value in made["headers"])
    return b"CreateTime:%d|Offset:%d|%s|%s|%s\n" % (
        made["timestamp"], made["offset"], headers or b"NO_HEADERS", text(made["key"]),
        text(made["value"]))


def read_console(jvm, bootstrap, topic, count):
    properties = {"print.timestamp": "true", "print.offset": "true", "print.headers": "true",
                  "print.key": "true", "key.separator": "|", "null.literal": NULL}
    words = [word for key, value in properties.items()
             for word in ("--formatter-property", f"{key}={value}")]
    return jvm.tool("consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", topic,
                    "--partition", "0", "--offset", "earliest", "--max-messages", str(count),
                    "--timeout-ms", "15000", *words)


def same_text(reader, expected, found):
    if expected != found:
        at = next((n for n, pair in enumerate(zip(expected, found)) if pair[0] != pair[1]),
                  min(len(expected), len(found)))
        near = slice(max(0, at - 40), at + 60)
        check(False, f"{reader} shows {found[near]!r} where {expected[near]!r} was due")

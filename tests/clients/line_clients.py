"""Writers and readers that are fed and print lines: kcat, and Kafka's console tools."""

from processes import check, run

NULL = "(null)"


def write_kcat(bootstrap, topic, codec, records):
    """The records of records.LINES; -Z sends an empty value as null."""
    headers = [word for name, value in records[0]["headers"]
               for word in ("-H", f"{name}={value.decode()}")]
    lines = b"".join(made["key"] + b":" + (made["value"] or b"") + b"\n" for made in records)
    run("kcat", "-b", bootstrap, "-P", "-t", topic, "-p", "0", "-z", codec, "-K", ":", "-Z",
        *headers, stdin=lines)


def kcat_shape(made):
    """A record as the format of `read_kcat` shows it: headers end at a zero byte."""
    headers = b",".join(
        name.encode() + b"=" + (b"NULL" if value is None else value.split(b"\0")[0])
        for name, value in made["headers"])
    length = lambda data: -1 if data is None else len(data)
    return b"%d %d %d %d:%s|%s|%s\n" % (
        made["offset"], made["timestamp"], length(made["key"]), length(made["value"]),
        made["key"] or b"", made["value"] or b"", headers)


def read_kcat(bootstrap, topic):
    return run("kcat", "-b", bootstrap, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e",
               "-q", "-X", "fetch.wait.max.ms=10", "-f", r"%o %T %K %S:%k|%s|%h\n")


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

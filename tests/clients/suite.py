"""Kafka's own tools, dumps and takeovers against a built Ottla; clients are in compat-tests.

Each stage is a method of `Suite` and runs on what the earlier ones left; the first check that
does not hold ends it all.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
import time
import traceback

import codec_oracle
import dumps
import line_clients as lines
import python_clients as python
import tools
import twin_dump
from processes import Failed, Jvm, check, environment
import brokers  # of compat-tests, which `processes` finds
from records import ANY, FIRST_TIME, LINES, STEP, difference, from_hex, to_hex, with_offsets

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Suite:
    def __init__(self, jvm, node, scratch):
        self.jvm, self.node, self.scratch = jvm, node, scratch
        self.bootstrap = node.bootstrap
        self.topics = {}  # what each topic must hold

    def write_java(self, bootstrap, topic, codec, records):
        self.jvm.ask("produce", bootstrap=bootstrap, topic=topic, codec=codec,
                     records=[to_hex(made) for made in records])

    def read_java(self, bootstrap, topics):
        found = self.jvm.ask("consume", bootstrap=bootstrap, topics=topics)
        return {topic: [from_hex(plain) for plain in read] for topic, read in found.items()}

    def write_console(self, *words):
        lines.write_console(self.jvm, *words)

    def admin_tools(self):
        """Kafka's tools for administrators print what they print with Kafka, on nodes of their own."""
        folder = self.scratch / "tools"
        folder.mkdir()

        @contextlib.contextmanager
        def start(session):
            (folder / session).mkdir()
            node = brokers.Ottla(folder / session, self.node.binary)
            node.config |= brokers.KAFKA_ONLY  # as when it was recorded
            if session != "consumers":
                for key in [key for key in node.config if key.startswith("group.consumer.")]:
                    del node.config[key]
            try:
                node.start()
                yield node
            finally:
                node.kill()

        return f"{tools.compare(self.jvm, start, folder)} answers"

    def write(self):
        """Three writers, five codecs, a topic for each pair; topics come into being by use."""
        writers = {"confluent": (python.write_confluent, ANY), "java": (self.write_java, ANY),
                   "console": (self.write_console, LINES)}
        for name, (write, records) in writers.items():
            for codec in CODECS:
                topic = f"{name}-{codec}"
                write(self.bootstrap, topic, codec, records)
                self.topics[topic] = with_offsets(records)

    def read(self):
        """Each of three readers finds what each writer wrote, timestamps included."""
        by_clock = [topic for topic in self.topics if "timestamp" not in self.topics[topic][0]]
        taken = self.read_java(self.bootstrap, by_clock)
        now = time.time() * 1000
        for topic in by_clock:
            for made, found in zip(self.topics[topic], taken[topic]):
                made["timestamp"] = found["timestamp"]
                check(now - 300_000 < found["timestamp"] <= now, f"{topic}: {found['timestamp']}")
        self.compare("confluent-kafka", python.read_confluent)
        self.compare("Java", self.read_java)
        for topic, records in self.topics.items():
            found = lines.read_console(self.jvm, self.bootstrap, topic, len(records))
            lines.same_text(f"the console consumer of {topic}",
                            b"".join(map(lines.console_shape, records)), found)

    def compare(self, reader, read):
        found = read(self.bootstrap, list(self.topics))
        for topic, records in self.topics.items():
            wrong = difference(records, found[topic])
            check(wrong is None, f"{reader} reads {topic}: {wrong}")

    def offsets(self):
        """Offsets by time, from kafka-get-offsets."""
        topic, middle = "java-none", FIRST_TIME + 3 * STEP - 1
        for when, expected in (("earliest", "0"), ("latest", str(len(ANY))), (str(middle), "3"),
                               ("max-timestamp", str(len(ANY) - 1))):
            shown = self.jvm.tool("GetOffsetShell", "--bootstrap-server", self.bootstrap,
                                  "--topic", topic, "--time", when).decode().strip()
            check(shown == f"{topic}:0:{expected}", f"kafka-get-offsets --time {when}: {shown}")

    def perf_test(self):
        """kafka-producer-perf-test, through several segments."""
        self.jvm.tool("TopicCommand", "--bootstrap-server", self.bootstrap, "--create", "--topic",
                      "perf", "--config", "segment.bytes=1048576")
        shown = self.jvm.tool(
            "ProducerPerformance", "--bootstrap-server", self.bootstrap, "--topic", "perf",
            "--num-records", "20000", "--record-size", "200", "--throughput", "-1").decode()
        check("20000 records sent" in shown, f"kafka-producer-perf-test: {shown}")
        [*found] = python.read_confluent(self.bootstrap, ["perf"])["perf"]
        offsets = [one["offset"] for one in found]
        check(offsets == list(range(20000)), f"perf has {len(offsets)} records or gaps")
        segments = len(list((self.node.data / "perf-0").glob("*.log")))
        check(segments >= 4, f"perf has {segments} segments, not at least 4")

    def dump_ours(self):
        """After a clean stop, DumpLogSegments reads every file without complaint."""
        self.node.stop()
        self.dump()
        self.dump_sees_damage()

    def codecs(self):
        """Kafka's generated classes and our codecs read and write the same, every record schema."""
        codec_oracle.agree(self.jvm, os.environ["OTTLA_CODEC"], self.scratch)

    def dump_twins(self):
        """ottla dump-log prints what DumpLogSegments prints, of Kafka's files and of Ottla's."""
        binary = self.node.binary
        twin_dump.stored(self.jvm, binary)
        twin_dump.directory(self.jvm, binary, self.node.data)
        twin_dump.damaged(self.jvm, binary, self.scratch)

    def dump_tool(self, *words):
        return self.jvm.tool("DumpLogSegments", *words)

    def dump(self):
        expected = 20000 + sum(map(len, self.topics.values()))
        found = dumps.dump_everything(self.dump_tool, [self.node.data])
        check(found.records == expected,
              f"DumpLogSegments finds {found.records} records, not {expected}")
        for word in (b"TOPIC_RECORD", b"PARTITION_RECORD", b"FEATURE_LEVEL", b"LeaderChange"):
            check(word in found.metadata, f"the metadata log has no {word.decode()}")

    def dump_sees_damage(self):
        """That `dump` would find a damaged batch and a wrong index: else it proves nothing."""
        log = max(self.node.data.glob("perf-0/*.log"), key=lambda path: path.stat().st_size)
        data = bytearray(log.read_bytes())
        index = bytearray(log.with_suffix(".index").read_bytes())
        data[200] ^= 1  # in the records of the first batch; a base offset is under no checksum
        check(len(index) >= 8, f"{log} is too short to have an index")
        index[7] ^= 1
        folder = self.scratch / "damaged-0"
        folder.mkdir()
        (folder / log.name).write_bytes(data)
        printed = self.dump_tool("--deep-iteration", "--files", str(folder / log.name))
        check(dumps.complaints(printed), "DumpLogSegments did not notice the damaged batch")
        # A wrong position makes it stop; a wrong offset at a right position it does not notice.
        damaged = folder / log.with_suffix(".index").name
        damaged.write_bytes(index)
        self.jvm.tool("DumpLogSegments", "--files", str(damaged), code=1)

    def takeover(self):
        """Apache Kafka starts on the directory, serves the same records and takes new ones."""
        self.jvm.ask("start", config=self.node.config | brokers.KAFKA_ONLY)
        self.compare("Java from Kafka", self.read_java)
        self.compare("confluent-kafka from Kafka", python.read_confluent)
        self.write_java(self.bootstrap, "java-none", "none", ANY)
        self.topics["java-none"] = with_offsets(ANY + ANY)
        self.jvm.tool("TopicCommand", "--bootstrap-server", self.bootstrap, "--create", "--topic",
                      "kafkas-own")
        self.write_java(self.bootstrap, "kafkas-own", "zstd", ANY)
        self.topics["kafkas-own"] = with_offsets(ANY)
        self.jvm.ask("stop")

    def give_back(self):
        """Ottla starts on the directory again, serves the same, and stops cleanly."""
        self.node.start()
        self.compare("Java", self.read_java)
        self.compare("confluent-kafka", python.read_confluent)
        self.write_java(self.bootstrap, "kafkas-own", "none", ANY)
        self.topics["kafkas-own"] = with_offsets(ANY + ANY)
        self.compare("confluent-kafka", python.read_confluent)
        self.node.stop()
        self.dump()
        twin_dump.directory(self.jvm, self.node.binary, self.node.data)


# The last one leaves clients behind: a tool that fails closes none before it exits.
STAGES = [Suite.write, Suite.read, Suite.offsets, Suite.perf_test, Suite.dump_ours,
          Suite.dump_twins, Suite.codecs, Suite.takeover, Suite.give_back, Suite.admin_tools]


def record(session):
    """Writes down what Kafka's tools print with Apache Kafka."""
    jars, _ = environment()
    with tempfile.TemporaryDirectory(prefix="ottla-record-") as scratch:
        scratch = pathlib.Path(scratch)
        node, jvm = brokers.Kafka(scratch, jars), Jvm(jars, scratch)
        try:
            node.start()
            tools.record(session, jvm, node, scratch)
        finally:
            jvm.kill()
            node.kill()


def main():
    jars, binary = environment()
    with tempfile.TemporaryDirectory(prefix="ottla-clients-") as scratch:
        scratch = pathlib.Path(scratch)
        node, jvm = brokers.Ottla(scratch, binary), Jvm(jars, scratch)
        passed = 0
        try:
            node.start()
            suite = Suite(jvm, node, scratch)
            for stage in STAGES:
                since = time.monotonic()
                seen = stage(suite)
                passed += 1
                shown = f"{stage.__doc__} {seen or ''}".strip()
                print(f"{time.monotonic() - since:6.1f} s  {shown}", flush=True)
        except Exception as error:  # a client's own errors are failures too
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
            print(f"FAILED in {stage.__name__}: {error}")
            for log in (node.log, jvm.errors):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")
        finally:
            node.kill()
            jvm.kill()
    print(f"clients: {passed} passed, {len(STAGES) - passed} failed")
    sys.exit(passed != len(STAGES))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        for session in sys.argv[2:] or tools.SESSIONS:
            record(session)
    else:
        main()

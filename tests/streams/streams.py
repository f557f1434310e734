"""Kafka Streams with exactly_once_v2 in front of a broker that is stopped and killed: the output is the
exact answer.

Two instances of one application (`java/Application.java`) count words and join two streams in windows,
while idempotent producers write, the broker is restarted and killed in turns, and so is an instance.
What has to hold of what readers of committed records are given: of each word the counts 1, 2, 3 and so
on to the number of times it was written, each once and in order; and each pair of the join once, none
that is too far apart.

    tests/streams/run [--rounds N] [--seconds-between S] [--broker kafka] [BINARY]
"""

import argparse
import collections
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent.parent / "compat-tests" / "harness"))

import brokers  # noqa: E402
import confluent_kafka as ck  # noqa: E402
import raw  # noqa: E402
from adapter import Failed, check  # noqa: E402

CACHE = pathlib.Path(os.environ["OTTLA_CACHE"])
PARTITIONS, PATIENCE_S = 3, 180
TOPICS = ("lines", "left", "right", "counts", "joined")
WORDS = [f"word-{number}" for number in range(23)]
WINDOW_MS, STEP_MS = 10_000, 1_000
FIRST_TIME = int(time.time() * 1000) - 3_600_000


class Instance:
    """One process of the application; a folder of its own goes with each life."""

    def __init__(self, bootstrap, scratch, number):
        self.bootstrap, self.scratch, self.number = bootstrap, scratch, number
        self.lives, self.process = 0, None

    def start(self):
        folder = self.scratch / f"state-{self.number}-{self.lives}"
        self.lives += 1
        log = open(self.scratch / f"instance-{self.number}.log", "ab")
        self.process = subprocess.Popen(
            ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
             "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{CACHE}/streams/*:{CACHE}/streams",
             "Application", self.bootstrap, folder, str(WINDOW_MS)],
            stdin=subprocess.PIPE, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


class Source:
    """What is written, and what is to come of it."""

    def __init__(self, bootstrap):
        self.producer = ck.Producer({
            "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5,
            "message.timeout.ms": PATIENCE_S * 1000, "reconnect.backoff.max.ms": 200})
        self.counts, self.pairs, self.errors = collections.Counter(), {}, []
        self.random, self.number = random.Random(7), 0

    def told(self, error, _):
        if error:
            self.errors.append(str(error))

    def write(self, count):
        """So many lines, and so many records on both sides of the join; every third pair is too far
        apart."""
        for _ in range(count):
            number, self.number = self.number, self.number + 1
            words = self.random.choices(WORDS, k=4)
            self.counts.update(words)
            at, key = FIRST_TIME + number * STEP_MS, f"key-{number}"
            far = number % 3 == 0
            if not far:
                self.pairs[key] = f"left {number}+right {number}"
            for topic, name, value, time_ms in (
                    ("lines", None, " ".join(words), at), ("left", key, f"left {number}", at),
                    ("right", key, f"right {number}", at + (6 if far else 1) * WINDOW_MS // 2)):
                self.producer.produce(topic, value, name, timestamp=time_ms, on_delivery=self.told)
            self.producer.poll(0)

    def flush(self):
        check(self.producer.flush(PATIENCE_S) == 0, "the producer could not write all")
        check(not self.errors, f"the producer fails: {self.errors[:1]}")


def committed(bootstrap, topic):
    """All committed (key, value) pairs, partition by partition."""
    consumer = ck.Consumer({"bootstrap.servers": bootstrap, "group.id": "unused",
                            "enable.auto.commit": False, "isolation.level": "read_committed",
                            "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    found, left = [], PARTITIONS
    try:
        consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING)
                         for partition in range(PARTITIONS)])
        deadline = time.monotonic() + 60
        while left:
            check(time.monotonic() < deadline, f"{topic} cannot be read to its end")
            one = consumer.poll(1)
            if one is None:
                continue
            if one.error():
                left -= one.error().code() == ck.KafkaError._PARTITION_EOF
            else:
                found.append((one.key().decode(), one.value().decode()))
    finally:
        consumer.close()
    return found


def problem(bootstrap, source):
    """What the output lacks, or has too much of; None when it is the exact answer."""
    counts, pairs = collections.defaultdict(list), collections.defaultdict(list)
    for key, value in committed(bootstrap, "counts"):
        counts[key].append(int(value))
    for key, value in committed(bootstrap, "joined"):
        pairs[key].append(value)
    for word, found in counts.items():
        wrong = next((at for at, one in enumerate(found) if one != at + 1), None)
        check(wrong is None, f"{word} is counted {found[:(wrong or 0) + 1][-5:]} and not in order")
        check(len(found) <= source.counts[word], f"{word} is counted too often: {len(found)}")
    twice = {key: found for key, found in pairs.items() if len(found) > 1}
    check(not twice, f"pairs come twice: {list(twice.items())[:3]}")
    strange = {key: found for key, found in pairs.items() if source.pairs.get(key) != found[0]}
    check(not strange, f"pairs that are none: {list(strange.items())[:3]}")
    missing = sum(source.counts.values()) - sum(map(len, counts.values()))
    if missing or len(pairs) != len(source.pairs):
        return f"{missing} counts and {len(source.pairs) - len(pairs)} pairs are missing"
    return None


def play(options, broker, scratch):
    broker.start()
    for topic in TOPICS:
        raw.create_topic(broker.bootstrap, topic, PARTITIONS)
    source = Source(broker.bootstrap)
    instances = [Instance(broker.bootstrap, scratch, number) for number in (1, 2)]
    try:
        for one in instances:
            one.start()
        source.write(200)
        source.flush()
        wait_for_output(broker, source)
        for number in range(options.rounds):
            since = time.monotonic()
            while time.monotonic() - since < options.seconds_between:
                source.write(20)
                time.sleep(0.1)
            what = ("restart", "kill_and_start", "instance")[number % 3]
            print(f"round {number}: {what}, {source.number} lines so far", flush=True)
            if what == "instance":
                instances[number // 3 % 2].kill()
                instances[number // 3 % 2].start()
            else:
                getattr(broker, what)()
        source.flush()
        wait_for_output(broker, source)
        for one in instances:
            one.stop()
        check(problem(broker.bootstrap, source) is None, "there was more to come")
        return source
    finally:
        for one in instances:
            if one.process is not None and one.process.poll() is None:
                one.kill()
        broker.kill()


def wait_for_output(broker, source):
    deadline = time.monotonic() + PATIENCE_S
    while (told := problem(broker.bootstrap, source)) is not None:
        check(time.monotonic() < deadline, told)
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3, help="faults")
    parser.add_argument("--seconds-between", type=float, default=3)
    parser.add_argument("--broker", choices=["ottla", "kafka"], default="ottla")
    options = parser.parse_args()
    since = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ottla-streams-") as scratch:
        scratch = pathlib.Path(scratch)
        broker = (brokers.Ottla(scratch, os.environ["OTTLA_BIN"]) if options.broker == "ottla"
                  else brokers.Kafka(scratch, CACHE / "jars"))
        try:
            source = play(options, broker, scratch)
        except (Failed, RuntimeError) as reason:
            print(f"streams: FAILED: {reason}")
            for log in sorted(scratch.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-2500:]}")
            sys.exit(1)
    print(f"streams: the exact answer: {sum(source.counts.values())} words and {len(source.pairs)} pairs of "
          f"{source.number}, through {options.rounds} faults, {time.monotonic() - since:.1f} s")


if __name__ == "__main__":
    main()

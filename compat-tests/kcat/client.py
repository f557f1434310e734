"""kcat (librdkafka), as the harness asks it: a process for what is written and for what is read.

Records that differ in headers, or in what is null, are a process each; others go as lines of one.
Times are the clock's, and offsets are not told.
"""

import pathlib
import re
import subprocess
import sys
import threading
from collections import namedtuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "harness"))
import serve  # noqa: E402

SECONDS = 15
# Lengths first, so that keys and values may hold anything; headers have none, but an end.
FORMAT, HEADERS_END = r"%p %o %T %K %S\n%h\x02\x01\n%k%s\n", b"\2\1\n"
BETWEEN, END = b"<key ends>", b"<record ends>"


class Client:
    def __init__(self, bootstrap):
        self.base = ["kcat", "-b", bootstrap, "-m", "10"]
        self.endurance = None
        self.members = {}

    def run(self, *words, stdin=b"", seconds=SECONDS):
        done = subprocess.run([*self.base, *words], input=stdin, capture_output=True,
                              timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace")[-300:])
        return done.stdout

    def hello(self):
        shown = subprocess.run(["kcat", "-V"], capture_output=True, timeout=SECONDS).stdout
        return {"version": re.search(rb"Version (\S+)", shown)[1].decode(), "timestamps": False,
                "own": dict.fromkeys(["group-rolling", "group-rolling-once"],
                                     "records are lost when it is stopped among them")
                | dict.fromkeys(["group-restart", "group-kill-9"],
                                "it ends when it has lost all connections")}

    def produce(self, topic, partition, codec, acks, idempotent, max_bytes, auto_create, records):
        options = ["-P", "-t", topic, "-p", str(partition), "-z", codec, "-D", END,
                   "-X", f"topic.acks={acks}", "-X", f"message.max.bytes={max_bytes}",
                   "-X", f"enable.idempotence={str(idempotent).lower()}",
                   "-X", f"allow.auto.create.topics={str(auto_create).lower()}",
                   "-X", f"message.timeout.ms={SECONDS * 1000}"]
        records = list(map(serve.record, records))
        arguments = [self.arguments(made) for made in records]
        if all(words == arguments[0] for words in arguments):
            arguments, records = arguments[:1], [records]
        else:
            records = [[made] for made in records]
        for words, together in zip(arguments, records):
            self.run(*options, *words, stdin=b"".join(map(self.line, together)))
        return None

    @staticmethod
    def arguments(made):
        words = [] if made["key"] is None else ["-K", BETWEEN]
        for name, value in made["headers"]:
            words += ["-H", name.encode() if value is None else name.encode() + b"=" + value]
        return words + (["-Z"] if made["value"] is None else [])

    @staticmethod
    def line(made):
        key = b"" if made["key"] is None else made["key"] + BETWEEN
        return key + (made["value"] or b"") + END

    def consume(self, topic, partition, count, start, at, then):
        offset = {"start": "beginning", "offset": str(at), "time": f"s@{at}"}.get(start)
        if start == "end":
            # As of now: -o end would be the end of when it has connected.
            offset = str(self.list_offsets(topic, partition, "latest"))
        if then:
            self.produce(topic, partition, "none", "all", False, 10**6, False, then)
        printed = self.run("-C", "-t", topic, "-p", str(partition), "-o", offset, "-c", str(count),
                           "-e", "-q", "-X", "fetch.wait.max.ms=100", "-f", FORMAT)
        found = list(parsed(printed))
        if len(found) != count:
            raise RuntimeError(f"{len(found)} records came, not {count}")
        return found

    def list_offsets(self, topic, partition, at):
        at = {"earliest": "-2", "latest": "-1"}.get(at, at)
        printed = self.run("-Q", "-t", f"{topic}:{partition}:{at}").decode()
        return int(re.search(r"offset (-?\d+)", printed)[1])

    def metadata(self, *words):
        return self.run("-L", *words).decode()

    def unknown_topic(self, topic):
        self.run("-P", "-t", topic, "-X", "allow.auto.create.topics=false", "-X",
                 "topic.metadata.propagation.max.ms=1000", stdin=b"x\n")

    def list_topics(self):
        return re.findall(r'topic "([^"]*)"', self.metadata())

    def describe_topic(self, topic):
        return int(re.search(r'topic "[^"]*" with (\d+) part', self.metadata("-t", topic))[1])

    def describe_cluster(self):
        shown = self.metadata()
        nodes = re.findall(r"broker (\d+) at (\S+):(\d+)(.*)", shown)
        return {"brokers": [{"id": int(one[0]), "host": one[1], "port": int(one[2])}
                            for one in nodes],
                "controller": next(int(one[0]) for one in nodes if "controller" in one[3])}

    def endure(self, topic):
        """Each burst is a run of kcat, which ends well only when all of it is acknowledged."""
        def send(numbers):
            self.run("-P", "-t", topic, "-p", "0", "-X", "topic.acks=all", "-X",
                     "enable.idempotence=true", "-X", "message.timeout.ms=30000", "-E",
                     stdin=b"".join(b"%d\n" % number for number in numbers), seconds=40)
            return list(numbers)
        self.endurance = serve.Endurance(send)

    def endured(self):
        return len(self.endurance.acked)

    def calm(self):
        return self.endurance.calm()

    def join(self, member, group, topics, pattern, instance, cooperative, session, heartbeat, log):
        """A process of kcat, which prints records into the log; it commits by itself, soon."""
        options = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": 50,
                   "session.timeout.ms": session, "heartbeat.interval.ms": heartbeat,
                   "fetch.wait.max.ms": 100, "topic.metadata.refresh.interval.ms": 1000,
                   "partition.assignment.strategy":
                   "cooperative-sticky" if cooperative else "range"}
        if instance:
            options["group.instance.id"] = instance
        words = [word for key, value in options.items() for word in ("-X", f"{key}={value}")]
        process = subprocess.Popen(
            [*self.base, "-G", group, *words, "-u", "-f", r". %t:%p %o\n", *(topics or [pattern])],
            stdin=subprocess.DEVNULL, stdout=open(log, "ab"), stderr=subprocess.PIPE)
        reader = threading.Thread(target=listen, args=(process.stderr, serve.Log(log)))
        reader.start()
        self.members[member] = process, reader

    def leave(self, member):
        process, reader = self.members.pop(member)
        process.terminate()
        process.wait(SECONDS)
        reader.join()


def listen(lines, log):
    """What kcat says on standard error, as lines of the log."""
    for line in lines:
        line = line.decode(errors="replace").rstrip()
        print(line, file=sys.stderr, flush=True)
        if " rebalanced" in line:
            one = namedtuple("one", "topic partition")
            several = [one(*found) for found in re.findall(r"(\S+) \[(\d+)\]", line)]
            (log.taken if "revoke" in line else log.given)(several)
        elif "ERROR" in line or "FATAL" in line:
            log.error(RuntimeError(line))


def parsed(printed):
    """The records of `FORMAT`."""
    at = 0
    while at < len(printed):
        end = printed.index(b"\n", at)
        _, offset, time, key, value = map(int, printed[at:end].split())
        at = printed.index(HEADERS_END, end + 1)
        headers = printed[end + 1:at]
        at += len(HEADERS_END)
        lengths = max(key, 0), max(value, 0)
        keyed, valued = printed[at:at + lengths[0]], printed[at + lengths[0]:at + sum(lengths)]
        at += sum(lengths) + 1
        yield serve.shown(offset, time, None if key < 0 else keyed, None if value < 0 else valued,
                          pairs(headers))


def pairs(text):
    """Headers as kcat prints them; what follows a comma is a name if it looks like one."""
    for pair in filter(None, re.split(rb",(?=[A-Za-z\x80-\xff]+=)", text)):
        name, _, value = pair.partition(b"=")
        yield name.decode(), None if value == b"NULL" else value


serve.serve(Client(sys.argv[1]))

"""The processes of the takeover matrix: Apache Kafka of a version, Ottla, and the Java side.

Whoever serves a directory is given the same server.properties. Kafka's jars come from Maven, are
kept in the cache outside the tree, and the Java side is compiled once for each version.
"""

import hashlib
import json
import os
import pathlib
import selectors
import shutil
import signal
import socket
import subprocess
import time
import zipfile

HERE = pathlib.Path(__file__).parent
CACHE = pathlib.Path(os.environ["OTTLA_CACHE"])
OTTLA = os.environ["OTTLA_BIN"]
PORTS = range(24600, 24700)
START_S, STOP_S, ASK_S = 60, 60, 240
# Versions of kafka-tools-api that stand in where a release has none, and of the tools.
TOOLS = {"4.4.0": "4.3.1"}
JAVA = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class Failed(Exception):
    """A check that did not hold, in one sentence."""


def check(holds, sentence):
    if not holds:
        raise Failed(sentence)


def has_share_groups(version):
    """Whether a version has them by itself, without an unstable feature being asked for."""
    return tuple(map(int, version.split("."))) >= (4, 2)


def jars(version):
    """The folder of a version's jars; fetched at the first use, whole or not there."""
    digest = hashlib.sha256((HERE / "pom.xml").read_bytes()).hexdigest()[:12]
    folder = CACHE / f"kafka-{version}-{digest}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(
            ["mvn", "-B", "-q", "-Dstyle.color=never", "-f", HERE / "pom.xml",
             "dependency:copy-dependencies", f"-DoutputDirectory={folder}",
             f"-Dkafka={version}", f"-Dtools={TOOLS.get(version, version)}"], check=True)
        (folder / "whole").touch()
    return folder


def classes(version):
    """The Java side compiled against a version's jars."""
    sources = sorted((HERE / "java").glob("*.java"))
    if has_share_groups(version):
        sources += sorted((HERE / "java" / "since-4").glob("*.java"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    folder = CACHE / f"takeover-{version}-{digest}"
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        copies = folder / "sources"
        copies.mkdir(parents=True)
        [clients] = jars(version).glob("kafka-clients-*.jar")
        moved = "org/apache/kafka/common/record/internal/FileRecords.class"
        is_moved = moved in zipfile.ZipFile(clients).namelist()
        for source in sources:
            text = source.read_text()
            if is_moved:
                text = text.replace(".record.FileRecords", ".record.internal.FileRecords")
            (copies / source.name).write_text(text)
        subprocess.run(["javac", "-nowarn", "-Xlint:-options", "-d", folder, "-cp",
                        f"{jars(version)}/*", *sorted(copies.glob("*.java"))],
                       check=True, stderr=subprocess.DEVNULL)
        (folder / "whole").touch()
    return folder


def free_ports():
    """Three ports in a row that nobody listens on now: clients, quorum, SASL."""
    def free(port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True
    # Two runs at a time do not take the ports of each other's stopped brokers.
    mine = os.getpid() % 30 * 3
    for port in (*PORTS[mine:-3:3], *PORTS[:mine:3]):
        if all(free(port + step) for step in range(3)):
            return port
    raise Failed(f"no free ports in {PORTS}")


class Home:
    """One log directory or more with their server.properties, and whoever serves them now."""

    def __init__(self, version, scratch, directories):
        self.version, self.scratch = version, pathlib.Path(scratch)
        # The metadata log is in the first one.
        self.dirs = [self.scratch / f"data{number}" for number in range(directories)]
        self.file = self.scratch / "server.properties"
        port = free_ports()
        self.port, self.bootstrap, self.sasl = port, f"127.0.0.1:{port}", f"127.0.0.1:{port + 2}"
        self.plain = f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{port + 1}"
        # Kafka 3.9 with the voters of its configuration (kraft.version 0), later ones without.
        self.is_static = version.startswith("3.")
        self.process = self.output = self.served_by = self.stopped = None
        self.serial = 0
        self.file.write_text("".join(f"{key}={value}\n" for key, value in self.config().items()))

    def config(self):
        voter = f"127.0.0.1:{self.port + 1}"
        quorum = {"controller.quorum.voters": f"1@{voter}"} if self.is_static else {
            "controller.quorum.bootstrap.servers": voter}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"{self.plain},SASL://{self.sasl}",
            "listener.security.protocol.map":
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            **quorum,
            "log.dirs": ",".join(map(str, self.dirs)),
            "metadata.log.dir": str(self.dirs[0]),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config":
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                'user_admin="secret";',
            "delegation.token.secret.key": "secret",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:admin",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "3",
            # Members of consumer groups hear soon of each other.
            "group.consumer.heartbeat.interval.ms": "300",
            "group.consumer.min.heartbeat.interval.ms": "300",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "3",
            # Those that take too long are found soon.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.backoff.ms": "200",
            "log.retention.ms": "-1",
        }

    def spawn(self, who, command, ready, failpoint=None):
        self.serial += 1
        self.served_by = who
        self.output = self.scratch / f"{self.serial}-{who}.log"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=os.environ | ({"OTTLA_FAILPOINT": failpoint} if failpoint else {}))
        deadline = time.monotonic() + START_S
        while not ready():
            check(self.process.poll() is None,
                  f"{who} ended with {self.process.returncode}: {self.tail()}")
            check(time.monotonic() < deadline, f"{who} did not start: {self.tail()}")
            time.sleep(0.05)

    def tail(self):
        return self.output.read_text(errors="replace")[-1500:]

    def answers(self):
        """An open client port is a ready broker, with Kafka as with Ottla."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def start_kafka(self):
        self.spawn("kafka", [*JAVA, "-cp", f"{jars(self.version)}/*", "kafka.Kafka", self.file],
                   self.answers)

    def ottla_command(self, *more):
        overrides = [f"listeners={self.plain}",
                     "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
                     *more]
        return [OTTLA, "--config", self.file,
                *(word for override in overrides for word in ("--override", override))]

    def start_ottla(self, *more, failpoint=None):
        """With a failpoint, a build with debug assertions ends there by itself."""
        self.spawn("ottla", self.ottla_command("ottla.unprotected.loopback=true", *more),
                   self.answers, failpoint)

    def ottla_refuses(self):
        """What Ottla says when nobody asks for a look without protection."""
        ran = subprocess.run(self.ottla_command(), capture_output=True, timeout=START_S)
        said = (ran.stdout + ran.stderr).decode(errors="replace")
        check(ran.returncode == 1, f"Ottla ended with {ran.returncode}: {said[-1500:]}")
        return said

    def stop(self, how="clean"):
        """SIGTERM and a clean end, or SIGKILL."""
        self.stopped = how
        if how == "kill":
            self.process.kill()
            self.process.wait()
        else:
            self.process.send_signal(signal.SIGTERM)
            code = self.process.wait(timeout=STOP_S)
            expected = 143 if self.served_by == "kafka" else 0
            check(code == expected, f"{self.served_by} ended with {code}: {self.tail()}")
        self.process = None

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def format_kafka(self):
        ran = lambda *words: subprocess.run(
            [*JAVA, "-cp", f"{jars(self.version)}/*", "kafka.tools.StorageTool", *words],
            check=True, capture_output=True).stdout.decode()
        cluster = ran("random-uuid").strip()
        ran("format", "-t", cluster, "-c", str(self.file), *([] if self.is_static else ["-s"]))

    def format_ottla(self):
        """Ottla formats no level that its Kafka would not open."""
        overrides = self.scratch / "ottla.properties"
        plain = {**self.config(), "listeners": self.plain,
                 "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"}
        plain.pop("authorizer.class.name")
        overrides.write_text("".join(f"{key}={value}\n" for key, value in plain.items()))
        words = ["-r", "3.9"] if self.is_static else ["--standalone"]
        cluster = subprocess.run([OTTLA, "storage", "random-uuid"], check=True,
                                 capture_output=True).stdout.decode().strip()
        subprocess.run([OTTLA, "storage", "format", "-c", overrides, "-t", cluster, *words],
                       check=True, capture_output=True)


class Java:
    """The Java side with a version's classes: each question is one line of JSON."""

    def __init__(self, version, scratch):
        self.errors = pathlib.Path(scratch) / f"java-{version}.log"
        self.process = subprocess.Popen(
            [*JAVA, "-cp", f"{classes(version)}:{jars(version)}/*", "Main"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.errors, "ab"))
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, op, **fields):
        self.process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        self.process.stdin.flush()
        check(self.ready.select(timeout=ASK_S), f"Java did not answer {op} within {ASK_S} s")
        line = self.process.stdout.readline()
        check(line, f"the Java side ended; see {self.errors}")
        answer = json.loads(line)
        check("error" not in answer, f"Java: {op}: {answer.get('error')}")
        return answer["ok"]

    def end(self):
        self.process.kill()
        self.process.wait()

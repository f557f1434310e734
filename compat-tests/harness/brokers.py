"""The broker under test: Ottla's binary, Apache Kafka from its jars, or one that runs already."""

import contextlib
import os
import pathlib
import socket
import subprocess
import time

import raw
from adapter import check

PORTS = range(int(os.environ.get("OTTLA_COMPAT_PORT", "23300")), 65536)
KAFKA_ONLY = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "6000",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


def free_ports(count):
    found = []
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free ports")


class Running:
    """Somebody else's broker: it is not restarted, and its files are not looked at."""

    data = None
    plays = 24

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.name = f"the broker at {bootstrap}"

    def start(self):
        raw.wait_until_ready(self.bootstrap)

    def kill(self):
        pass


class Local:
    """A node of this machine with a data directory of its own, below `scratch`."""

    # How long a start may take, and the clients' way back to it.
    seconds = 60
    # How many groups it is asked to form at the same time.
    plays = 24

    def __init__(self, scratch):
        scratch = pathlib.Path(scratch)
        self.data, self.log = scratch / "data", scratch / "broker.log"
        broker, controller = free_ports(2)
        self.bootstrap, self.controller = f"127.0.0.1:{broker}", f"127.0.0.1:{controller}"
        self.config = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.controller}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self.controller,
            "log.dirs": str(self.data),
            # The records' times are of 2023.
            "log.retention.ms": "-1",
            # A group's first members need not be waited for.
            "group.initial.rebalance.delay.ms": "0",
            # Members of the consumer protocol do not say how long they may be silent (groups.py).
            "group.consumer.heartbeat.interval.ms": "300",
            "group.consumer.session.timeout.ms": "6000",
        }
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, "ab"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + self.seconds
        while True:
            with contextlib.suppress(OSError):
                raw.api_versions(self.bootstrap)
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")
            time.sleep(0.02)

    def stop(self):
        """A clean stop, or `Failed`."""
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.process = None
        check(code == self.stopped, f"{self.name}'s exit code after SIGTERM is {code}")
        check((self.data / ".kafka_cleanshutdown").exists(), ".kafka_cleanshutdown is missing")

    def restart(self):
        self.stop()
        self.start()

    def kill_and_start(self):
        self.kill()
        self.start()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]


class Ottla(Local):
    """The built binary."""

    name = "Ottla"
    stopped = 0

    def __init__(self, scratch, binary):
        super().__init__(scratch)
        self.binary = binary

    def command(self):
        return [self.binary, *(word for key, value in self.config.items()
                               for word in ("--override", f"{key}={value}"))]


class Kafka(Local):
    """Apache Kafka, as the oracle of the programs: what fails here too is their mistake."""

    name = "Apache Kafka"
    stopped = 143
    seconds = 240  # after a kill it looks through the logs of all topics of all clients
    plays = 6

    def __init__(self, scratch, jars):
        super().__init__(scratch)
        self.jars = jars
        self.config |= KAFKA_ONLY
        self.file = pathlib.Path(scratch) / "server.properties"
        self.file.write_text("".join(f"{key}={value}\n" for key, value in self.config.items()))
        subprocess.run([*self.java(), "kafka.tools.StorageTool", "format", "--standalone", "-c",
                        self.file, "-t", "b3R0bGEtY29tcGF0LXRlcw"], check=True,
                       stdout=open(self.log, "ab"), stderr=subprocess.STDOUT)

    def java(self):
        return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{self.jars}/*"]

    def command(self):
        return [*self.java(), "kafka.Kafka", self.file]

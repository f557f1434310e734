"""The processes of the client tests: Ottla's built binary, and the one JVM with Kafka in it."""

import contextlib
import json
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).parent


class Failed(Exception):
    """A check that did not hold, in one sentence."""


def check(holds, sentence):
    if not holds:
        raise Failed(sentence)


def free_ports(count):
    """Ports from 23100 on that nobody listens on now."""
    found = []
    for port in range(23100, 23201):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise Failed("no free ports between 23100 and 23200")


class Node:
    """One data directory with its addresses, served by Ottla or by Apache Kafka."""

    def __init__(self, binary, directory):
        self.binary = binary
        self.directory = pathlib.Path(directory) / "data"
        self.output = pathlib.Path(directory) / "ottla.log"
        broker, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self.config = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self.directory),
            # The records' times are of 2023.
            "log.retention.ms": "-1",
        }
        self.process = None

    def start(self):
        overrides = [word for key, value in self.config.items()
                     for word in ("--override", f"{key}={value}")]
        before = self.output.stat().st_size if self.output.exists() else 0
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [self.binary, *overrides], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output)
        deadline = time.monotonic() + 20
        while b"Kafka Server started" not in self.output.read_bytes()[before:]:
            check(self.process.poll() is None, f"Ottla ended with {self.process.returncode}")
            check(time.monotonic() < deadline, "Ottla did not start within 20 s")
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        self.process = None
        check(code == 0, f"Ottla's exit code after SIGTERM is {code}")
        check((self.directory / ".kafka_cleanshutdown").exists(), ".kafka_cleanshutdown is missing")

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Jvm:
    """The Java process: each question is one line of JSON, and so is its answer."""

    def __init__(self, jars, directory):
        self.errors = pathlib.Path(directory) / "jvm.log"
        self.printed = pathlib.Path(directory) / "printed"
        classes = pathlib.Path(directory) / "classes"
        run("javac", "-J-XX:TieredStopAtLevel=1", "-nowarn", "-cp", f"{jars}/*", "-d", str(classes),
            *map(str, sorted((HERE / "java").glob("*.java"))), timeout=60)
        self.process = subprocess.Popen(
            ["java", "-Xmx1g", "-Dfile.encoding=UTF-8", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
             "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*:{classes}",
             "Jvm"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.errors, "wb"))
        self.ready = selectors.DefaultSelector()
        self.ready.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, op, **fields):
        question = json.dumps({"op": op, **fields})
        self.process.stdin.write(question.encode() + b"\n")
        self.process.stdin.flush()
        check(self.ready.select(timeout=90), f"Java did not answer within 90 s: {question[:300]}")
        line = self.process.stdout.readline()
        check(line, f"the JVM ended; see {self.errors}")
        answer = json.loads(line)
        check("error" not in answer, f"Java: {answer.get('error')} for {question[:300]}")
        return answer["ok"]

    def tool(self, name, *args, stdin=b"", code=0):
        """What a tool of Kafka's prints, as bytes; its exit code has to be `code`."""
        ran = self.ask("tool", tool=f"org.apache.kafka.tools.{name}", args=list(args),
                       stdin=stdin.hex(), out=str(self.printed))
        out = self.printed.read_bytes()
        shown = f"{out[-1000:].decode(errors='replace')}\n{ran['err'][-2000:]}"
        said = f"{name} {' '.join(args)[:300]}"
        check(ran["code"] == code, f"{said} ended with {ran['code']}:\n{shown}")
        # Who brings a topic into being by use is first told that it is not there.
        complaints = [line for line in ran["err"].split("\n")
                      if ("WARN" in line or "ERROR" in line) and "recoverable" not in line]
        check(code or not complaints, f"{said} complains:\n{shown}")
        return out

    def kill(self):
        self.process.kill()
        self.process.wait()


def run(*command, stdin=b"", timeout=30):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout)
    check(done.returncode == 0,
          f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def venv_has(module):
    try:
        __import__(module)
    except ImportError as error:
        raise Failed(f"{module} is missing: scripts/install-test-tools") from error


def environment():
    """The folder of jars, and Ottla's binary."""
    cache = pathlib.Path(os.environ["OTTLA_CACHE"])
    binary = os.environ["OTTLA_BIN"]
    check(os.access(binary, os.X_OK), f"{binary} is no program: build Ottla first")
    return cache / "jars", binary

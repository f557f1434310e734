"""The one JVM of the client tests, with Kafka in it. The brokers are those of compat-tests."""

import json
import os
import pathlib
import selectors
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent.parent / "compat-tests" / "harness"))

from adapter import Failed, check  # noqa: E402

__all__ = ["HERE", "Failed", "Jvm", "check", "environment", "run", "venv_has"]


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

    def run(self, main, *args, stdin=b""):
        """Exit code, standard output and standard error of a tool of Kafka's."""
        ran = self.ask("tool", tool=main, args=list(args), stdin=stdin.hex(),
                       out=str(self.printed))
        return ran["code"], self.printed.read_bytes(), ran["err"]

    def tool(self, name, *args, stdin=b"", code=0):
        """What a tool prints, as bytes; its exit code has to be `code`."""
        ended, out, err = self.run(f"org.apache.kafka.tools.{name}", *args, stdin=stdin)
        shown = f"{out[-1000:].decode(errors='replace')}\n{err[-2000:]}"
        said = f"{name} {' '.join(args)[:300]}"
        check(ended == code, f"{said} ended with {ended}:\n{shown}")
        # Who brings a topic into being by use is first told that it is not there.
        complaints = [line for line in err.split("\n")
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

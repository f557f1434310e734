"""A client's process: each question is one line of JSON, and so is its answer.

The answer is {"ok": ...}, {"error": "text of the client"}, or {"unoffered": "why"} for what the
client has no call for. What an adapter prints on standard error goes to its log.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading

CLIENTS = pathlib.Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A check that did not hold, in one sentence."""


class ClientError(Failed):
    """What the client told as an error."""


class Needs(Exception):
    """What is missing for a case: a call of the client, an API of the broker, groups."""


def check(holds, sentence):
    if not holds:
        raise Failed(sentence)


class Adapter:
    """One client; its process starts with the first question, and again after it hung."""

    def __init__(self, name, bootstrap, logs):
        self.name = name
        self.bootstrap = bootstrap
        self.log = pathlib.Path(logs) / f"{name}.log"
        self.process = None
        self.lines = None
        self.lock = threading.Lock()

    def start(self):
        self.process = subprocess.Popen(
            [CLIENTS / self.name / "adapter", self.bootstrap], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=open(self.log, "ab"), start_new_session=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.listen, args=(self.process, self.lines), daemon=True).start()

    @staticmethod
    def listen(process, lines):
        for line in process.stdout:
            lines.put(line)
        lines.put(b"")

    def ask(self, op, seconds=30, **fields):
        with self.lock:
            if self.process is None:
                self.start()
            question = json.dumps({"op": op, **fields})
            try:
                self.process.stdin.write(question.encode() + b"\n")
                self.process.stdin.flush()
                line = self.lines.get(timeout=seconds)
            except queue.Empty:
                self.stop()
                raise Failed(f"no answer to {op} within {seconds} s") from None
            except OSError as error:
                self.stop()
                raise Failed(f"the adapter is gone: {error}") from None
            if not line:
                self.stop()
                raise Failed(f"the adapter ended at {op}; see {self.log}")
        answer = json.loads(line)
        if "unoffered" in answer:
            raise Needs(answer["unoffered"])
        if "error" in answer:
            raise ClientError(" ".join(answer["error"].split())[:300])
        return answer["ok"]

    def signal(self, number):
        """To the process, and to those that it has started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def go_on(self):
        self.signal(signal.SIGCONT)

    def stop(self):
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

"""What adapters in Python share: the loop over questions, and bytes as base64.

An adapter gives `serve` an object whose methods are named like the questions. It raises
`Unoffered` for what its client has no call for.
"""

import base64
import json
import os
import sys
import threading
import time

BURST = 20


class Unoffered(Exception):
    """The client has no call for it; the text says what is missing."""


def pack(data):
    return None if data is None else base64.b64encode(data).decode()


def unpack(text):
    return None if text is None else base64.b64decode(text)


def record(made):
    """A record of a question: bytes instead of base64."""
    return {"key": unpack(made["key"]), "value": unpack(made["value"]),
            "headers": [(name, unpack(value)) for name, value in made["headers"]],
            "timestamp": made["timestamp"]}


def shown(offset, timestamp, key, value, headers):
    """A record of an answer."""
    return {"offset": offset, "timestamp": timestamp, "key": pack(key), "value": pack(value),
            "headers": [[name, pack(data)] for name, data in headers or []]}


class Endurance:
    """A producer in a thread of its own: bursts of numbered records, each ack noted.

    `send(numbers)` gives the numbers that were acknowledged; it may raise.
    """

    def __init__(self, send):
        self.send = send
        self.acked = []
        self.errors = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        first = 0
        while not self.over.is_set():
            try:
                self.acked += self.send(range(first, first + BURST))
            except Exception as error:  # a lost burst is no failure; that none comes again is
                self.errors.append(repr(error))
            first += BURST
            time.sleep(0.02)

    def calm(self):
        self.over.set()
        self.thread.join()
        return {"acked": self.acked, "errors": self.errors}


class Log:
    """What happens to a member of a group, in a file that a kill does not take (groups.py)."""

    def __init__(self, path):
        self._file = open(path, "ab", buffering=0)

    def _line(self, mark, text):
        self._file.write(f"{mark} {text}\n".encode())

    def _partitions(self, mark, several):
        self._line(mark, " ".join(f"{one.topic}:{one.partition}" for one in several))

    def given(self, partitions):
        self._partitions("+", partitions)

    def taken(self, partitions):
        self._partitions("-", partitions)

    def record(self, topic, partition, offset):
        self._line(".", f"{topic}:{partition} {offset}")

    def error(self, error):
        self._line("!", " ".join(f"{type(error).__name__} {error}".split()))


class Members:
    """Members of groups, each with a thread of its own that polls until it is to leave.

    `act(log, over)` opens, polls until the event `over`, and closes.
    """

    def __init__(self):
        self._members = {}

    def join(self, member, path, act):
        log, over = Log(path), threading.Event()

        def run():
            try:
                act(log, over)
            except Exception as error:
                log.error(error)
        thread = threading.Thread(target=run, daemon=True)
        self._members[member] = over, thread
        thread.start()

    def copy(self, member, path, job):
        """`job(log, over)` copies until `over`, or until something goes wrong: then it is called anew."""
        def again(log, over):
            while not over.is_set():
                try:
                    job(log, over)
                except Exception as error:
                    log.error(error)
                    time.sleep(0.1)
        self.join(member, path, again)

    def leave(self, member, seconds=20):
        over, thread = self._members.pop(member)
        over.set()
        thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError(f"a member does not leave within {seconds} s")


def serve(client):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        question = json.loads(line)
        op = getattr(client, question.pop("op"), None)
        try:
            if op is None:
                raise Unoffered("client: no such call")
            answer = {"ok": op(**question)}
            if op == client.hello:
                answer["ok"]["calls"] = [name for name in dir(client) if name[0] != "_"]
        except Unoffered as missing:
            answer = {"unoffered": str(missing)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)

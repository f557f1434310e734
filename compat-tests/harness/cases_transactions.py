"""What is asked of clients that have transactions (KIP-98, KIP-890).

A client is asked to open a producer with a transactional id (`txn_open`), to make one transaction with
it (`transact`: so many records, then "commit", "abort", or "none", which leaves it open), and to
close it (`txn_close`). And it is asked for copy jobs (`copy`, ended by `leave`): a member of a group
reads a topic, writes the offset of each record into another topic, and commits its position in the
same transaction, at most five records each. Whatever goes wrong, a job closes what it has open and begins
anew. So the copy is right exactly if it holds 0, 1, 2 and so on, each once and in order.

Needs of the broker: the transactions' requests. What is there is read by the same client, as a
reader of committed records.
"""

import base64
import contextlib
import struct
import threading

import raw
import raw_groups
from adapter import ClientError, Failed, check
from cases import case
from groups import HEARTBEAT, SHORT_SESSION, Group
from raw import text
from raw_groups import Reader

LIST_OFFSETS, LATEST = 2, -1
UNCOMMITTED, COMMITTED = 0, 1
OPEN, COPY = ["txn_open"], ["copy"]
# InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit.
NEEDED = {22: "InitProducerId", 24: "AddPartitionsToTxn", 25: "AddOffsetsToTxn", 26: "EndTxn",
          28: "TxnOffsetCommit"}
# Many transactions of a copy job are before a fault, and some under way.
WARM = 40
PLAYS = {}


def play(*names):
    def register(function):
        PLAYS[names] = function
        return function
    return register


class Producers:
    """Transactional producers of one case; those that are left are closed."""

    def __init__(self, subject):
        self.subject, self.open_ones = subject, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in list(self.open_ones):
            with contextlib.suppress(Failed):
                self.close(handle)

    def open(self, handle, name):
        """`handle` is the producer's name in the client, `name` its transactional id."""
        self.subject.ask("txn_open", handle=self.handle(handle), id=self.handle(name))
        self.open_ones.append(handle)

    def handle(self, name):
        return f"{self.subject.name}-{name}-{self.subject.run}"

    def transact(self, handle, topic, values, end="commit"):
        """`values` are pairs of partition and text."""
        self.subject.ask("transact", handle=self.handle(handle), topic=topic, values=values, end=end)

    def close(self, handle):
        self.open_ones.remove(handle)
        self.subject.ask("txn_close", handle=self.handle(handle))


def committed(subject, topic, count, partition=0):
    """The first so many records that a reader of committed records is given."""
    found = subject.ask(
        "consume", topic=topic, partition=partition, count=count, start="start", at=0, then=[],
        committed=True)
    return [base64.b64decode(one["value"]).decode() for one in found]


def reads(subject, topic, expected, partition=0):
    found = committed(subject, topic, len(expected), partition)
    check(found == expected, f"a reader of committed records sees {found}, not {expected}")


def end_offset(bootstrap, topic, isolation, partition=0):
    """The end of a partition for readers of an isolation level, by ListOffsets v2."""
    body = struct.pack(">ibi", -1, isolation, 1) + text(topic)
    body += struct.pack(">iiq", 1, partition, LATEST)
    answer = Reader(raw.ask(bootstrap, LIST_OFFSETS, 2, body))
    answer.take(">i")
    [_] = answer.each()
    answer.text()
    [_] = answer.each()
    answer.take(">i")
    error = answer.take(">h")
    if error:
        raise ConnectionError(f"the end of {topic} says error {error}")
    answer.take(">q")
    return answer.take(">q")


@case("txn-commit", *NEEDED, calls=OPEN)
def commit(subject):
    """What is committed is read, from all partitions; while it is open it is not."""
    topic = subject.topic("txn-commit", partitions=3)
    end = lambda: end_offset(subject.broker.bootstrap, topic, COMMITTED)  # noqa: E731
    with Producers(subject) as producers:
        producers.open("one", "txn-commit")
        producers.transact("one", topic, [(at % 3, f"{at}") for at in range(9)])
        for partition in range(3):
            reads(subject, topic, [f"{at}" for at in range(partition, 9, 3)], partition)
        producers.transact("one", topic, [(0, "later")], "none")
        raw_groups.produce(subject.broker.bootstrap, [(topic, 0)], 1)
        # Three records and a marker; what stands behind an open transaction waits for its end.
        check(end() == 4, f"with an open transaction committed records end at {end()}, not 4")
        producers.transact("one", topic, [])
        reads(subject, topic, ["0", "3", "6", "later", "0"])


@case("txn-abort", *NEEDED, calls=OPEN)
def abort(subject):
    """What is aborted is not read, and stands in no one's way."""
    topic = subject.topic("txn-abort")
    with Producers(subject) as producers:
        producers.open("one", "txn-abort")
        producers.transact("one", topic, [(0, "aborted"), (0, "aborted, too")], "abort")
        producers.transact("one", topic, [(0, "committed")])
        reads(subject, topic, ["committed"])


@case("txn-several", *NEEDED, calls=OPEN)
def several(subject):
    """Thirty transactions, each right after the one before it, by turns committed and aborted."""
    topic = subject.topic("txn-several", partitions=2)
    with Producers(subject) as producers:
        producers.open("one", "txn-several")
        for number in range(30):
            values = [(partition, f"{number}") for partition in (0, 1)]
            producers.transact("one", topic, values, "abort" if number % 3 == 1 else "commit")
    kept = [f"{number}" for number in range(30) if number % 3 != 1]
    for partition in (0, 1):
        reads(subject, topic, kept, partition)


@case("txn-fencing", *NEEDED, calls=OPEN)
def fencing(subject):
    """A second instance takes over: the first one's open transaction is aborted, and it is told."""
    topic = subject.topic("txn-fencing")
    with Producers(subject) as producers:
        producers.open("first", "txn-fencing")
        producers.transact("first", topic, [(0, "before")])
        producers.transact("first", topic, [(0, "open")], "none")
        producers.open("second", "txn-fencing")
        producers.transact("second", topic, [(0, "of the second")])
        try:
            producers.transact("first", topic, [(0, "too late")])
        except ClientError:
            pass
        else:
            raise Failed("the first instance is told of no error")
        producers.transact("second", topic, [(0, "after")])
        reads(subject, topic, ["before", "of the second", "after"])


class Copy:
    """A copy job: a source, a copy, and members of one group that copy, one at a time."""

    def __init__(self, subject, name):
        self.subject, self.name = subject, name
        self.source = Group(subject, name, partitions=1, session=SHORT_SESSION)
        self.topic = None
        self.jobs = 0
        self.over, self.producer = threading.Event(), None

    def __enter__(self):
        self.topic = self.subject.topic(f"{self.name}-copied")
        return self

    def __exit__(self, *_):
        self.source.__exit__()

    def begin(self, process=None, abort=False):
        """One more job; with `abort` its first transaction is aborted, and made again."""
        group, job = self.source, f"job-{self.jobs}"
        self.jobs += 1
        process = process or self.subject.adapter
        group.files[job] = process.log.parent / f"{group.name}-{job}.seen"
        process.ask("copy", member=f"{group.name}-{job}", id=group.name, group=group.name,
                    source=group.topics[0], target=self.topic, session=self.source.session,
                    heartbeat=HEARTBEAT, abort=abort, log=str(group.files[job]))
        group.members[job] = process
        return job

    def end(self):
        """The offset behind the last record of the source, whoever was told of it."""
        return end_offset(self.source.bootstrap, self.source.topics[0], UNCOMMITTED)

    def position(self):
        partition = (self.source.topics[0], 0)
        return raw_groups.committed(self.source.bootstrap, self.source.name, [partition])[partition]

    def reach(self, wanted):
        """Waits until so many records are copied."""
        def behind():
            found = self.position()
            return None if found >= wanted else f"the job is at {found}, not yet at {wanted}"
        self.source.until(behind)

    def caught_up(self):
        """The copy is whole: each record once and in order."""
        end = self.end()
        self.reach(end)
        found = committed(self.subject, self.topic, end)
        wanted = [f"{at}" for at in range(end)]
        wrong = next((at for at in range(end) if found[at] != wanted[at]), None)
        check(wrong is None, f"not exactly once: record {wrong} of the copy is {found[wrong or 0]}")
        last = end_offset(self.source.bootstrap, self.topic, COMMITTED)
        open_end = end_offset(self.source.bootstrap, self.topic, UNCOMMITTED)
        check(last == open_end, f"committed records end at {last}, all records at {open_end}")

    @contextlib.contextmanager
    def producing(self):
        """Records come all the while, also when the broker goes and comes back."""
        def run():
            while not self.over.wait(0.02):
                with contextlib.suppress(OSError):
                    raw_groups.produce(self.source.bootstrap, [(self.source.topics[0], 0)], 2)
        self.producer = threading.Thread(target=run, daemon=True)
        self.producer.start()
        try:
            yield
        finally:
            self.stop_producing()

    def stop_producing(self):
        self.over.set()
        self.producer.join()


@play("txn-offsets", "txn-offsets-abort")
def offsets(subject):
    """A copy job commits its offsets with what it copies; those of an aborted transaction are not."""
    with Copy(subject, "txn-offsets") as copy:
        copy.source.produce(23)
        job = copy.begin()
        copy.caught_up()
        copy.source.leave(job)
        yield
        copy.source.produce(9)
        job = copy.begin(abort=True)
        copy.caught_up()
        copy.source.leave(job)
    yield


@play("txn-killed")
def killed(subject):
    """A copy job is killed with SIGKILL, and another one with its transactional id goes on."""
    with Copy(subject, "txn-killed") as copy:
        other = copy.source.process()
        with copy.producing():
            job = copy.begin(other)
            copy.reach(WARM)
            other.stop()
            copy.source.members.pop(job)
        job = copy.begin()
        copy.caught_up()
        copy.source.leave(job)
    yield


class Endured:
    """A copy job that lives through a restart of the broker."""

    def __init__(self, subject, fault):
        self.subject = subject
        self.name = f"txn-{fault}"
        self.copy = Copy(subject.hurried([self.name]), self.name)
        self.under_way = contextlib.ExitStack()

    def anew(self, fault):
        return Endured(self.subject.anew(), fault)

    def before(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.copy)
            self.copy.begin()
            stack.enter_context(self.copy.producing())
            self.copy.reach(WARM)
            self.under_way = stack.pop_all()

    def after(self):
        """It goes on, and the copy is whole."""
        with self.under_way:
            self.copy.reach(self.copy.position() + WARM)
            self.copy.stop_producing()
            self.copy.caught_up()

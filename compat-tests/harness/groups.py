"""A consumer group in the hands of a case: members, what they saw, and what the broker says.

A member lives in an adapter's process, from `join` to `leave`, and writes what happens to it into a
file of its own, which outlives a kill; a line each:

    + TOPIC:PARTITION...    it was given these, beside what it had
    - TOPIC:PARTITION...    these were taken from it, or lost
    . TOPIC:PARTITION AT    it processed the record at this offset; only then it commits
    ! TEXT                  the client told an error
"""

import contextlib
import threading
import time

import raw_groups
from adapter import Adapter, Failed, check

# How long a member may be silent, and how soon it hears of a rebalance, in ms. Where members are to
# be missed the session is the shortest that a broker as it comes allows; everywhere else a busy
# machine shall not put them out.
SESSION, SHORT_SESSION, HEARTBEAT = 30_000, 6_000, 300


class Seen:
    """What a member's file says so far."""

    def __init__(self, path):
        self.owned, self.given, self.taken, self.records, self.errors = set(), 0, [], [], []
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        for line in lines:
            mark, _, rest = line.decode(errors="replace").partition(" ")
            words = rest.split()
            if mark == "+":
                self.given += 1
                self.owned |= set(words)
            elif mark == "-":
                self.taken += words
                self.owned -= set(words)
            elif mark == ".":
                self.records.append((words[0], int(words[1])))
            elif mark == "!":
                self.errors.append(rest)


class Group:
    """A group and its topics, for one case of one client; of classic members, if not said."""

    def __init__(self, subject, case, partitions=4, protocol="classic", session=SESSION):
        self.protocol, self.session = protocol, session
        self.subject, self.bootstrap = subject, subject.broker.bootstrap
        self.name = f"of-{subject.topic(case, create=False)}"
        self.topics, self.ends = [], {}
        self.add_topic(case, partitions)
        self.tells = subject.hello.get("tells_partitions", True)
        self.files = {}
        self.members = {}  # those that are in it, with the process of each
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.stop()
        for member in list(self.members):
            with contextlib.suppress(Exception):
                self.leave(member)

    def add_topic(self, case, partitions):
        topic = self.subject.topic(case, partitions=partitions)
        self.topics.append(topic)
        self.ends |= {(topic, partition): 0 for partition in range(partitions)}

    def process(self):
        """One more process of the client, for members that are to be paused or killed."""
        adapter = self.subject.adapter
        self.processes.append(Adapter(adapter.name, self.bootstrap, adapter.log.parent))
        return self.processes[-1]

    def join(self, member, process=None, pattern=None, instance=None, cooperative=False,
             protocol=None):
        process = process or self.subject.adapter
        protocol = protocol or self.protocol
        # Clients that know one protocol only are not asked for it.
        said = {} if protocol == "classic" else {"protocol": protocol}
        self.files[member] = self.subject.adapter.log.parent / f"{self.name}-{member}.seen"
        process.ask("join", member=f"{self.name}-{member}", group=self.name, instance=instance,
                    topics=[] if pattern else self.topics, pattern=pattern, session=self.session,
                    cooperative=cooperative, heartbeat=HEARTBEAT, log=str(self.files[member]),
                    **said)
        self.members[member] = process

    def leave(self, member):
        """The client closes the member, in its own way."""
        process = self.members.pop(member)
        process.ask("leave", seconds=self.subject.patience, member=f"{self.name}-{member}")

    def seen(self, member):
        return Seen(self.files[member])

    def produce(self, count=1):
        """So many records more in each partition."""
        raw_groups.produce(self.bootstrap, list(self.ends), count)
        for partition in self.ends:
            self.ends[partition] += count

    @contextlib.contextmanager
    def producing(self):
        """Records come all the while."""
        over, failed = threading.Event(), []

        def run():
            try:
                while not over.wait(0.05):
                    self.produce()
            except Exception as error:
                failed.append(error)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        check(not failed, f"the harness could not produce: {failed}")

    def settled(self, *members):
        """Waits until these are all members, each partition has one owner, and they know it."""
        self.until(lambda: self.unsettled(members or list(self.members)))

    def unsettled(self, members):
        state, found = self.described()
        if state != "Stable" or len(found) != len(members):
            return (f"{state or 'no'} {self.protocol} group of {len(found)} members, "
                    f"not a stable one of {len(members)}")
        owned = sorted(one for partitions in found.values() for one in partitions)
        if owned != sorted(self.ends):
            return f"the broker tells owners of {owned}"
        idle = [member for member, partitions in found.items() if not partitions]
        if idle and len(members) <= len(self.ends):
            return f"{idle} have no partitions"
        told = sorted(one for member in members for one in self.seen(member).owned)
        if self.tells and told != sorted(self.shown()):
            return f"members tell that they own {told}"
        return None

    def described(self):
        """State and owners in the broker's words, of a group of this protocol."""
        if self.protocol == "consumer":
            return raw_groups.describe_consumer_group(self.bootstrap, self.name)
        return raw_groups.describe_group(self.bootstrap, self.name)

    def shown(self):
        """The partitions as members write them."""
        return [f"{topic}:{partition}" for topic, partition in self.ends]

    def caught_up(self):
        """Waits until each record was processed by somebody."""
        def missing():
            found = {one for member in self.files for one in self.seen(member).records}
            lacking = [(f"{topic}:{partition}", at) for (topic, partition), end in
                       self.ends.items() for at in range(end) if
                       (f"{topic}:{partition}", at) not in found]
            return f"{len(lacking)} records are not seen, the first is {lacking[0]}" if lacking \
                else None
        self.until(missing)

    def once(self):
        """No record was processed twice."""
        found = sorted(one for member in self.files for one in self.seen(member).records)
        twice = [one for one, next_one in zip(found, found[1:]) if one == next_one]
        check(not twice, f"{len(twice)} records are seen twice, the first is {twice[:1]}")

    def committed(self):
        """Waits until all that was produced is committed, in the broker's words."""
        def behind():
            found = raw_groups.committed(self.bootstrap, self.name, list(self.ends))
            return None if found == self.ends else f"committed is {found}, not {self.ends}"
        self.until(behind)

    def calm(self):
        """No member was told of an error."""
        for member in self.files:
            errors = self.seen(member).errors
            check(not errors, f"{member} says {errors[:1]}")

    def until(self, problem):
        """Waits until `problem` gives None."""
        deadline = time.monotonic() + self.subject.patience
        while True:
            try:
                told = problem()
            except OSError as error:  # the broker is away
                told = repr(error)
            if told is None:
                return
            if time.monotonic() > deadline:
                raise Failed(f"{told}; errors: {self.errors()}")
            time.sleep(0.05)

    def errors(self):
        return [error for member in self.files for error in self.seen(member).errors][-2:]

"""Groups whose members are connected all the while: whoever serves the directory, they go on.

Java's consumers (dynamic, static, cooperative, and those of the consumer protocol, KIP-848) read and
commit on threads of their own, kcat as a process (dynamic and static). Their broker stops, another one comes up at the same address, and
none of them is told. What has to hold: each group reads each record once and nothing again, and
who was a member is one, with the same id in the same generation or epoch, without a rebalance.
"""

import collections
import subprocess
import time

from brokers import check

TOPIC, PARTITIONS, COUNT = "live", 4, 10
COOPERATIVE = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
# Name of each member (GROUP-NUMBER), and what is special about it.
JAVA = {"dynamic-1": {}, "dynamic-2": {},
        "static-1": {"group.instance.id": "desk-1"}, "static-2": {"group.instance.id": "desk-2"},
        "cooperative-1": {"partition.assignment.strategy": COOPERATIVE},
        "cooperative-2": {"partition.assignment.strategy": COOPERATIVE}}
# Of versions that have the consumer protocol.
CONSUMER = {"group.protocol": "consumer"}
CONSUMERS = {"consumer-1": CONSUMER, "consumer-2": CONSUMER,
             "desks-1": CONSUMER | {"group.instance.id": "desk-1"},
             "desks-2": CONSUMER | {"group.instance.id": "desk-2"}}
KCAT = {"kcat": {}, "kcat-static": {"group.instance.id": "desk"}}
# librdkafka commits by a clock.
COMMITTED_MS = 100
PATIENCE_S = 60


def group_of(name):
    return name.rpartition("-")[0]


def is_moving(members):
    """Whether members of a consumer group are on their way still; they hear of it one by one."""
    members = list(members)
    owned = sorted(one for member in members for one in member["assigned"])
    return (len({member["generation"] for member in members}) != 1
            or not all(member["assigned"] for member in members)
            or owned != [f"{TOPIC}-{partition}" for partition in range(PARTITIONS)])


class Live:
    """The members of one case."""

    def __init__(self, story):
        self.java, self.home = story.java, story.home
        self.sent, self.processes, self.left = 0, {}, {}
        self.consumers = {} if story.version.startswith("3.") else CONSUMERS

    def ask(self, op, **fields):
        return self.java.ask(op, bootstrap=self.home.bootstrap, topic=TOPIC, **fields)

    def start(self):
        self.ask("members_begin", partitions=PARTITIONS)
        for name, config in (JAVA | self.consumers).items():
            self.join(name, config)
        for group, config in KCAT.items():
            config = {"auto.offset.reset": "earliest", "auto.commit.interval.ms": COMMITTED_MS,
                      "heartbeat.interval.ms": 300, "reconnect.backoff.max.ms": 200, **config}
            words = [word for key, value in config.items() for word in ("-X", f"{key}={value}")]
            command = ["kcat", "-b", self.home.bootstrap, "-E", "-u", "-q", "-f", "%p:%o\\n", *words,
                       "-G", group, TOPIC]
            self.processes[group] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=open(self.printed(group), "wb"),
                stderr=open(self.home.scratch / f"{group}.errors", "wb"))

    def printed(self, group):
        return self.home.scratch / f"{group}.read"

    def join(self, name, config):
        self.ask("members_join", name=name, group=group_of(name), config=config)

    def leave(self, name):
        self.left[name] = self.ask("members_leave", name=name)

    def change_consumers(self):
        """Members of consumer groups leave, one of them for a while, and others come."""
        if self.consumers:
            self.leave("consumer-2")
            self.leave("desks-2")
            self.join("consumer-3", CONSUMERS["consumer-2"])
            self.join("desks-3", CONSUMERS["desks-2"])

    def end(self):
        self.ask("members_end")
        for process in self.processes.values():
            process.kill()
            process.wait()

    def members(self):
        found = self.ask("members")
        errors = {name: member["errors"] for name, member in found.items() if member["errors"]}
        check(not errors, f"members fail: {errors}")
        return found

    def read(self, members):
        """What each group has read."""
        read = collections.defaultdict(list)
        for name, some in self.left.items():
            read[group_of(name)] += some
        for name, member in members.items():
            read[group_of(name)] += member["read"]
        for group, process in self.processes.items():
            said = self.home.scratch / f"{group}.errors"
            check(process.poll() is None, f"{group} ended with {process.returncode}: "
                  f"{said.read_text(errors='replace')[-600:]}")
            read[group] += self.printed(group).read_text().split()
        return read

    def go_on(self, what):
        """More records come, and each group reads all of them, and none twice."""
        self.ask("members_send", partitions=PARTITIONS, count=COUNT)
        self.sent += COUNT
        wanted = sorted(f"{partition}:{offset}" for partition in range(PARTITIONS)
                        for offset in range(self.sent))
        groups = {*map(group_of, JAVA | self.consumers), *KCAT}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            members = self.members()
            read = self.read(members)
            missing = {group: len(set(wanted) - set(read[group])) for group in sorted(groups)}
            moving = [group for group in map(group_of, self.consumers)
                      if is_moving(one for name, one in members.items() if group_of(name) == group)]
            if not any(missing.values()) and not moving:
                break
            check(time.monotonic() < deadline,
                  f"{what}: records are missing: {missing}, {moving} do not settle: {members}")
            time.sleep(0.1)
        for group in sorted(groups):
            again = [one for one, count in collections.Counter(read[group]).items() if count > 1]
            check(not again, f"{what}: {group} reads again: {again[:8]}")
        time.sleep(20 * COMMITTED_MS / 1000)
        return {name: (member["id"], member["generation"], member["assigned"])
                for name, member in members.items()}

    def same(self, before, after, what):
        differ = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
        check(not differ, f"{what}: members are not as they were: {differ}")

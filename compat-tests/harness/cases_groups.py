"""What is asked of every client as member of groups: one function a play, for several capabilities.

A play is a generator: with each `yield` the next of its capabilities is proven. Many plays
run at the same time: they are made of waiting. Needs of the broker: the classic protocol.
"""

import functools
import re
import traceback

import raw_groups
from adapter import Failed, Needs, check
from groups import SHORT_SESSION, Group

APIS = {8: "OffsetCommit", 9: "OffsetFetch", 10: "FindCoordinator", 11: "JoinGroup",
        12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup", 15: "DescribeGroups"}
FENCED = re.compile(r"fenced|same group.instance.id", re.IGNORECASE)
# How the capabilities of members that speak a protocol begin.
PREFIXES = {"classic": "group", "consumer": "consumers"}
# Capability names to the play that proves them.
PLAYS = {}


def play(*names):
    def register(function):
        PLAYS[names] = function
        return function
    return register


def run(act, subject, several, tell):
    """Plays; `tell(name, outcome)` hears of each capability, None for success."""
    left = list(several)
    outcome = Failed("was not asked")
    try:
        for _ in act(subject.hurried(several)):
            tell(left.pop(0), None)
    except (Failed, Needs) as reason:
        outcome = reason
    except Exception as error:  # the harness's own mistake is no success either
        traceback.print_exc()
        outcome = Failed(repr(error))
    for name in left:
        tell(name, outcome)
        if isinstance(outcome, Failed):
            outcome = Failed(f"not reached, because {left[0]} fails")


def together(count, subject, protocol="classic"):
    """So many members share the partitions; each record is processed once, and committed. On a busy
    machine they come too late for one rebalance: clients that give again what they have read before
    a rebalance are not held to "once"."""
    again = "reads_again" in subject.hello
    case = f"{PREFIXES[protocol]}-{count}"
    with Group(subject, case, max(4, count + 2), protocol) as group:
        for number in range(count):
            group.join(f"member-{number}")
        group.settled()
        group.produce(10)
        group.caught_up()
        group.committed()
        if not again:
            group.once()
        group.calm()
        for member in list(group.members):
            group.leave(member)
        # Who comes now has to do with what is new only.
        group.produce(2)
        group.join("later")
        group.caught_up()
        if not again:
            group.once()
    yield


for count in (1, 2, 10):
    play(f"group-{count}")(functools.partial(together, count))


@play("group-rolling", "group-rolling-once")
def rolling(subject):
    """Members come and go while records are produced: each is processed, and not twice."""
    with Group(subject, "group-rolling") as group:
        group.join("first")
        group.settled()
        with group.producing():
            for member in ("second", "third"):
                group.join(member)
                group.settled()
            for member in ("first", "second"):
                group.leave(member)
                group.settled()
        group.caught_up()
        group.committed()
        yield
        group.once()
    yield


@play("group-static", "group-fencing")
def static(subject):
    """A static member comes back, and nobody notices; a second one of its name fences the first."""
    with Group(subject, "group-static") as group:
        for member in ("one", "two"):
            group.join(member, instance=member)
        group.settled()
        group.produce(5)
        group.caught_up()
        group.committed()
        before = {member: group.seen(member) for member in ("one", "two")}
        group.leave("one")
        group.produce(5)
        group.join("one-again", instance="one")
        group.settled()
        group.caught_up()
        group.once()
        owned = group.seen("one-again").owned
        check(owned == before["one"].owned, f"it has {owned}, not {before['one'].owned}")
        after = group.seen("two")
        check(after.given == before["two"].given and not after.taken[len(before["two"].taken):],
              "the other member was rebalanced")
        yield
        group.join("one-more", instance="one")
        with group.producing():
            group.until(lambda: None if any(map(FENCED.search, group.seen("one-again").errors))
                        else "the first one is told of no fence")
        group.settled("one-more", "two")
        group.produce(5)
        group.caught_up()
    yield


@play("group-cooperative")
def cooperative(subject):
    """Only what moves is taken from its owner; the rest goes on."""
    with Group(subject, "group-cooperative") as group:
        group.join("first", cooperative=True)
        group.settled()
        with group.producing():
            group.join("second", cooperative=True)
            group.settled()
        group.caught_up()
        first, second = group.seen("first"), group.seen("second")
        check(len(first.taken) == 2 and set(first.taken) == second.owned,
              f"{first.taken} were taken, for a member with {second.owned}")
        group.once()
    yield


@play("group-paused", "group-killed")
def paused_and_killed(subject, case="group-killed", protocol="classic"):
    """A member is silent for longer than its session, comes back, and is killed with SIGKILL."""
    with Group(subject, case, protocol=protocol, session=SHORT_SESSION) as group:
        other = group.process()
        group.join("stays")
        group.join("other", other)
        group.settled()
        group.produce(5)
        group.caught_up()
        other.pause()
        group.produce(5)
        group.settled("stays")
        group.produce(5)
        other.go_on()
        group.settled("stays", "other")
        group.produce(5)
        group.caught_up()
        group.committed()
        yield
        with group.producing():
            other.stop()
            group.members.pop("other")
            group.settled("stays")
        group.caught_up()
        group.committed()
    yield


@play("group-pattern", "group-pattern-later")
def pattern(subject):
    """Topics by a pattern, also one that is created later; none that does not match."""
    with Group(subject, "group-pattern-a", 2) as group:
        group.add_topic("group-pattern-b", 2)
        other = subject.topic("group-other")
        group.join("member", pattern=f"^{subject.name}-group-pattern-.*{subject.run}$")
        group.settled()
        group.produce(5)
        raw_groups.produce(subject.broker.bootstrap, [(other, 0)], 5)
        group.caught_up()
        group.committed()
        group.once()
        yield
        if "pattern_once" in subject.hello:
            raise Needs(f"client: {subject.hello['pattern_once']}")
        group.add_topic("group-pattern-c", 2)
        group.settled()
        group.produce(5)
        group.caught_up()
    yield


MIXED = "group-mixed"


def mixed(subjects, tell):
    """All clients with the assignor "range" in one group: each gets its share, and processes it."""
    able = []
    for subject in subjects:
        if "assignor" in subject.hello:
            tell(subject, MIXED, Needs(f"client: {subject.hello['assignor']}"))
        elif MIXED in subject.hello.get("own", ()):
            tell(subject, MIXED, Failed("left out: the others cannot go on with it"))
        else:
            able.append(subject)
    if len(able) < 2:
        for subject in able:
            tell(subject, MIXED, Needs("another client"))
        return
    done = set()
    try:
        mix(able, done)
        outcome = None
    except (Failed, Needs, OSError) as reason:
        outcome = reason if isinstance(reason, Failed) else Failed(repr(reason))
    for subject in able:
        tell(subject, MIXED, None if subject in done else outcome)


def mix(subjects, done):
    with Group(subjects[0], MIXED, partitions=len(subjects) + 2) as group:
        group.tells = all(subject.hello.get("tells_partitions", True) for subject in subjects)
        for subject in subjects:
            group.join(subject.name, subject.adapter)
        group.settled()
        group.produce(10)
        group.caught_up()
        group.committed()
        group.once()
        for subject in subjects:
            check(group.seen(subject.name).records, f"{subject.name} processed nothing")
        # They go one by one, and the others take over what they had.
        for subject in subjects[:-1]:
            group.leave(subject.name)
            group.settled()
            group.produce()
            group.caught_up()
            done.add(subject)
        done.add(subjects[-1])


class Endured:
    """A group of a client that lives through a restart of the broker."""

    def __init__(self, subject, fault, protocol="classic"):
        self.subject, self.protocol = subject, protocol
        self.name = f"{PREFIXES[protocol]}-{fault}"
        self.group = Group(subject.hurried([self.name]), self.name, protocol=protocol,
                           session=SHORT_SESSION)

    def anew(self, fault):
        """The same in another group."""
        return Endured(self.subject.anew(), fault, self.protocol)

    def before(self):
        for member in ("one", "two"):
            self.group.join(member)
        self.group.settled()
        self.group.produce(10)
        self.group.caught_up()
        self.group.committed()

    def after(self):
        """Members go on where they were: what was committed is there, and nothing comes twice."""
        self.group.committed()
        self.group.produce(10)
        self.group.caught_up()
        self.group.committed()
        self.group.once()
        for member in list(self.group.members):
            self.group.leave(member)
        self.group.produce(2)
        self.group.join("later")
        self.group.caught_up()
        self.group.once()
        self.group.leave("later")

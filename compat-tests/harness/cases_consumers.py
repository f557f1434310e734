"""What is asked of clients that speak the consumer protocol (KIP-848), where the broker says who
reads what. The plays are those of classic members wherever the question is the same.

Needs of the broker: ConsumerGroupHeartbeat and ConsumerGroupDescribe.
"""

import functools

import cases_groups
from adapter import check
from groups import Group

APIS = {68: "ConsumerGroupHeartbeat", 69: "ConsumerGroupDescribe"}
PLAYS = {}
HELLO = "consumer_protocol"


def play(*names):
    def register(function):
        PLAYS[names] = function
        return function
    return register


for count in (2, 10):
    play(f"consumers-{count}")(functools.partial(cases_groups.together, count,
                                                 protocol="consumer"))


@play("consumers-rolling", "consumers-rolling-once")
def rolling(subject):
    """Members are replaced one by one while records are produced."""
    with Group(subject, "consumers-rolling", protocol="consumer") as group:
        for number in range(3):
            group.join(f"old-{number}")
        group.settled()
        with group.producing():
            for number in range(3):
                group.leave(f"old-{number}")
                group.join(f"new-{number}")
                group.settled()
        group.caught_up()
        group.committed()
        yield
        group.once()
    yield


@play("consumers-static", "consumers-unreleased")
def static(subject):
    """A static member comes back, and nobody notices; nobody comes beside one that has not left."""
    with Group(subject, "consumers-static", protocol="consumer") as group:
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
        after, others = group.seen("two"), before["two"]
        check((after.given, after.taken) == (others.given, others.taken),
              f"the other member was rebalanced: {after.given - others.given} more were given, "
              f"{after.taken} were taken")
        yield
        group.join("one-more", instance="one")
        with group.producing():
            group.until(lambda: None if group.seen("one-more").errors
                        else "the second one is told of no error")
        group.settled("one-again", "two")
        check(not group.seen("one-again").errors, "the first one is told of an error")
        group.produce(5)
        group.caught_up()
    yield


@play("consumers-paused", "consumers-killed")
def paused_and_killed(subject):
    """A member is silent for longer than its session, comes back, and is killed with SIGKILL."""
    yield from cases_groups.paused_and_killed(subject, "consumers-killed", "consumer")


@play("consumers-upgrade", "consumers-downgrade")
def migrated(subject):
    """A running group goes over to the consumer protocol, member by member, and back."""
    with Group(subject, "consumers-upgrade") as group:
        for number in range(2):
            group.join(f"old-{number}")
        group.settled()
        group.protocol = "consumer"
        with group.producing():
            for number in range(2):
                group.join(f"new-{number}")
                group.settled()
                group.leave(f"old-{number}")
                group.settled()
        group.caught_up()
        group.committed()
        yield
        with group.producing():
            for number in range(2):
                group.join(f"back-{number}", protocol="classic")
                group.settled()
                group.leave(f"new-{number}")
                group.protocol = "consumer" if number == 0 else "classic"
                group.settled()
        group.caught_up()
        group.committed()
    yield

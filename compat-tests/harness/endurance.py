"""Restart and kill -9 under way: all clients produce with acks=all, consume in groups, and go on.

One restart of the broker serves all clients at once. Each sends bursts of numbered records; a
burst that fails is not sent again by the harness, only by the client itself. Afterwards each
record that was acknowledged must be there. Each has a group of two members, too: what they had
committed is still committed, and they go on with what comes then, without a record twice. And each that has
transactions has a copy job, which is under way all the while: the copy holds each record once.
"""

import concurrent.futures
import operator
import time

import cases_consumers
import cases_transactions
import table
from adapter import Failed, Needs, check
from cases_groups import PREFIXES, Endured

WARM, AT_ONCE = 100, 2000
NAMES = {"restart": "restart", "kill-9": "kill_and_start"}
BEFORE, AFTER = operator.methodcaller("before"), operator.methodcaller("after")
GROUP_NAMES = [f"{prefix}-{name}" for prefix in (*PREFIXES.values(), "txn") for name in NAMES]


def endure(subjects, broker, name, tell):
    """`tell` hears (client, name, outcome) for each client."""
    lost = {}
    def of_group(group, outcome):
        if is_race(group.subject, group.name, outcome):
            lost[group] = outcome
        else:
            tell(group.subject, group.name, outcome)

    main = [subject for subject in subjects if subject.name in table.COLUMNS]
    grouped = [Endured(subject, name) for subject in main]
    grouped += [Endured(subject, name, "consumer") for subject in subjects
                if subject.hello.get(cases_consumers.HELLO)]
    grouped += [cases_transactions.Endured(subject, name) for subject in main
                if is_copier(subject, name, tell)]
    of_groups(grouped, of_group, BEFORE)
    going = {}
    for subject in main:
        try:
            topic = subject.topic(name)
            subject.ask("endure", topic=topic)
            going[subject] = topic
        except (Failed, Needs) as reason:
            tell(subject, name, reason)
    progress(going, name, tell, dict.fromkeys(going, WARM), broker.seconds)
    getattr(broker, NAMES[name])()
    # What was under way may still be told; more than that is a producer that goes on.
    after = {subject: subject.ask("endured") + WARM for subject in going}
    progress(going, name, tell, after, broker.seconds)
    for subject, topic in going.items():
        try:
            everything_is_there(subject, topic)
            tell(subject, name, None)
        except (Failed, Needs) as reason:
            tell(subject, name, reason)
    of_groups(grouped, of_group, AFTER)
    for group in grouped:
        tell(group.subject, group.name, None)
    if lost:
        once_more(lost, broker, name, tell)


def is_copier(subject, name, tell):
    """Whether the client can copy in transactions; one that cannot is told."""
    case = f"txn-{name}"
    if "copy" not in subject.hello["calls"]:
        tell(subject, case, Needs("client: no copy"))
    elif case in subject.hello.get("own", ()):
        # Its job would stand still, and hold up whoever waits for its end.
        tell(subject, case, Failed("left out"))
    else:
        return True
    return False


def is_race(subject, case, outcome):
    """Whether a client may have lost a race of its own. What was committed is not lost by one, and
    nothing is copied twice."""
    return (isinstance(outcome, Failed) and case not in subject.hello.get("own", ())
            and not any(one in str(outcome) for one in ("committed is", "not exactly once")))


def once_more(lost, broker, name, tell):
    """The groups that failed have another restart, and it is said so."""
    def told(group, outcome):
        tell(group.subject, group.name, outcome)

    for group, reason in lost.items():
        print(f"again {group.subject.name} {group.name}: {str(reason)[:200]}", flush=True)
    grouped = [group.anew(name) for group in lost]
    of_groups(grouped, told, BEFORE)
    getattr(broker, NAMES[name])()
    of_groups(grouped, told, AFTER)
    for group in grouped:
        told(group, None)


def of_groups(grouped, tell, act):
    """With all groups at the same time; those that fail are told, and out."""
    def one(group):
        try:
            act(group)
        except (Failed, Needs) as reason:
            grouped.remove(group)
            tell(group, reason)
    with concurrent.futures.ThreadPoolExecutor(max(1, len(grouped))) as pool:
        list(pool.map(one, list(grouped)))


def progress(going, name, tell, wanted, seconds):
    """Waits until each has had so many acknowledgements; who does not is out."""
    deadline = time.monotonic() + seconds
    for subject in list(going):
        try:
            while (count := subject.ask("endured")) < wanted[subject]:
                check(time.monotonic() < deadline,
                      f"{count} acknowledgements, {wanted[subject]} expected")
                time.sleep(0.05)
        except (Failed, Needs) as reason:
            del going[subject]
            tell(subject, name, reason)


def everything_is_there(subject, topic):
    acked = subject.ask("calm", 60)["acked"]
    reader = subject.reader()
    end = reader.ask("list_offsets", topic=topic, partition=0, at="latest")
    numbers = []
    while (at := len(numbers)) < end:  # in pieces: a client's patience is that of the other cases
        read = subject.consume(topic, min(AT_ONCE, end - at), start="offset", at=at, by=reader)
        numbers += [int(one["value"]) for one in read]
    lost = sorted(set(acked) - set(numbers))
    check(not lost, f"{len(lost)} acknowledged records are lost, the first is {lost[:1]}")
    if subject.hello.get("idempotent", True):
        check(numbers == sorted(set(numbers)), "records are there twice, or out of order")

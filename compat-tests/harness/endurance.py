"""Restart and kill -9 under way: all clients produce with acks=all, and go on.

One restart of the broker serves all clients at once. Each sends bursts of numbered records; a
burst that fails is not sent again by the harness, only by the client itself. Afterwards each
record that was acknowledged must be there.
"""

import time

from adapter import Failed, Needs, check

WARM, AT_ONCE = 100, 2000
NAMES = {"restart": "restart", "kill-9": "kill_and_start"}


def endure(subjects, broker, name, results):
    """`results` is told (client, name, outcome) for each client."""
    going = {}
    for subject in subjects:
        try:
            topic = subject.topic(name)
            subject.ask("endure", topic=topic)
            going[subject] = topic
        except (Failed, Needs) as reason:
            results(subject, name, reason)
    progress(going, name, results, dict.fromkeys(going, WARM), broker.seconds)
    if not going:
        return
    getattr(broker, NAMES[name])()
    # What was under way may still be told; more than that is a producer that goes on.
    after = {subject: subject.ask("endured") + WARM for subject in going}
    progress(going, name, results, after, broker.seconds)
    for subject, topic in going.items():
        try:
            everything_is_there(subject, topic)
            results(subject, name, None)
        except (Failed, Needs) as reason:
            results(subject, name, reason)


def progress(going, name, results, wanted, seconds):
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
            results(subject, name, reason)


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

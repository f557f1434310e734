"""Runs clients against a broker and prints a line for each capability.

`ok NAME`, `FAIL NAME reason`, `needs NAME what`, or `own NAME reason` for what a client gets wrong
by itself, with Apache Kafka too: nothing is passed over in silence. In front of NAME stands the
client, if there are several.
"""

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import sys
import tempfile
import threading
import time
import traceback
import uuid

import brokers
import cases
import cases_consumers
import cases_groups
import cases_transactions
import endurance
import raw
import raw_groups
import records
import table
from adapter import CLIENTS, Adapter, Failed, Needs

# The reader of what clients write that cannot read without a group.
EYES = "confluent-kafka"


class Results:
    """What was seen: (client, capability) to "ok", "FAIL reason", "needs what" or "own reason"."""

    def __init__(self, several):
        self.several = several
        self.seen = {}
        self.seconds = {}
        self.lock = threading.Lock()

    def tell(self, subject, name, outcome, seconds=0.0):
        """`outcome` is None for success, else the exception."""
        word = "ok" if outcome is None else "needs" if isinstance(outcome, Needs) else "FAIL"
        reason = "" if outcome is None else str(outcome)
        if name in subject.hello.get("own", ()) and word != "needs":
            # Not held to it; it was tried all the same.
            word, reason = "own", f"{subject.hello['own'][name]} (now: {word} {reason})"
        with self.lock:
            self.seen[subject.name, name] = f"{word} {reason}".strip()
            self.seconds[subject.name, name] = seconds
            client = f"{subject.name} " if self.several else ""
            print(f"{word} {client}{name} {reason}".strip(), flush=True)

    def count(self, word):
        return sum(seen.startswith(word) for seen in self.seen.values())


def run_case(subject, name, results, act, *arguments):
    since = time.monotonic()
    outcome = None
    try:
        act(*arguments)
    except (Failed, Needs) as reason:
        outcome = reason
    except Exception as error:  # the harness's own mistake is no success either
        traceback.print_exc()
        outcome = Failed(repr(error))
    results.tell(subject, name, outcome, time.monotonic() - since)


def all_cases(subject, apis, results, only):
    for name, (act, needed, calls) in cases.CASES.items():
        if only and name not in only:
            continue
        lacking = [cases.API_NAMES[key] for key in needed if key not in apis]
        unoffered = [call for call in calls if call not in subject.hello["calls"]]
        if unoffered:
            results.tell(subject, name, Needs(f"client: no {', '.join(unoffered)}"))
        elif lacking:
            results.tell(subject, name, Needs(f"broker: {', '.join(lacking)}"))
        else:
            run_case(subject, name, results, act, subject)


def played(act, subject, several):
    """What came of a play, and what was lost in it that the client is held to."""
    told = []
    cases_groups.run(act, subject, several, lambda name, outcome: told.append((name, outcome)))
    own = subject.hello.get("own", ())
    lost = [(name, outcome) for name, outcome in told
            if isinstance(outcome, Failed) and name not in own]
    return told, lost


def all_plays(subjects, apis, results, only):
    """The plays of groups, many at the same time: clients wait most of it. The longest go first.
    One that fails is played once more, in another group and alone, and said so: so many clients at a
    time on a busy machine lose a race of their own now and then."""
    of_consumers, of_copies = cases_consumers.PLAYS, cases_transactions.PLAYS
    plays = [(several, act)
             for several, act in (cases_groups.PLAYS | of_consumers | of_copies).items()
             if not only or set(only) & set(several)]
    plays.sort(key=lambda play: "killed" not in play[0][-1])
    mixed = not only or cases_groups.MIXED in only
    lacking = [name for key, name in cases_groups.APIS.items() if key not in apis]
    lacking_of_consumers = [name for key, name in cases_consumers.APIS.items() if key not in apis]

    failed = []

    def one(subject, several, act, last=False):
        since = time.monotonic()

        def tell(name, outcome):
            results.tell(subject, name, outcome, time.monotonic() - since)
        is_of_consumers = several in of_consumers
        missing = lacking + (lacking_of_consumers if is_of_consumers else [])
        if several in of_copies:
            missing = lacking + [name for key, name in cases_transactions.NEEDED.items()
                                 if key not in apis]
        if is_of_consumers and not subject.hello.get(cases_consumers.HELLO):
            for name in several:
                tell(name, Needs("client: it speaks the classic protocol only"))
        elif several in of_copies and "copy" not in subject.hello["calls"]:
            for name in several:
                tell(name, Needs("client: no copy"))
        elif missing:
            for name in several:
                tell(name, Needs(f"broker: {', '.join(missing)}"))
        else:
            told, lost = played(act, subject, several)
            if lost and not last:
                print(f"again {subject.name} {lost[0][0]}: {str(lost[0][1])[:200]}", flush=True)
                failed.append((subject.anew(), several, act))
            else:
                for name, outcome in told:
                    tell(name, outcome)

    if plays and not lacking:
        raw_groups.wait_until_coordinated(subjects[0].broker.bootstrap)
    with concurrent.futures.ThreadPoolExecutor(subjects[0].broker.plays) as pool:
        told = [pool.submit(one, subject, *play) for play in plays for subject in subjects
                if not is_beside(subject) or play[0] in of_consumers]
        if mixed:
            told.append(pool.submit(cases_groups.mixed, main_ones(subjects), results.tell))
        for each in told:
            each.result()
    for each in failed:
        one(*each, last=True)


def is_beside(subject):
    """Whether a client is asked for its consumer groups only."""
    return subject.name not in table.COLUMNS


def main_ones(subjects):
    return [subject for subject in subjects if not is_beside(subject)]


def shared_by(subject):
    """Writes what all exchange, once with each codec; gives what readers have to find."""
    topic = subject.topic("shared")
    made = [one for one in records.SHARED if not subject.missing(one)]
    found = []
    for codec in records.EXCHANGED:
        try:
            subject.produce(topic, made, codec=codec)
            found += [{**one, "codec": codec} for one in made]
        except Needs:
            continue
    return topic, found


def read_shared(reader, writer, shared):
    topic, made = shared
    # A reader that lacks the last codecs leaves out their records.
    made = [one for one in made if one["codec"] in reader.codecs()]
    found = reader.consume(topic, len(made))
    for lost, seen in (("empty_is_null", records.empty_as_null),
                       ("headers_unordered", records.headers_by_name)):
        if reader.hello.get(lost, False):
            made, found = (list(map(seen, several)) for several in (made, found))
    wrong = records.difference(made, found, writer.fields())
    if wrong is not None:
        raise Failed(wrong)


def exchange(subjects, pool, results):
    """Each reads what each wrote."""
    shared = {}

    def write(subject):
        def act():
            shared[subject] = shared_by(subject)
        run_case(subject, "write-shared", results, act)

    def read(reader):
        for writer in subjects:
            if writer in shared:
                run_case(reader, f"read-{writer.name}", results, read_shared, reader, writer,
                         shared[writer])
            else:
                results.tell(reader, f"read-{writer.name}", Failed("was not written"))

    list(pool.map(write, subjects))
    list(pool.map(read, subjects))


def faults(subjects, broker, results, names):
    for name in names:
        if isinstance(broker, brokers.Running):
            for subject in subjects:
                for one in (name, f"group-{name}", f"consumers-{name}", f"txn-{name}"):
                    results.tell(subject, one, Needs("a broker of the harness's own"))
        else:
            endurance.endure(subjects, broker, name, results.tell)


def play(subjects, broker, options, results):
    apis = raw.api_versions(broker.bootstrap)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        main = main_ones(subjects)
        list(pool.map(lambda one: all_cases(one, apis, results, options.case), main))
        if not options.case:
            exchange(main, pool, results)
    all_plays(subjects, apis, results, options.case)


@contextlib.contextmanager
def clients(names, broker, scratch):
    """The broker started, and the clients in front of it; none of them outlives this."""
    run = uuid.uuid4().hex[:6]
    eyes = Adapter(EYES, broker.bootstrap, scratch)
    subjects = [cases.Subject(Adapter(name, broker.bootstrap, scratch), broker, run, eyes)
                for name in names]
    try:
        broker.start()
        for subject in subjects:
            subject.greet()
        yield subjects
    finally:
        for subject in subjects:
            subject.adapter.stop()
        eyes.stop()
        broker.kill()


def play_all(options, results, scratch):
    """Everything that is asked for; gives what the clients say about themselves."""
    names = [name for name in endurance.NAMES
             if not options.case
             or {name, f"group-{name}", f"consumers-{name}", f"txn-{name}"} & set(options.case)]
    broker = the_broker(options, scratch)
    with clients(options.clients, broker, scratch) as subjects:
        play(subjects, broker, options, results)
        # A broker that runs already is not stopped: one of our own takes its place, if it can.
        elsewhere = names and isinstance(broker, brokers.Running) and own_binary()
        if not elsewhere:
            faults(subjects, broker, results, names)
    if elsewhere:
        broker = brokers.Ottla(scratch, elsewhere)
        with clients(options.clients, broker, scratch) as subjects:
            faults(subjects, broker, results, names)
    return {one.name: one.hello for one in subjects}


def own_binary():
    binary = os.environ["OTTLA_BIN"]
    return binary if os.access(binary, os.X_OK) else None


def the_broker(options, scratch):
    if "BOOTSTRAP" in os.environ:
        return brokers.Running(os.environ["BOOTSTRAP"])
    if options.broker == "kafka":
        return brokers.Kafka(scratch, os.path.join(os.environ["OTTLA_CACHE"], "jars"))
    return brokers.Ottla(scratch, os.environ["OTTLA_BIN"])


def arguments():
    known = sorted(path.parent.name for path in CLIENTS.glob("*/adapter"))
    parser = argparse.ArgumentParser(prog="scripts/compat", description=__doc__)
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(known)}")
    parser.add_argument("--broker", choices=["ottla", "kafka"], default="ottla")
    parser.add_argument("--case", action="append", help="only this one; may be given again")
    parser.add_argument("--jobs", type=int, default=6, help="clients at the same time")
    parser.add_argument("--table", metavar="FILE", help="write the table into this file")
    parser.add_argument("--check", metavar="FILE", help="fail if the file's table differs")
    parser.add_argument("--slow", action="store_true", help="say which cases took longest")
    options = parser.parse_args()
    unknown = set(options.clients) - set(known)
    if unknown:
        parser.error(f"no such client: {', '.join(unknown)}; there are {', '.join(known)}")
    if (options.clients or options.case) and (options.table or options.check):
        parser.error("the table is of all clients and cases")
    every = {**table.COLUMNS, **table.CONSUMER_COLUMNS}
    options.clients = options.clients or [name for name in every if name in known]
    return options


def main():
    options = arguments()
    results = Results(len(options.clients) > 1)
    with tempfile.TemporaryDirectory(prefix="ottla-compat-") as scratch:
        try:
            hellos = play_all(options, results, scratch)
        finally:
            if results.count("FAIL"):
                logs = pathlib.Path(scratch).glob("*.log")
                for log in logs:
                    text = log.read_text(errors="replace")[-1500:]
                    if text.strip():
                        print(f"--- {log.name}\n{text}", file=sys.stderr)
    if options.slow:
        for (client, name), took in sorted(results.seconds.items(), key=lambda one: -one[1])[:40]:
            print(f"{took:6.1f} s  {client} {name}")
    verdict = table.write_or_check(options, hellos, results.seen)
    failed = results.count("FAIL")
    passed, skipped = results.count("ok"), results.count("needs") + results.count("own")
    print(f"compat: {passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(not verdict if options.check else failed > 0)


if __name__ == "__main__":
    main()

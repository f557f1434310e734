"""The takeover matrix: who fills a directory, who takes it over, and how each one stops.

A case is a version of Kafka, a way to stop, and a story; each story compares everything before
and after. The first check that does not hold ends its case, not the others.
"""

import argparse
import pathlib
import signal
import sys
import tempfile
import time
import traceback

from brokers import Failed, Java, check
from contents import check_contents
from control import control
from ledger import Ledger
from live import PARTITIONS, Live
from story import Story

VERSIONS = ("3.9.2", "4.3.1", "4.4.0")
# So that Ottla takes snapshots soon, and cuts its metadata log below them.
SNAPSHOTS = ("metadata.log.max.record.bytes.between.snapshots=200", "metadata.log.segment.ms=50",
             "metadata.max.retention.bytes=1")
TABLE = ("<!-- begin: tests/takeover/run --table -->\n", "<!-- end -->\n")


def there_and_back(story, overrides=()):
    """Kafka → Ottla → the same Kafka"""
    home = story.home
    home.format_kafka()
    home.start_kafka()
    story.populate()
    seen, told = story.look(), story.told()
    stored = story.stop(story.how)
    check_contents(story, seen, told, stored)
    story.count(seen, stored)
    refused = home.ottla_refuses()
    check("authorizer.class.name" in refused, f"Ottla is not refused for the ACLs: {refused}")
    home.start_ottla(*overrides)
    story.same_seen(seen)
    changes = story.change("k-")
    changed = story.same_seen(seen, changes)
    if overrides:
        story.wait_for_the_cut()
    between = story.stop(story.how)
    story.same_stored(stored, between, changes, is_cut=bool(overrides))
    check(not overrides or between["image"]["begins"] > 0, "the metadata log was not cut")
    home.start_kafka()
    story.same_seen(changed)
    story.same_told(told, changes)
    story.no_complaints()
    story.goes_on()
    story.stop()


def with_snapshots(story):
    """Kafka → Ottla, which takes snapshots and cuts the metadata log → the same Kafka"""
    there_and_back(story, SNAPSHOTS)


def the_other_way(story):
    """Ottla → Kafka → Ottla"""
    home = story.home
    home.format_ottla()
    home.start_ottla()
    story.java.ask("fill", bootstrap=home.bootstrap, prefix="o-")
    seen = story.look()
    story.stop(story.how)
    home.start_kafka()
    story.same_seen(seen)
    story.no_complaints()
    story.same_seen(seen, story.change("o-"))
    story.populate()
    seen, told = story.look(), story.told()
    stored = story.stop(story.how)
    check_contents(story, seen, told, stored)
    story.count(seen, stored)
    home.start_ottla()
    story.same_seen(seen)
    changes = story.change("k-")
    story.same_seen(seen, changes)
    story.same_stored(stored, story.stop(story.how), changes)


def with_live_groups(story):
    """Kafka → Ottla → the same Kafka, with members of groups that are connected all the while"""
    home, live = story.home, Live(story)
    home.format_kafka()
    home.start_kafka()
    try:
        live.start()
        live.go_on("with Kafka")
        before = live.go_on("with Kafka, settled")
        story.stop(story.how)
        home.start_ottla()
        live.same(before, live.go_on("with Ottla"), "with Ottla")
        live.leave("dynamic-2")
        live.leave("static-2")
        live.join("dynamic-3", {})
        live.join("static-3", {"group.instance.id": "desk-2"})
        live.change_consumers()
        live.go_on("with Ottla, after others came")
        changed = live.go_on("with Ottla, settled")
        stored = story.stop(story.how)
        home.start_kafka()
        live.same(changed, live.go_on("with Kafka again"), "with Kafka again")
        story.no_complaints()
        story.stop()
    finally:
        live.end()
    story.figures = {"records": PARTITIONS * live.sent, "metadata": len(stored["image"]["lines"])}


def with_live_transactions(story):
    """Kafka → Ottla → the same Kafka, with producers whose transactions are open or prepared"""
    home, ledger = story.home, Ledger(story)
    home.format_kafka()
    home.start_kafka()
    try:
        ledger.start()
        ledger.loops_go_on()
        story.stop(story.how)
        prepared = ledger.prepared()
        home.start_ottla()
        ledger.next_broker()
        if story.how == "kill":
            ledger.survives_kills()
        ledger.rest()
        stored = story.stop(story.how)
        home.start_kafka()
        ledger.next_broker()
        committed = ledger.end()
        story.no_complaints()
        story.stop()
    finally:
        story.java.ask("txn_end")
    story.figures = {"records": committed, "metadata": len(stored["image"]["lines"]),
                     "prepared": len(prepared)}


# Each story, and how many log directories it has.
STORIES = {there_and_back: 1, with_snapshots: 3, the_other_way: 2, with_live_groups: 2,
           with_live_transactions: 2}
CASES = [(story, version, how) for version in VERSIONS for story in STORIES
         for how in ("clean", "kill")]
CONTROLS = [(control, version, how) for version in VERSIONS for how in ("clean", "kill")]
SHORT = [(there_and_back, "4.3.1", "clean"), (the_other_way, "4.3.1", "kill"),
         (with_live_groups, "4.3.1", "kill"), (with_live_transactions, "4.3.1", "kill")]


def name_of(case):
    story, version, how = case
    return f"{story.__name__}-{version}-{how}"


def play(case, java, scratch):
    """Plays a case. Members that live through it lose a race of their own now and then, on a slow
    machine: with them it is played once more when it failed, and said so."""
    good, figures = play_once(case, java, scratch / name_of(case))
    if good or case[0] is not with_live_groups:
        return good, figures
    print(f"again   {name_of(case)}", flush=True)
    return play_once(case, java, scratch / f"{name_of(case)}-again")


def play_once(case, java, folder):
    story, version, how = case
    since = time.monotonic()
    folder.mkdir()
    told = Story(version, how, java, folder, STORIES.get(story, 2))
    try:
        story(told)
        problem = None
    except Exception as error:  # a broker that does not answer is a failure too
        problem = str(error)
        if not isinstance(error, Failed):
            traceback.print_exc(file=sys.stdout)
    finally:
        told.home.end()
    result = "passed" if problem is None else f"FAILED: {problem[:3000]}"
    took = time.monotonic() - since
    print(f"{took:6.1f} s  {name_of(case)}: {result} {told.figures}", flush=True)
    return problem is None, told.figures


def write_table(file, results):
    """Puts the results between the marks in a document."""
    rows = ["| Kafka | way | log directories | stopped by | partitions, records, aborted "
            "transactions, metadata records | result |\n", "|---|---|---|---|---|---|\n"]
    for (story, version, how), (good, figures) in results.items():
        counted = ", ".join(str(figures.get(key, "-"))
                            for key in ("partitions", "records", "aborted", "metadata"))
        way = story.__doc__.split("\n")[0]
        stop = "SIGTERM" if how == "clean" else "kill -9"
        rows.append(f"| {version} | {way} | {STORIES.get(story, 2)} | {stop} | {counted} "
                    f"| {'nothing lost, nothing added' if good else 'FAILED'} |\n")
    before, rest = file.read_text().split(TABLE[0])
    after = rest.split(TABLE[1])[1]
    file.write_text(before + TABLE[0] + "\n" + "".join(rows) + "\n" + TABLE[1] + after)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--case", action="append", help="part of a case's name")
    parser.add_argument("--table", type=pathlib.Path, help="file whose table is rewritten")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the directories")
    options = parser.parse_args()
    cases = SHORT if options.short else CONTROLS + CASES
    if options.case:
        cases = [case for case in CONTROLS + CASES
                 if any(part in name_of(case) for part in options.case)]
    results = {}
    # Who ends this ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="ottla-takeover-") as scratch:
        scratch = options.keep or pathlib.Path(scratch)
        for version in VERSIONS:
            of_version = [case for case in cases if case[1] == version]
            if not of_version:
                continue
            java = Java(version, scratch)
            try:
                for case in of_version:
                    results[case] = play(case, java, scratch)
            finally:
                java.end()
    if options.table:
        write_table(options.table, results)
    passed = sum(good for good, _ in results.values())
    print(f"takeover: {passed} passed, {len(results) - passed} failed")
    sys.exit(passed != len(cases) or not cases)


if __name__ == "__main__":
    main()

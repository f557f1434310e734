"""The takeover matrix: who fills a directory, who takes it over, and how each one stops.

A case is a version of Kafka, a way to stop, and a story; each story compares everything before
and after with `compare`. The first check that does not hold ends its case, not the others.
"""

import argparse
import copy
import pathlib
import re
import signal
import sys
import tempfile
import time
import traceback

import compare
import dumps
import wire
from brokers import Failed, Home, Java, check
from compare import Changes

VERSIONS = ("3.9.2", "4.3.1", "4.4.0")
# What Kafka may say when it takes a directory over, and why that is no complaint about a file.
ALLOWED = [
    (r"SLF4J", "the logging library"),
    (r"Performing controller activation", "said at every start"),
    (r"/preallocated-0/.* at byte offset|partition=preallocated-0, .*Corruption found in segment 0",
     "the zeros of a preallocated segment are no batches: Kafka's own after its kill -9"),
    (r"Could not find offset index file corresponding to log file",
     "Ottla writes the index of a short segment when it ends; after kill -9 Kafka rebuilds it"),
    (r"controller event queue overloaded", "about time, not about files: the machine is busy"),
]


# So that Ottla takes snapshots soon, and cuts its metadata log below them.
SNAPSHOTS = ("metadata.log.max.record.bytes.between.snapshots=200", "metadata.log.segment.ms=50",
             "metadata.max.retention.bytes=1")
TABLE = ("<!-- begin: tests/takeover/run --table -->\n", "<!-- end -->\n")


class Story:
    """One case: a directory, and what is known about it."""

    def __init__(self, version, how, java, scratch):
        self.version, self.how, self.java = version, how, java
        self.home = Home(version, scratch)
        self.figures = {}

    def look(self, times=None):
        """What clients see, through Java's consumer and raw."""
        view = self.java.ask("view", bootstrap=self.home.bootstrap, times=times)
        return {"view": view, "raw": wire.read_all(self.home.bootstrap, view)}

    def times_of(self, seen):
        return {name: [int(time) for time in one["times"]] for name, one in seen["view"].items()}

    def told(self):
        return self.java.ask(
            "describe", bootstrap=self.home.bootstrap, sasl=self.home.sasl)

    def stored(self):
        """The directory of a stopped broker: metadata by Kafka's decoder, and bytes."""
        return {"image": self.java.ask("image", dir=str(self.home.dir)),
                "files": compare.files_of(self.home.dir)}

    def dump(self):
        """Not of what Kafka was killed on: its tool ends at what Kafka preallocates."""
        if self.home.stopped == "clean" or self.home.served_by == "ottla":
            dumps.dump_everything(self.version, self.home.dir)

    def compare_seen(self, before, after, changes):
        compare.compare_views(before["view"], after["view"], changes)
        compare.compare_raw(before["raw"], after["raw"], changes)

    def compare_stored(self, before, after, changes, is_cut=False):
        compare.compare_images(before["image"], after["image"], changes)
        compare.compare_files(before["files"], after["files"], changes, is_cut)

    def no_complaints(self):
        """Kafka's log of its last start has no WARN and no ERROR about the directory."""
        lines = self.home.output.read_text(errors="replace").split("\n")
        bad = [line for line in lines if re.search(r"\b(WARN|ERROR|FATAL)\b", line)
               and not any(re.search(allowed, line) for allowed, _ in ALLOWED)]
        check(not bad, f"Kafka complains: {bad[:5]}")

    def populate(self):
        self.java.ask("populate", bootstrap=self.home.bootstrap, sasl=self.home.sasl,
                      dir=str(self.home.dir))

    def change(self, prefix):
        """What is done with a directory that was taken over."""
        at = {"bootstrap": self.home.bootstrap}
        topics = [prefix + codec for codec in ("none", "gzip", "snappy", "lz4", "zstd")]
        topics += [prefix + "append-time", prefix + "tiny", prefix + "empty"]
        if prefix == "k-":
            topics += ["configured", "preallocated", "short-index", "deleted-records", "grown",
                       "compacted-deleted", "transactions", "transactions-rolled", "open"]
        changes = Changes(added=self.java.ask("add", topics=topics, **at))
        self.java.ask("create", topic="made-meanwhile", **at)
        self.java.ask("delete", topic=prefix + "to-delete", **at)
        changes.created.add("made-meanwhile")
        changes.deleted.add(prefix + "to-delete")
        return changes

    def count(self, seen, stored):
        self.figures = {
            "partitions": len(seen["view"]),
            "records": sum(len(one["records"]) for one in seen["view"].values()),
            "aborted": sum(len(one["aborted"]) for one in seen["raw"].values()),
            "metadata": len(stored["image"]["lines"])}


def control(story):
    """Kafka → Kafka: the comparison finds nothing, and finds what is changed"""
    home = story.home
    home.format_kafka()
    home.start_kafka()
    story.populate()
    seen, told = story.look(), story.told()
    home.stop(story.how)
    stored = story.stored()
    home.start_kafka()
    again = story.look(story.times_of(seen))
    nothing = Changes()
    story.compare_seen(seen, again, nothing)
    compare.compare_told(told, story.told(), nothing)
    story.no_complaints()
    home.stop(story.how)
    story.compare_stored(stored, story.stored(), nothing)
    story.dump()
    home.start_kafka()
    changes = story.change("k-")
    later, later_told = story.look(story.times_of(seen)), story.told()
    story.compare_seen(seen, later, changes)
    compare.compare_told(told, later_told, changes)
    home.stop()
    at_last = story.stored()
    story.compare_stored(stored, at_last, changes)
    story.dump()
    story.count(seen, stored)
    sees_changes(seen, later, told, later_told, stored, at_last, changes)


def must_fail(what, compared, *arguments):
    try:
        compared(*arguments)
    except (Failed, KeyError):
        return
    raise Failed(f"the comparison does not notice {what}")


def sees_changes(seen, later, told, later_told, stored, at_last, changes):
    """Each comparison fails when one thing more, or one thing less, is different."""
    for name in changes.added:
        fewer = copy.deepcopy(changes)
        del fewer.added[name]
        must_fail(f"records in {name}", compare.compare_views, seen["view"], later["view"], fewer)
        if later["raw"][name]["batches"] != seen["raw"][name]["batches"]:  # not all are stable
            must_fail(f"batches in {name}", compare.compare_raw, seen["raw"], later["raw"], fewer)
    for field in ("created", "deleted"):
        fewer = copy.deepcopy(changes)
        getattr(fewer, field).clear()
        must_fail(f"topics {field}", compare.compare_views, seen["view"], later["view"], fewer)
        must_fail(f"topics {field}", compare.compare_told, told, later_told, fewer)
        must_fail(f"topics {field}", compare.compare_images, stored["image"], at_last["image"],
                  fewer)
    for line in stored["image"]["lines"]:
        if line.startswith("PRODUCER_IDS_RECORD"):
            continue
        fewer = {"lines": [one for one in at_last["image"]["lines"] if one != line]}
        if len(fewer["lines"]) < len(at_last["image"]["lines"]):
            must_fail(line, compare.compare_images, stored["image"], fewer, changes)
    for key in told:
        if key in later_told:
            topic, partition = compare.about(key)
            if topic not in changes.deleted and partition not in changes.added:
                fewer = {one: value for one, value in later_told.items() if one != key}
                must_fail(key, compare.compare_told, told, fewer, changes)
    for name, data in stored["files"].items():
        if name == "starts" or not data.strip(b"\0") or name not in at_last["files"] or (
                compare.topic_of(name.split("/")[0]) in changes.deleted):
            continue
        damaged = dict(at_last["files"])
        damaged[name] = bytes([damaged[name][0] ^ 1]) + damaged[name][1:]
        must_fail(f"a byte of {name}", compare.compare_files, stored["files"], damaged, changes)


def there_and_back(story, overrides=()):
    """Kafka → Ottla → the same Kafka"""
    home = story.home
    home.format_kafka()
    home.start_kafka()
    story.populate()
    seen, told = story.look(), story.told()
    home.stop(story.how)
    stored = story.stored()
    story.count(seen, stored)
    nothing = Changes()
    home.start_ottla(*overrides)
    story.compare_seen(seen, story.look(story.times_of(seen)), nothing)
    changes = story.change("k-")
    changed = story.look(story.times_of(seen))
    story.compare_seen(seen, changed, changes)
    if overrides:
        wait_for_the_cut(story)
    home.stop(story.how)
    between = story.stored()
    story.compare_stored(stored, between, changes, is_cut=bool(overrides))
    check(not overrides or between["image"]["begins"] > 0, "the metadata log was not cut")
    story.dump()
    home.start_kafka()
    again = story.look(story.times_of(changed))
    story.compare_seen(changed, again, nothing)
    compare.compare_told(told, story.told(), changes)
    story.no_complaints()
    goes_on(story)
    home.stop()
    story.dump()


def with_snapshots(story):
    """Kafka → Ottla, which takes snapshots and cuts the metadata log → the same Kafka"""
    there_and_back(story, SNAPSHOTS)


def wait_for_the_cut(story):
    """Topics come and go until a snapshot has let the first segment go."""
    first = story.home.dir / "__cluster_metadata-0" / f"{0:020}.log"
    deadline = time.monotonic() + 60
    while first.exists():
        check(time.monotonic() < deadline, "the metadata log is not cut")
        for op in ("create", "delete"):
            story.java.ask(op, bootstrap=story.home.bootstrap, topic="comes-and-goes")


def goes_on(story):
    """Groups and the open transaction of Kafka's coordinators are where they were left."""
    view = story.java.ask("go_on", bootstrap=story.home.bootstrap)
    for name, one in view.items():
        check(one["stable"] == one["end"], f"{name} still has an open transaction")


def the_other_way(story):
    """Ottla → Kafka → Ottla"""
    home = story.home
    home.format_ottla()
    home.start_ottla()
    story.java.ask("fill", bootstrap=home.bootstrap, prefix="o-")
    seen = story.look()
    home.stop(story.how)
    stored = story.stored()
    story.dump()
    home.start_kafka()
    nothing = Changes()
    again = story.look(story.times_of(seen))
    story.compare_seen(seen, again, nothing)
    story.no_complaints()
    changes = story.change("o-")
    story.compare_seen(seen, story.look(story.times_of(seen)), changes)
    story.populate()
    seen = story.look()
    home.stop(story.how)
    stored = story.stored()
    story.dump()
    story.count(seen, stored)
    home.start_ottla()
    story.compare_seen(seen, story.look(story.times_of(seen)), nothing)
    changes = Changes(added=story.java.ask(
        "add", bootstrap=home.bootstrap, topics=["o-none", "k-zstd", "open", "transactions"]))
    story.compare_seen(seen, story.look(story.times_of(seen)), changes)
    home.stop(story.how)
    story.compare_stored(stored, story.stored(), changes)
    story.dump()


STORIES = (there_and_back, with_snapshots, the_other_way)
CASES = [(story, version, how) for version in VERSIONS for story in STORIES
         for how in ("clean", "kill")]
CONTROLS = [(control, version, how) for version in VERSIONS for how in ("clean", "kill")]
SHORT = [(there_and_back, "4.3.1", "clean"), (the_other_way, "4.3.1", "kill")]


def name_of(case):
    story, version, how = case
    return f"{story.__name__}-{version}-{how}"


def play(case, java, scratch):
    story, version, how = case
    since = time.monotonic()
    folder = scratch / name_of(case)
    folder.mkdir()
    told = Story(version, how, java, folder)
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
    rows = ["| Kafka | way | stopped by | partitions, records, aborted transactions, metadata "
            "records | result |\n", "|---|---|---|---|---|\n"]
    for (story, version, how), (good, figures) in results.items():
        counted = ", ".join(str(figures.get(key, "-"))
                            for key in ("partitions", "records", "aborted", "metadata"))
        way = story.__doc__.split("\n")[0]
        stop = "SIGTERM" if how == "clean" else "kill -9"
        rows.append(f"| {version} | {way} | {stop} | {counted} "
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

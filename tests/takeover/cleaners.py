"""Kafka's cleaner and Ottla's, each on its copy of one directory: they must leave the same.

Kafka fills compacted topics without cleaning them: every codec, tombstones, transactions that were
ended either way, idempotent producers. The directory is copied; each of the two compacts its copy,
takes more records, and compacts again. Then every record must be the same in both, for readers of
all and for those of committed records. What may differ is what no reader sees: empty batches that
are kept for producers, the sizes of segments, times from which on tombstones may go, and entries of
aborted transactions of which nothing is left.

Usage: tests/takeover/run --cleaners [BINARY]
"""

import pathlib
import shutil
import signal
import sys
import tempfile
import time

import wire
from brokers import JAVA, Failed, Home, Java, check, jars

VERSION = "4.3.1"
CLEAN_S = 90
# Its tombstones may go as soon as they were seen once.
GONE = "dirty-soon-gone-0"


def cleaned_to(folder):
    """By partition, what `cleaner-offset-checkpoint` says."""
    file = folder / "cleaner-offset-checkpoint"
    lines = file.read_text().split("\n")[2:] if file.exists() else []
    return {f"{topic}-{partition}": int(offset) for topic, partition, offset in
            (line.split(" ") for line in lines if line)}


def wait_until_clean(home):
    """Until everything in front of the segments that are written to is clean."""
    [folder] = home.dirs
    deadline = time.monotonic() + CLEAN_S
    while True:
        last = {path.name: max(int(log.stem) for log in path.glob("*.log"))
                for path in folder.glob("dirty-*")}
        found = cleaned_to(folder)
        if all(found.get(name) == base for name, base in last.items()):
            return
        check(time.monotonic() < deadline, f"{home.served_by} cleans to {found}, not {last}")
        time.sleep(0.2)


def clean_twice(home, start, java):
    """What readers see after the second cleaning, and how much is left after each."""
    start()
    wait_until_clean(home)
    sizes = [size(home)]
    java.ask("dirty", bootstrap=home.bootstrap, round=1)
    wait_until_clean(home)
    sizes.append(size(home))
    seen = java.ask("view", bootstrap=home.bootstrap)
    seen = {name: one for name, one in seen.items() if name.startswith("dirty-")}
    aborted = {name: sorted(first for _, first in one["aborted"])
               for name, one in wire.read_all(home.bootstrap, seen).items()}
    home.stop()
    return seen, aborted, sizes


def without_tombstones(one):
    """Those of the first round are gone; how many of the second are depends on how often a cleaner
    came by while they were written."""
    for record in one["records"]:
        check(record["value"] is not None or record["epoch"] > 0, f"{GONE}: {record} is there")
    valued = lambda records: [record for record in records if record["value"] is not None]
    return {**one, "records": valued(one["records"]), "committed": valued(one["committed"])}


def size(home):
    """Bytes of the segments of compacted topics."""
    [folder] = home.dirs
    return sum(log.stat().st_size for log in folder.glob("dirty-*/*.log"))


def compare(one, other):
    """What readers of Kafka's copy see, and readers of Ottla's."""
    check(one.keys() == other.keys(), f"{one.keys()} and {other.keys()}")
    records = 0
    for name, kafkas in one.items():
        ottlas = other[name]
        if name == GONE:
            kafkas, ottlas = without_tombstones(kafkas), without_tombstones(ottlas)
        for what in ("start", "end", "stable", "records", "committed"):
            if kafkas[what] == ottlas[what]:
                continue
            if what not in ("records", "committed"):
                raise Failed(f"{name}: {what} is {kafkas[what]} and {ottlas[what]}")
            missing = [it for it in kafkas[what] if it not in ottlas[what]]
            extra = [it for it in ottlas[what] if it not in kafkas[what]]
            raise Failed(f"{name}: {what}: only Kafka has {missing[:3]}, only Ottla {extra[:3]}")
        records += len(kafkas["records"])
    return records


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    homes = []
    with tempfile.TemporaryDirectory(prefix="ottla-cleaners-") as scratch:
        scratch = pathlib.Path(scratch)
        java = Java(VERSION, scratch)
        try:
            for name in ("kafka", "ottla"):
                (scratch / name).mkdir()
                homes.append(Home(VERSION, scratch / name, 1))
            kafka, ottla = homes
            kafka.format_kafka()
            kafka.spawn("kafka", [*JAVA, "-cp", f"{jars(VERSION)}/*", "kafka.Kafka", kafka.file,
                                  "--override", "log.cleaner.enable=false"], kafka.answers)
            java.ask("dirty", bootstrap=kafka.bootstrap, round=0)
            kafka.stop()
            before = size(kafka)
            shutil.copytree(kafka.dirs[0], ottla.dirs[0])
            kafkas, kafkas_aborted, kafkas_sizes = clean_twice(kafka, kafka.start_kafka, java)
            ottlas, ottlas_aborted, ottlas_sizes = clean_twice(ottla, ottla.start_ottla, java)
            records = compare(kafkas, ottlas)
            for name, one in kafkas.items():
                # The entry of one of which nothing is left goes with the cleaning behind that which
                # took its data, and how many there were depends on when a cleaner came by.
                is_left = one["records"] != one["committed"]
                check(not is_left or kafkas_aborted[name] == ottlas_aborted[name],
                      f"{name}: aborted: {kafkas_aborted[name]} and {ottlas_aborted[name]}")
            print(f"cleaners: {before} bytes became {kafkas_sizes} with Kafka and {ottlas_sizes} "
                  f"with Ottla; {records} records are the same")
        except Failed as problem:
            print(f"cleaners: FAILED: {problem}")
            sys.exit(1)
        finally:
            for home in homes:
                home.end()
            java.end()


if __name__ == "__main__":
    main()

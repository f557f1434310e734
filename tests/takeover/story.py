"""One case of the takeover matrix: a directory, what is known about it, and what is done with it.

Whoever serves it, the same looks are taken: what clients see (`look`), what Kafka's Admin client
is told (`told`), and, when nobody serves it, what is stored (`stored`).
"""

import re
import subprocess
import time

import compare
import dumps
import wire
from brokers import CACHE, JAVA, Home, check, has_share_groups, jars
from compare import Changes

# What Kafka may say when it takes a directory over, and why that is no complaint about a file.
ALLOWED = [
    (r"SLF4J", "the logging library"),
    (r"Performing controller activation", "said at every start"),
    (r"/preallocated-0/.* at byte offset|partition=preallocated-0, .*Corruption found in segment 0",
     "the zeros of a preallocated segment are no batches: Kafka's own after its kill -9"),
    (r"Could not find offset index file corresponding to log file",
     "Ottla writes the index of a short segment when it ends; after kill -9 Kafka rebuilds it"),
    (r"Failed to load metadata from __consumer_offsets-\d+ .* is no longer the leader",
     "the leader's epoch rises while Kafka starts after a kill -9, and it loads the groups again"),
    (r"TxnMarkerSenderThread.*could not be established",
     "Kafka sends the markers of prepared transactions before it listens"),
    (r"controller event queue overloaded", "about time, not about files: the machine is busy"),
]
# Where DeleteRecords lets one partition of each story begin.
DELETED_BEFORE = 30


def dump_tool(version):
    """DumpLogSegments as a process. 4.4.0 has no tools: those of 4.3.1 read its data files."""
    if version.startswith("3."):
        tool, folder = "kafka.tools.DumpLogSegments", jars(version)
    else:
        tool, folder = "org.apache.kafka.tools.DumpLogSegments", CACHE / "jars"

    def run(*words):
        ran = subprocess.run([*JAVA, "-cp", f"{folder}/*", tool, *words], capture_output=True,
                             timeout=300)
        printed = ran.stdout + ran.stderr
        check(ran.returncode == 0, f"DumpLogSegments ended with {ran.returncode}: "
              f"{printed[-1500:].decode(errors='replace')}")
        return printed
    return run


class Story:
    """One case: a directory, and what is known about it."""

    def __init__(self, version, how, java, scratch, directories):
        self.version, self.how, self.java = version, how, java
        self.home = Home(version, scratch, directories)
        self.figures = {}

    def look(self, before=None):
        """What clients see, through Java's consumer and raw; at the times of a look before."""
        times = before and {name: [int(time) for time in one["times"]]
                            for name, one in before["view"].items()}
        view = self.java.ask("view", bootstrap=self.home.bootstrap, times=times)
        return {"view": view, "raw": wire.read_all(self.home.bootstrap, view)}

    def told(self):
        found = self.java.ask("describe", bootstrap=self.home.bootstrap, sasl=self.home.sasl)
        return {**found, **(self.share("describe") or {})}

    def share(self, step):
        """What only versions with share groups can do."""
        if has_share_groups(self.version):
            return self.java.ask("share", step=step, bootstrap=self.home.bootstrap)
        return None

    def stored(self):
        """The directories of a stopped broker: metadata by Kafka's decoder, and bytes."""
        return {"image": self.java.ask("image", dir=str(self.home.dirs[0])),
                "files": compare.files_of(self.home.dirs)}

    def stop(self, how="clean"):
        """Ends the broker; gives what is stored then, looked through by Kafka's own tool."""
        self.home.stop(how)
        # Not of what Kafka was killed on: its tool ends at what Kafka preallocates.
        if how == "clean" or self.home.served_by == "ottla":
            dumps.dump_everything(
                dump_tool(self.version), self.home.dirs, decodes=self.version != "4.4.0",
                may_have_gaps=lambda path: "/compacted" in path)
        return self.stored()

    def same_seen(self, before, changes=None):
        """Looks again, and finds what was seen before and what was done since."""
        after, changes = self.look(before), changes or Changes()
        compare.compare_views(before["view"], after["view"], changes)
        compare.compare_raw(before["raw"], after["raw"], changes)
        return after

    def same_told(self, before, changes=None):
        after = self.told()
        compare.compare_told(before, after, changes or Changes())
        return after

    def same_stored(self, before, after, changes=None, is_cut=False):
        changes = changes or Changes()
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
                      dirs=list(map(str, self.home.dirs)))
        self.share("populate")

    def change(self, prefix):
        """What is done with a directory that was taken over."""
        at = {"bootstrap": self.home.bootstrap}
        topics = [prefix + codec for codec in ("none", "gzip", "snappy", "lz4", "zstd")]
        topics += [prefix + "append-time", prefix + "tiny", prefix + "empty"]
        if prefix == "k-":
            topics += ["configured", "preallocated", "short-index", "deleted-records", "grown",
                       "compacted-deleted", "transactions", "transactions-rolled", "open"]
        changes = Changes(added=self.java.ask("add", topics=topics, **at))
        self.java.ask("create", topic=f"made-{prefix}meanwhile", **at)
        self.java.ask("delete", topic=prefix + "to-delete", **at)
        self.java.ask("delete_records", topic=prefix + "lz4", before=DELETED_BEFORE, **at)
        changes.created.add(f"made-{prefix}meanwhile")
        changes.deleted.add(prefix + "to-delete")
        changes.starts[prefix + "lz4-0"] = DELETED_BEFORE
        return changes

    def wait_for_the_cut(self):
        """Topics come and go until a snapshot has let the first segment go."""
        first = self.home.dirs[0] / "__cluster_metadata-0" / f"{0:020}.log"
        deadline = time.monotonic() + 60
        while first.exists():
            check(time.monotonic() < deadline, "the metadata log is not cut")
            for op in ("create", "delete"):
                self.java.ask(op, bootstrap=self.home.bootstrap, topic="comes-and-goes")

    def goes_on(self):
        """Groups and the open transaction of Kafka's coordinators are where they were left."""
        view = self.java.ask("go_on", bootstrap=self.home.bootstrap)
        for name, one in view.items():
            check(one["stable"] == one["end"], f"{name} still has an open transaction")
        self.share("goOn")

    def count(self, seen, stored):
        self.figures = {
            "partitions": len(seen["view"]),
            "records": sum(len(one["records"]) for one in seen["view"].values()),
            "aborted": sum(len(one["aborted"]) for one in seen["raw"].values()),
            "metadata": len(stored["image"]["lines"])}

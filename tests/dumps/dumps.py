"""Kafka's DumpLogSegments over every file of data directories.

The tool ends with 0 also when it complains, so what it prints is held against the only lines that
a sound file gives. Who calls it gives a `tool`: options and files in, printed bytes out, an
exception when it does not end with 0. So one check serves many versions, one JVM or many.

Passed over, because the tool ends at preallocated zeros: directories of deleted topics, stray ones,
which are left as a crash left them, and what the caller leaves out: directories whose broker was
killed.
"""

import collections
import json
import re

GOOD = re.compile(
    r"Dumping |Log starting offset: \d+$|Snapshot end offset: |KRaft bootstrap snapshot$|\| offset: \d+ "
    r"|\S*/\d{20}\.(index|timeindex) (is empty|passed sanity check)\.$"
    r"|baseOffset: .* isvalid: true$|offset: \d+ position: \d+$|timestamp: -?\d+ offset: \d+$"
    r"|version: \d+ producerId: |producerId: \d+ producerEpoch: |$"
    # The logging library, which has two bindings beside some versions.
    r"|\[main\] WARN .*(SLF4J|multiple)")
ANY_GAP, NO_GAP = r"  -?\d+ is followed by \d+$", r"  -1 is followed by \d+$"
METADATA = "__cluster_metadata-0"
# So that no command line, and no answer, is longer than it may be.
FILES_MAX = 400


class Complaint(Exception):
    """What the tool finds wrong, in one sentence."""


def complaints(printed, may_have_gaps=lambda path: False):
    """Lines that no sound file gives; logs that were compacted have gaps."""
    compacted, bad = False, []
    for line in printed.decode("latin-1").split("\n"):
        if line.startswith("Non-consecutive offsets in "):
            compacted = may_have_gaps(line.removeprefix("Non-consecutive offsets in "))
        # A segment does not begin at offset 0: the tool takes that for a gap.
        elif not re.match(ANY_GAP if compacted else NO_GAP, line) and not GOOD.match(line):
            bad.append(line)
    return bad


def dump(tool, files, *options, may_have_gaps=lambda path: False):
    """What is printed of `files`, without a complaint."""
    printed = b""
    for at in range(0, len(files), FILES_MAX):
        some = list(map(str, files[at:at + FILES_MAX]))
        found = tool(*options, "--files", ",".join(some))
        bad = complaints(found, may_have_gaps)
        if bad:
            raise Complaint(f"DumpLogSegments {' '.join(options)} complains: {bad[:5]}")
        for file in some:
            if f"Dumping {file}\n".encode() not in found:
                raise Complaint(f"DumpLogSegments passed over {file}")
        printed += found
    return printed


def kinds_of(decoded):
    """How many records of groups, or of transactions, there are of each type and version; "None" is a deletion."""
    kinds = collections.Counter()
    for line in decoded.decode().split("\n"):
        if not line.startswith("| offset: ") or "endTxnMarker: " in line:
            continue
        key, _, value = line.partition(" key: ")[2].partition(" payload: ")
        if key.startswith("transaction_metadata::"):  # the words of Kafka 3.9
            kinds["0", "of 3.9"] += 1
            continue
        if not key.startswith('{"type":"'):
            raise Complaint(f"DumpLogSegments cannot decode {line[:300]}")
        version = json.loads(value)["version"] if value.startswith("{") else None
        kinds[json.loads(key)["type"], version] += 1
    return kinds


class Found:
    """What was read: numbers, kinds of records of groups and transactions, and the metadata as text."""

    def __init__(self):
        self.logs = self.records = self.beside = 0
        self.kinds, self.transactions = {}, {}
        self.metadata = b""


def dump_everything(tool, directories, decodes=True, may_have_gaps=lambda path: False):
    """Reads every log, index, snapshot and checkpoint of these log directories.

    Without `decodes` the tool is older than the metadata, whose batches alone are looked at.
    """
    folders = sorted(path for directory in directories for path in directory.iterdir()
                     if path.is_dir() and not path.name.endswith(("-delete", "-stray")))
    data = [path for path in folders if path.name != METADATA]
    files = lambda folders, *suffixes: [
        file for folder in folders for suffix in suffixes
        for file in sorted(folder.glob(f"*.{suffix}"))]
    found = Found()
    logs = files(data, "log")
    printed = dump(tool, logs, "--deep-iteration", may_have_gaps=may_have_gaps)
    found.logs, found.records = len(logs), len(re.findall(rb"(?m)^\| offset: ", printed))
    beside = files(data, "index", "timeindex", "txnindex", "snapshot")
    quorum = [path for path in folders if path.name == METADATA]
    beside += files(quorum, "index", "timeindex", "txnindex", "snapshot")
    found.beside = len(beside)
    dump(tool, beside)
    dump(tool, files(folders, "index"), "--index-sanity-check")
    groups = [path for path in data if decodes and path.name.startswith("__consumer_offsets-")]
    decoded = dump(tool, files(groups, "log"), "--offsets-decoder", may_have_gaps=may_have_gaps)
    found.kinds = kinds_of(decoded)
    transactions = [path for path in data if decodes and path.name.startswith("__transaction_state-")]
    decoded = dump(tool, files(transactions, "log"), "--transaction-log-decoder",
                   may_have_gaps=may_have_gaps)
    found.transactions = kinds_of(decoded)
    checkpoints = files(quorum, "checkpoint") if decodes else []
    checkpoints += [file for directory in directories if decodes
                    for file in directory.glob("bootstrap.checkpoint")]
    option = "--cluster-metadata-decoder" if decodes else "--deep-iteration"
    found.metadata = dump(tool, files(quorum, "log") + checkpoints, option)
    return found

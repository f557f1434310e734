"""Kafka's DumpLogSegments over every file of a directory.

It ends with 0 also when it complains, so what it prints is held against the only lines that a
sound file gives. 4.4.0 has no tools: those of 4.3.1 read its data files, which have one format.
"""

import re
import subprocess

from brokers import CACHE, JAVA, check, jars

GOOD = re.compile(
    r"Dumping |Log starting offset: \d+$|Snapshot end offset: |\| offset: \d+ "
    r"|\S*/\d{20}\.(index|timeindex) is empty\.$"
    r"|baseOffset: .* isvalid: true$|offset: \d+ position: \d+$|timestamp: -?\d+ offset: \d+$"
    r"|version: \d+ producerId: |producerId: \d+ producerEpoch: |$"
    # An index without entries is dumped as its base offset.
    r"|\[main\] WARN .*(SLF4J|multiple)")


ANY_GAP, NO_GAP = r"  -?\d+ is followed by \d+$", r"  -1 is followed by \d+$"


def without_gaps(lines):
    """Leaves out the gaps of compacted logs, and that a segment does not begin at offset 0."""
    compacted = False
    for line in lines:
        if line.startswith("Non-consecutive offsets in "):
            compacted = "/compacted" in line
        elif not re.match(ANY_GAP if compacted else NO_GAP, line):
            yield line


def dump(version, files, *options):
    if version.startswith("3."):
        tool, folder = "kafka.tools.DumpLogSegments", jars(version)
    else:
        tool, folder = "org.apache.kafka.tools.DumpLogSegments", CACHE / "jars"
    ran = subprocess.run([*JAVA, "-cp", f"{folder}/*", tool, *options, "--files",
                          ",".join(map(str, files))], capture_output=True, timeout=300)
    printed = ran.stdout.decode("latin-1") + ran.stderr.decode("latin-1")
    bad = [line for line in without_gaps(printed.split("\n")) if not GOOD.match(line)]
    check(ran.returncode == 0, f"DumpLogSegments ended with {ran.returncode}: {printed[-1500:]}")
    check(not bad, f"DumpLogSegments {' '.join(options)} complains: {bad[:5]}")
    for file in files:
        check(f"Dumping {file}\n" in printed, f"DumpLogSegments passed over {file}")
    return len(re.findall(r"(?m)^\| offset: ", printed))


def dump_everything(version, directory):
    """Reads every log, index and snapshot; gives the number of records in data logs."""
    folders = [path.parent for path in directory.glob("*/partition.metadata")
               if not path.parent.name.endswith("-delete")]
    files = lambda suffix: sorted(
        file for folder in folders if folder.name != "__cluster_metadata-0"
        for file in folder.glob(f"*.{suffix}"))
    logs = files("log")
    count = dump(version, logs, "--deep-iteration")
    beside = [file for suffix in ("index", "timeindex", "txnindex", "snapshot")
              for file in files(suffix)]
    dump(version, beside)
    metadata = directory / "__cluster_metadata-0"
    options = ["--cluster-metadata-decoder"] if version != "4.4.0" else ["--deep-iteration"]
    dump(version, sorted([*metadata.glob("*.log"), *metadata.glob("*.index"),
                          *metadata.glob("*.timeindex")]), *options)
    return count

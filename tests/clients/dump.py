"""Kafka's DumpLogSegments over every file of a data directory.

It ends with 0 also when it complains, so what it prints is held against the only lines that a
sound file gives.
"""

import re

from processes import check

GOOD = re.compile(
    r"Dumping |Log starting offset: \d+$|Snapshot end offset: |\| offset: \d+ "
    r"|\S*/\d{20}\.(index|timeindex) (is empty|passed sanity check)\.$"
    r"|baseOffset: .* isvalid: true$|offset: \d+ position: \d+$|timestamp: -?\d+ offset: \d+$|$")


def complaints(printed):
    return [line for line in printed.decode("latin-1").split("\n") if not GOOD.match(line)]


def dump(jvm, files, *options):
    """What DumpLogSegments prints of `files`, without a complaint."""
    printed = jvm.tool("DumpLogSegments", *options, "--files", ",".join(map(str, files)))
    bad = complaints(printed)
    check(not bad, f"DumpLogSegments {' '.join(options)} complains: {bad[:5]}")
    for file in files:
        check(f"Dumping {file}".encode() in printed, f"DumpLogSegments passed over {file}")
    return printed


def dump_everything(jvm, directory):
    """Reads each log, index and checkpoint; gives the number of records in the data logs."""
    metadata = directory / "__cluster_metadata-0"
    is_data = lambda path: path.parent.name[0] != "_"
    logs = sorted(path for path in directory.glob("*/*.log") if is_data(path))
    indexes = sorted(path for suffix in ("index", "timeindex")
                     for path in directory.glob(f"*/*.{suffix}"))
    quorum = sorted([*metadata.glob("*.log"), *metadata.glob("*.checkpoint")])
    check(logs and indexes and len(quorum) > 1, f"{directory} has too few files")
    printed = dump(jvm, logs, "--deep-iteration", "--print-data-log")
    dump(jvm, indexes)
    dump(jvm, [path for path in indexes if path.suffix == ".index"], "--index-sanity-check")
    decoded = dump(jvm, quorum, "--cluster-metadata-decoder")
    for word in (b"TOPIC_RECORD", b"PARTITION_RECORD", b"FEATURE_LEVEL_RECORD", b"LeaderChange"):
        check(word in decoded, f"the metadata log has no {word.decode()}")
    return len(re.findall(rb"(?m)^\| offset: ", printed))


def sees_damage(jvm, directory, scratch):
    """That `dump` would find a damaged batch and a wrong index: else it proves nothing."""
    log = max(directory.glob("perf-0/*.log"), key=lambda path: path.stat().st_size)
    data = bytearray(log.read_bytes())
    index = bytearray(log.with_suffix(".index").read_bytes())
    data[200] ^= 1  # in the records of the first batch; a base offset is under no checksum
    check(len(index) >= 8, f"{log} is too short to have an index")
    index[7] ^= 1
    folder = scratch / "damaged-0"
    folder.mkdir()
    (folder / log.name).write_bytes(data)
    printed = jvm.tool("DumpLogSegments", "--deep-iteration", "--files", str(folder / log.name))
    check(complaints(printed), "DumpLogSegments did not notice the damaged batch")
    # A wrong position makes it stop; a wrong offset at a right position it does not notice.
    (folder / log.with_suffix(".index").name).write_bytes(index)
    jvm.tool("DumpLogSegments", "--files", str(folder / log.with_suffix(".index").name), code=1)

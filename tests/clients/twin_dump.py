"""`ottla dump-log` beside Kafka's DumpLogSegments: the same text for the same files."""

import pathlib
import subprocess

from processes import HERE, check

STORED = HERE / "data" / "kafka-4.3.1"
# Of each directory: which decoder its records want.
DECODERS = {"__cluster_metadata": "--cluster-metadata-decoder",
            "__consumer_offsets": "--offsets-decoder",
            "__transaction_state": "--transaction-log-decoder",
            "__share_group_state": "--share-group-state-decoder"}


def ottla(binary, *arguments):
    return subprocess.run([binary, "dump-log", *arguments], capture_output=True, timeout=60)


def same(jvm, binary, arguments, code=0):
    """Both print the same; Kafka's exit code is 0 whatever is wrong, Ottla's is `code`."""
    theirs = jvm.tool("DumpLogSegments", *arguments)
    ours = ottla(binary, *arguments)
    shown = " ".join(arguments)
    if ours.stdout != theirs:
        pairs = zip(ours.stdout.split(b"\n"), theirs.split(b"\n"))
        first = next((pair for pair in pairs if pair[0] != pair[1]), ("less", "more"))
        check(False, f"dump-log {shown}: {first[0]!r} where Kafka says {first[1]!r}")
    check(ours.returncode == code,
          f"dump-log {shown} ended with {ours.returncode}: {ours.stderr.decode()}")
    return len(theirs)


def stored(jvm, binary):
    """The files of Kafka's that are stored here; gives the bytes of text that were compared."""
    compared = 0
    for line in (STORED / "commands.txt").read_text().splitlines():
        words = line.split(" ")[1:]
        files = ",".join(str(STORED / name) for name in words[-1].split(","))
        compared += same(jvm, binary, [*words[:-1], files])
    check(compared > 200_000, f"only {compared} bytes were compared")
    return compared


def directory(jvm, binary, data):
    """Every file of a data directory, in each way that it can be dumped."""
    compared = 0
    logs = sorted(data.glob("*/*.log")) + sorted(data.glob("*/*.checkpoint"))
    for log in logs:
        decoder = DECODERS.get(log.parent.name.rsplit("-", 1)[0], "--print-data-log")
        for options in (["--deep-iteration"], [decoder, "--skip-record-metadata"], [decoder]):
            compared += same(jvm, binary, [*options, "--files", str(log)])
    rest = [path for suffix in ("index", "timeindex", "txnindex", "snapshot")
            for path in sorted(data.glob(f"*/*.{suffix}"))
            if not path.parent.name.endswith("-delete")]  # preallocated: Kafka's tool gives up
    compared += same(jvm, binary, ["--files", ",".join(map(str, rest))])
    for option in ("--verify-index-only", "--index-sanity-check"):
        indexes = [path for path in rest if path.suffix in (".index", ".timeindex")]
        compared += same(jvm, binary, [option, "--files", ",".join(map(str, indexes))])
    return compared


def damaged(jvm, binary, scratch):
    """Damage that Kafka's tool survives: both show the same, and Ottla ends with 1."""
    log = STORED / "codecs-0" / ("0" * 20 + ".log")
    folder = pathlib.Path(scratch) / "twin-0"
    folder.mkdir()
    copy = folder / log.name
    flip = lambda at: lambda data: data.__setitem__(at, data[at] ^ 1)
    cut = lambda data: data.__delitem__(slice(-5, None))
    for change in (flip(90), flip(30), flip(60), cut):
        data = bytearray(log.read_bytes())
        change(data)
        copy.write_bytes(data)
        same(jvm, binary, ["--files", str(copy)], code=1)
    copy.write_bytes(log.read_bytes())
    for suffix, at in ((".index", 3), (".timeindex", 7), (".timeindex", 11)):
        index = bytearray(log.with_suffix(suffix).read_bytes())
        index[at] ^= 1
        copy.with_suffix(".index").write_bytes(log.with_suffix(".index").read_bytes())
        copy.with_suffix(suffix).write_bytes(index)
        same(jvm, binary, ["--files", str(copy.with_suffix(suffix))], code=1)
    snapshot = bytearray((log.parent / f"{16:020}.snapshot").read_bytes())
    snapshot[20] ^= 1
    (folder / f"{16:020}.snapshot").write_bytes(snapshot)
    same(jvm, binary, ["--files", str(folder / f"{16:020}.snapshot")], code=1)

"""What must be the same, and what may differ by what was done in between.

`Changes` says what was done. Everything else is compared whole: views of clients, raw batches,
what the Admin client is told, the decoded metadata, and the files' bytes.
"""

import json
import re
from dataclasses import dataclass, field

from brokers import check


@dataclass
class Changes:
    """What was done between two looks."""
    added: dict = field(default_factory=dict)  # partition: records appended
    created: set = field(default_factory=set)  # topics
    deleted: set = field(default_factory=set)  # topics
    starts: dict = field(default_factory=dict)  # partition: new log start


def topic_of(partition):
    return partition.rsplit("-", 1)[0]


def short(value):
    return str(value)[:300]


def same(what, before, after):
    check(before == after, f"{what} was {short(before)} and is {short(after)}")


def plain_added(record):
    return {key: record[key] for key in ("offset", "time", "key", "value")}


def compare_records(name, what, before, after, added):
    same(f"{name}: {what}", before, after[:len(before)])
    found = [plain_added(record) for record in after[len(before):]]
    if name.startswith("k-append-time") or name.startswith("o-append-time"):
        for one, two in zip(found, added):
            one.pop("time"), two.pop("time")
    same(f"{name}: {what} added", added, found)


def compare_views(before, after, changes):
    for name, was in before.items():
        if topic_of(name) in changes.deleted:
            check(name not in after, f"{name} was deleted and is there")
            continue
        check(name in after, f"{name} is gone")
        now = after[name]
        start = changes.starts.get(name, was["start"])
        added = [plain_added(record) for record in changes.added.get(name, [])]
        kept = lambda records: [one for one in records if one["offset"] >= start]
        same(f"{name}: start", start, now["start"])
        same(f"{name}: end", was["end"] + len(added), now["end"])
        is_open = was["stable"] < was["end"]
        same(f"{name}: stable end", was["stable"] if is_open else now["end"], now["stable"])
        compare_records(name, "records", kept(was["records"]), now["records"], list(
            map(dict, added)))
        compare_records(name, "read_committed", kept(was["committed"]), now["committed"],
                        [] if is_open else list(map(dict, added)))
        for time, offset in was["times"].items():
            # Kafka does not look beyond a first segment whose records are all below the log's
            # start, or compacted away; Ottla does (docs/deviations.md).
            sees_less = added or was["start"] > 0 or name.startswith("compacted-away")
            found = now["times"][time]
            if "none" in (offset, found) and sees_less or name in changes.starts:
                continue
            same(f"{name}: offset at {time}", offset, found)
    extra = {topic_of(name) for name in after if name not in before}
    same("new topics", changes.created, extra)


def compare_raw(before, after, changes):
    for name, was in before.items():
        if topic_of(name) in changes.deleted:
            continue
        now = after[name]
        if name in changes.starts:
            # The batch that holds the new start is read whole.
            kept = [batch for batch in was["batches"] if batch in now["batches"]]
            check(kept, f"{name}: no batch is left")
            was = {**was, "batches": kept}
        for what in ("aborted", "batches"):
            same(f"{name}: raw {what}", was[what], now[what][:len(was[what])])
        if name not in changes.added:
            same(f"{name}: raw", was, now)


def about(key):
    """The topic that a line of the Admin client's is about, and the partition; or nothing."""
    kind, _, name = key.partition(" ")
    if kind in ("offset", "producers"):
        partition = name.split(" ")[0]
        return topic_of(partition), partition
    if kind == "configs":
        found = re.fullmatch(r"ConfigResource\(type=TOPIC, name='(.*)'\)", name)
        return (found.group(1), None) if found else (None, None)
    return (name, None) if kind == "topic" else (None, None)


def compare_told(before, after, changes):
    moved = set(changes.added) | set(changes.starts)
    for key in sorted(set(before) | set(after)):
        topic, partition = about(key)
        if topic not in changes.created | changes.deleted and partition not in moved:
            same(f"Admin: {key}", before.get(key), after.get(key))
    for name in changes.added:
        if topic_of(name) not in changes.created:
            was, now = before[f"producers {name}"], after[f"producers {name}"]
            check(set(was) < set(now), f"Admin: producers of {name}: {was} {now}")


# Fields that every broker sets anew when it registers or is elected.
OWN = {"REGISTER_BROKER_RECORD": ("brokerId", "rack", "logDirs"),
       "REGISTER_CONTROLLER_RECORD": ("controllerId",)}


def masked(line):
    kind, version, text = line.split(" ", 2)
    data = json.loads(text)
    if kind in OWN:
        return kind, {key: data.get(key) for key in OWN[kind]}
    if kind == "PARTITION_RECORD":
        data["isr"] = sorted(set(data["isr"]) | set(data.pop("eligibleLeaderReplicas", None) or []))
        # After a crash a replica that is alone is elected uncleanly, by Kafka as by Ottla.
        for key in ("leader", "leaderEpoch", "partitionEpoch", "lastKnownElr",
                    "leaderRecoveryState"):
            data.pop(key, None)
    return f"{kind} {version}", data


def sorted_lines(lines):
    return sorted(json.dumps(masked(line), sort_keys=True) for line in lines
                  if not line.startswith("PRODUCER_IDS_RECORD"))


def of_topics(lines, names):
    """The lines about some topics: the topic, its partitions and its configs."""
    ids = {json.loads(line.split(" ", 2)[2])["topicId"] for line in lines
           if line.startswith("TOPIC_RECORD")
           and json.loads(line.split(" ", 2)[2])["name"] in names}
    def is_about(line):
        data = json.loads(line.split(" ", 2)[2])
        return data.get("topicId") in ids or (
            line.startswith("CONFIG_RECORD") and data["resourceType"] == 2
            and data["resourceName"] in names)
    return [line for line in lines if is_about(line)]


def next_producer_id(lines):
    found = [line for line in lines if line.startswith("PRODUCER_IDS_RECORD")]
    return max((json.loads(line.split(" ", 2)[2])["nextProducerId"] for line in found), default=-1)


def compare_images(before, after, changes):
    before, after = before["lines"], after["lines"]
    rest = [line for line in before if line not in set(of_topics(before, changes.deleted))]
    new = set(of_topics(after, changes.created))
    was, now = sorted_lines(rest), sorted_lines(line for line in after if line not in new)
    lost = [line for line in was if line not in now]
    extra = [line for line in now if line not in was]
    check(not lost and not extra and was == now,
          f"metadata: lost {short(lost)}, added {short(extra)}")
    check(next_producer_id(before) <= next_producer_id(after), "producer ids went back")
    for topic in changes.created:
        check(of_topics(after, {topic}), f"the metadata has nothing about {topic}")


def files_of(directories):
    """The bytes of each segment, and of the files that a broker has no reason to touch."""
    found, starts = {}, {}
    for directory in directories:
        name_of = lambda path: str(path.relative_to(directory.parent))
        for pattern in ("*/*.log", "*/partition.metadata"):
            for path in sorted(directory.glob(pattern)):
                if not path.parent.name.endswith("-delete"):
                    found[name_of(path)] = path.read_bytes()
        file = directory / "log-start-offset-checkpoint"
        lines = file.read_text().split("\n")[2:] if file.exists() else []
        of_lines = (line.split(" ") for line in lines if line)
        starts |= {f"{topic}-{number}": int(start) for topic, number, start in of_lines}
        for name in ("meta.properties", "cleaner-offset-checkpoint", "bootstrap.checkpoint"):
            if (directory / name).exists():
                found[name_of(directory / name)] = (directory / name).read_bytes()
    found["starts"] = starts
    return found


def partition_of(name):
    """The partition that a file belongs to, or nothing: `data0/a-1/file`, `data0/file`."""
    parts = name.split("/")
    return parts[1] if len(parts) == 3 else None


def is_below_start(name, files):
    """Whether a segment holds only what was deleted: the log begins in a later one."""
    directory, partition, file = name.split("/")
    start = files["starts"].get(partition, 0)
    bases = [int(other.split("/")[2].split(".")[0]) for other in files
             if other.startswith(f"{directory}/{partition}/") and other.endswith(".log")]
    return file.endswith(".log") and int(file.split(".")[0]) < min(bases) <= start


def compare_files(before, after, changes, is_cut=False):
    """Logs only grow: what was in a file is in it, byte for byte. Preallocated zeros may go."""
    for name, was in before.items():
        if name == "starts":
            continue
        partition = partition_of(name)
        if partition and topic_of(partition) in changes.deleted:
            continue
        if is_cut and partition == "__cluster_metadata-0":
            continue
        if name not in after and is_below_start(name, after):
            continue
        check(name in after, f"file {name} is gone")
        now = after[name]
        if partition and partition.startswith("preallocated"):
            was, now = was.rstrip(b"\0"), now.rstrip(b"\0")
        if name.endswith(".log"):
            check(now.startswith(was), f"file {name} had {len(was)} bytes that are not there now")
        else:
            same(f"file {name}", was, now)
    for partition, start in changes.starts.items():
        same(f"start of {partition} on disk", start, after["starts"].get(partition))

"""That a directory holds all that it is said to hold, one line for each kind of thing.

So the matrix cannot pass because something was never there.
"""

import json

from brokers import check, has_share_groups


def records_of(stored, kind):
    lines = (line.split(" ", 2) for line in stored["image"]["lines"])
    return [json.loads(text) for found, _, text in lines if found == kind]


def batch_bytes(seen):
    return [bytes.fromhex(batch) for one in seen["raw"].values() for batch in one["batches"]]


def configs(stored, kind, name):
    found = records_of(stored, "CONFIG_RECORD")
    return [one for one in found if (one["resourceType"], one["resourceName"]) == (kind, name)]


def gaps(one):
    offsets = [record["offset"] for record in one["records"]]
    return any(later > earlier + 1 for earlier, later in zip(offsets, offsets[1:]))


def segments(stored, partition):
    return [data for name, data in stored["files"].items()
            if f"/{partition}/" in name and name.endswith(".log")]


def kinds(story, seen, told, stored):
    """Name of each thing, and whether it is there."""
    view, batches = seen["view"], batch_bytes(seen)
    records = [record for one in view.values() for record in one["records"]]
    states = [told[key] for key in told if key.startswith("transaction ")]
    yield "records of all codecs", {batch[22] & 7 for batch in batches} == {0, 1, 2, 3, 4}
    yield "timestamps of both kinds", {one["time_type"] for one in records} == {
        "CreateTime", "LogAppendTime"}
    yield "headers", any(one["headers"] for one in records)
    yield "headers without a value", any(
        value is None for one in records for _, value in one["headers"])
    yield "null keys", any(one["key"] is None for one in records)
    yield "null values", any(one["value"] is None for one in records)
    yield "idempotent producers", any(batch[43:51] != b"\xff" * 8 for batch in batches)
    yield "control batches", any(batch[22] & 0x20 for batch in batches)
    yield "tiny segments", len(segments(stored, "k-tiny-0")) > 10
    yield "preallocated segments", segments(stored, "preallocated-0")
    yield "a log that begins in the middle", view["deleted-records-0"]["start"] == 50
    yield "compacted logs with gaps", gaps(view["compacted-0"]) and gaps(
        view["compacted-deleted-0"])
    yield "a segment compacted to nothing", b"" in segments(stored, "compacted-away-0")[:-1]
    yield "what the cleaner notes", any(
        name.endswith("cleaner-offset-checkpoint") and b"compacted" in data
        for name, data in stored["files"].items())
    yield "committed transactions", any("CompleteCommit" in state for state in states)
    yield "aborted transactions", any(one["aborted"] for one in seen["raw"].values())
    yield "records that read_committed does not see", any(
        len(one["committed"]) < len(one["records"]) for one in view.values())
    yield "a transaction that is open", any("Ongoing" in state for state in states)
    yield "a stable offset below the end", view["open-0"]["stable"] < view["open-0"]["end"]
    yield "offsets in a transaction", "group group-of-tx" in told
    for group in ("written-by-admin", "classic-group"):
        yield f"offsets of {group}", "OffsetAndMetadata" in told.get(f"group {group}", "")
    for kind in ("ACCESS_CONTROL_ENTRY_RECORD", "USER_SCRAM_CREDENTIAL_RECORD",
                 "DELEGATION_TOKEN_RECORD", "CLIENT_QUOTA_RECORD", "FEATURE_LEVEL_RECORD",
                 "PRODUCER_IDS_RECORD"):
        yield kind, records_of(stored, kind)
    for kind in ("acl", "scram", "token", "quota", "feature"):
        yield f"{kind} told", any(key.startswith(f"{kind} ") for key in told)
    yield "configs of a topic", len(configs(stored, 2, "configured")) > 10
    yield "configs of a broker", configs(stored, 4, "1")
    yield "configs of all brokers", configs(stored, 4, "")
    yield "configs of client metrics", configs(stored, 16, "telemetry")
    if not story.version.startswith("3."):
        yield "configs of a group", configs(stored, 32, "new-group")
        yield "offsets of a new group", "OffsetAndMetadata" in told.get("group new-group", "")
    if has_share_groups(story.version):
        yield "configs of a share group", configs(stored, 32, "share")
        yield "a share group that read", any(
            character in told["share group"] for character in "123456789")
        yield "the state of a share group", any(
            one["records"] for name, one in view.items() if name.startswith("__share_group_state"))
    directories = {name.split("/")[0] for name in stored["files"]
                   if name.endswith("/partition.metadata")}
    yield "logs in every directory", len(directories) == len(story.home.dirs)


def check_contents(story, seen, told, stored):
    missing = [name for name, is_there in kinds(story, seen, told, stored) if not is_there]
    check(not missing, f"the directory lacks {missing}")

"""The control: of Kafka → Kafka the comparison finds nothing, and it finds what is changed."""

import copy

import compare
from brokers import Failed
from compare import Changes
from contents import check_contents


def control(story):
    """Kafka → Kafka: the comparison finds nothing, and finds what is changed"""
    home = story.home
    home.format_kafka()
    home.start_kafka()
    story.populate()
    seen, told = story.look(), story.told()
    stored = story.stop(story.how)
    check_contents(story, seen, told, stored)
    home.start_kafka()
    story.same_seen(seen)
    story.same_told(told)
    story.no_complaints()
    story.same_stored(stored, story.stop(story.how))
    home.start_kafka()
    changes = story.change("k-")
    later, later_told = story.same_seen(seen, changes), story.same_told(told, changes)
    at_last = story.stop()
    story.same_stored(stored, at_last, changes)
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
    sees_what_was_done(seen, later, told, later_told, stored, at_last, changes)
    sees_views(seen, later, changes)
    for line in stored["image"]["lines"]:
        if line.startswith("PRODUCER_IDS_RECORD"):
            continue
        fewer = {"lines": [one for one in at_last["image"]["lines"] if one != line]}
        if len(fewer["lines"]) < len(at_last["image"]["lines"]):
            must_fail(line, compare.compare_images, stored["image"], fewer, changes)
    for key in told:
        if key in later_told:
            topic, partition = compare.about(key)
            if topic not in changes.deleted and partition not in {**changes.added,
                                                                  **changes.starts}:
                fewer = {one: value for one, value in later_told.items() if one != key}
                must_fail(key, compare.compare_told, told, fewer, changes)
                other = {**later_told, key: "different"}
                must_fail(key, compare.compare_told, told, other, changes)
    sees_bytes(stored, at_last, changes)


def sees_what_was_done(seen, later, told, later_told, stored, at_last, changes):
    for name in changes.added:
        fewer = copy.deepcopy(changes)
        del fewer.added[name]
        must_fail(f"records in {name}", compare.compare_views, seen["view"], later["view"], fewer)
        if later["raw"][name]["batches"] != seen["raw"][name]["batches"]:  # not all are stable
            must_fail(f"batches in {name}", compare.compare_raw, seen["raw"], later["raw"], fewer)
    for name in changes.starts:
        fewer = copy.deepcopy(changes)
        del fewer.starts[name]
        must_fail(f"the start of {name}", compare.compare_views, seen["view"], later["view"],
                  fewer)
    for field in ("created", "deleted"):
        fewer = copy.deepcopy(changes)
        getattr(fewer, field).clear()
        must_fail(f"topics {field}", compare.compare_views, seen["view"], later["view"], fewer)
        must_fail(f"topics {field}", compare.compare_told, told, later_told, fewer)
        must_fail(f"topics {field}", compare.compare_images, stored["image"], at_last["image"],
                  fewer)


def sees_views(seen, later, changes):
    """One record less, or other in one field; an end moved; an aborted transaction less."""
    for name, one in later["view"].items():
        if name not in seen["view"] or compare.topic_of(name) in changes.deleted:
            continue
        with_one = lambda changed: {**later["view"], name: {**one, **changed}}
        differs = lambda what, changed: must_fail(
            f"{what} of {name}", compare.compare_views, seen["view"], with_one(changed), changes)
        for what in ("start", "end", "stable"):
            differs(what, {what: one[what] + 1})
        if not one["records"]:
            continue
        first, rest = one["records"][0], one["records"][1:]
        differs("a record", {"records": rest})
        if one["committed"]:
            differs("a committed record", {"committed": one["committed"][1:]})
        if seen["view"][name]["records"]:
            for field in ("offset", "time", "time_type", "epoch", "key", "value", "headers"):
                differs(field, {"records": [{**first, field: "other"}, *rest]})
        if seen["raw"][name]["aborted"]:
            raw = {**later["raw"], name: {**later["raw"][name], "aborted": []}}
            must_fail(f"aborted of {name}", compare.compare_raw, seen["raw"], raw, changes)


def sees_bytes(stored, at_last, changes):
    for name, data in stored["files"].items():
        if name == "starts" or not data.strip(b"\0") or name not in at_last["files"] or (
                compare.topic_of(compare.partition_of(name) or "-") in changes.deleted):
            continue
        for at in (0, len(data.rstrip(b"\0")) - 1):
            damaged = dict(at_last["files"])
            now = damaged[name]
            damaged[name] = now[:at] + bytes([now[at] ^ 1]) + now[at + 1:]
            must_fail(f"byte {at} of {name}", compare.compare_files, stored["files"], damaged,
                      changes)

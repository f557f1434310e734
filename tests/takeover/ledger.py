"""Transactions whose producers are connected all the while: whoever serves the directory, each ends
the one that it has open.

Producers are Java's, of the directory's version of Kafka. Those of `WHO` have a transaction open when
their broker stops, with records in two partitions and an offset of a group, and end it with the next
broker, or with the one after that. Loops commit one transaction after another: when Ottla is killed, one
of theirs is prepared at least, its markers still to be written, and in some runs so it is when Kafka is
killed before Ottla comes (the figure `prepared`). What has to hold: committed records are there once, aborted ones are not, offsets count
with their transaction, and nothing stays open.

When Kafka gets the directory back, loops rest, and nothing is about to take too long: while it
starts, Kafka 4.3.1 passes over partitions whose leader it does not know yet, and calls a transaction
complete without markers in them, which then hangs.
"""

import struct
import time

from brokers import check

TOPIC, PARTITIONS, SOURCE = "ledger", 4, "ledger-source"
# By name: how the transaction ends, and how many changes of the broker later.
WHO = {"commits-next": ("commit", 1), "commits-last": ("commit", 2),
       "aborts-next": ("abort", 1), "aborts-last": ("abort", 2),
       "is-replaced-next": ("replace", 1), "is-replaced-last": ("replace", 2),
       "takes-too-long": ("wait", 1)}  # begun once, with the first broker
LOOPS, AT_ONCE = 6, 15
# A partition of loops alone, and so many writes to it are enough for the node to be up.
LOOPED, WRITES = 3, 500
# How often the broker changes.
BROKERS = 2
# How long a transaction may take that nobody ends.
TIMEOUT_MS = 5_000
PATIENCE_S, TRIES = 60, 30
PREPARED = (2, 3)  # to be committed, to be aborted
BATCH_HEADER = 61


def varint(data, at):
    number, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), at
        shift += 7


def last_states(log):
    """The last state of each transactional id in a log of __transaction_state, as a number."""
    states, at = {}, 0
    while at + BATCH_HEADER <= len(log):
        length, = struct.unpack_from(">i", log, at + 8)
        end = at + 12 + length
        if length <= 0 or end > len(log):
            break
        count, = struct.unpack_from(">i", log, at + 57)
        record = at + BATCH_HEADER
        for _ in range(count):
            size, field = varint(log, record)
            record = field + size
            _, field = varint(log, field + 1)   # behind the attributes: the time
            _, field = varint(log, field)       # the offset
            key_size, field = varint(log, field)
            name = log[field + 4:field + key_size]
            value_size, field = varint(log, field + key_size)
            # Version, producer id, epoch and timeout stand before the state.
            states[name] = log[field + 16] if value_size > 0 else None
        at = end
    return states


class Ledger:
    """The producers of one case, and what is to be in their topic."""

    def __init__(self, story):
        self.java, self.home = story.java, story.home
        self.brokers, self.serial = 0, 0
        self.wanted = []  # what is committed by those of WHO
        self.offsets = {}
        self.written = {}  # by name: what is in the open transaction, the offset, and when it ends
        self.names = set()

    def ask(self, op, **fields):
        return self.java.ask(op, bootstrap=self.home.bootstrap, **fields)

    def step(self, name, verb, **fields):
        self.ask("txn_step", name=name, verb=verb, **fields)

    def start(self):
        self.ask("txn_begin", topic=TOPIC, partitions=PARTITIONS, source=SOURCE)
        for name, how in (("committed-before", "commit"), ("aborted-before", "abort")):
            self.begin(name)
            self.finish(name, how)
        for number in range(LOOPS):
            self.ask("txn_loop", id=f"loop-{number}", topic=TOPIC, partition=number % PARTITIONS)
        self.begin_all()

    def open(self, name, **config):
        self.step(name, "open", id=name, config=config)
        self.names.add(name)

    def begin_all(self):
        """Each of WHO that has no transaction begins one."""
        for name, (how, later) in WHO.items():
            if name not in self.written and (how != "wait" or self.brokers == 0):
                if how == "wait":
                    self.open(name, **{"transaction.timeout.ms": TIMEOUT_MS})
                self.begin(name, self.brokers + later)

    def begin(self, name, due=0):
        if name not in self.names:
            self.open(name)
        self.serial += 1
        for partition in (0, 1):
            self.step(name, "send", topic=TOPIC, partition=partition, value=str(self.serial))
        self.step(name, "offset", topic=SOURCE, group=f"of-{name}", offset=self.serial)
        self.written[name] = f"{name} {self.serial}", self.serial, due

    def finish(self, name, how):
        record, offset, _ = self.written.pop(name)
        if how == "commit":
            self.step(name, "commit")
            self.wanted.append(record)
            self.offsets[f"group of-{name}"] = offset
        elif how == "abort":
            self.step(name, "abort")
        elif how == "replace":
            self.open(name)
            self.begin(name)
            self.finish(name, "commit")
        else:
            self.until(lambda: self.states()[name] == "CompleteAbort",
                       f"{name} is not aborted after its time")

    def states(self):
        return self.ask("txn_states", groups=[f"of-{name}" for name in sorted(self.names)])

    def until(self, holds, what):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            check(time.monotonic() < deadline, what)
            time.sleep(0.1)

    def loops_go_on(self):
        before = self.loops()
        self.until(lambda: all(one >= before[name] + AT_ONCE for name, one in self.loops().items()),
                   "the loops do not go on")

    def loops(self):
        found = self.ask("txn_loops")
        errors = {name: one["error"] for name, one in found.items() if one["error"]}
        check(not errors, f"loops fail: {errors}")
        return {name: one["committed"] for name, one in found.items()}

    def next_broker(self):
        """Another one serves them now: who is to end his transaction does, and begins anew."""
        self.brokers += 1
        self.ask("txn_loops_rest", rests=False)
        self.loops_go_on()
        for name, (_, _, due) in list(self.written.items()):
            if due <= self.brokers:
                self.finish(name, WHO[name][0])
        if self.brokers < BROKERS:
            self.begin_all()
            self.loops_go_on()

    def prepared(self):
        """Of a stopped broker: the transactional ids whose markers are still to be written."""
        logs = [log for folder in self.home.dirs for log in folder.glob("__transaction_state-*/*.log")]
        found = [name for log in logs for name, state in last_states(log.read_bytes()).items()
                 if state in PREPARED]
        return sorted(name.decode() for name in found)

    def survives_kills(self):
        """Ottla is killed and comes back, until it has left a prepared transaction: every other write
        to a partition of the loops is a marker of one."""
        self.home.stop("kill")
        for number in range(TRIES):
            self.home.start_ottla(failpoint=f"before:/{TOPIC}-{LOOPED}/0:{WRITES + number}")
            self.home.process.wait(PATIENCE_S)
            prepared = self.prepared()
            self.home.start_ottla()
            self.loops_go_on()
            if prepared:
                return
            self.home.stop("kill")
        check(False, f"no transaction was prepared at any of {TRIES} kills")

    def rest(self):
        self.ask("txn_loops_rest", rests=True)
        check(not self.prepared_soon(), f"{self.prepared()} stay prepared")

    def prepared_soon(self):
        """Those that stay prepared although nothing is begun."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.prepared()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def end(self):
        """Everything that is open ends; what is there is what was committed."""
        for name in list(self.written):
            self.finish(name, WHO[name][0])
        loops = self.ask("txn_loops_end")
        found = self.ask("txn_read", topic=TOPIC)
        hang = {name: one["open"] for name, one in found.items() if one["open"]}
        check(not hang, f"transactions hang: {hang}, their states are {self.states()}")
        for name, one in loops.items():
            partition = found[str(int(name[5:]) % PARTITIONS)]["values"]
            seen = [value for value in partition if value.startswith(f"{name} ")]
            wanted = [f"{name} {number}" for number in range(one["committed"])]
            check(seen == wanted, f"{name} has {len(seen)} records, not {len(wanted)}, in order")
        for partition in ("0", "1"):
            seen = [one for one in found[partition]["values"] if not one.startswith("loop-")]
            check(sorted(seen) == sorted(self.wanted),
                  f"partition {partition} has {sorted(seen)}, not {sorted(self.wanted)}")
        states = self.states()
        open_ones = {name: state for name, state in states.items()
                     if not name.startswith("group ") and not state.startswith("Complete")}
        check(not open_ones, f"transactions are not complete: {open_ones}")
        offsets = {name: offset for name, offset in states.items() if name.startswith("group ")}
        check(offsets == self.offsets, f"offsets are {offsets}, not {self.offsets}")
        return sum(one["committed"] for one in loops.values()) + 2 * len(self.wanted)

"""The table client by capability, as Markdown between two markers of a file.

It shows what was seen in one run of all clients, nothing else; that a committed table is what
is seen today is checked in CI.
"""

import difflib
import pathlib

from records import CODECS

BEGIN, END = "<!-- compat table: begin -->", "<!-- compat table: end -->"
# In the order of the columns; the name of the folder, and the one that is shown.
COLUMNS = {
    "kcat": "kcat", "confluent-kafka": "confluent-kafka", "rdkafka": "rust-rdkafka",
    "kafka-clients-4.3": "Java 4.3", "kafka-clients-2.8": "Java 2.8", "franz-go": "franz-go",
    "sarama": "sarama", "kafka-go": "kafka-go", "kafka-python": "kafka-python",
    "aiokafka": "aiokafka", "kafkajs": "kafkajs", "platformatic": "@platformatic/kafka",
}
# The same of those that are asked as members of consumer groups (KIP-848).
CONSUMER_COLUMNS = {
    "kafka-clients-4.3": "Java 4.3", "confluent-kafka": "confluent-kafka", "rdkafka": "rust-rdkafka",
    "franz-go": "franz-go", "confluent-kafka-javascript": "@confluentinc/kafka-javascript",
}
CONSUMER_ROWS = [(title, names.split()) for title, names in (
    ("group of 2, 10 members", "consumers-2 consumers-10"),
    ("members replaced one by one", "consumers-rolling"),
    ("the same, each record once", "consumers-rolling-once"),
    ("static member restarts, is not replaced while there", "consumers-static consumers-unreleased"),
    ("member paused past its session, killed", "consumers-paused consumers-killed"),
    ("group goes on after restart, kill -9", "consumers-restart consumers-kill-9"),
    ("running group goes over from the classic protocol, and back",
     "consumers-upgrade consumers-downgrade"),
)]
# A row: what is shown, and the capabilities that it sums up.
ROWS = [(f"produce {codec}: acks 0, 1, all", [f"{codec}-acks-{acks}" for acks in "0 1 all".split()])
        for codec in CODECS] + [(title, names.split()) for title, names in (
    ("idempotent producer", "idempotent"),
    ("headers", "headers"),
    ("headers with null values, with a name twice", "null-headers repeated-headers"),
    ("null keys, empty keys", "null-keys empty-keys"),
    ("tombstones, empty values", "tombstones empty-values"),
    ("timestamps of the producer", "timestamps"),
    ("partitions", "partitions"),
    ("1 B to the largest batch", "sizes"),
    ("too large: error seen", "too-large"),
    ("unknown topic: error seen", "unknown-topic"),
    ("topics created by use", "auto-create"),
    ("consume from start, end", "from-start from-end"),
    ("consume from offset, time", "from-offset from-time"),
    ("list, describe topics", "list-topics describe-topic"),
    ("create, delete topics", "create-topic delete-topic"),
    ("create partitions", "create-partitions"),
    ("describe cluster", "describe-cluster"),
    ("list offsets", "list-offsets"),
    ("delete records", "delete-records"),
    ("describe, alter configs", "describe-configs alter-configs"),
    ("broker restart under way", "restart"),
    ("broker kill -9 under way", "kill-9"),
    ("group of 1, 2, 10 members", "group-1 group-2 group-10"),
    ("members join and leave under way", "group-rolling"),
    ("the same, each record once", "group-rolling-once"),
    ("static member restarts, is fenced", "group-static group-fencing"),
    ("cooperative rebalance", "group-cooperative"),
    ("member paused past its session, killed", "group-paused group-killed"),
    ("topics by pattern, new ones too", "group-pattern group-pattern-later"),
    ("group goes on after restart, kill -9", "group-restart group-kill-9"),
    ("several clients in one group", "group-mixed"),
    ("transactions: commit, abort", "txn-commit txn-abort"),
    ("30 transactions one after another", "txn-several"),
    ("offsets in transactions, aborted ones too", "txn-offsets txn-offsets-abort"),
    ("second instance fences the first", "txn-fencing"),
    ("copy job: exactly once after kill -9 of the client", "txn-killed"),
    ("copy job: after restart, kill -9 of the broker", "txn-restart txn-kill-9"),
)]
LEGEND = (
    "✓: works. n of m: so many of the row's cases. API: the broker lacks the request "
    "([docs/apis.md](docs/apis.md)). –: the client offers no such thing, or its folder says why it is not asked. own: the client's own mistake, with Apache Kafka too (its folder in "
    "[compat-tests](compat-tests/README.md) says which). FAIL: does not work.")
CONSUMERS = "The same with groups of the consumer protocol (KIP-848, `group.protocol=consumer`):"


def cell(outcomes):
    """One cell for the outcomes of the row's capabilities."""
    kinds = [kind(outcome) for outcome in outcomes]
    good = kinds.count("✓")
    bad = kinds.count("FAIL")
    if bad:
        return "FAIL" if bad == len(kinds) else f"{bad} of {len(kinds)} FAIL"
    if len(set(kinds)) == 1:
        return kinds[0] if kinds[0] != "✓" or len(kinds) < 8 else f"✓ {good}"
    return f"{good} of {len(kinds)}" if good else ", ".join(sorted(set(kinds)))


def kind(outcome):
    if outcome == "ok":
        return "✓"
    if outcome.startswith("needs broker"):
        return "API"
    if outcome.startswith("own"):
        return "own"
    return "–" if outcome.startswith("needs") else "FAIL"


def markdown(hellos, seen):
    clients = [name for name in COLUMNS if name in hellos]
    rows = [*ROWS, (f"reads what all {len(clients)} write", [f"read-{name}" for name in clients])]
    consumers = [name for name in CONSUMER_COLUMNS if name in hellos]
    return "\n".join([
        BEGIN, "", *one_table(COLUMNS, clients, rows, hellos, seen), "", LEGEND, "", CONSUMERS, "",
        *one_table(CONSUMER_COLUMNS, consumers, CONSUMER_ROWS, hellos, seen), "", END])


def one_table(titles, clients, rows, hellos, seen):
    lines = ["| | " + " | ".join(titles[name] for name in clients) + " |",
             "|---|" + "---|" * len(clients),
             "| version | " + " | ".join(hellos[name]["version"] for name in clients) + " |"]
    for title, names in rows:
        cells = [cell([seen.get((client, name), "FAIL") for name in names]) for client in clients]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def write_or_check(options, hellos, seen):
    """Whether the table of the file that is to be checked is what was seen."""
    file = options.table or options.check
    if not file:
        return True
    path = pathlib.Path(file)
    text = path.read_text()
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    fresh = markdown(hellos, seen)
    if options.table:
        path.write_text(text[:begin] + fresh + text[end:])
    if text[begin:end] == fresh:
        return True
    if options.check:
        print("".join(difflib.unified_diff(
            text[begin:end].splitlines(True), fresh.splitlines(True), file, "what was seen")))
        print("the table is not what was seen: scripts/compat --table", file)
    return bool(options.table)

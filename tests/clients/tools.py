"""Sessions of an administrator with Kafka's tools, and what they print with Apache Kafka and with Ottla.

`data/tools/NAME.txt` is written by `record` from a run against Apache Kafka 4.3.1; `compare` plays
it against Ottla. Its lines:

    # a comment
    $ TOOL WORD...                 a tool and its words; BROKER, CONTROLLER and @NAME stand for what they are
      | TEXT   ! TEXT   = CODE     what it printed, what it said on standard error, its exit code unless 0
    @ NAME TEXT                    a file for the tools that follow; in TEXT, \\n begins a line
    > TOPIC PARTITION CODEC        eleven records with fixed times are produced
    + NAME GROUP TOPIC,... K=V...  a Java consumer joins; the line ends when its group has settled
    ~ NAME GROUP TOPIC,... K=V...  one joins, and nobody lets the others know
    * NAME TOPIC PARTITION OFFSET [METADATA]    it commits
    - NAME                         it leaves
    % open NAME ID [K=V...]        a Java producer with a transactional id; what it is told by name of an
    % send NAME TOPIC PARTITION COUNT          error is printed as of a tool
    % offsets NAME GROUP TOPIC PARTITION OFFSET
    % commit NAME    % abort NAME    % close NAME
                                   an end waits for all markers of the transaction
    % level N                      waits until the broker tells this transaction.version
    % hang ID TOPIC PARTITION      a record in a transaction that the coordinator is not told of

Ids, times, ports and directories are masked, and traces of Java's are cut; what else may differ stands in
`data/tools/differences.txt`, with the reason.
"""

import difflib
import json
import re

import raw_transactions
from adapter import check
from processes import HERE, Failed
from records import ANY, to_hex

DATA = HERE / "data" / "tools"
SESSIONS = ("session", "groups", "consumers", "transactions", "versions")
TOOLS = {
    "kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "kafka-client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "kafka-cluster": "org.apache.kafka.tools.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "kafka-delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "kafka-features": "org.apache.kafka.tools.FeatureCommand",
    "kafka-get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "kafka-groups": "org.apache.kafka.tools.GroupsCommand",
    "kafka-leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "kafka-log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "kafka-metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
    "kafka-reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "kafka-topics": "org.apache.kafka.tools.TopicCommand",
    "kafka-transactions": "org.apache.kafka.tools.TransactionsCommand",
}
UNORDERED = ("kafka-consumer-groups", "kafka-delete-records", "kafka-groups", "kafka-transactions")
# Lines of a Java logger, of traces, and of what stands for an exit in Jvm.java.
NOISE = re.compile(r"\[.*\] (TRACE|DEBUG|INFO|WARN|ERROR) |\s+at |\s+\.\.\. \d+ more|.*the tool exits$")
# The first line of a list of all options, which says nothing of a broker.
USAGE = re.compile(r"Option\s+Description")
# What may differ: a pattern, what is put for it, and of which tool. Runs of blanks count as one.
MASKS = (
    ("", r"TopicId: [\w-]{22}", "TopicId: ID"),
    ("", r"\b1[78]\d{11}\b", "TIME"),  # milliseconds
    ("kafka-consumer-groups", r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "-UUID"),
    ("kafka-consumer-groups", r"(?<![\w.-])[\w-]{22}(?![\w:-])", "MEMBER"),  # of the consumer protocol
    ("kafka-cluster", r"Cluster ID: \S+", "Cluster ID: ID"),
    ("kafka-features", r"Epoch: \d+", "Epoch: N"),
    ("kafka-transactions", r"((?:Ongoing|Prepare\w+|Complete\w+)\s+\d+\s+TIME)\s+\d+", r"\1 N"),
    ("kafka-transactions", r"(?m)^([a-z]\S*(?:\s+-?\d+){5}\s+TIME)\s+\d+", r"\1 N"),  # find-hanging
    ("kafka-metadata-quorum", r"ClusterId: +\S+", "ClusterId: ID"),
    ("kafka-metadata-quorum", r"\b[\w-]{22}\b", "ID"),
    ("kafka-metadata-quorum", r"(?<=[\s:])\d+\b", "N"),
)


class Session:
    """The tools in front of one broker."""

    def __init__(self, jvm, broker, scratch):
        self.jvm, self.broker, self.scratch = jvm, broker, scratch
        self.serial = 0

    def file(self, name):
        return str(self.scratch / name)

    def words(self, text):
        for word in text.split():
            if word.startswith("@"):
                word = self.file(word[1:])
            yield {"BROKER": self.broker.bootstrap, "CONTROLLER": self.broker.controller}.get(word, word)

    def play(self, line):
        """Plays one line; gives the lines that a tool printed."""
        mark, _, rest = line.partition(" ")
        if mark == "@":
            name, _, text = rest.partition(" ")
            (self.scratch / name).write_text(text.replace("\\n", "\n"))
        elif mark == ">":
            topic, partition, codec = rest.split()
            self.jvm.ask("produce", bootstrap=self.broker.bootstrap, topic=topic, codec=codec,
                         partition=int(partition), records=[to_hex(made) for made in ANY])
        elif mark in ("+", "~"):
            name, group, topics, *config = rest.split()
            self.jvm.ask("join", bootstrap=self.broker.bootstrap, name=name, group=group,
                         topics=topics, waits=mark == "+", config=dict(one.split("=") for one in config))
        elif mark == "*":
            name, topic, partition, offset, *metadata = rest.split()
            self.jvm.ask("commit", name=name, topic=topic, partition=int(partition),
                         offset=int(offset), metadata="".join(metadata))
        elif mark == "-":
            self.jvm.ask("leave", name=rest)
        elif mark == "%":
            yield from self.transact(*rest.split())
        elif mark == "$":
            tool, *words = self.words(rest)
            code, out, err = self.jvm.run(TOOLS[tool], *words)
            lines = list(self.masked(tool, out.decode()))
            if tool in UNORDERED:
                lines.sort()  # as the answers come, or in the order of a hash
            yield from (f"  | {one}" for one in lines)
            yield from (f"  ! {one}" for one in self.masked(tool, err))
            if code:
                yield f"  = {code}"

    def transact(self, verb, name, *words):
        """One step of a producer with transactions; gives the error that it is told."""
        if verb == "hang":
            topic, partition = words
            raw_transactions.hang(self.broker.bootstrap, name, topic, int(partition))
            return
        told = self.jvm.ask("transaction", bootstrap=self.broker.bootstrap, verb=verb, name=name,
                            words=words)
        if told is not None:
            yield f"  ! {told}"

    def masked(self, tool, text):
        known = {self.broker.bootstrap: "BROKER", self.broker.controller: "CONTROLLER",
                 str(self.broker.data): "DIRECTORY", f"{self.scratch}/": "@"}
        for what, name in known.items():
            text = text.replace(what, name)
        for of, pattern, name in MASKS:
            if tool.startswith(of):
                text = re.sub(pattern, name, text)
        for address in (self.broker.bootstrap, self.broker.controller):
            text = re.sub(rf"\b{address.rpartition(':')[2]}\b", "PORT", text)
        for line in text.splitlines():
            if USAGE.match(line):
                break
            if line.strip() and not NOISE.match(line):
                yield in_order(re.sub(r"\s+", " ", line).strip())


def in_order(line):
    """What comes in the order of a hash: partitions of kafka-log-dirs and kafka-transactions, configs
    of kafka-topics."""
    if re.search(r" TIME N \S+-\d+(,|$)", line):
        before, _, partitions = line.rpartition(" ")
        return f"{before} {','.join(sorted(partitions.split(',')))}"
    if line.startswith("Topic: ") and "Configs: " in line:
        before, _, configs = line.partition("Configs: ")
        return f"{before}Configs: {','.join(sorted(configs.split(',')))}"
    if not line.startswith("{") or '"logDirs"' not in line:
        return line
    told = json.loads(line)
    for broker in told["brokers"]:
        for directory in broker["logDirs"]:
            directory["partitions"].sort(key=lambda one: one["partition"])
    return json.dumps(told)


def questions(name):
    """The lines of a session that are no answers, each with the answer that is recorded."""
    asked = []
    for line in (DATA / f"{name}.txt").read_text().splitlines():
        if line.startswith("  "):
            asked[-1][1].append(line)
        else:
            asked.append((line, []))
    return asked


def record(name, jvm, broker, scratch):
    session = Session(jvm, broker, scratch)
    lines = []
    for line, _ in questions(name):
        lines += [line, *session.play(line)]
    (DATA / f"{name}.txt").write_text("\n".join(lines) + "\n")


def differences():
    """What may differ: (whether it has to, pattern of the question, pattern of the line)."""
    for line in (DATA / "differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            question, pattern, _ = line.removeprefix("? ").split(" :: ")
            yield not line.startswith("? "), re.compile(question), re.compile(pattern)


def compare(jvm, start, scratch):
    """Plays each session with a broker that `start` gives; gives the number of the same answers."""
    allowed = list(differences())
    seen, wrong, played = set(), [], 0
    for name in SESSIONS:
        with start(name) as broker:
            session = Session(jvm, broker, scratch)
            for line, expected in questions(name):
                found = list(session.play(line))
                played += line.startswith("$")
                unexpected = []
                for one in differing(expected, found):
                    reason = next((at for at, (_, question, pattern) in enumerate(allowed)
                                   if question.search(line) and pattern.fullmatch(one)), None)
                    seen.add(reason)
                    if reason is None:
                        unexpected.append(f"    {one}")
                wrong += [line, *unexpected] if unexpected else []
    check(not wrong, "Kafka's tools say (-: with Kafka, +: with Ottla)\n" + "\n".join(wrong))
    idle = [pattern.pattern for at, (due, _, pattern) in enumerate(allowed)
            if due and at not in seen]
    check(not idle, f"differences.txt has what does not differ: {idle}")
    return played


def differing(expected, found):
    """The lines of which only one side has them, with - or + in front."""
    lines = difflib.ndiff(expected, found)
    return [f"{line[0]} {line[2:].strip()}" for line in lines if line[0] in "+-"]

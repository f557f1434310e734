"""Kafka's tools for administration, on a topic of their own."""

import json
import pathlib

from processes import check


class AdminTools:
    """The tools, against a broker."""

    def __init__(self, jvm, bootstrap, scratch):
        self.jvm, self.bootstrap, self.scratch = jvm, bootstrap, pathlib.Path(scratch)

    def tool(self, name, *words, code=0):
        said = self.jvm.tool(name, "--bootstrap-server", self.bootstrap, *words, code=code)
        return said.decode()

    def file(self, content):
        path = self.scratch / "admin.json"
        path.write_text(json.dumps(content))
        return str(path)

    def partitions(self, topic, count):
        """kafka-topics --alter adds partitions, and says why it adds none."""
        self.tool("TopicCommand", "--alter", "--topic", topic, "--partitions", str(count))
        offsets = self.tool("GetOffsetShell", "--topic", topic).split()
        check(len(offsets) == count, f"{topic} has {offsets}, not {count} partitions")
        said = self.tool("TopicCommand", "--alter", "--topic", topic, "--partitions", str(count),
                         code=1)
        expected = f"Topic already has {count} partition(s)."
        check(expected in said, f"kafka-topics --alter says {said}")

    def log_dirs(self, topic, directory):
        """kafka-log-dirs tells the sizes of the files."""
        said = self.tool("LogDirsCommand", "--describe", "--topic-list", topic)
        [line] = [line for line in said.splitlines() if line.startswith("{")]
        [broker] = json.loads(line)["brokers"]
        [told] = broker["logDirs"]
        check(told["logDir"] == str(directory) and told["error"] is None, f"logDirs: {told}")
        sizes = {one["partition"]: one["size"] for one in told["partitions"]}
        files = {log.parent.name: log.stat().st_size for log in directory.glob(f"{topic}-*/*.log")}
        check(sizes == files, f"kafka-log-dirs tells {sizes}, the files are {files}")

    def delete_records(self, topic, offset):
        """kafka-delete-records moves the start of a partition."""
        wanted = {"version": 1,
                  "partitions": [{"topic": topic, "partition": 0, "offset": offset}]}
        said = self.tool("DeleteRecordsCommand", "--offset-json-file", self.file(wanted))
        check(f"partition: {topic}-0\tlow_watermark: {offset}" in said,
              f"kafka-delete-records says {said}")
        first = self.tool("GetOffsetShell", "--topic-partitions", f"{topic}:0", "--time", "-2")
        check(first.strip() == f"{topic}:0:{offset}", f"{topic} begins at {first}")

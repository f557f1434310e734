"""DumpLogSegments over the directories that other tests left: see `run` beside this.

Each folder below the arguments that holds a meta.properties is a log directory; its broker was
stopped cleanly, else whoever kept it would not have. One JVM reads them all.
"""

import pathlib
import sys
import tempfile
import time

import dumps
from processes import Jvm, environment

DEPTH_MAX = 3
# Every record of groups that Ottla writes, by type and version: offsets, with a time to expire and
# without, and groups; and that they are forgotten.
WRITTEN = {("1", "1"), ("1", "4"), ("1", None), ("2", "3"), ("2", None)}

# And of transactions, from transaction.version 1 on; no test leaves those of before.
TRANSACTIONS = {("0", "1")}


def log_directories(folder, depth=0):
    if (folder / "meta.properties").exists():
        yield folder
    elif depth < DEPTH_MAX:
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                yield from log_directories(path, depth + 1)


def main():
    roots = list(map(pathlib.Path, sys.argv[1:]))
    directories = [found for root in roots for found in log_directories(root)]
    since, code = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="ottla-dumps-") as scratch:
        jvm = Jvm(environment()[0], scratch)
        tool = lambda *words: jvm.tool("DumpLogSegments", *words)
        try:
            found = dumps.dump_everything(tool, directories)
            print(f"dumps: {len(directories)} directories, {found.logs} segments with "
                  f"{found.records} records, {found.beside} files beside them: no complaint, "
                  f"{time.monotonic() - since:.1f} s")
            kinds = ", ".join(f"{of}/{version} {count}" for (of, version), count
                              in sorted(found.kinds.items(), key=str))
            print(f"dumps: records of groups by type and version: {kinds}")
            states = ", ".join(f"version {version} {count}" for (_, version), count
                               in sorted(found.transactions.items(), key=str))
            print(f"dumps: records of transactions: {states}")
            missing = (WRITTEN - found.kinds.keys()) | (TRANSACTIONS - found.transactions.keys())
            if missing:
                print(f"dumps: FAILED: no test has left records of {missing}")
                code = 1
            if not (directories and found.records and found.metadata):
                print("dumps: FAILED: there is nothing in them")
                code = 1
        except Exception as error:  # that the tool gave up is a complaint too
            print(f"dumps: FAILED: {error}")
            code = 1
        finally:
            jvm.kill()
    sys.exit(code)


if __name__ == "__main__":
    main()

"""Kafka's generated classes as the oracle of our record codecs, in both directions."""

import random
import subprocess

from processes import check

# In our table, because Kafka 4.4 has them; not in the jars of 4.3.1.
NEWER = {"UnregisterControllerRecord"}
CASES_PER_VERSION = 40


def agree(jvm, program, scratch, seed=None):
    """Each reads, writes and shows in JSON what the other wrote; gives the number of cases."""
    seed = random.randrange(2**32) if seed is None else seed
    made, answered = scratch / "codec-kafka.txt", scratch / "codec-ottla.txt"
    theirs = jvm.ask("codec_cases", seed=seed, count=CASES_PER_VERSION, file=str(made))
    listed = subprocess.run([program, "list"], capture_output=True, text=True, timeout=30)
    ours = {name: [int(low), int(high)]
            for name, low, high in map(str.split, listed.stdout.splitlines())}
    for name in sorted(theirs.keys() | ours.keys() - NEWER):
        check(name in ours, f"{name} of Kafka's is missing in tests/codec/schemas.rs")
        check(name in theirs, f"{name} is not in Kafka's jars")
        check(ours[name] == theirs[name],
              f"{name} has versions {ours[name]}, and Kafka's {theirs[name]}")
    done = subprocess.run([program, "read", str(made), str(answered)], capture_output=True,
                          text=True, timeout=60)
    check(done.returncode == 0, f"seed {seed}: {done.stderr[:3000]}")
    read = made.read_bytes().count(b"\n")
    checked = jvm.ask("codec_check", file=str(answered))
    check(len(theirs) >= 80 and read > 3000 and checked > 1000,
          f"only {len(theirs)} schemas, {read} and {checked} cases")
    return read + checked

"""That a table which is not what was seen is noticed: python3 -m unittest, in this folder."""

import contextlib
import io
import pathlib
import tempfile
import types
import unittest

import cases
import cases_consumers
import cases_groups
import cases_transactions
import endurance
import table


PLAYED = [name for several in (
    cases_groups.PLAYS | cases_consumers.PLAYS | cases_transactions.PLAYS) for name in several]
EVERY = {*cases.CASES, *PLAYED, cases_groups.MIXED, *endurance.NAMES, *endurance.GROUP_NAMES}


def seen_by_all():
    """What a run tells in which everything works."""
    hellos = {name: {"version": "1.0"} for name in table.COLUMNS | table.CONSUMER_COLUMNS}
    names = [*EVERY, *(f"read-{name}" for name in table.COLUMNS)]
    return hellos, {(client, name): "ok" for client in hellos for name in names}


class Table(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "README.md"
        self.file.write_text(f"before\n{table.BEGIN}\n{table.END}\nafter\n")
        self.hellos, self.seen = seen_by_all()
        self.write_or_check(table=str(self.file), check=None)

    def write_or_check(self, **options):
        with contextlib.redirect_stdout(io.StringIO()):
            return table.write_or_check(types.SimpleNamespace(**options), self.hellos, self.seen)

    def holds(self):
        return self.write_or_check(table=None, check=str(self.file))

    def test_what_was_seen_holds(self):
        self.assertTrue(self.holds())
        self.assertNotIn("FAIL", self.file.read_text().split("FAIL: does not work")[0])

    def test_a_falsified_cell(self):
        text = self.file.read_text()
        for honest, false in (("✓", "–"), ("✓", "FAIL"), ("1.0", "1.1"), ("| headers |", "| head |")):
            self.file.write_text(text.replace(honest, false, 1))
            self.assertFalse(self.holds(), false)

    def test_rows_and_columns_that_are_missing(self):
        lines = self.file.read_text().splitlines(keepends=True)
        row = next(at for at, line in enumerate(lines) if line.startswith("| headers"))
        self.file.write_text("".join(lines[:row] + lines[row + 1:]))
        self.assertFalse(self.holds())
        self.file.write_text("".join(line.replace(" ✓ |", "", 1) for line in lines))
        self.assertFalse(self.holds())

    def test_a_table_that_hides_what_failed(self):
        for outcome in ("FAIL it hangs", "own it hangs", "needs client: no such call", "needs broker: X"):
            self.seen["kcat", "headers"] = outcome
            self.assertFalse(self.holds(), outcome)

    def test_every_case_is_in_the_table(self):
        shown = {name for _, names in [*table.ROWS, *table.CONSUMER_ROWS] for name in names}
        self.assertEqual(shown, EVERY)

    def test_what_nobody_saw_is_no_success(self):
        del self.seen["kcat", "headers"]
        self.assertFalse(self.holds())


if __name__ == "__main__":
    unittest.main()

//! What every request does in every state, as a table: `transitions.txt`. `UPDATE=1` rewrites it:
//! read the diff.
//!
//! A group is brought into a state, with a leader `alice` and a follower `bob` (none in Empty), and
//! one thing happens to it. The table says what was told, what was logged, and which state it is in
//! then. All ways that [`TRANSITIONS`] declares are taken there, and no other one.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use goldenscript::{Command, Context, Runner};

use super::scripts::Script;
use crate::group::classic::{State, TRANSITIONS};

/// How a group comes into a state, from an empty log.
const SETUPS: &[(State, &[&str])] = &[
    (State::Empty, &["leave alice-1 bob-2"]),
    (State::PreparingRebalance, &["join carol version=3"]),
    (State::CompletingRebalance, &["join alice id=alice-1", "join bob id=bob-2"]),
    (State::Stable, &[]),
];

/// A stable group of two, in its first generation.
const FRONT: &[&str] = &[
    "start group.initial.rebalance.delay.ms=0",
    "join alice version=3",
    "join bob version=3",
    "wait 0",
    "sync alice id=alice-1 generation=1 assign=alice-1@left/bob-2@right",
    "sync bob id=bob-2 generation=1",
];

/// What happens, and the command; `G` stands for the generation.
const EVENTS: &[(&str, &str)] = &[
    ("a member comes", "join dave version=3"),
    ("a member comes without an id", "join dave"),
    ("a member comes with another protocol", "join dave version=3 protocols=other"),
    ("a static member comes", "join dave instance=d"),
    ("somebody joins with an unknown id", "join dave id=dave-9"),
    ("the leader joins again", "join alice id=alice-1"),
    ("a follower joins again", "join bob id=bob-2"),
    ("a follower joins with other metadata", "join bob id=bob-2 meta=more"),
    ("the leader syncs", "sync alice id=alice-1 generation=G assign=alice-1@l/bob-2@r"),
    ("a follower syncs", "sync bob id=bob-2 generation=G"),
    ("a follower syncs in the last generation", "sync bob id=bob-2 generation=0"),
    ("a follower syncs with another protocol", "sync bob id=bob-2 generation=G protocol=other"),
    ("a heartbeat", "heartbeat bob-2 generation=G"),
    ("a heartbeat of the last generation", "heartbeat bob-2 generation=0"),
    ("a heartbeat of nobody", "heartbeat dave-9 generation=G"),
    ("a commit", "commit member=bob-2 generation=G t-0@5"),
    ("a commit of the last generation", "commit member=bob-2 generation=0 t-0@5"),
    ("a commit without a member", "commit t-0@5"),
    ("the leader leaves", "leave alice-1"),
    ("a follower leaves", "leave bob-2"),
    ("all leave", "leave alice-1 bob-2 carol-3"),
    ("somebody unknown leaves", "leave dave-9"),
    ("nobody is heard of for 9 s", "wait 9000"),
    ("nobody is heard of for 11 s", "wait 11000"),
    ("another coordinator takes over", "load"),
];

/// A group in the making.
#[derive(Default)]
struct Case(Script);

impl Case {
    fn run(&mut self, line: &str) -> String {
        struct Once<'s>(&'s mut Script);
        impl Runner for Once<'_> {
            type Command = Command;

            fn run(
                &mut self,
                command: &Command,
                context: &Context,
            ) -> Result<String, Box<dyn std::error::Error>> {
                self.0.run(command, context)
            }
        }
        let script = format!("{line}\n---\n");
        let output = goldenscript::generate(&mut Once(&mut self.0), &script).expect(line);
        output.strip_prefix(&script).unwrap_or_default().trim().to_owned()
    }

    fn state(&self) -> (State, State, i32) {
        let group = self.0.classic().expect("the group is there");
        (group.previous(), group.state(), group.generation())
    }
}

#[test]
fn every_request_in_every_state() {
    let mut table = String::new();
    let mut taken = BTreeSet::new();
    for (state, setup) in SETUPS {
        let _ = writeln!(table, "# {}\n", state.name());
        for (what, event) in EVENTS {
            let mut case = Case::default();
            for line in FRONT.iter().chain(*setup) {
                case.run(line);
            }
            let (_, before, generation) = case.state();
            assert_eq!(before, *state, "the way there");
            let told = case.run(&event.replace('G', &generation.to_string()));
            let (previous, after, now) = case.state();
            if (after, now) != (before, generation) && *event != "load" {
                taken.insert((previous, after));
            }
            let _ = writeln!(table, "{what}: {} -> {} {now}", before.name(), after.name());
            told.lines().for_each(|line| writeln!(table, "    {line}").expect("a string"));
        }
        table.push('\n');
    }
    let declared: BTreeSet<(State, State)> = TRANSITIONS.iter().copied().collect();
    let name = |(from, to): &(State, State)| format!("{} -> {}\n", from.name(), to.name());
    let ways: String = declared.iter().map(name).collect();
    assert_eq!(taken, declared, "the ways that are taken are those that are declared");
    let table = format!("The ways from state to state:\n\n{ways}\n{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("group/tests/transitions.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).expect("writable");
    } else {
        let kept = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(table, kept, "transitions.txt differs; UPDATE=1 rewrites it");
    }
}

//! What it costs to share partitions out among the members of a consumer group, in this process
//! and without a broker. Every figure is the least of many passes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ottla_coordinator::group::MemberId;
use ottla_coordinator::group::consumer::Assignment;
use ottla_coordinator::group::consumer::assignor::{Assignor, Task, TaskMember};
use ottla_types::Uuid;

use crate::Failure;

/// Members, topics, and partitions of each topic.
const SIZES: [(usize, u8, i32); 2] = [(100, 10, 100), (1_000, 100, 100)];
const PASSES: usize = 20;

/// Prints milliseconds for an assignment: from nothing, and when one member has come to those who
/// have all.
pub fn measure() -> Result<(), Failure> {
    println!("| assignor | members | partitions | from nothing, ms | one more, ms |");
    println!("|---|---|---|---|---|");
    for (members, topics, partitions) in SIZES {
        for assignor in Assignor::ALL {
            for is_homogeneous in [true, false] {
                let mut task = task(members, topics, partitions, is_homogeneous);
                let nothing = least(|| drop(black_box(assignor.assign(black_box(&task)))));
                let had = assignor.assign(&task);
                for (member, had) in task.members.iter_mut().zip(had) {
                    member.assigned = Arc::new(had);
                }
                let subscribed = task.members[0].topics.clone();
                task.members.push(member(members, subscribed));
                let more = least(|| drop(black_box(assignor.assign(black_box(&task)))));
                let name = assignor.name();
                let how = if is_homogeneous { "" } else { ", different subscriptions" };
                let count = i32::from(topics) * partitions;
                println!("| {name}{how} | {members} | {count} | {nothing:.2} | {more:.2} |");
            }
        }
    }
    Ok(())
}

fn task(members: usize, topics: u8, partitions: i32, is_homogeneous: bool) -> Task {
    let ids = (0..topics).map(|topic| Uuid([topic + 1; 16]));
    let all: Vec<Uuid> = ids.clone().collect();
    let subscribed = |number: usize| match number % 2 {
        // Every other one leaves one topic out.
        1 if !is_homogeneous => all[1..].to_vec(),
        _ => all.clone(),
    };
    Task {
        members: (0..members).map(|number| member(number, subscribed(number))).collect(),
        topics: ids.map(|id| (id, partitions)).collect(),
        is_homogeneous,
    }
}

fn member(number: usize, topics: Vec<Uuid>) -> TaskMember {
    let id = MemberId::from(format!("{number:036}").as_str());
    TaskMember { id, instance: None, topics, assigned: Arc::new(Assignment::default()) }
}

/// Milliseconds of the quickest pass.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the real clock")]
fn least(mut pass: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..PASSES {
        let began = Instant::now();
        pass();
        least = least.min(began.elapsed().as_secs_f64() * 1e3);
    }
    least
}

//! Sessions: who stays, and a model: over a session a client knows what full fetches would tell it.

use ottla_types::{MonoTime, Offset};

use super::*;

/// Marsaglia's xorshift.
struct Lot(u64);

impl Lot {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.draw() >> 16) % end
    }
}

const QUIET: Told = Told {
    bounds: Bounds { high_watermark: Offset(0), log_start: Offset(0) },
    has_records: false,
    is_error: false,
    diverges: false,
};

fn topic() -> SessionTopic {
    SessionTopic::Name("t".to_owned())
}

fn partition(index: i32, offset: i64) -> SessionPartition {
    let asked = Asked {
        fetch_offset: offset,
        bytes_max: 100,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    };
    SessionPartition { topic: topic(), index, asked }
}

fn session(len: i32) -> Session {
    Session::new(false, (0..len).map(|index| (partition(index, 0), QUIET)))
}

fn at(seconds: u64) -> MonoTime {
    MonoTime::from_start(Duration::from_secs(seconds))
}

fn change(asked: Vec<SessionPartition>, forgotten: &[i32]) -> Change {
    let forgotten = forgotten.iter().map(|index| (topic(), *index)).collect();
    Change { by_id: false, asked, forgotten }
}

fn with_slots(sessions_max: usize, partitions_max: usize) -> FetchSessions {
    FetchSessions::new(SessionLimits { sessions_max, partitions_max })
}

#[test]
fn epochs_follow_each_other() {
    let mut lot = Lot(7);
    let mut sessions = with_slots(2, 100);
    let id = sessions.create(session(2), false, at(0), &mut || lot.draw());
    let none = || change(Vec::new(), &[]);
    assert_eq!(sessions.step(id, 2, none(), at(0)), Err(SessionError::InvalidEpoch));
    assert_eq!(sessions.step(id, 1, none(), at(0)).map(|read| read.len()), Ok(2));
    assert_eq!(sessions.step(id, 1, none(), at(0)), Err(SessionError::InvalidEpoch));
    // The answer to an epoch is of no use once the next one was asked for.
    assert!(sessions.tell(id, 1, &[]).is_ok());
    assert!(sessions.step(id, 2, none(), at(0)).is_ok());
    assert_eq!(sessions.tell(id, 1, &[]), Err(SessionError::InvalidEpoch));
    let by_id = Change { by_id: true, ..none() };
    assert_eq!(sessions.step(id, 3, by_id, at(0)), Err(SessionError::TopicIds));
    assert_eq!(sessions.step(id ^ 1, 3, none(), at(0)), Err(SessionError::NotFound));
    // Without partitions there is no session.
    assert_eq!(sessions.step(id, 3, change(Vec::new(), &[0, 1]), at(0)), Ok(Vec::new()));
    assert_eq!((sessions.len(), sessions.partitions()), (0, 0));
    assert_eq!((next_epoch(i32::MAX), next_epoch(-1), next_epoch(0)), (1, -1, 1));
}

#[test]
fn who_counts_for_less_goes() {
    let mut lot = Lot(3);
    let mut sessions = with_slots(2, 1000);
    let mut create = |sessions: &mut FetchSessions, len, privileged, now| {
        let id = sessions.create(session(len), privileged, at(now), &mut || lot.draw());
        sessions.check();
        id
    };
    let none = || change(Vec::new(), &[]);
    let small = create(&mut sessions, 1, false, 0);
    let large = create(&mut sessions, 9, false, 0);
    assert_eq!(create(&mut sessions, 5, false, 10), 0, "both are young");
    // A broker's takes the place of a client's, the smallest first.
    let broker = create(&mut sessions, 1, true, 20);
    assert!(broker != 0);
    assert_eq!(sessions.step(small, 1, none(), at(20)), Err(SessionError::NotFound));
    // In use for more than two minutes, the large one can go, for a larger one.
    assert!(sessions.step(large, 1, none(), at(125)).is_ok());
    assert!(sessions.step(broker, 1, none(), at(125)).is_ok());
    assert_eq!(create(&mut sessions, 9, false, 126), 0, "it is no larger");
    assert!(create(&mut sessions, 10, false, 126) != 0);
    assert_eq!(sessions.step(large, 2, none(), at(126)), Err(SessionError::NotFound));
    // Whoever was quiet for more than two minutes goes, whatever it is.
    assert!(create(&mut sessions, 1, false, 250) != 0);
    assert_eq!(sessions.step(broker, 2, none(), at(250)), Err(SessionError::NotFound));
}

#[test]
fn memory_is_bounded() {
    let mut lot = Lot(5);
    let mut sessions = with_slots(100, 10);
    let id = sessions.create(session(6), false, at(0), &mut || lot.draw());
    assert_eq!(sessions.create(session(5), false, at(0), &mut || lot.draw()), 0);
    let empty = sessions.create(session(0), false, at(0), &mut || lot.draw());
    assert_ne!(empty, 0, "what has no partitions needs no room");
    let more = (10..15).map(|index| partition(index, 0)).collect();
    let grown = sessions.step(id, 1, change(more, &[]), at(0));
    assert_eq!(grown, Err(SessionError::NotFound), "it is forgotten");
    assert_eq!((sessions.len(), sessions.partitions()), (1, 0));
    assert!(with_slots(0, 10).create(session(1), false, at(0), &mut || lot.draw()) == 0);
}

#[test]
fn whoever_got_records_comes_last() {
    let mut lot = Lot(11);
    let mut sessions = with_slots(1, 10);
    let id = sessions.create(session(3), false, at(0), &mut || lot.draw());
    let mut order = |epoch, with_records: i32| {
        let read =
            sessions.step(id, epoch, change(Vec::new(), &[]), at(0)).expect("the session is there");
        let order: Vec<i32> = read.iter().map(|it| it.index).collect();
        let told = |index: &i32| Told { has_records: *index == with_records, ..QUIET };
        let told: Vec<_> = order.iter().map(told).collect();
        let answered = sessions.tell(id, epoch, &told).expect("the session is there");
        let expected: Vec<bool> = order.iter().map(|index| *index == with_records).collect();
        assert_eq!(answered, expected);
        order
    };
    assert_eq!(order(1, 0), [0, 1, 2]);
    assert_eq!(order(2, 1), [1, 2, 0]);
    assert_eq!(order(3, 9), [2, 0, 1]);
}

/// What a broker would answer to a full fetch of a partition from `offset`.
fn full(world: &[(i64, i64, bool)], index: i32, offset: i64) -> Told {
    let (high_watermark, log_start, is_error) = world[index as usize];
    let bounds = Bounds { high_watermark: Offset(high_watermark), log_start: Offset(log_start) };
    Told { bounds, has_records: !is_error && offset < high_watermark, is_error, diverges: false }
}

/// What a client reads, from which offset, and what it was told last.
type Known = BTreeMap<i32, (i64, Option<Told>)>;

fn go_on(world: &mut [(i64, i64, bool)], lot: &mut Lot) {
    for (high_watermark, log_start, is_error) in world {
        *high_watermark += lot.below(3) as i64;
        *log_start += (lot.below(2) as i64).min(*high_watermark - *log_start);
        *is_error = lot.below(10) == 0;
    }
}

/// The client reads on, reads more, and forgets.
fn decide(known: &mut Known, lot: &mut Lot) -> Change {
    let (mut asked, mut forgotten) = (Vec::new(), Vec::new());
    for index in 0..6 {
        match (known.get(&index).copied(), lot.below(8)) {
            (None, 0) => {
                known.insert(index, (0, None));
                asked.push(partition(index, 0));
            }
            (Some(_), 1) if known.len() > 1 => {
                known.remove(&index);
                forgotten.push(index);
            }
            // It has read what it was given.
            (Some((_, Some(told))), 2..) if told.has_records => {
                let offset = told.bounds.high_watermark.0;
                known.insert(index, (offset, Some(Told { has_records: false, ..told })));
                asked.push(partition(index, offset));
            }
            _ => {}
        }
    }
    change(asked, &forgotten)
}

#[test]
fn a_client_knows_what_full_fetches_would_tell_it() {
    for seed in 1..300 {
        let mut lot = Lot(seed);
        let mut sessions = with_slots(4, 1000);
        // High watermark, start and error of each partition.
        let mut world = vec![(0_i64, 0_i64, false); 6];
        let began: Vec<_> =
            (0..3).map(|index| (partition(index, 0), full(&world, index, 0))).collect();
        let mut known: Known =
            began.iter().map(|(part, told)| (part.index, (0, Some(*told)))).collect();
        let id = sessions.create(Session::new(false, began), false, at(0), &mut || lot.draw());
        for epoch in 1..60 {
            go_on(&mut world, &mut lot);
            let change = decide(&mut known, &mut lot);
            let read = sessions.step(id, epoch, change, at(0)).expect("the next one");
            let tell = |it: &SessionPartition| full(&world, it.index, it.asked.fetch_offset);
            let told: Vec<_> = read.iter().map(tell).collect();
            let answered = sessions.tell(id, epoch, &told).expect("the same one");
            for ((it, told), _) in read.iter().zip(told).zip(answered).filter(|(_, told)| *told) {
                known.entry(it.index).and_modify(|known| known.1 = Some(told));
            }
            let mut indexes: Vec<i32> = read.iter().map(|it| it.index).collect();
            indexes.sort_unstable();
            assert_eq!(indexes, known.keys().copied().collect::<Vec<_>>(), "seed {seed}");
            for (index, (offset, told)) in &known {
                let expected = Some(full(&world, *index, *offset));
                assert_eq!(*told, expected, "seed {seed}: partition {index} in {epoch}");
            }
            sessions.check();
        }
    }
}

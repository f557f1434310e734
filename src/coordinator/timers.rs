//! Deadlines, each under a key. The shell asks for the next one and comes back when it has passed.

use std::collections::{BTreeMap, BTreeSet};

use ottla_types::MonoTime;

/// Deadlines by key.
#[derive(Debug)]
pub struct Timers<K> {
    at: BTreeMap<K, MonoTime>,
    order: BTreeSet<(MonoTime, K)>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets a deadline; an earlier one under the same key is forgotten.
    pub fn set(&mut self, key: K, at: MonoTime) {
        if let Some(old) = self.at.insert(key.clone(), at) {
            if old == at {
                return;
            }
            self.order.remove(&(old, key.clone()));
        }
        self.order.insert((at, key));
    }

    /// Forgets a deadline.
    pub fn cancel(&mut self, key: &K) {
        if let Some(at) = self.at.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// Whether there is a deadline under a key.
    pub fn is_set(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// The next deadline.
    pub fn next(&self) -> Option<MonoTime> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out a deadline that has passed, the earliest first.
    pub fn pop(&mut self, now: MonoTime) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first().expect("there is a next one");
        self.at.remove(&key);
        Some(key)
    }

    /// Panics when keys and order do not agree.
    pub fn check(&self) {
        assert_eq!(self.at.len(), self.order.len(), "each deadline once");
    }
}

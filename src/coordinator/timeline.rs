//! A map that keeps apart what is not committed yet.
//!
//! ```text
//!   now       what the next operation sees
//!   undo      per key: what was there before each change that is not committed, oldest first
//!   order     the same changes in the order of the log
//! ```
//! A change is made at the offset of its record. [`Timeline::commit`] forgets how to undo what is
//! below the high watermark; [`Timeline::revert`] undoes what could not be appended. Readers of
//! [`Timeline::committed`] see what was there before the first change that is not committed.
//!
//! Invariants (`check`): `order` rises, and names exactly the changes of `undo`.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;

use ottla_types::Offset;

/// A map with two views: what is committed, and what is next.
#[derive(Debug)]
pub struct Timeline<K, V> {
    now: BTreeMap<K, V>,
    undo: BTreeMap<K, VecDeque<(Offset, Option<V>)>>,
    order: VecDeque<(Offset, K)>,
}

impl<K: Ord + Clone, V: Clone> Default for Timeline<K, V> {
    fn default() -> Timeline<K, V> {
        Timeline { now: BTreeMap::new(), undo: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Timeline<K, V> {
    /// Puts a value that is committed already: a record that was loaded.
    pub fn load(&mut self, key: K, value: V) {
        self.now.insert(key, value);
    }

    /// Removes a value by a record that was loaded.
    pub fn unload(&mut self, key: &K) -> Option<V> {
        self.now.remove(key)
    }

    /// Puts a value by the record at `at`.
    pub fn put(&mut self, key: K, value: V, at: Offset) {
        let old = self.now.insert(key.clone(), value);
        self.note(key, old, at);
    }

    /// Removes a value by the record at `at`.
    pub fn remove(&mut self, key: &K, at: Offset) {
        let old = self.now.remove(key);
        self.note(key.clone(), old, at);
    }

    fn note(&mut self, key: K, old: Option<V>, at: Offset) {
        debug_assert!(self.order.back().is_none_or(|(last, _)| *last <= at), "offsets rise");
        self.undo.entry(key.clone()).or_default().push_back((at, old));
        self.order.push_back((at, key));
    }

    /// What the next operation sees.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.now.get(key)
    }

    /// What readers see.
    pub fn committed(&self, key: &K) -> Option<&V> {
        match self.undo.get(key).and_then(VecDeque::front) {
            Some((_, old)) => old.as_ref(),
            None => self.now.get(key),
        }
    }

    /// What the next operation sees of a range of keys, in their order.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        self.now.range(range)
    }

    /// What readers see of a range of keys.
    pub fn committed_range(
        &self,
        range: impl RangeBounds<K> + Clone,
    ) -> impl Iterator<Item = (&K, &V)> {
        let settled =
            self.now.range(range.clone()).filter(|(key, _)| !self.undo.contains_key(*key));
        let changing = self.undo.range(range).filter_map(|(key, changes)| {
            let (_, old) = changes.front().expect("a key has changes while it is here");
            Some((key, old.as_ref()?))
        });
        settled.chain(changing)
    }

    /// Everything below `end` is committed. Tells which old values are forgotten.
    pub fn commit(&mut self, end: Offset, mut forgotten: impl FnMut(K, V)) {
        while self.order.front().is_some_and(|(at, _)| *at < end) {
            let (_, key) = self.order.pop_front().expect("seen");
            let changes = self.undo.get_mut(&key).expect("every change is under its key");
            let (_, old) = changes.pop_front().expect("every change is under its key");
            if changes.is_empty() {
                self.undo.remove(&key);
            }
            if let Some(old) = old {
                forgotten(key, old);
            }
        }
    }

    /// Nothing from `start` on was appended. Tells which new values are forgotten.
    pub fn revert(&mut self, start: Offset, mut forgotten: impl FnMut(K, V)) {
        while self.order.back().is_some_and(|(at, _)| *at >= start) {
            let (_, key) = self.order.pop_back().expect("seen");
            let changes = self.undo.get_mut(&key).expect("every change is under its key");
            let (_, old) = changes.pop_back().expect("every change is under its key");
            if changes.is_empty() {
                self.undo.remove(&key);
            }
            let new = match old {
                Some(old) => self.now.insert(key.clone(), old),
                None => self.now.remove(&key),
            };
            if let Some(new) = new {
                forgotten(key, new);
            }
        }
    }

    /// How many values the next operation sees.
    pub fn len(&self) -> usize {
        self.now.len()
    }

    /// Whether what the next operation sees of a key is not committed.
    pub fn is_changing(&self, key: &K) -> bool {
        self.undo.contains_key(key)
    }

    /// Whether everything is committed.
    pub fn is_settled(&self) -> bool {
        self.order.is_empty()
    }

    /// The keys that are changed by the record at `start` or one behind it; some of them twice.
    pub fn changed_since(&self, start: Offset) -> impl Iterator<Item = &K> {
        let changes = self.order.iter().rev().take_while(move |(at, _)| *at >= start);
        changes.map(|(_, key)| key)
    }

    /// Whether an uncommitted view still names a value that `is_it`.
    pub fn any_version(&self, key: &K, is_it: impl Fn(&V) -> bool) -> bool {
        let old = self.undo.get(key).into_iter().flatten().filter_map(|(_, old)| old.as_ref());
        self.now.get(key).into_iter().chain(old).any(is_it)
    }

    /// Panics when an invariant of the file's head does not hold.
    pub fn check(&self) {
        assert!(self.order.iter().is_sorted_by_key(|(at, _)| *at), "changes are in order");
        let changes: usize = self.undo.values().map(VecDeque::len).sum();
        assert_eq!(changes, self.order.len(), "every change can be undone once");
        assert!(self.undo.values().all(|changes| !changes.is_empty()), "no key without a change");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type View = Vec<(&'static str, u32)>;

    /// What readers see, and what the next operation sees.
    fn views(map: &Timeline<&'static str, u32>) -> (View, View) {
        map.check();
        let mut committed: Vec<_> = map.committed_range(..).map(|(k, v)| (*k, *v)).collect();
        committed.sort_unstable();
        for (key, value) in &committed {
            assert_eq!(map.committed(key), Some(value));
        }
        (committed, map.range(..).map(|(k, v)| (*k, *v)).collect())
    }

    #[test]
    fn readers_see_what_is_committed_and_operations_what_is_next() {
        let mut map = Timeline::default();
        map.load("a", 1);
        map.put("a", 2, Offset(10));
        map.put("b", 3, Offset(11));
        map.remove(&"a", Offset(12));
        assert_eq!(views(&map), (vec![("a", 1)], vec![("b", 3)]));
        map.commit(Offset(11), |_, _| {});
        assert_eq!(views(&map), (vec![("a", 2)], vec![("b", 3)]));
        map.commit(Offset(13), |key, old| assert_eq!((key, old), ("a", 2)));
        assert_eq!(views(&map), (vec![("b", 3)], vec![("b", 3)]));
    }

    #[test]
    fn what_was_not_appended_is_undone_and_what_was_stays() {
        let mut map = Timeline::default();
        map.load("a", 1);
        map.put("a", 2, Offset(10));
        map.put("a", 3, Offset(11));
        map.remove(&"a", Offset(12));
        map.put("b", 4, Offset(12));
        map.revert(Offset(11), |_, new| assert!(new >= 3));
        assert_eq!(views(&map), (vec![("a", 1)], vec![("a", 2)]));
        assert!(map.any_version(&"a", |value| *value == 1));
        map.commit(Offset(11), |_, _| {});
        map.revert(Offset(0), |_, _| unreachable!("nothing is left to undo"));
        assert_eq!(views(&map), (vec![("a", 2)], vec![("a", 2)]));
        assert!(!map.any_version(&"a", |value| *value == 1));
    }
}

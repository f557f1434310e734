//! Who has the least and who has the most of some members, while partitions move between them.
//!
//! ```text
//!             ^            #
//!  partitions |          ###
//!             |        #####
//!             | [->  ]###[<-]
//!             +------------->    members, sorted by what they have
//! ```
//! Those at the left are filled up level by level: [0, low_end) are as high as `low`, and the next
//! one is taken when all of them had one more. Those at the right are taken off in the same way:
//! [high_start, high_end), at `high`.
//! A member that has nothing to give is excluded: it changes places with the last of the high ones.

#[derive(Default)]
pub(super) struct Balancer {
    members: Vec<usize>,
    low_end: usize,
    low: isize,
    next_low: usize,
    high_start: usize,
    high_end: usize,
    high: isize,
    /// The next one of the high ones to be taken, plus one.
    next_high: usize,
}

impl Balancer {
    /// Begins with these members, of whom there is one at least; returns by how much the one with
    /// the most exceeds the one with the least.
    pub(super) fn begin(&mut self, members: &[usize], counts: &[usize]) -> isize {
        self.members.clear();
        self.members.extend(members);
        self.members.sort_unstable_by_key(|member| (counts[*member], *member));
        let count = self.members.len();
        let of = |at: usize| counts[self.members[at]] as isize;
        let (least, most) = (of(0), of(count - 1));
        (self.low_end, self.low, self.next_low) = (0, least - 1, 0);
        (self.high_start, self.high_end, self.high) = (count, count, most + 1);
        self.next_high = count;
        most - least
    }

    /// Whom the next partition goes to.
    pub(super) fn take_least(&mut self, counts: &[usize]) -> usize {
        if self.next_low >= self.low_end {
            self.low += 1;
            while self.low_end < self.members.len()
                && counts[self.members[self.low_end]] as isize == self.low
            {
                self.low_end += 1;
            }
            self.next_low = 0;
        }
        self.next_low += 1;
        self.members[self.next_low - 1]
    }

    /// Whom the next partition is taken from; none when nobody has anything to give.
    pub(super) fn take_most(&mut self, counts: &[usize]) -> Option<usize> {
        if self.next_high <= self.high_start {
            let has_none = self.high_end <= self.high_start && self.high_start > 0;
            self.high = match has_none {
                // All of them were excluded.
                true => counts[self.members[self.high_start - 1]] as isize,
                false => self.high - 1,
            };
            while self.high_start > 0
                && counts[self.members[self.high_start - 1]] as isize == self.high
            {
                self.high_start -= 1;
            }
            self.next_high = self.high_end;
        }
        self.next_high = self.next_high.checked_sub(1)?;
        Some(self.members[self.next_high])
    }

    /// The one that was taken last by [`Balancer::take_most`] has nothing to give.
    pub(super) fn exclude_last_most(&mut self) {
        self.high_end -= 1;
        self.members.swap(self.next_high, self.high_end);
    }

    /// Whether those with the most have one more than those with the least, or none.
    pub(super) fn is_even(&self) -> bool {
        self.high - self.low <= 1
    }
}

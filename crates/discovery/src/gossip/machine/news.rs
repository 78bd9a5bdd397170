//! What is passed on: news, told by each member a number of times.

use std::{collections::VecDeque, sync::Arc};

use super::{
    super::{id_map::IdMap, wire::Record},
    Machine,
};

/// Whom there is news of, those told least often first and of those the oldest.
#[derive(Debug, Default)]
pub(super) struct News {
    /// By how often they were told; with a number that is outdated when the id got news again.
    queues: Vec<VecDeque<(u64, u64)>>,
    numbers: IdMap<u64>,
    last: u64,
    /// In all queues, outdated ones among them.
    queued: usize,
}

/// What became of news that could be told.
enum Fate {
    Told,
    NoRoom,
    Gone,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    fn add(&mut self, id: u64) {
        self.last += 1;
        self.numbers.insert(id, self.last);
        self.push(0, id, self.last);
        if self.queued > 2 * self.numbers.len() + 64 {
            let numbers = &self.numbers;
            for queue in &mut self.queues {
                queue.retain(|(id, number)| numbers.get(id) == Some(number));
            }
            self.queued = self.numbers.len();
        }
    }

    /// Tells up to [`MOST_RECORDS`], each `most` times in all.
    fn tell(&mut self, most: usize, mut tell: impl FnMut(u64) -> Fate) {
        let (mut told, mut later) = (Vec::with_capacity(MOST_RECORDS), Vec::new());
        for count in 0..self.queues.len() {
            while told.len() < MOST_RECORDS
                && later.len() <= MOST_SKIPPED
                && let Some((id, number)) = self.queues[count].pop_front()
            {
                self.queued -= 1;
                if self.numbers.get(&id) != Some(&number) {
                    continue;
                }
                match tell(id) {
                    Fate::Told => told.push((count + 1, id, number)),
                    Fate::NoRoom => later.push((count, id, number)),
                    Fate::Gone => drop(self.numbers.remove(&id)),
                }
            }
        }
        for (count, id, number) in told {
            if count < most {
                self.push(count, id, number);
            } else {
                self.numbers.remove(&id);
            }
        }
        for (count, id, number) in later.into_iter().rev() {
            self.queues[count].push_front((id, number));
            self.queued += 1;
        }
    }

    fn push(&mut self, count: usize, id: u64, number: u64) {
        if self.queues.len() <= count {
            self.queues.resize_with(count + 1, VecDeque::new);
        }
        self.queues[count].push_back((id, number));
        self.queued += 1;
    }
}

impl Machine {
    pub(super) fn spread(&mut self, id: u64) {
        self.news.add(id);
    }

    /// The news told least often, up to so many bytes.
    pub(super) fn take_news(&mut self, room: usize) -> Vec<Arc<Record>> {
        if self.news.is_empty() {
            return Vec::new();
        }
        // Each member tells each of its news so often; the others do too. In a small cluster, where
        // it costs little, a bit more, against loss.
        let most = 3 * (((self.order.len() + 2) as f64).log10().ceil() as usize);
        let (mut records, mut left) = (Vec::with_capacity(MOST_RECORDS), room);
        let (own, members) = (&self.own, &self.members);
        self.news.tell(most.max(12), |id| {
            let other = || members.get(&id).map(|member| &member.record);
            let Some(record) = (id == own.id).then_some(own).or_else(other) else {
                return Fate::Gone;
            };
            let size = record.size();
            if size > left {
                return Fate::NoRoom;
            }
            left -= size;
            records.push(record.clone());
            Fate::Told
        });
        records
    }
}

/// In one message, at most.
const MOST_RECORDS: usize = 24;
/// So many that don't fit are enough to stop.
const MOST_SKIPPED: usize = 3;

//! What is passed on: news, told by each member a number of times.

use super::{super::wire::Record, Machine};

impl Machine {
    pub(super) fn spread(&mut self, id: u64) {
        if let Some(count) = self.told.insert(id, 0) {
            self.news.remove(&(count, id));
        }
        self.news.insert((0, id));
    }

    /// The news told least often, up to so many bytes.
    pub(super) fn take_news(&mut self, room: usize) -> Vec<Record> {
        // Each member tells each of its news so often; the others do too. In a small cluster, where
        // it costs little, a bit more, against loss.
        let most = 3 * (((self.order.len() + 2) as f64).log10().ceil() as u32);
        let most = most.max(12);
        let (mut records, mut left, mut skipped) = (Vec::new(), room, 0);
        let candidates: Vec<_> = self.news.iter().take(MOST_RECORDS).copied().collect();
        for (count, id) in candidates {
            let Some(record) = self.record(id) else {
                self.news.remove(&(count, id));
                self.told.remove(&id);
                continue;
            };
            if record.size() > left {
                skipped += 1;
                if skipped > 3 {
                    break;
                }
                continue;
            }
            left -= record.size();
            records.push(record.clone());
            self.news.remove(&(count, id));
            if count + 1 < most {
                self.news.insert((count + 1, id));
                self.told.insert(id, count + 1);
            } else {
                self.told.remove(&id);
            }
        }
        records
    }

    pub(super) fn record(&self, id: u64) -> Option<&Record> {
        if id == self.own.id {
            return Some(&self.own);
        }
        self.members.get(&id).map(|member| &member.record)
    }
}

/// In one message, at most.
pub(super) const MOST_RECORDS: usize = 24;

//! Nodes in groups of like capacity and like room, each group in the order of how full its nodes
//! are: so that the best nodes for any request come first, whatever its size.
//!
//! A node's score for a request is `⌊(used + asked) × 100 / total⌋`, for CPU and memory, plus a
//! health term. With `q = ⌊used × 25600 / total⌋` (256ths of a percent) and `d` the same of what is
//! asked for, `⌊(q + d) / 256⌋` bounds it from below if `d` is rounded down for the largest total of
//! the group, and from above if it is rounded up for the smallest. In a group sorted by
//! `⌊q/256⌋` of CPU plus that of memory plus health, then containers, then name, the bound of every
//! later entry is no better than that of the group's step alone, so the search of a group ends as
//! soon as that can't beat what was found.

use std::collections::HashMap;

use super::{
    hot::{Amount, Hot, PERCENT},
    shelf::{Addition, Entry, Key, Room, Shelf},
    top::{Ranked, Top},
};
use crate::index::Slot;

/// Which of CPU and memory a request asks for: what is not asked for must not rank nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) cpu: bool,
    pub(super) memory: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) cpu: u64,
    pub(super) memory: u64,
}

/// All open nodes with some room of the kind.
#[derive(Debug)]
pub(super) struct Ladder {
    kind: Kind,
    /// Whether the fullest node is the best.
    packs: bool,
    detail: Detail,
    by_class: HashMap<u64, usize>,
    groups: Vec<Group>,
    /// Of each group what a search reads first, side by side: most groups it leaves out.
    fronts: Vec<Front>,
}

/// How finely capacities are told apart, in bits behind the leading one; then whether room is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Detail {
    capacity: u32,
    room: bool,
}

#[derive(Debug)]
struct Group {
    class: u64,
    cpu: Range,
    memory: Range,
    entries: Shelf,
}

/// The outside of a group.
#[derive(Clone, Copy, Debug)]
struct Front {
    /// The most room that a node of this class can have.
    most: Shape,
    /// 256ths of a percent in a unit of CPU and of memory, as the search rounds them.
    parts: (f64, f64),
    /// The first node's key.
    head: Key,
}

/// The totals in a group. They only widen until the group is empty.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: u64,
    most: u64,
    /// 256ths of a percent in a unit: of the largest total, and of the smallest, each rounded to
    /// the safe side.
    least_part: f64,
    most_part: f64,
}

impl Shape {
    pub(super) fn kind(self) -> Kind {
        Kind {
            cpu: self.cpu > 0,
            memory: self.memory > 0,
        }
    }
}

impl Ladder {
    pub(super) fn new(kind: Kind, packs: bool) -> Self {
        Self {
            kind,
            packs,
            detail: Detail {
                capacity: 3,
                // Where the fullest is the best, shelves know what is free.
                room: !packs,
            },
            by_class: HashMap::new(),
            groups: Vec::new(),
            fronts: Vec::new(),
        }
    }

    /// Takes a node in. `hots` are all nodes, for when everything must be sorted anew.
    pub(super) fn insert(&mut self, slot: Slot, hots: &[Hot]) {
        let Some(hot) = hots.get(slot as usize).filter(|hot| self.holds(hot)) else {
            return;
        };
        self.add(slot, hot);
        if self.groups.len() > MAX_GROUPS
            && let Some(coarser) = self.detail.coarser()
        {
            // Each group costs every search a look. Happens at most a few times in a lifetime.
            let slots: Vec<Slot> = self.groups.iter().flat_map(Group::slots).collect();
            self.detail = coarser;
            self.by_class.clear();
            self.groups.clear();
            self.fronts.clear();
            for slot in slots {
                if let Some(hot) = hots.get(slot as usize) {
                    self.add(slot, hot);
                }
            }
        }
    }

    /// Takes a node out, given as it was when it was taken in.
    pub(super) fn remove(&mut self, hot: &Hot) {
        if !self.holds(hot) {
            return;
        }
        let class = self.class(hot);
        let Some(&at) = self.by_class.get(&class) else {
            return;
        };
        let (key, ..) = self.key(hot);
        let group = &mut self.groups[at];
        group.entries.remove(&key);
        if self.fronts[at].head == key {
            match group.entries.first() {
                Some(first) => self.fronts[at].head = first,
                None => {
                    self.by_class.remove(&class);
                    self.groups.swap_remove(at);
                    self.fronts.swap_remove(at);
                    if let Some(moved) = self.groups.get(at) {
                        self.by_class.insert(moved.class, at);
                    }
                }
            }
        }
    }

    /// The nodes in it.
    #[cfg(test)]
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.groups.iter().flat_map(Group::slots)
    }

    /// Offers to `top` every node that could be among the best: those that `judge` accepts, with
    /// the rank that it gives. A cost may be less than the node's weight by as much as the bonus.
    /// Without `seeded` ties, names decide, so a search ends among them.
    pub(super) fn search(
        &self,
        shape: Shape,
        bonus: i32,
        seeded: bool,
        top: &mut Top,
        mut visit: impl FnMut(&[Slot], &mut Top),
    ) {
        let mut bounds: Vec<(i32, i32, usize)> = Vec::with_capacity(self.fronts.len());
        let mut best = 0;
        for (at, front) in self.fronts.iter().enumerate() {
            if front.most.cpu < shape.cpu || front.most.memory < shape.memory {
                continue;
            }
            let base = self.addition(front, shape, bonus).base;
            let bound = (front.head.step + base, front.head.tally, at);
            if bounds.get(best).is_none_or(|known| bound < *known) {
                best = bounds.len();
            }
            bounds.push(bound);
        }
        if bounds.is_empty() {
            return;
        }
        let mut enter = |at: usize, top: &mut Top| {
            let addition = self.addition(&self.fronts[at], shape, bonus);
            let entries = &self.groups[at].entries;
            entries.search(&addition, seeded, top, &mut visit);
        };
        // The most promising group first: after it, most others need no look.
        enter(bounds.swap_remove(best).2, top);
        let is_worse = |top: &Top, (cost, tally, _): (i32, i32, usize)| {
            let is_worse = |worst: &Ranked| (cost, tally) > (worst.cost, worst.tally);
            top.worst().is_some_and(is_worse)
        };
        bounds.retain(|bound| !is_worse(top, *bound));
        bounds.sort_unstable();
        for bound in bounds {
            if is_worse(top, bound) {
                break;
            }
            enter(bound.2, top);
        }
    }

    /// What the request adds to the steps of a group, at least, less the bonus. As cost where the
    /// fullest is the best: all that it can add is taken off, and what a node misses of it added.
    fn addition(&self, front: &Front, shape: Shape, bonus: i32) -> Addition {
        let (cpu, memory) = self.asked(front, shape);
        let whole = (cpu / 256 + memory / 256) as i32;
        let (cpu_part, memory_part) = ((cpu % 256) as u8, (memory % 256) as u8);
        if self.packs {
            // Without a part nothing is ever carried: all nodes miss the one that was taken off.
            let carries = |part: u8| i32::from(part > 0);
            return Addition {
                base: (-whole - carries(cpu_part) - carries(memory_part)).saturating_sub(bonus),
                cpu: cpu_part.wrapping_sub(1),
                memory: memory_part.wrapping_sub(1),
                room: Room::of(shape.cpu, shape.memory),
            };
        }
        Addition {
            base: whole.saturating_sub(bonus),
            cpu: 255 - cpu_part,
            memory: 255 - memory_part,
            room: Room::default(),
        }
    }

    /// What is asked for in 256ths of a percent of the group's totals, rounded to the safe side.
    fn asked(&self, front: &Front, shape: Shape) -> (u32, u32) {
        let part = |asked: u64, part: f64| {
            if asked == 0 {
                return 0;
            }
            let part = (asked as f64 * part) as u32;
            match self.packs {
                false => part,
                // No node takes more than all that it has.
                true => part.saturating_add(1).min(PERCENT as u32),
            }
        };
        (
            part(shape.cpu, front.parts.0),
            part(shape.memory, front.parts.1),
        )
    }

    /// A node without any room of the kind can never take a request of the kind.
    fn holds(&self, hot: &Hot) -> bool {
        hot.open
            && !(self.kind.cpu && hot.cpu.free() == 0)
            && !(self.kind.memory && hot.memory.free() == 0)
    }

    fn add(&mut self, slot: Slot, hot: &Hot) {
        let class = self.class(hot);
        let (key, cpu, memory) = self.key(hot);
        // Those that are full come first where the fullest is the best.
        let room = || Room::of(hot.cpu.free(), hot.memory.free());
        let entry = Entry {
            slot,
            cpu,
            memory,
            room: self.packs.then(room),
        };
        if let Some(&at) = self.by_class.get(&class) {
            let (group, front) = (&mut self.groups[at], &mut self.fronts[at]);
            group.cpu.include(hot.cpu.total);
            group.memory.include(hot.memory.total);
            front.parts = (group.cpu.part(self.packs), group.memory.part(self.packs));
            front.head = front.head.min(key);
            group.entries.insert(key, entry);
            return;
        }
        let at = self.groups.len();
        self.by_class.insert(class, at);
        let most = |of: Amount, matters: bool| match self.detail.room && matters {
            true => room_class(of.free()).1,
            false => u64::MAX,
        };
        let (cpu, memory) = (Range::of(hot.cpu.total), Range::of(hot.memory.total));
        self.fronts.push(Front {
            most: Shape {
                cpu: most(hot.cpu, self.kind.cpu),
                memory: most(hot.memory, self.kind.memory),
            },
            parts: (cpu.part(self.packs), memory.part(self.packs)),
            head: key,
        });
        self.groups.push(Group {
            class,
            cpu,
            memory,
            entries: Shelf::default(),
        });
        self.groups[at].entries.insert(key, entry);
    }

    fn key(&self, hot: &Hot) -> (Key, u8, u8) {
        let part = |of: Amount, matters: bool| if matters { of.fraction() } else { 0 };
        let (cpu, memory) = (
            part(hot.cpu, self.kind.cpu),
            part(hot.memory, self.kind.memory),
        );
        let step = i32::from(cpu / 256) + i32::from(memory / 256) + hot.health;
        let tally = i32::try_from(hot.containers).unwrap_or(i32::MAX);
        let sign = if self.packs { -1 } else { 1 };
        let key = Key {
            step: sign * step,
            tally: sign * tally,
            rank: hot.rank,
        };
        // What is carried when the fraction is large is missed when it is small.
        let part = |fraction: u16| match self.packs {
            false => (fraction % 256) as u8,
            true => 255 - (fraction % 256) as u8,
        };
        (key, part(cpu), part(memory))
    }

    fn class(&self, hot: &Hot) -> u64 {
        let class = |of: Amount, matters: bool| {
            if !matters {
                return 0;
            }
            let room = if self.detail.room {
                room_class(of.free()).0
            } else {
                0
            };
            u64::from(capacity_class(of.total, self.detail.capacity)) << 8 | u64::from(room)
        };
        class(hot.cpu, self.kind.cpu) << 32 | class(hot.memory, self.kind.memory)
    }
}

impl Detail {
    fn coarser(self) -> Option<Self> {
        match self {
            Self {
                capacity: 0,
                room: false,
            } => None,
            Self { capacity: 0, .. } => Some(Self {
                room: false,
                ..self
            }),
            Self { capacity, .. } => Some(Self {
                capacity: capacity - 1,
                ..self
            }),
        }
    }
}

impl Group {
    fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.entries.slots()
    }
}

impl Range {
    fn of(total: u64) -> Self {
        Self::between(total, total)
    }

    fn between(least: u64, most: u64) -> Self {
        Self {
            least,
            most,
            least_part: PERCENT as f64 / most as f64 * (1.0 - SLACK),
            most_part: PERCENT as f64 / least as f64 * (1.0 + SLACK),
        }
    }

    /// As a search for the emptiest or the fullest rounds it.
    fn part(&self, packs: bool) -> f64 {
        if packs {
            self.most_part
        } else {
            self.least_part
        }
    }

    fn include(&mut self, total: u64) {
        if total < self.least || total > self.most {
            *self = Self::between(self.least.min(total), self.most.max(total));
        }
    }
}

/// The leading bit and some behind it.
fn capacity_class(total: u64, bits: u32) -> u32 {
    let Some(leading) = total.checked_ilog2() else {
        return 0;
    };
    let behind = if leading >= bits {
        total >> (leading - bits)
    } else {
        total << (bits - leading)
    };
    1 + (leading << bits | (behind as u32 & ((1 << bits) - 1)))
}

/// The leading bit, and the most that has it.
fn room_class(free: u64) -> (u32, u64) {
    match free.checked_ilog2() {
        None => (0, 0),
        Some(leading) => (1 + leading, u64::MAX >> (63 - leading)),
    }
}

/// More than the error of two roundings of a double.
const SLACK: f64 = 1e-9;
const MAX_GROUPS: usize = 256;

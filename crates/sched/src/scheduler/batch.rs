//! Placing many replicas at once.

use std::sync::PoisonError;

use longshore_core::{
    Batch, BatchPlacement, Completeness, Error, ErrorKind, Refusal, Result, Timestamp,
};

use super::{ClusterScheduler, front::Front, reserve::name_conflict, warn_about_whitelists};
use crate::{
    demand::bounds,
    index::{Index, Slot},
    refusal::refusal,
    search::Rules,
    strategy::{Strategy, TieBreak},
};

impl ClusterScheduler {
    pub(super) fn hold_batch(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        seed: u64,
    ) -> Result<BatchPlacement> {
        self.check_batch(batch)?;
        warn_about_whitelists(&batch.request);
        // Compiled before anything is begun: a refused batch leaves no trace.
        let (group, placed) = match self.places_alike(batch) {
            true => {
                let (group, placed) = self.hold_alike(batch, seed)?;
                (group, Ok(placed))
            }
            false => {
                self.compile(&batch.request)
                    .map(drop)
                    .map_err(Error::invalid)?;
                let group = begin(&mut self.index, batch);
                (group, self.hold_one_by_one(batch, group, now, seed))
            }
        };
        let is_broken = match &placed {
            Ok(placed) => {
                placed.refusal.is_some() && batch.completeness == Completeness::AllOrNothing
            }
            Err(_) => true,
        };
        if is_broken {
            self.index.abandon(group);
            self.learn();
        } else if placed.as_ref().is_ok_and(|placed| placed.nodes.is_empty()) {
            self.index.abandon(group);
        }
        placed.map(|mut placed| {
            if is_broken {
                placed.nodes.clear();
                placed.devices.clear();
            }
            placed
        })
    }

    fn check_batch(&self, batch: &Batch) -> Result<()> {
        batch.check()?;
        let conflict = |kind, reason: String| Err(Error::new(kind, reason));
        if batch.expires <= self.index.now() {
            let reason = format!(
                "the reservations of batch {} have expired already",
                batch.id
            );
            return conflict(ErrorKind::Conflict, reason);
        }
        if self.index.is_batch_taken(&batch.id, batch.count) {
            let reason = format!("another batch or reservation has the id {}", batch.id);
            return conflict(ErrorKind::AlreadyExists, reason);
        }
        let name = batch.request.name.trim_start_matches('/');
        if !name.is_empty() && self.is_name_taken(name) {
            return conflict(ErrorKind::AlreadyExists, name_conflict(name));
        }
        Ok(())
    }

    /// Whether a replica changes nothing for the next one but on its own node: then the best nodes
    /// for all of them are found by one search.
    fn places_alike(&self, batch: &Batch) -> bool {
        let request = &batch.request;
        let is_soft = |e: &longshore_core::Expression| e.is_soft();
        let wishes = request
            .constraints
            .iter()
            .chain(&request.affinities)
            .chain(&request.whitelists);
        self.strategy != Strategy::Random
            && self.tie_break == TieBreak::Name
            && !wishes.into_iter().any(is_soft)
            && request.topology.is_empty()
            && request.preferences.is_empty()
            && bounds(&self.own.scores, request).1.is_some()
    }

    /// A replica changes the rank of its own node only, so the best of those that a search found is
    /// the best of all while it is no worse than the worst that was found. Where the emptiest node
    /// is the best, `count` of them are always enough.
    fn hold_alike(&mut self, batch: &Batch, seed: u64) -> Result<(u32, BatchPlacement)> {
        let rules = Rules {
            pipeline: &self.pipeline,
            ranking: super::Ranking {
                strategy: self.strategy,
                tie_break: self.tie_break,
                seed,
            },
        };
        let mut demand = super::Demand::compile(&batch.request, &self.index, &self.regexes)
            .map_err(Error::invalid)?;
        demand.own = &self.own.filters;
        demand.set_scores(&self.own.scores);
        let group = begin(&mut self.index, batch);
        let finder = self
            .finder
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let count = batch.count as usize;
        let mut placed = BatchPlacement::default();
        placed.nodes.reserve(count);
        let mut touched: Vec<Slot> = Vec::new();
        let mut look = match self.strategy {
            Strategy::BinPack => FIRST_LOOK.min(count),
            _ => count,
        };
        while placed.nodes.len() < count {
            let found = finder.ranked(&demand, look, &self.index, &rules);
            let mut front = Front::of(found, look);
            if front.is_empty() {
                finder.recall(&mut demand, &self.pipeline, &self.index);
                placed.refusal = Some(refusal(&demand, &self.pipeline, &self.index));
                break;
            }
            self.index.warm(front.slots());
            while placed.nodes.len() < count
                && let Some(best) = front.best()
            {
                let slot = best.slot();
                let given = self.index.at(slot).map(|node| demand.devices_on(node));
                let given = given.unwrap_or_default();
                if !given.is_empty() {
                    placed.devices.push(given.clone());
                }
                self.index.hold(group, slot, given);
                touched.push(slot);
                let Some(node) = self.index.at(slot) else {
                    return Ok((group, placed));
                };
                placed.nodes.push(node.state.id.clone());
                best.becomes(rules.rank(&demand, node));
            }
            let news = self.index.take_news();
            finder.learn_loads(&news, &self.index);
            self.index.return_news(news);
            touched.sort_unstable();
            touched.dedup();
            for slot in touched.drain(..) {
                finder.refresh(slot, &self.index, &rules);
            }
            look = (look * 2).min(count - placed.nodes.len());
        }
        Ok((group, placed))
    }

    fn hold_one_by_one(
        &mut self,
        batch: &Batch,
        group: u32,
        now: Timestamp,
        seed: u64,
    ) -> Result<BatchPlacement> {
        let mut placed = BatchPlacement::default();
        for replica in 0..batch.count {
            let seed = seed.wrapping_add(replica.into());
            let node = self.choose(&batch.request, now, seed);
            let node = match node {
                Ok(node) => node,
                Err(Refusal::Invalid { message }) => return Err(Error::invalid(message)),
                Err(refusal) => {
                    placed.refusal = Some(refusal);
                    break;
                }
            };
            let given = match self.index.at(node) {
                Some(on) if !batch.request.devices.is_empty() => {
                    let demand = self.compile(&batch.request).map_err(Error::invalid)?;
                    demand.devices_on(on)
                }
                _ => Vec::new(),
            };
            if !given.is_empty() {
                placed.devices.push(given.clone());
            }
            self.index.hold(group, node, given);
            self.learn();
            placed
                .nodes
                .extend(self.index.at(node).map(|node| node.state.id.clone()));
        }
        Ok(placed)
    }
}

fn begin(index: &mut Index, batch: &Batch) -> u32 {
    index.begin(batch.id.clone(), true, batch.request.clone(), batch.expires)
}

/// So many nodes are searched for first where one takes replicas until it is full: enough to be read
/// side by side in a large cluster, where a few would do in a small one.
const FIRST_LOOK: usize = 32;

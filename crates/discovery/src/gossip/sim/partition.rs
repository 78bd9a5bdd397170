//! Joining, a partition that cuts 30 % off, and its end.

use std::{fmt, time::Duration};

use longshore_core::Timestamp;

use super::{
    super::{GossipTimes, machine::Machine, view::View},
    CALM, HEALING,
    net::Net,
    traffic::Rates,
};

/// Virtual seconds within which it must happen.
const JOINED: u64 = 60;
const SETTLED: u64 = 40;
const AGREED: u64 = 180;
const HEALED: u64 = 60;
const GRACE: Duration = Duration::from_secs(60);

pub(super) struct Report {
    members: usize,
    seed: u64,
    joined: (u64, Rates),
    calm: Rates,
    agreed: (u64, Rates),
    healed: (u64, Rates),
}

pub(super) fn run(members: usize, seed: u64) -> Result<Report, String> {
    let mut net = Net::new(members, seed);
    let joined = phase(&mut net, |net| net.converge(JOINED, "joining"))?;
    net.run(SETTLED);
    let (_, calm) = phase(&mut net, |net| {
        net.run(20);
        Ok(20)
    })?;
    if calm.total() > CALM {
        return Err(format!("calm, but {calm}"));
    }
    // The seeds are on the smaller side.
    let cut = members * 3 / 10;
    net.side[..cut].fill(1);
    let mut watched = [cut - 1, members - 1].map(|node| Watched::new(&net, node));
    let agreed = phase(&mut net, |net| {
        // Nobody is declared dead before the shortest suspicion is over.
        let (shortest, _) = GossipTimes::default().suspicion(members - 1);
        net.run(shortest.as_secs());
        if let Some((node, _)) = net.running().find(|(_, it)| it.others() + 1 != members) {
            return Err(format!("node {node} declared somebody dead too early"));
        }
        for second in shortest.as_secs()..AGREED {
            if net.converged() {
                return Ok(second);
            }
            net.run(1);
            if let missed @ 1.. = net.missed_on_the_own_side() {
                return Err(format!("somebody misses {missed} who can be reached"));
            }
            for watched in &mut watched {
                watched.look(net)?;
            }
        }
        Err(net.describe("the sides", AGREED))
    })?;
    // What was held back is confirmed after the grace period.
    for _ in 0..GRACE.as_secs() + 1 {
        net.run(1);
        for watched in &mut watched {
            watched.look(&net)?;
        }
    }
    for watched in &watched {
        let side = if watched.node < cut {
            cut
        } else {
            members - cut
        };
        if watched.in_force != side {
            let (node, in_force) = (watched.node, watched.in_force);
            return Err(format!(
                "node {node} holds {in_force} for there, not {side}"
            ));
        }
    }
    if !watched[0].held || watched[1].held {
        return Err("a majority's departure is held, a minority's is not".into());
    }
    net.side.fill(0);
    let healed = phase(&mut net, |net| net.converge(HEALED, "healing"))?;
    if healed.1.total() > HEALING {
        return Err(format!("healing with {}", healed.1));
    }
    for watched in &mut watched {
        watched.look(&net)?;
        if watched.in_force != members {
            return Err(format!("node {} does not see all again", watched.node));
        }
    }
    Ok(Report {
        members,
        seed,
        joined,
        calm,
        agreed,
        healed,
    })
}

fn phase(
    net: &mut Net,
    run: impl FnOnce(&mut Net) -> Result<u64, String>,
) -> Result<(u64, Rates), String> {
    let before = net.sent;
    let seconds = run(net)?;
    Ok((seconds, (net.sent - before).over(net.nodes.len(), seconds)))
}

/// A member, and what its watches tell.
struct Watched {
    node: usize,
    view: View,
    in_force: usize,
    /// When each of its departures within the grace period was.
    removed: Vec<(Timestamp, usize)>,
    held: bool,
    held_now: bool,
}

impl Watched {
    fn new(net: &Net, node: usize) -> Self {
        let mut watched = Self {
            node,
            view: View::new(GRACE),
            in_force: 0,
            removed: Vec::new(),
            held: false,
            held_now: false,
        };
        watched.in_force = net.nodes[node]
            .as_ref()
            .map_or(0, |machine| watched.view.look(machine, net.now).0.len());
        watched
    }

    /// D6: never more than half go within a grace period, but after they were held for one.
    fn look(&mut self, net: &Net) -> Result<(), String> {
        let Some(machine) = &net.nodes[self.node] else {
            return Ok(());
        };
        let (nodes, held_until) = self.view.look(machine, net.now);
        let (before, now) = (self.in_force, nodes.len());
        self.in_force = now;
        let known = Machine::others(machine) + 1;
        if now < known {
            return Err(format!("node {} knows {known} and shows {now}", self.node));
        }
        let was_held = std::mem::replace(&mut self.held_now, held_until.is_some());
        self.held |= held_until.is_some();
        self.removed.retain(|(at, _)| at.after(GRACE) > net.now);
        if now < before && !was_held {
            let recent: usize = self.removed.iter().map(|(_, count)| count).sum();
            if (before - now + recent) * 2 > before + recent {
                return Err(format!("node {}: {before} fell to {now} unheld", self.node));
            }
        }
        if now < before {
            self.removed.push((net.now, before - now));
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, seed, .. } = self;
        writeln!(f, "{members} members, seed {seed}, virtual time:")?;
        writeln!(f, "  joined in {} s: {}", self.joined.0, self.joined.1)?;
        writeln!(f, "  calm: {}", self.calm)?;
        writeln!(
            f,
            "  sides agreed after {} s: {}",
            self.agreed.0, self.agreed.1
        )?;
        write!(f, "  healed after {} s: {}", self.healed.0, self.healed.1)
    }
}

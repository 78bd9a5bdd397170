//! Which cluster a member belongs to, and how a cluster comes to be.
//!
//! A cluster is founded when all members of the list are there for the first time: each has drawn a
//! number, and the cluster's id follows from all of them, so all come to the same one without a vote.
//! A member whose number is not among the founders' has lost its disk since. It may have given votes
//! and confirmed entries that it knows nothing of any more, so its word counts for nothing until it
//! has heard all others, votes in no term that any of them knew by then, and holds a log as far as
//! the furthest of theirs.

use super::log::Position;

/// What a disk says about who it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of the member.
    pub(super) me: String,
    /// The names of all members, sorted, with commas.
    pub(super) names: String,
    /// Drawn when the disk was new.
    pub(super) nonce: u64,
    /// Grows with every start.
    pub(super) incarnation: u64,
    pub(super) cluster: Option<u128>,
    /// The founders' numbers, in the order of the names.
    pub(super) founders: Vec<u64>,
    /// Up to where the log has to be filled before our word counts again.
    pub(super) joining: Option<Position>,
}

/// What a member says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) names: String,
    pub(super) nonce: u64,
    pub(super) cluster: Option<u128>,
    pub(super) founders: Vec<u64>,
    pub(super) term: u64,
    pub(super) last: Position,
}

/// What follows from what the others say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// We are among the founders of this cluster.
    Found {
        cluster: u128,
        founders: Vec<u64>,
    },
    /// The cluster was founded with a disk that we no longer have.
    Rejoin {
        cluster: u128,
        founders: Vec<u64>,
        /// No vote up to this term.
        spent: u64,
        barrier: Position,
    },
}

/// What a member without a cluster does, given what it heard of the others since it started.
pub(super) fn step(me: usize, own: &Status, heard: &[Option<Status>]) -> Step {
    let others = || heard.iter().enumerate().filter(|(peer, _)| *peer != me);
    let known = others().filter_map(|(_, status)| status.as_ref());
    let founded = known.clone().find_map(|status| {
        let cluster = status.cluster?;
        Some((cluster, status.founders.clone()))
    });
    if let Some((cluster, founders)) = &founded
        && founders.get(me) == Some(&own.nonce)
    {
        return Step::Found {
            cluster: *cluster,
            founders: founders.clone(),
        };
    }
    if known.clone().count() + 1 < heard.len() {
        return Step::Wait;
    }
    match founded {
        None => {
            let founders: Vec<u64> = (0..heard.len())
                .map(|member| match member == me {
                    true => own.nonce,
                    false => heard[member].as_ref().map_or(0, |status| status.nonce),
                })
                .collect();
            Step::Found {
                cluster: cluster_of(&own.names, &founders),
                founders,
            }
        }
        // Two lost disks of three are more than a majority can make up for.
        Some((cluster, _)) if known.clone().any(|status| status.cluster != Some(cluster)) => {
            Step::Wait
        }
        Some((cluster, founders)) => Step::Rejoin {
            cluster,
            founders,
            spent: known.clone().map(|status| status.term).max().unwrap_or(0),
            barrier: known.map(|status| status.last).max().unwrap_or_default(),
        },
    }
}

/// The id of the cluster of these members and founders: as good as unique.
fn cluster_of(names: &str, founders: &[u64]) -> u128 {
    let mut text = names.as_bytes().to_vec();
    for nonce in founders {
        text.extend_from_slice(&nonce.to_be_bytes());
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_ref()[..16]);
    u128::from_be_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(nonce: u64, founders: Option<&[u64]>) -> Status {
        Status {
            names: "a,b,c".to_owned(),
            nonce,
            cluster: founders.map(|founders| cluster_of("a,b,c", founders)),
            founders: founders.unwrap_or_default().to_vec(),
            term: nonce,
            last: Position {
                term: 1,
                index: nonce,
            },
        }
    }

    fn of(me: usize, statuses: &[Status]) -> Step {
        let heard: Vec<_> = statuses.iter().cloned().map(Some).collect();
        step(me, &statuses[me], &heard)
    }

    #[test]
    fn all_found_the_same_cluster_once_all_are_there() {
        let all = [status(1, None), status(2, None), status(3, None)];
        let expected = Step::Found {
            cluster: cluster_of("a,b,c", &[1, 2, 3]),
            founders: vec![1, 2, 3],
        };
        for me in 0..3 {
            assert_eq!(of(me, &all), expected);
        }
        let heard = [Some(all[0].clone()), Some(all[1].clone()), None];
        assert_eq!(step(0, &all[0], &heard), Step::Wait);
    }

    #[test]
    fn a_founder_that_comes_late_needs_one_other() {
        let founded = status(2, Some(&[1, 2, 3]));
        let own = status(1, None);
        let step = step(0, &own, &[None, Some(founded.clone()), None]);
        let expected = Step::Found {
            cluster: founded.cluster.unwrap(),
            founders: vec![1, 2, 3],
        };
        assert_eq!(step, expected);
    }

    #[test]
    fn a_lost_disk_needs_all_others() {
        let founders: &[u64] = &[1, 2, 3];
        let (own, b) = (status(9, None), status(2, Some(founders)));
        assert_eq!(step(0, &own, &[None, Some(b.clone()), None]), Step::Wait);
        let two_lost = [None, Some(b.clone()), Some(status(8, None))];
        assert_eq!(step(0, &own, &two_lost), Step::Wait);
        let c = status(3, Some(founders));
        let expected = Step::Rejoin {
            cluster: cluster_of("a,b,c", founders),
            founders: founders.to_vec(),
            spent: 3,
            barrier: Position { term: 1, index: 3 },
        };
        assert_eq!(step(0, &own, &[None, Some(b), Some(c)]), expected);
    }
}

//! What happens to a cluster, drawn at random.

use std::ops::Range;

use proptest::{
    prelude::*,
    strategy::{NewTree, ValueTree},
    test_runner::TestRunner,
};

/// One step. Nodes go by number; who is meant by a registration that never was, is nobody.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A node registers, for long or under a lease that is renewed until it is left to lapse.
    Register {
        node: u8,
        short: bool,
    },
    /// Its last registration, or the one before, is renewed.
    Renew {
        node: u8,
        last: bool,
    },
    Deregister {
        node: u8,
        last: bool,
    },
    /// Its key is written by hand, as Swarm does (plain) or with labels, under no lease.
    Put {
        node: u8,
        plain: bool,
    },
    /// Its key is deleted by hand.
    Delete {
        node: u8,
    },
    /// Its key gets a value that stands for no node.
    Spoil {
        node: u8,
    },
    /// Nobody renews until every short lease has ended.
    Lapse,
    /// The watchers' connections break, and they can't connect again for so many steps.
    Disconnect {
        steps: u8,
    },
}

/// How many nodes there are.
pub const NODES: u8 = 24;

fn step(lapses: u32) -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    prop_oneof![
        120 => (node.clone(), any::<bool>()).prop_map(|(node, short)| Step::Register { node, short }),
        40 => (node.clone(), any::<bool>()).prop_map(|(node, last)| Step::Renew { node, last }),
        60 => (node.clone(), any::<bool>()).prop_map(|(node, last)| Step::Deregister { node, last }),
        40 => (node.clone(), any::<bool>()).prop_map(|(node, plain)| Step::Put { node, plain }),
        40 => node.clone().prop_map(|node| Step::Delete { node }),
        20 => node.prop_map(|node| Step::Spoil { node }),
        38 => prop_oneof![Just(0u8), 0u8..12].prop_map(|steps| Step::Disconnect { steps }),
        lapses => Just(Step::Lapse),
    ]
}

/// So many steps; `lapses` of about 360 wait for leases to end.
pub fn some(lapses: u32, count: Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(lapses), count)
}

/// At least 1,000 operations among at least 100 disconnects; a failing sequence shrinks below that.
pub fn thousand(lapses: u32) -> impl Strategy<Value = Vec<Step>> {
    AtLeast(some(lapses, 1..1300))
}

/// Draws until there is enough. Unlike a filter it leaves shrinking alone.
#[derive(Debug)]
struct AtLeast<S>(S);

impl<S: Strategy<Value = Vec<Step>>> Strategy for AtLeast<S> {
    type Tree = S::Tree;
    type Value = Vec<Step>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        loop {
            let tree = self.0.new_tree(runner)?;
            let steps = tree.current();
            let is_disconnect = |step: &&Step| matches!(step, Step::Disconnect { .. });
            let disconnects = steps.iter().filter(is_disconnect).count();
            if disconnects >= 100 && steps.len() - disconnects >= 1000 {
                return Ok(tree);
            }
        }
    }
}

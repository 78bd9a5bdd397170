//! Clusters of some hundred nodes of many sizes, half full: what the search leaves out must not be
//! the best. Small worlds hardly have anything to leave out.

use longshore_core::*;
use longshore_sched::{ClusterScheduler, NodeScore, NodeView, Strategy, TieBreak};

use crate::{reference::Reference, support::NOW};

/// Both told the same.
struct Pair {
    ours: ClusterScheduler,
    naive: Reference,
}

impl Pair {
    fn new(strategy: Strategy) -> Self {
        Self {
            ours: ClusterScheduler::builder()
                .strategy(strategy)
                .tie_break(TieBreak::Name)
                .build(),
            naive: Reference::new(strategy),
        }
    }

    #[track_caller]
    fn observe(&mut self, change: Change) {
        let told = self
            .ours
            .observe(change.clone())
            .map_err(|error| error.kind());
        let expected = self
            .naive
            .observe(change.clone())
            .map_err(|error| error.kind());
        assert_eq!(told, expected, "{change:?}");
    }

    #[track_caller]
    fn agree(&self, request: &PlacementRequest, seed: u64) {
        let names = |placement: Placement| {
            let runners_up = placement.runners_up.into_iter().map(|scored| scored.node);
            let mut nodes = vec![placement.chosen.node];
            nodes.extend(runners_up);
            (nodes, placement.unmet_wishes)
        };
        let found = self
            .ours
            .place(request, NOW, seed)
            .map(names)
            .map_err(|_| ());
        let expected = self
            .naive
            .place(request, NOW, seed)
            .map(names)
            .map_err(|_| ());
        assert_eq!(found, expected, "{request:?}");
    }

    #[track_caller]
    fn agree_on_batch(&mut self, batch: &Batch, seed: u64) {
        let found = self.ours.place_batch(batch, NOW, seed).unwrap();
        let expected = self.naive.place_batch(batch, NOW, seed).unwrap();
        assert_eq!(found.nodes, expected.nodes, "{batch:?}");
        assert_eq!(found.refusal.is_some(), expected.refusal.is_some());
    }
}

/// A small generator: the test must be the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}

fn node(dice: &mut Dice, number: u64, even: bool) -> NodeState {
    // Either a few machine types, or every machine its own.
    let (cpu, memory) = match even {
        true => {
            let size = dice.pick(&[(4, 8), (8, 16), (16, 128), (64, 256)]);
            (size.0 * 1000, size.1 << 30)
        }
        false => (500 + dice.roll(64_000), (1 << 28) + dice.roll(1 << 38)),
    };
    let mut node = NodeState::new(
        format!("id{}", number * 7919 % 1009).parse().unwrap(),
        format!("node{}", number % 97).parse().unwrap(),
        Resources::new(MilliCpu(cpu), Bytes(memory)),
    );
    node.health_indicator = dice.pick(&[100, 100, 100, 67, 33, 0]);
    if dice.roll(20) == 0 {
        node.availability = Availability::Cordoned;
    }
    if dice.roll(8) == 0 {
        node.capacity.generic.insert("gpu".into(), 4);
    }
    let mut labels = Labels::new()
        .with("zone", dice.pick(&["eu", "us", "asia", ""]))
        .with("rack", format!("r{}", dice.roll(40)));
    if dice.roll(4) > 0 {
        labels.insert("containerslots", dice.pick(&["3", "100", "no"]));
    }
    if dice.roll(10) == 0 {
        labels.remove("zone");
    }
    node.with_labels(labels)
}

fn request(dice: &mut Dice) -> PlacementRequest {
    let cpu = dice.pick(&[0, 1, 100, 333, 1000, 2500, 7000, 40_000]);
    let memory = dice.pick(&[0, 1, 77 << 20, 1 << 30, 3_000_000_000, 40 << 30]);
    let resources = Resources::new(MilliCpu(cpu), Bytes(memory));
    let mut request = PlacementRequest::new("image").with_resources(resources);
    request.service = Some(format!("s{}", dice.roll(6)).parse().unwrap());
    if dice.roll(6) == 0 {
        request
            .resources
            .generic
            .insert("gpu".into(), 1 + dice.roll(2));
    }
    for _ in 0..dice.roll(3) {
        let text = dice.pick(&[
            "zone==eu",
            "zone!=us",
            "rack==r1*",
            "rack!=/r[12]/",
            "node!=node5",
            "zone==~asia",
            "rack==~r7",
            "node==~/9$/",
            "node==/node[1-4]/",
            "rack==r3",
        ]);
        request.constraints.push(text.parse().unwrap());
    }
    if dice.roll(3) == 0 {
        let text = dice.pick(&[
            "service!=s1",
            "service==~s2",
            "service!=~s*",
            "service==/s[0-3]/",
        ]);
        request.affinities.push(text.parse().unwrap());
    }
    if dice.roll(8) == 0 {
        for text in [
            "zone==~eu",
            "rack==~r1*",
            "rack!=~/3/",
            "zone!=~us",
            "containerslots==~3",
        ] {
            let wish: Expression = text.parse().unwrap();
            request
                .constraints
                .push(wish.weighing(dice.pick(&[1, 1, 1, 0, 2, 7])));
        }
    }
    if dice.roll(5) == 0 {
        for _ in 0..1 + dice.roll(2) {
            request.topology.push(TopologySpread {
                label: dice.pick(&["zone", "rack", "none"]).into(),
                max_skew: dice.pick(&[1, 1, 2, 5]),
            });
        }
    }
    if dice.roll(5) == 0 {
        let labels = dice.pick(&[
            &["zone"][..],
            &["zone", "rack"],
            &["containerslots", "zone"],
            &["rack"],
            &["none", "zone"],
        ]);
        request.preferences = labels.iter().map(|label| (*label).to_owned()).collect();
    }
    if dice.roll(4) == 0 {
        let port = HostPort::any(dice.pick(&[80, 443]), PortProtocol::Tcp);
        request.ports.push(port);
    }
    request
}

fn live_through(strategy: Strategy, seed: u64, even: bool) {
    let mut dice = Dice(seed);
    let mut pair = Pair::new(strategy);
    for number in 0..70 + dice.roll(60) {
        let node = node(&mut dice, number, even);
        pair.observe(Change::Node(node));
    }
    for step in 0..40u64 {
        let request = request(&mut dice);
        let seed = dice.roll(1000);
        match dice.roll(8) {
            0 => {
                let number = dice.roll(130);
                let node = node(&mut dice, number, even);
                pair.observe(Change::Node(node));
            }
            1 => {
                let id = format!("id{}", dice.roll(130) * 7919 % 1009)
                    .parse()
                    .unwrap();
                pair.observe(Change::NodeGone(id));
            }
            2 => pair.observe(Change::Release(
                format!("b{}.{}", dice.roll(60), dice.roll(40))
                    .parse()
                    .unwrap(),
            )),
            3 => pair.agree(&request, seed),
            _ => {
                let most = dice.pick(&[3, 3, 12, 12, 12, 40]);
                let count = 1 + dice.roll(most) as u32;
                let id = format!("b{step}").parse().unwrap();
                let mut batch = Batch::new(id, request, count, Timestamp::from_secs(5_000));
                if dice.roll(4) == 0 {
                    batch = batch.all_or_nothing();
                }
                pair.agree_on_batch(&batch, seed);
            }
        }
    }
}

/// 60 histories of a hundred nodes each, every placement of every batch compared.
#[test]
fn large_clusters_agree_with_the_reference() {
    for seed in 0..60 {
        let strategy = [Strategy::Spread, Strategy::BinPack, Strategy::Random][seed as usize % 3];
        live_through(strategy, seed, seed % 2 == 0);
    }
}

/// Points that have nothing to do with how full a node is, with bounds or without.
#[derive(Debug)]
struct Whim {
    is_bounded: bool,
}

impl NodeScore for Whim {
    fn name(&self) -> &str {
        "whim"
    }

    fn points(&self, _request: &PlacementRequest, node: &NodeView<'_>) -> i32 {
        let rack = node.label("rack").unwrap_or_default();
        rack.bytes().map(i32::from).sum::<i32>() * 31 % 17 - node.containers() as i32 % 5
    }

    fn bounds(&self, _request: &PlacementRequest) -> Option<std::ops::RangeInclusive<i32>> {
        self.is_bounded.then_some(-4..=16)
    }
}

/// What a search with bounds leaves out is not the best: the same nodes are chosen as by a look at
/// all, for one and for batches.
#[test]
fn own_scores_with_bounds_choose_as_those_without() {
    let mut differ = 0;
    for seed in 0..24 {
        let mut dice = Dice(1_000 + seed);
        let strategy = [Strategy::Spread, Strategy::BinPack][seed as usize % 2];
        let factor = dice.pick(&[-40, -1, 1, 3, 50]);
        let build = |factor: i32, is_bounded: bool| {
            ClusterScheduler::builder()
                .strategy(strategy)
                .own_score(Whim { is_bounded }, factor)
                .build()
        };
        let mut all = [build(factor, true), build(factor, false), build(0, true)];
        for number in 0..120 {
            let node = node(&mut dice, number, seed % 4 < 2);
            for scheduler in &mut all {
                scheduler.observe(Change::Node(node.clone())).unwrap();
            }
        }
        for step in 0..25u64 {
            let request = request(&mut dice);
            let placed = [0, 1, 2].map(|at| {
                let placed = all[at].place(&request, NOW, step);
                placed.map(|p| (p.chosen, p.runners_up)).map_err(|_| ())
            });
            assert_eq!(placed[0], placed[1], "{request:?}");
            differ += usize::from(placed[0] != placed[2]);
            let id = format!("b{step}").parse().unwrap();
            let most = dice.pick(&[9, 9, 60]);
            let count = 1 + dice.roll(most) as u32;
            let batch = Batch::new(id, request, count, Timestamp::from_secs(5_000));
            let held = [0, 1].map(|at| all[at].place_batch(&batch, NOW, step).unwrap());
            assert_eq!(held[0].nodes, held[1].nodes, "{batch:?}");
            all[2].place_batch(&batch, NOW, step).unwrap();
        }
    }
    assert!(differ > 100, "the scores hardly ever mattered: {differ}");
}

/// Rather where few containers are.
#[derive(Debug)]
struct Shy {
    is_bounded: bool,
}

impl NodeScore for Shy {
    fn name(&self) -> &str {
        "shy"
    }

    fn points(&self, _request: &PlacementRequest, node: &NodeView<'_>) -> i32 {
        -i32::try_from(node.containers()).unwrap().min(100)
    }

    fn bounds(&self, _request: &PlacementRequest) -> Option<std::ops::RangeInclusive<i32>> {
        self.is_bounded.then_some(-100..=0)
    }
}

/// A batch that packs searches for a part of the nodes; where those become worse with each replica,
/// the others have their turn.
#[test]
fn a_batch_goes_beyond_the_nodes_that_it_found_first() {
    let mut held = [true, false].map(|is_bounded| {
        let builder = ClusterScheduler::builder().strategy(Strategy::BinPack);
        let mut scheduler = builder.own_score(Shy { is_bounded }, 50).build();
        for number in 0..90u64 {
            let id = format!("n{number:02}").parse().unwrap();
            let name = format!("n{number:02}").parse().unwrap();
            let capacity = Resources::new(MilliCpu(100_000), Bytes(1 << 40));
            let node = NodeState::new(id, name, capacity);
            scheduler.observe(Change::Node(node)).unwrap();
        }
        let resources = Resources::new(MilliCpu(100), Bytes(1 << 20));
        let request = PlacementRequest::new("image").with_resources(resources);
        let batch = Batch::new(
            "b".parse().unwrap(),
            request,
            200,
            Timestamp::from_secs(5_000),
        );
        scheduler.place_batch(&batch, NOW, 0).unwrap().nodes
    });
    assert_eq!(held[0], held[1]);
    held[0].sort();
    held[0].dedup();
    assert_eq!(held[0].len(), 90);
}

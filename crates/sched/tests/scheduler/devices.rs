//! Named devices: what is said about them, and what is refused.

use longshore_core::*;

use crate::support::{EXPIRY, NOW, node, observe, reasons, refusal, request, scheduler};

fn with_gpus(name: &str, sizes: &[&str]) -> NodeState {
    let mut node = node(name, &[]);
    let gpu =
        |(at, size): (usize, &&str)| Device::new("gpu", format!("g{at}")).with("memory", *size);
    node.devices = sizes.iter().enumerate().map(gpu).collect();
    node
}

fn wanting(devices: &[&str]) -> PlacementRequest {
    let mut request = request();
    request.devices = devices.iter().map(|text| text.parse().unwrap()).collect();
    request
}

#[test]
fn a_refusal_says_how_many_are_free_and_how_many_fit() {
    let ours = scheduler([with_gpus("a", &["8GiB", "16GiB", "lots"])]);
    let two = wanting(&["2 gpu where memory>=16GiB"]);
    assert_eq!(
        reasons(&ours, &two, "a"),
        ["device: needs 2 gpu where memory>=16GiB, 3 free, 1 of them fits"]
    );
    let (message, summary) = refusal(&ours, &two);
    assert_eq!(
        message,
        "No nodes available in the cluster: fewer than 2 free gpus where memory>=16GiB on 1 node \
         (at most 1 free)"
    );
    assert_eq!(
        summary,
        "1 of 1 node has a free gpu where memory>=16GiB, and not more than 1; 2 are asked for"
    );
    assert_eq!(
        reasons(&ours, &wanting(&["1 fpga"]), "a"),
        ["device: needs 1 fpga, 0 free"]
    );
    // The one that is large enough can't be had twice.
    let both = wanting(&["gpu where memory>=16GiB", "gpu where memory>8GiB"]);
    assert_eq!(
        reasons(&ours, &both, "a"),
        [
            "device: needs 1 gpu where memory>=16GiB and 1 gpu where memory>8GiB, enough are free \
             for each but not for all together"
        ]
    );
}

#[test]
fn a_refusal_for_want_of_devices_alone_is_one_sentence() {
    let nodes = |gpus: &[usize]| {
        let nodes = gpus.iter().enumerate();
        scheduler(nodes.map(|(at, count)| with_gpus(&format!("n{at}"), &vec!["8GiB"; *count])))
    };
    #[track_caller]
    fn says(ours: &longshore_sched::ClusterScheduler, devices: &[&str], sentence: &str) {
        assert_eq!(refusal(ours, &wanting(devices)).1, sentence);
    }
    let some = nodes(&[0, 1, 0, 2, 1]);
    says(
        &some,
        &["3 gpu"],
        "3 of 5 nodes have a free gpu, none more than 2; 3 are asked for",
    );
    says(
        &some,
        &["fpga"],
        "0 of 5 nodes have a free fpga; 1 is asked for",
    );
    says(
        &some,
        &["2 gpu where memory>=16GiB"],
        "0 of 5 nodes have a free gpu where memory>=16GiB; 2 are asked for",
    );
    says(
        &some,
        &["all fpga"],
        "0 of 5 nodes can take it: no fpga, or not all of them free on 5 nodes",
    );
    says(
        &nodes(&[1, 0]),
        &["2 gpu"],
        "1 of 2 nodes has a free gpu, and not more than 1; 2 are asked for",
    );
    // Where they lack other things, too, each is counted.
    let mut mixed = wanting(&["2 gpu"]);
    mixed.constraints.push("node!=n3".parse().unwrap());
    assert_eq!(
        refusal(&some, &mixed).1,
        "0 of 5 nodes can take it: fewer than 2 free gpus on 4 nodes (at most 1 free); constraint \
         node!=n3 not satisfied on 1 node"
    );
    let explained = some.explain(&mixed, NOW, 0).unwrap();
    assert_eq!(
        explained.summary,
        "4 of 5 nodes satisfy node!=n3; all 4 have fewer than 2 free gpus"
    );
}

#[test]
fn all_are_all_that_a_node_has_or_none() {
    let mut ours = scheduler([with_gpus("a", &["8", "16", "8"]), node("b", &[])]);
    let all = wanting(&["all gpu"]);
    let chosen = ours.place(&all, NOW, 0).unwrap().chosen;
    let names: Vec<&str> = chosen.devices.iter().map(|id| id.name.as_str()).collect();
    assert_eq!((chosen.name.as_str(), names), ("a", vec!["g0", "g1", "g2"]));
    let held = Reservation::new(
        "r".parse().unwrap(),
        "id-a".parse().unwrap(),
        wanting(&["gpu"]),
        EXPIRY,
    );
    observe(
        &mut ours,
        [Change::Reserve(
            held.with_devices(vec![DeviceId::new("gpu", "g0")]),
        )],
    );
    assert_eq!(
        reasons(&ours, &all, "a"),
        ["device: needs all gpu, 2 of 3 free"]
    );
    assert_eq!(
        reasons(&ours, &all, "b"),
        ["device: needs all gpu, 0 of 0 free"]
    );
    // The large one is still free, and it is all that is asked for.
    let large = wanting(&["all gpu where memory>8"]);
    let chosen = ours.place(&large, NOW, 0).unwrap().chosen;
    assert_eq!(chosen.devices, [DeviceId::new("gpu", "g1")]);
}

#[test]
fn a_piece_leaves_to_the_others_what_only_they_can_use() {
    let ours = scheduler([with_gpus("a", &["16GiB", "8GiB", "16GiB"])]);
    let mixed = wanting(&["gpu", "2 gpu where memory>=16GiB"]);
    let chosen = ours.place(&mixed, NOW, 0).unwrap().chosen;
    let names: Vec<&str> = chosen.devices.iter().map(|id| id.name.as_str()).collect();
    assert_eq!(names, ["g1", "g0", "g2"]);
}

#[test]
fn a_batch_names_the_devices_of_each_replica() {
    let mut ours = scheduler([with_gpus("a", &["8", "8"]), with_gpus("b", &["8"])]);
    let batch = Batch::new("b".parse().unwrap(), wanting(&["gpu"]), 4, EXPIRY);
    let placed = ours.place_batch(&batch, NOW, 0).unwrap();
    assert_eq!((placed.nodes.len(), placed.devices.len()), (3, 3));
    assert!(placed.refusal.is_some());
    let mut held: Vec<String> = placed
        .nodes
        .iter()
        .zip(&placed.devices)
        .map(|(node, devices)| format!("{node} {}", devices[0]))
        .collect();
    held.sort();
    assert_eq!(held, ["id-a gpu g0", "id-a gpu g1", "id-b gpu g0"]);
}

#[track_caller]
fn is_refused(changes: Vec<Change>, kind: ErrorKind, words: &str) {
    let mut ours = scheduler([with_gpus("a", &["8"])]);
    let (last, before) = changes.split_last().unwrap();
    observe(&mut ours, before.iter().cloned());
    let error = ours.observe(last.clone()).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    let free = ours.place(&wanting(&["gpu"]), NOW, 0).is_ok();
    assert_eq!(
        free,
        before.is_empty(),
        "the change was refused and took effect"
    );
}

#[test]
fn what_is_wrong_with_devices_is_named_and_changes_nothing() {
    let mut twice = with_gpus("a", &["8", "8"]);
    twice.devices[1].id.name = "g0".into();
    is_refused(
        vec![Change::Node(twice)],
        ErrorKind::InvalidInput,
        "node id-a has device gpu g0 twice",
    );
    is_refused(
        vec![Change::Node(with_gpus("a", &["8"; 257]))],
        ErrorKind::InvalidInput,
        "node id-a has 257 devices: expected at most 256",
    );
    let held = |id: &str, request: PlacementRequest, names: &[&str]| {
        let devices = names
            .iter()
            .map(|name| DeviceId::new("gpu", *name))
            .collect();
        let held = Reservation::new(
            id.parse().unwrap(),
            "id-a".parse().unwrap(),
            request,
            EXPIRY,
        );
        Change::Reserve(held.with_devices(devices))
    };
    is_refused(
        vec![held("r", wanting(&["gpu"]), &["g7"])],
        ErrorKind::Conflict,
        "device gpu g7 of node a is not free",
    );
    is_refused(
        vec![held("r", request(), &["g0"])],
        ErrorKind::InvalidInput,
        "names devices that it does not ask for",
    );
    is_refused(
        vec![
            held("r", wanting(&["gpu"]), &["g0"]),
            held("s", wanting(&["gpu"]), &["g0"]),
        ],
        ErrorKind::Conflict,
        "needs 1 gpu, 0 free",
    );
    let ours = scheduler([with_gpus("a", &["8"])]);
    let Err(Refusal::Invalid { message }) = ours.place(&wanting(&["20 gpu", "20 nic"]), NOW, 0)
    else {
        panic!("40 devices were not too many");
    };
    assert_eq!(
        message,
        "a request holds at most 32 devices, this one holds 40"
    );
}

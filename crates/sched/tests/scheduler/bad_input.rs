//! Bad input: each is refused in words that name it, and leaves everything as it was.

use longshore_core::*;
use longshore_sched::{ClusterScheduler, order};

use crate::support::*;

/// All that a scheduler holds, derived things included; in an order that does not depend on hashes.
fn dump(scheduler: &ClusterScheduler) -> Vec<String> {
    let mut lines: Vec<String> = format!("{scheduler:#?}")
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort_unstable();
    lines
}

/// Two nodes with work and a reservation, of which all was asked that is remembered.
fn cluster() -> ClusterScheduler {
    let mut ours = scheduler([node("a", &[("zone", "eu")]), node("b", &[("zone", "us")])]);
    let mut web = named("w", "a", "web");
    web.ports = vec![HostPort::any(80, PortProtocol::Tcp)];
    web.resources = Resources::new(MilliCpu(500), Bytes::from_mib(512));
    observe(&mut ours, [Change::Workload(web)]);
    observe(
        &mut ours,
        [reserve("r", "a", sized(1000, Bytes::from_gib(1)))],
    );
    let probe = sized(1, Bytes(1)).with_constraint(expression("zone==eu"));
    for _ in 0..3 {
        ours.place(&probe, NOW, 0).unwrap();
    }
    ours
}

fn reserve(id: &str, node: &str, request: PlacementRequest) -> Change {
    let node = format!("id-{node}").parse().unwrap();
    Change::Reserve(Reservation::new(id.parse().unwrap(), node, request, EXPIRY))
}

#[track_caller]
fn unchanged(scheduler: &ClusterScheduler, before: &[String]) {
    let now = dump(scheduler);
    let other = now.iter().zip(before).find(|(now, before)| now != before);
    assert!(
        now.len() == before.len() && other.is_none(),
        "changed: {other:?}"
    );
}

#[track_caller]
fn refused(change: Change, kind: ErrorKind, words: &str) {
    let mut ours = cluster();
    let before = dump(&ours);
    let error = ours.observe(change).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    unchanged(&ours, &before);
}

#[track_caller]
fn batch_refused(batch: &Batch, kind: ErrorKind, words: &str) {
    let mut ours = cluster();
    let before = dump(&ours);
    let error = ours.place_batch(batch, NOW, 0).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    unchanged(&ours, &before);
}

#[test]
fn a_dump_shows_every_change() {
    let mut ours = cluster();
    let before = dump(&ours);
    unchanged(&cluster(), &before);
    observe(&mut ours, [reserve("s", "b", sized(1, Bytes(1)))]);
    assert_ne!(dump(&ours), before);
}

#[test]
fn amounts_that_overflow_are_too_much_and_change_nothing() {
    let most = sized(u64::MAX, Bytes(u64::MAX));
    let words = "node a no longer fits: resources: needs";
    refused(reserve("s", "a", most.clone()), ErrorKind::Conflict, words);
    let mut generic = request();
    generic.resources.generic.insert("gpu".into(), u64::MAX);
    refused(reserve("s", "a", generic), ErrorKind::Conflict, "gpu");
    // What is there is there: it is believed, and comes off again without a trace.
    let mut ours = cluster();
    let mut huge = workload("huge", "b");
    huge.resources = most.resources.clone();
    let mut more = workload("more", "b");
    more.resources = most.resources.clone();
    observe(&mut ours, [Change::Workload(huge), Change::Workload(more)]);
    let (words, _) = refusal(&ours, &sized(4000, Bytes::ZERO));
    assert!(
        words.starts_with("no resources available to schedule container"),
        "{words}"
    );
    let gone = |id: &str| Change::WorkloadGone("id-b".parse().unwrap(), id.parse().unwrap());
    observe(&mut ours, [gone("huge"), gone("more")]);
    let free = |ours: &ClusterScheduler| feasible(ours, &sized(4000, Bytes::from_gib(4)));
    assert_eq!(free(&ours), ["b"]);
}

#[test]
fn negative_and_absurd_sizes_are_no_amounts() {
    for text in ["-1", "-1GiB", "1e400", "99999999999999999999GiB", "NaN", ""] {
        assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        assert!(text.parse::<MilliCpu>().is_err(), "{text:?}");
    }
    let mut ill = node("c", &[]);
    ill.health_indicator = 101;
    let words = "invalid health indicator 101 of node id-c: expected 0 to 100";
    refused(Change::Node(ill), ErrorKind::InvalidInput, words);
    let mut many = node("c", &[]);
    many.devices = (0..257)
        .map(|at| Device::new("gpu", at.to_string()))
        .collect();
    let words = "node id-c has 257 devices: expected at most 256";
    refused(Change::Node(many), ErrorKind::InvalidInput, words);
}

#[test]
fn ten_thousand_constraints_are_counted_and_refused() {
    let mut many = request();
    many.constraints = vec![expression("zone==eu"); 10_000];
    let words = "at most 128 constraints, affinities and whitelists, this one holds 10000";
    refused(
        reserve("s", "a", many.clone()),
        ErrorKind::InvalidInput,
        words,
    );
    let batch = Batch::new("x".parse().unwrap(), many, 3, EXPIRY);
    batch_refused(&batch, ErrorKind::InvalidInput, words);
}

#[test]
fn patterns_that_break_or_explode_are_refused_and_the_rest_is_linear() {
    let on = |text: &str| request().with_constraint(expression(text));
    let unclosed = reserve("s", "a", on("zone==/(/"));
    refused(unclosed, ErrorKind::InvalidInput, "unclosed group");
    let huge = reserve("s", "a", on("zone==/(a{1000}){1000}/"));
    refused(
        huge,
        ErrorKind::InvalidInput,
        "constraint zone==/(a{1000}){1000}/ is invalid: ",
    );
    let batch = Batch::new("x".parse().unwrap(), on("zone!=/(/"), 3, EXPIRY);
    batch_refused(&batch, ErrorKind::InvalidInput, "unclosed group");
    // What takes others exponential time ends here within the test's.
    let mut ours = cluster();
    let long = "a".repeat(60_000);
    observe(&mut ours, [Change::Node(node("c", &[("zone", &long)]))]);
    assert!(feasible(&ours, &on("zone==/^(a+)+$/")).contains(&"c".to_owned()));
    assert!(!feasible(&ours, &on("zone==/^(a|aa)+b$/")).contains(&"c".to_owned()));
    assert!(!feasible(&ours, &on("zone==*a*a*a*a*a*a*a*a*b")).contains(&"c".to_owned()));
}

#[test]
fn what_is_not_known_is_named() {
    let words = "workload x is on node id-nosuch, which is not known";
    refused(
        Change::Workload(workload("x", "nosuch")),
        ErrorKind::NotFound,
        words,
    );
    let words = "reservation s is on node id-nosuch, which is not known";
    refused(
        reserve("s", "nosuch", request()),
        ErrorKind::NotFound,
        words,
    );
    // An affinity or constraint to what is not there is no error: it may come.
    let ours = cluster();
    let lonely = request().with_affinity(expression("container==nosuch"));
    let (words, _) = refusal(&ours, &lonely);
    assert!(
        words.contains("[container==nosuch (soft=false)]"),
        "{words}"
    );
    let lonely = request().with_constraint(expression("node==nosuch"));
    let (words, _) = refusal(&ours, &lonely);
    assert!(words.contains("[node==nosuch]"), "{words}");
}

#[test]
fn ids_and_names_are_given_out_once() {
    let other = reserve("r", "b", sized(1, Bytes(1)));
    refused(
        other,
        ErrorKind::AlreadyExists,
        "another reservation r is held on node id-a",
    );
    let taken = reserve("s", "b", request().with_name("/web"));
    refused(
        taken,
        ErrorKind::AlreadyExists,
        "The name web is already assigned",
    );
    let mut twice = node("c", &[]);
    twice.devices = vec![Device::new("gpu", "g0"); 2];
    refused(
        Change::Node(twice),
        ErrorKind::InvalidInput,
        "has device gpu g0 twice",
    );
    let twins = Batch::new("x".parse().unwrap(), request().with_name("twin"), 2, EXPIRY);
    batch_refused(&twins, ErrorKind::InvalidInput, "");
    let late = Batch::new("x".parse().unwrap(), request(), 2, Timestamp::ZERO);
    batch_refused(&late, ErrorKind::Conflict, "have expired already");
}

#[test]
fn a_circle_of_dependencies_is_told_as_its_path() {
    let name = |text: &str| text.parse::<ServiceName>().unwrap();
    let needs = |from: &str, to: &str| (name(from), vec![name(to)]);
    let error = order(&[needs("a", "b"), needs("b", "c"), needs("c", "a")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "circular dependency: a -> b -> c -> a");
    let twice = order(&[(name("a"), vec![]), (name("a"), vec![])]).unwrap_err();
    assert_eq!(twice.to_string(), "service a is declared twice");
}

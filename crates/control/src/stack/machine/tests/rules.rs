use std::collections::BTreeSet;

use longshore_core::{ExitStatus, RestartPolicy};

use super::*;

const NOTHING: [&str; 0] = [];

#[test]
fn what_is_missing_is_made_once() {
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![service("web", 3)])).unwrap();
    let observed = Observed::new(vec![up(1), up(2)], Vec::new());
    let actions = machine.reconcile(&observed, at(0));
    assert_eq!(
        said(&actions),
        ["create web-1 @1", "create web-2 @1", "create web-3 @1"]
    );
    // While they go on nothing is begun again.
    assert_eq!(said(&machine.reconcile(&observed, at(1))), NOTHING);
}

#[test]
fn what_is_there_after_a_restart_is_taken_over() {
    let web = service("web", 3);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let instances = vec![running(&web, 1, 4, 1), running(&web, 3, 1, 2)];
    let mut observed = Observed::new(vec![up(1), up(2)], instances);
    observed.settled = false;
    assert_eq!(said(&machine.reconcile(&observed, at(0))), NOTHING);
    observed.settled = true;
    assert_eq!(
        said(&machine.reconcile(&observed, at(1))),
        ["create web-2 @1"]
    );
}

#[test]
fn a_lost_node_is_replaced_after_the_grace_period_and_not_before() {
    let web = service("web", 2);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let instances = vec![running(&web, 1, 1, 1), running(&web, 2, 1, 2)];
    let all = Observed::new(vec![up(1), up(2), up(3)], instances.clone());
    machine.reconcile(&all, at(0));
    let one = Observed::new(vec![up(1), lost(2, 10), up(3)], instances);
    assert_eq!(said(&machine.reconcile(&one, at(39))), NOTHING);
    let status = machine.status("shop", &one, at(39)).unwrap();
    assert_eq!(
        status.services[0].instances[1].note,
        format!("node node-2 is lost since {}: replaced in 1 s", at(10))
    );
    assert_eq!(machine.next_deadline(at(39)), Some(at(40)));
    assert_eq!(said(&machine.reconcile(&one, at(40))), ["create web-2 @2"]);
}

#[test]
fn a_flapping_node_moves_nothing() {
    let web = service("web", 1);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let instances = vec![running(&web, 1, 1, 1)];
    for round in 0..20 {
        let now = round * 40;
        let down = Observed::new(vec![lost(1, now), up(2), up(3)], instances.clone());
        assert_eq!(said(&machine.reconcile(&down, at(now + 29))), NOTHING);
        let back = Observed::new(vec![up(1), up(2), up(3)], instances.clone());
        assert_eq!(said(&machine.reconcile(&back, at(now + 30))), NOTHING);
    }
}

#[test]
fn a_node_that_left_discovery_is_waited_for_like_a_lost_one() {
    let web = service("web", 1);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let all = Observed::new(vec![up(1), up(2), up(3)], vec![running(&web, 1, 1, 1)]);
    machine.reconcile(&all, at(0));
    let without = Observed::new(vec![up(2), up(3)], Vec::new());
    assert_eq!(said(&machine.reconcile(&without, at(5))), NOTHING);
    assert_eq!(said(&machine.reconcile(&without, at(34))), NOTHING);
    assert_eq!(
        said(&machine.reconcile(&without, at(35))),
        ["create web-1 @2"]
    );
}

#[test]
fn a_returning_duplicate_is_retired_once_the_other_runs() {
    let web = service("web", 1);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let nodes = || vec![up(1), up(2)];
    let mut second = running(&web, 1, 2, 2);
    second.state = WorkloadState::Created;
    // The old one is back before the new one ran: the old one stays.
    let observed = Observed::new(nodes(), vec![running(&web, 1, 1, 1), second]);
    assert_eq!(
        said(&machine.reconcile(&observed, at(0))),
        ["retire web-1 @2"]
    );
    // Both run: the newer one stays.
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let both = vec![running(&web, 1, 1, 1), running(&web, 1, 2, 2)];
    let observed = Observed::new(nodes(), both);
    assert_eq!(
        said(&machine.reconcile(&observed, at(0))),
        ["retire web-1 @1"]
    );
}

#[test]
fn mass_failure_stops_replacement_with_one_alarm() {
    let web = service("web", 10);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let instances: Vec<_> = (1..=10).map(|n| running(&web, n, 1, n as usize)).collect();
    let all = Observed::new((1..=10).map(up).collect(), instances.clone());
    machine.reconcile(&all, at(0));
    let nodes = |lost_nodes: usize| -> Vec<_> {
        (1..=10)
            .map(|n| if n <= lost_nodes { lost(n, 10) } else { up(n) })
            .collect()
    };
    let most = Observed::new(nodes(6), instances.clone());
    let mut alarms = Vec::new();
    for now in [10, 39, 41, 100, 1_000, 100_000] {
        assert_eq!(said(&machine.reconcile(&most, at(now))), NOTHING, "{now}");
        alarms.extend(machine.take_alarms());
    }
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(
        alarms[0].starts_with("6 of 10 nodes were lost at once (node-1, node-2,"),
        "{}",
        alarms[0]
    );
    let status = machine.status("shop", &most, at(100_000)).unwrap();
    assert_eq!(status.held_nodes.len(), 6);
    // Enough of them are back: the rest is replaced.
    let few = Observed::new(nodes(2), instances);
    assert_eq!(
        said(&machine.reconcile(&few, at(100_001))),
        ["create web-1 @2", "create web-2 @2"]
    );
    assert_eq!(
        machine.take_alarms(),
        ["enough nodes are back: lost work is replaced again"]
    );
}

#[test]
fn nodes_that_begin_to_fail_make_the_replacement_of_others_wait() {
    let web = service("web", 4);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let instances: Vec<_> = (1..=4).map(|n| running(&web, n, 1, n as usize)).collect();
    let suspect = |number| {
        let mut node = up(number);
        node.condition = NodeCondition::Up { suspect: true };
        node
    };
    let observed = Observed::new(
        vec![lost(1, 0), suspect(2), suspect(3), up(4)],
        instances.clone(),
    );
    assert_eq!(said(&machine.reconcile(&observed, at(31))), NOTHING);
    let observed = Observed::new(vec![lost(1, 0), up(2), up(3), up(4)], instances);
    assert_eq!(
        said(&machine.reconcile(&observed, at(32))),
        ["create web-1 @2"]
    );
}

#[test]
fn at_most_one_waits_for_its_node_or_for_an_operator() {
    let db = service("db", 1).with_at_most_one();
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![db.clone()])).unwrap();
    let instances = vec![running(&db, 1, 1, 1)];
    let all = Observed::new(vec![up(1), up(2), up(3)], instances.clone());
    machine.reconcile(&all, at(0));
    let one = Observed::new(vec![lost(1, 0), up(2), up(3)], instances);
    assert_eq!(said(&machine.reconcile(&one, at(100_000))), NOTHING);
    let status = machine.status("shop", &one, at(100_000)).unwrap();
    assert_eq!(
        status.services[0].instances[0].note,
        "it may still run on node node-1: waits for the node, or for it to be declared dead"
    );
    // Also when the node leaves discovery.
    let without = Observed::new(vec![up(2), up(3)], Vec::new());
    assert_eq!(said(&machine.reconcile(&without, at(200_000))), NOTHING);
    assert!(machine.remembers("N1"));
    machine.declare_dead("N1");
    assert_eq!(
        said(&machine.reconcile(&without, at(200_001))),
        ["create db-1 @2"]
    );
}

#[test]
fn at_most_one_is_not_made_while_a_node_is_unknown() {
    let db = service("db", 1).with_at_most_one();
    let mut machine = Reconciler::new(policy());
    machine
        .deploy(stack(vec![db.clone(), service("web", 1)]))
        .unwrap();
    let mut stranger = up(2);
    stranger.id = None;
    stranger.name = "10.0.0.2:2375".into();
    stranger.condition = NodeCondition::Unknown;
    let mut observed = Observed::new(vec![up(1), stranger], Vec::new());
    observed.complete = false;
    assert_eq!(
        said(&machine.reconcile(&observed, at(0))),
        ["create web-1 @1"]
    );
    observed.complete = true;
    assert_eq!(said(&machine.reconcile(&observed, at(1))), NOTHING);
    let status = machine.status("shop", &observed, at(1)).unwrap();
    assert!(
        status.services[0].instances[0]
            .note
            .starts_with("node 10.0.0.2:2375 was never reached")
    );
    machine.declare_dead("10.0.0.2:2375");
    assert_eq!(
        said(&machine.reconcile(&observed, at(2))),
        ["create db-1 @1"]
    );
}

#[test]
fn an_old_action_is_refused() {
    let mut machine = Reconciler::new(policy());
    let db = service("db", 1).with_at_most_one();
    machine.deploy(stack(vec![db.clone()])).unwrap();
    let observed = Observed::new(vec![up(1), up(2)], Vec::new());
    let first = machine.reconcile(&observed, at(0)).remove(0);
    machine.check(&first).unwrap();
    machine
        .claim(&first, &node(1), &"c1".parse().unwrap(), at(0))
        .unwrap();
    let outcome = ActionOutcome::Failed("timeout".into());
    machine.finish(&first, outcome, at(1), &SeededRandom::new(1));
    assert_eq!(machine.check(&first).unwrap_err().kind(), ErrorKind::Stale);
    let error = machine
        .claim(&first, &node(2), &"c2".parse().unwrap(), at(2))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    // An instance of a later epoch is seen: an action on the older one is refused, too.
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![db.clone()])).unwrap();
    let first = machine.reconcile(&observed, at(0)).remove(0);
    let newer = Observed::new(vec![up(1), up(2)], vec![running(&db, 1, 5, 2)]);
    machine.reconcile(&newer, at(1));
    assert_eq!(machine.check(&first).unwrap_err().kind(), ErrorKind::Stale);
}

#[test]
fn a_start_that_was_asked_for_counts_until_its_node_was_looked_at() {
    let mut machine = Reconciler::new(policy());
    let db = service("db", 1).with_at_most_one();
    machine.deploy(stack(vec![db])).unwrap();
    let mut observed = Observed::new(vec![up(1), up(2)], Vec::new());
    let first = machine.reconcile(&observed, at(10)).remove(0);
    machine
        .claim(&first, &node(1), &"c1".parse().unwrap(), at(11))
        .unwrap();
    machine.finish(
        &first,
        ActionOutcome::Failed("the connection broke".into()),
        at(12),
        &SeededRandom::new(1),
    );
    // The listing is older than the start.
    assert_eq!(said(&machine.reconcile(&observed, at(60))), NOTHING);
    observed.nodes[0].listed_at = Some(at(61));
    assert_eq!(
        said(&machine.reconcile(&observed, at(62))),
        ["create db-1 @2"]
    );
}

#[test]
fn services_wait_for_what_they_depend_on() {
    let (db, web) = (service("db", 1), service("web", 2));
    let web = web.with_dependency("db".parse().unwrap());
    let mut machine = Reconciler::new(policy());
    machine
        .deploy(stack(vec![web.clone(), db.clone()]))
        .unwrap();
    let mut observed = Observed::new(vec![up(1)], Vec::new());
    let actions = machine.reconcile(&observed, at(0));
    assert_eq!(said(&actions), ["create db-1 @1"]);
    done(&mut machine, &actions[0], at(1));
    let mut starting = running(&db, 1, 1, 1);
    starting.healthy = false;
    observed.instances = vec![starting];
    assert_eq!(said(&machine.reconcile(&observed, at(2))), NOTHING);
    let status = machine.status("shop", &observed, at(2)).unwrap();
    assert_eq!(status.services[1].instances[0].note, "waits for db");
    observed.instances[0].healthy = true;
    assert_eq!(
        said(&machine.reconcile(&observed, at(3))),
        ["create web-1 @1", "create web-2 @1"]
    );
}

#[test]
fn a_stack_is_removed_in_the_opposite_order_and_forgotten() {
    let db = service("db", 1);
    let web = service("web", 1).with_dependency("db".parse().unwrap());
    let mut machine = Reconciler::new(policy());
    machine
        .deploy(stack(vec![db.clone(), web.clone()]))
        .unwrap();
    let mut observed = Observed::new(
        vec![up(1)],
        vec![running(&db, 1, 1, 1), running(&web, 1, 1, 1)],
    );
    machine.remove("shop").unwrap();
    let actions = machine.reconcile(&observed, at(0));
    assert_eq!(said(&actions), ["retire web-1 @1"]);
    done(&mut machine, &actions[0], at(1));
    observed.instances.pop();
    let actions = machine.reconcile(&observed, at(2));
    assert_eq!(said(&actions), ["retire db-1 @1"]);
    done(&mut machine, &actions[0], at(3));
    observed.instances.clear();
    assert_eq!(said(&machine.reconcile(&observed, at(4))), NOTHING);
    assert!(machine.stacks().is_empty() && machine.is_idle());
    assert_eq!(
        machine.remove("shop").unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn unknown_instances_are_left_alone() {
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![service("web", 1)])).unwrap();
    let web = service("web", 1);
    let mut foreign = running(&web, 1, 1, 1);
    foreign.slot.stack = "other".parse().unwrap();
    let observed = Observed::new(vec![up(1)], vec![running(&web, 1, 1, 1), foreign]);
    assert_eq!(said(&machine.reconcile(&observed, at(0))), NOTHING);
}

#[test]
fn scaling_down_retires_the_last_ones() {
    let web = service("web", 3);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![service("web", 1)])).unwrap();
    let instances = (1..=3).map(|n| running(&web, n, 1, 1)).collect();
    let observed = Observed::new(vec![up(1)], instances);
    assert_eq!(
        said(&machine.reconcile(&observed, at(0))),
        ["retire web-2 @1", "retire web-3 @1"]
    );
}

#[test]
fn a_changed_service_is_exchanged_one_by_one() {
    let old = service("web", 3);
    let mut new = service("web", 3);
    new.template.image = "app:2".into();
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![new.clone()])).unwrap();
    let mut instances: Vec<_> = (1..=3).map(|n| running(&old, n, 1, 1)).collect();
    for index in 1..=3u32 {
        let observed = Observed::new(vec![up(1)], instances.clone());
        let now = at(u64::from(index) * 10);
        let retire = machine.reconcile(&observed, now);
        assert_eq!(said(&retire), [format!("retire web-{index} @1")]);
        done(&mut machine, &retire[0], now);
        instances.retain(|instance| instance.slot.index != index);
        let observed = Observed::new(vec![up(1)], instances.clone());
        let create = machine.reconcile(&observed, now);
        assert_eq!(said(&create), [format!("create web-{index} @2")]);
        done(&mut machine, &create[0], now);
        instances.push(running(&new, index, 2, 1));
    }
    let observed = Observed::new(vec![up(1)], instances);
    assert_eq!(said(&machine.reconcile(&observed, at(100))), NOTHING);
}

#[test]
fn what_fails_is_tried_again_later_and_says_why() {
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![service("web", 1)])).unwrap();
    let observed = Observed::new(vec![up(1)], Vec::new());
    let mut now = at(0);
    for _ in 0..20 {
        let action = machine.reconcile(&observed, now).remove(0);
        // Nothing was made, so the epoch is not used up.
        assert_eq!(said(std::slice::from_ref(&action)), ["create web-1 @1"]);
        let outcome = ActionOutcome::NotMade("no resources available".into());
        machine.finish(&action, outcome, now, &SeededRandom::new(3));
        assert_eq!(said(&machine.reconcile(&observed, now)), NOTHING);
        let status = machine.status("shop", &observed, now).unwrap();
        assert_eq!(
            status.services[0].instances[0].note,
            "no resources available"
        );
        let next = machine.next_deadline(now).unwrap();
        assert!(next.since(now) <= Duration::from_secs(60));
        now = next;
    }
}

#[test]
fn s21_what_waits_for_room_is_left_waiting_and_says_why() {
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![service("web", 1)])).unwrap();
    let observed = Observed::new(vec![up(1)], Vec::new());
    let action = machine.reconcile(&observed, at(0)).remove(0);
    machine.waits(&action, "no free gpu");
    for seconds in [0, 1, 100, 10_000] {
        assert_eq!(said(&machine.reconcile(&observed, at(seconds))), NOTHING);
        assert!(machine.take_withdrawn().is_empty());
        assert_eq!(
            machine.next_deadline(at(seconds)),
            None,
            "no clock wakes it"
        );
    }
    let status = machine.status("shop", &observed, at(1)).unwrap();
    assert_eq!(status.services[0].instances[0].note, "no free gpu");
    // Its turn came.
    assert!(machine.check(&action).is_ok());
    done(&mut machine, &action, at(10_001));
}

#[test]
fn s21_however_many_wait_what_is_to_be_made_is_held_once() {
    let web = service("web", 10_000);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web])).unwrap();
    let observed = Observed::new(vec![up(1)], Vec::new());
    let actions = machine.reconcile(&observed, at(0));
    assert_eq!(actions.len(), 10_000);
    let mut wanted = Vec::new();
    for action in actions {
        machine.waits(&action, "full");
        match action.kind {
            ActionKind::Create(service) => wanted.push(service),
            other => panic!("{other:?}"),
        }
    }
    let places: BTreeSet<_> = wanted.iter().map(Arc::as_ptr).collect();
    assert_eq!(places.len(), 1, "one allocation for all");
    // Nor does a comparison copy it, or keep more than each place's reference.
    let before = Arc::strong_count(&wanted[0]);
    assert!(machine.reconcile(&observed, at(1)).is_empty());
    assert_eq!(Arc::strong_count(&wanted[0]), before);
    let one = wanted.swap_remove(0);
    drop(wanted);
    assert_eq!(
        Arc::strong_count(&one),
        10_000 + 3,
        "each place and the stack"
    );
}

#[test]
fn s21_what_waits_is_withdrawn_when_it_is_not_wanted_as_it_is() {
    let web = service("web", 1);
    let changed = service("web", 1).with_constraint("zone==eu".parse().unwrap());
    let nothing = Observed::new(vec![up(1)], Vec::new());
    let there = Observed::new(vec![up(1)], vec![running(&web, 1, 3, 1)]);
    let waiting = || {
        let mut machine = Reconciler::new(policy());
        machine.deploy(stack(vec![web.clone()])).unwrap();
        let action = machine.reconcile(&nothing, at(0)).remove(0);
        machine.waits(&action, "full");
        (machine, action)
    };
    #[track_caller]
    fn is_withdrawn(machine: &mut Reconciler, action: &ReconcileAction, observed: &Observed) {
        assert_eq!(said(&machine.reconcile(observed, at(1))), NOTHING);
        assert_eq!(machine.take_withdrawn(), [action.op]);
        // Told once.
        machine.reconcile(observed, at(2));
        assert!(machine.take_withdrawn().is_empty());
        let outcome = ActionOutcome::GivenUp;
        machine.finish(action, outcome, at(2), &SeededRandom::new(1));
    }
    let (mut machine, action) = waiting();
    machine.deploy(stack(vec![changed])).unwrap();
    is_withdrawn(&mut machine, &action, &nothing);
    // At once, and under the epoch that nobody has.
    let again = machine.reconcile(&nothing, at(2));
    assert_eq!(said(&again), ["create web-1 @1"]);

    let (mut machine, action) = waiting();
    machine.remove("shop").unwrap();
    is_withdrawn(&mut machine, &action, &nothing);
    machine.reconcile(&nothing, at(2));
    assert!(machine.is_idle(), "it is forgotten");

    // The old one was there all the time.
    let (mut machine, action) = waiting();
    is_withdrawn(&mut machine, &action, &there);
    assert_eq!(said(&machine.reconcile(&there, at(2))), NOTHING);

    // Another manager leads.
    let (mut machine, action) = waiting();
    machine.withdraw_all();
    assert_eq!(machine.take_withdrawn(), [action.op]);
}

#[test]
fn an_instance_that_can_not_be_started_is_made_anew() {
    let web = service("web", 1);
    let mut machine = Reconciler::new(policy());
    machine.deploy(stack(vec![web.clone()])).unwrap();
    let mut created = running(&web, 1, 1, 1);
    created.state = WorkloadState::Created;
    let observed = Observed::new(vec![up(1), up(2)], vec![created]);
    let mut now = at(0);
    for _ in 0..3 {
        let action = machine.reconcile(&observed, now).remove(0);
        assert_eq!(said(std::slice::from_ref(&action)), ["start web-1 @1"]);
        let outcome = ActionOutcome::Failed("port in use".into());
        machine.finish(&action, outcome, now, &SeededRandom::new(3));
        now = now.after(Duration::from_secs(60));
    }
    assert_eq!(
        said(&machine.reconcile(&observed, now)),
        ["retire web-1 @1"]
    );
}

#[test]
fn an_ended_instance_follows_its_restart_policy() {
    let web = service("web", 1);
    let mut ended = running(&web, 1, 1, 1);
    ended.state = WorkloadState::Exited;
    ended.succeeded = ExitStatus::exited(0).is_success();
    for (restart, expected) in [
        (RestartPolicy::Never, vec![]),
        (RestartPolicy::UnlessStopped, vec![]),
        (RestartPolicy::OnFailure(3), vec![]),
        (RestartPolicy::Always, vec!["start web-1 @1"]),
    ] {
        let mut machine = Reconciler::new(policy());
        machine.deploy(stack(vec![web.clone()])).unwrap();
        let mut instance = ended.clone();
        instance.restart = restart;
        let observed = Observed::new(vec![up(1)], vec![instance]);
        assert_eq!(said(&machine.reconcile(&observed, at(0))), expected);
        let status = machine.status("shop", &observed, at(0)).unwrap();
        assert!(status.is_ready(), "a job that ended well is ready");
    }
}

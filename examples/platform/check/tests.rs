use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};

fn parse(line: &str) -> Command {
    Cli::try_parse_from(line.split_whitespace())
        .unwrap()
        .command
        .unwrap()
}

#[track_caller]
fn refuse(line: &str, message: &str) {
    let problems = match parse(line) {
        Command::Manage(args) => manage(&args).1.or(()),
        Command::Join(args) => join(&args).1.or(()),
        Command::List(args) => list(&args).map(drop),
        other => panic!("{other:?}"),
    };
    assert_eq!(problems.unwrap_err().to_string(), message);
}

#[track_caller]
fn planned(args: &crate::cli::Manage) -> ManagePlan {
    let (plan, problems) = manage(args);
    problems.or(plan).unwrap()
}

#[test]
fn files_of_registry_credentials_are_read_at_the_start() {
    refuse(
        "platform manage nodes://a:1 --registry-config ours",
        "invalid --registry-config \"ours\": expected NAME=FILE",
    );
    refuse(
        "platform manage nodes://a:1 --registry-config ours=/no/such/config.json",
        "--registry-config: cannot read /no/such/config.json: No such file or directory (os error 2)",
    );
}

#[test]
fn problems_are_reported_together() {
    refuse(
        "platform manage --engine-failure-retry 0 --heartbeat 10ms",
        "discovery required to manage a cluster. See 'platform manage --help'.\n\
         --heartbeat should be at least one second\n\
         invalid failure retry count: 0 (expected a whole number above 0)",
    );
    refuse(
        "platform manage nodes://a:1 --filter health --filter bar --strategy foo -H bogus \
         --heartbeat 1x --tls",
        "strategy not supported: \"foo\" (known: spread, binpack, random)\n\
         filter not supported: \"bar\" (known: health, port, containerslots, dependency, affinity, \
         constraint, whitelist)\n\
         invalid --host \"bogus\": address bogus: missing port in address; expected \
         unix:///path/to/socket or tcp://host:port\n\
         invalid --heartbeat: unknown time unit \"x\", supported units: ns, us/µs, ms, sec, min, \
         hours, days, weeks, months, years (and few variations): \"1x\"; expected for example 10s\n\
         --tlscert and --tlskey must be provided when using --tls",
    );
    refuse(
        "platform manage --tunnel foo --tlscacert a --tlscert b --tlskey c",
        "invalid --tunnel: address foo: missing port in address",
    );
}

#[test]
fn each_message_is_swarms() {
    for (line, message) in [
        (
            "list",
            "discovery required to list a cluster. See 'platform list --help'.",
        ),
        (
            "list a:1 --timeout 0s",
            "--timeout should be a positive number",
        ),
        (
            "list a:1 --timeout=-1s",
            "--timeout should be a positive number",
        ),
        (
            "list a:1 --timeout -1s",
            "--timeout should be a positive number",
        ),
        (
            "list a:1 --discovery-opt x",
            "--discovery-opt must contain key=value strings: \"x\" does not",
        ),
        (
            "join a:1 --tunnel b:1 --tlscacert a --tlscert b --tlskey c",
            "discovery is not used with --tunnel, and \"a:1\" was given (as an argument or by \
             SWARM_DISCOVERY): leave out one of them",
        ),
        (
            "manage a:1 -H=",
            "--host is empty: expected unix:///path/to/socket or tcp://host:port",
        ),
        ("join a:1", "missing mandatory --advertise flag"),
        (
            "join a:1 --addr b",
            "--advertise should be of the form ip:port or hostname:port: \"b\" is not",
        ),
        (
            "join a:1 --addr b:0",
            "--advertise should be of the form ip:port or hostname:port: \"b:0\" is not",
        ),
        (
            "join a:1 --addr b:2 --ttl 60s",
            "--ttl must be strictly superior to the heartbeat value",
        ),
        (
            "join a:1 --addr b:2 --heartbeat -1s",
            "--heartbeat should be at least one second",
        ),
        (
            "join a:1 --addr b:2 --ttl -1s",
            "--ttl must be strictly superior to the heartbeat value",
        ),
        (
            "join a:1 --addr b:2 --delay -1s",
            "--delay should not be a negative number",
        ),
        (
            "manage a:1 --replication-ttl -1s",
            "--replication-ttl should be a positive number",
        ),
        (
            "manage a:1 --engine-refresh-min-interval -1s",
            "min refresh interval should be a positive number",
        ),
        (
            "manage a:1 --engine-refresh-min-interval x",
            "min refresh interval should be a positive number: invalid \
             --engine-refresh-min-interval: expected number at 0: \"x\"; expected for example 10s",
        ),
        (
            "join a:1 --addr b:2 --delay=-1s",
            "--delay should not be a negative number",
        ),
        (
            "join --tunnel a:1",
            "--tunnel needs --tlscacert, --tlscert and --tlskey: tunnels are always mutual TLS. \
          Make them with 'platform cert'.",
        ),
        (
            "manage a:1 --tls",
            "--tlscert and --tlskey must be provided when using --tls",
        ),
        (
            "manage a:1 --tlsverify",
            "--tlscert and --tlskey must be provided when using --tls\n\
             --tlscacert must be provided when using --tlsverify",
        ),
        (
            "manage a:1 --tlsverify --tlscert a --tlskey b",
            "--tlscacert must be provided when using --tlsverify",
        ),
        (
            "manage a:1 --tlscert a",
            "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify",
        ),
        (
            "manage a:1 --engine-refresh-min-interval 2m",
            "max refresh interval cannot be less than min refresh interval",
        ),
        (
            "manage a:1 --engine-refresh-retry 4",
            "--engine-refresh-retry is deprecated. Use --engine-failure-retry",
        ),
        ("manage a:1 -c mesos", "unsupported cluster \"mesos\""),
        (
            "manage a:1 --cluster-opt swarm.overcommit=-2",
            "swarm.overcommit should be larger than -1, -2.000000 is invalid",
        ),
        (
            "manage a:1 --cluster-opt swarm.createretry=-1",
            "swarm.createretry can not be negative, -1 is invalid",
        ),
        (
            "manage a:1 --cluster-opt x",
            "--cluster-opt must contain key=value strings: \"x\" does not",
        ),
        (
            "manage a:1 --cluster-opt x=1",
            "--cluster-opt \"x\" is unknown; known are swarm.overcommit, swarm.createretry, \
             longshore.accounting and longshore.stacks",
        ),
        (
            "manage a:1 --cluster-opt longshore.stacks=store",
            "--cluster-opt longshore.stacks=store needs a discovery with a key-value store: \
             consul, etcd, zk or raft",
        ),
        (
            "manage etcd://a:1 --cluster-opt longshore.stacks=disk",
            "--cluster-opt longshore.stacks: \"disk\" is neither store nor memory",
        ),
        (
            "manage a:1 --replication-timeout 0s",
            "--replication-timeout should be a positive number",
        ),
        (
            "manage a:1 --replication --addr b:1",
            "Leader election is only supported with consul, etcd, zookeeper and raft discovery.",
        ),
    ] {
        refuse(&format!("platform {line}"), message);
    }
}

#[test]
fn aliases_and_both_forms_of_discovery_are_accepted() {
    let Command::Manage(args) = parse("platform m --discovery file:///x --cors -H unix:///s")
    else {
        panic!()
    };
    assert_eq!(planned(&args).url.as_deref(), Some("file:///x"));
    let Command::List(args) = parse("platform l nodes://a:1") else {
        panic!()
    };
    assert_eq!(list(&args).unwrap().url, "nodes://a:1");
}

#[test]
fn stacks_are_kept_in_the_store_of_the_discovery_if_it_has_one() {
    for (line, stored) in [
        ("platform m etcd://a:1/x", true),
        ("platform m zk://a:1", true),
        ("platform m consul://a:1", true),
        ("platform m raft://a=b:1", true),
        (
            "platform m etcd://a:1 --cluster-opt longshore.stacks=memory",
            false,
        ),
        ("platform m a:1", false),
        ("platform m file:///x", false),
    ] {
        let Command::Manage(args) = parse(line) else {
            panic!()
        };
        assert_eq!(planned(&args).stored_stacks, stored, "{line}");
    }
}

#[test]
fn tls_files_serve_tunnel_and_endpoint_alone_or_together() {
    let files = "--tlscacert a --tlscert b --tlskey c";
    let Command::Manage(args) = parse(&format!("platform m --tunnel :1 {files}")) else {
        panic!()
    };
    let plan = planned(&args);
    assert!(plan.tls.is_none() && plan.tunnel.is_some() && plan.url.is_none());
    let Command::Manage(args) = parse(&format!("platform m --tunnel :1 {files} --tlsverify"))
    else {
        panic!()
    };
    assert!(planned(&args).tls.is_some_and(|tls| tls.verify));
}

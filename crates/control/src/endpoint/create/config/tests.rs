use proptest::prelude::*;

use super::*;

fn parse(body: Value) -> Result<CreateConfig, ApiError> {
    CreateConfig::parse(body, "web", "longshore.system", || "f".repeat(64))
}

#[track_caller]
fn refuse(body: Value, message: &str) {
    let error = parse(body).unwrap_err();
    assert_eq!((error.status().as_u16(), error.message()), (400, message));
}

#[test]
fn s1_carriers_leave_the_environment_and_merge_into_labels() {
    let config = parse(json!({
        "Image": "redis",
        "Env": ["A=1", "constraint:zone==b", "affinity:image==~redis", "B=constraint:x"],
        "Labels": {"com.docker.swarm.constraints": "[\"zone==/a|b/\"]", "mine": "x"},
    }))
    .unwrap();
    assert_eq!(config.body["Env"], json!(["A=1", "B=constraint:x"]));
    let constraints: Vec<String> = config
        .request
        .constraints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(constraints, ["zone==/a|b/", "zone==b"]);
    assert_eq!(
        config.body["Labels"],
        json!({
            "com.docker.swarm.constraints": "[\"zone==/a|b/\",\"zone==b\"]",
            "com.docker.swarm.affinities": "[\"image==~redis\"]",
            "com.docker.swarm.id": "f".repeat(64),
            "mine": "x",
        })
    );
    assert_eq!(config.request.labels.get("mine"), Some("x"));
}

#[test]
fn a_swarm_id_is_never_the_client_s() {
    let config = parse(json!({"Labels": {"com.docker.swarm.id": "db"}})).unwrap();
    let fresh = "f".repeat(64);
    assert_eq!(config.body["Labels"]["com.docker.swarm.id"], fresh.as_str());
    let known = config.request.labels.get("com.docker.swarm.id");
    assert_eq!(known, Some(fresh.as_str()));
}

#[test]
fn the_control_plane_s_own_labels_are_refused() {
    for label in ["longshore.stack", "longshore.instance", "longshore.new"] {
        refuse(
            json!({"Labels": {"a": "b", label: "x"}}),
            &format!("label {label} is the control plane's own and can't be given"),
        );
    }
    parse(json!({"Labels": {"longshore.system": "1", "longshoreman": "x"}})).unwrap();
}

#[test]
fn fields_have_one_spelling() {
    for (field, meant) in [
        ("labels", "Labels"),
        ("Label\u{17f}", "Labels"),
        ("HOSTCONFIG", "HostConfig"),
        ("image", "Image"),
    ] {
        refuse(
            json!({field: {}}),
            &format!("invalid JSON: the field {field:?} is to be written {meant:?}"),
        );
    }
}

#[test]
fn s7_malformed_json_in_a_swarm_label_names_the_label() {
    refuse(
        json!({"Labels": {"com.docker.swarm.affinities": "image==x"}}),
        "label com.docker.swarm.affinities is not a JSON array of strings: expected value at \
         line 1 column 1",
    );
}

#[test]
fn bad_input_is_named() {
    refuse(
        json!({"Env": ["constraint:zone=b"]}),
        "One of operator ==, != is expected",
    );
    refuse(
        json!({"Env": ["reschedule:always"]}),
        "invalid reschedule policy: always",
    );
    refuse(
        json!({"Env": ["reschedule:off", "reschedule:off"]}),
        "too many reschedule policies",
    );
    refuse(
        json!([]),
        "invalid JSON: a container's configuration is an object",
    );
    refuse(
        json!({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "http"}]}}}),
        "invalid port specification: \"http\"",
    );
}

#[test]
fn s17_shares_are_processors_and_nanos_win() {
    let shares =
        parse(json!({"HostConfig": {"CpuShares": 2, "Memory": 5, "MemoryReservation": 9}}))
            .unwrap();
    assert_eq!(shares.request.resources.cpu, MilliCpu::from_cpus(2));
    assert_eq!(shares.request.resources.memory.0, 9);
    assert_eq!(
        shares.body_for(3, &[]).unwrap()["HostConfig"]["CpuShares"],
        683
    );
    assert_eq!(
        shares.body_for(0, &[]).unwrap()["HostConfig"]["CpuShares"],
        2
    );
    let nanos =
        parse(json!({"HostConfig": {"CpuShares": 2, "NanoCpus": 1_500_000_000u64}})).unwrap();
    assert_eq!(nanos.request.resources.cpu, MilliCpu(1500));
}

#[test]
fn s17_old_top_level_fields_win_when_set_and_different() {
    let config = parse(json!({
        "Memory": 7, "CpuShares": 1, "Cpuset": "0",
        "HostConfig": {"Memory": 5, "CpuShares": 0},
    }))
    .unwrap();
    let host = &config.body["HostConfig"];
    assert_eq!(host["Memory"], 7);
    assert_eq!(host["CpuShares"], 1);
    assert_eq!(host["CpusetCpus"], "0");
    assert_eq!(config.request.resources.memory.0, 7);
}

#[test]
fn swappiness_is_minus_one_unless_given() {
    let defaulted = parse(json!({"HostConfig": {"MemorySwappiness": null}})).unwrap();
    assert_eq!(defaulted.body["HostConfig"]["MemorySwappiness"], -1);
    assert!(defaulted.default_swappiness);
    let given = parse(json!({"HostConfig": {"MemorySwappiness": 0}})).unwrap();
    assert_eq!(given.body["HostConfig"]["MemorySwappiness"], 0);
    assert!(!given.default_swappiness);
}

#[test]
fn dependencies_lose_mode_and_alias() {
    let config = parse(json!({"HostConfig": {
        "VolumesFrom": ["data:ro", "more"],
        "Links": ["/db:database", "node-1/cache"],
        "NetworkMode": "container:web",
    }}))
    .unwrap();
    let found: Vec<(&str, &str)> = config
        .request
        .dependencies
        .iter()
        .map(|dependency| (dependency.kind.flag(), dependency.target.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("--volumes-from", "data"),
            ("--volumes-from", "more"),
            ("--link", "db"),
            ("--link", "node-1/cache"),
            ("--net=container", "web"),
        ]
    );
    assert!(config.networks.is_empty());
}

#[test]
fn published_ports_are_claims_and_ranges_are_not() {
    let config = parse(json!({"HostConfig": {"PortBindings": {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "10.0.0.1", "HostPort": "81"}],
        "53/udp": [{"HostPort": "53"}],
        "90/tcp": [{"HostPort": ""}, {"HostPort": "0"}, {"HostPort": "9000-9010"}],
    }}}))
    .unwrap();
    let mut ports: Vec<String> = config
        .request
        .ports
        .iter()
        .map(|port| format!("{}:{}/{}", port.address, port.port, port.protocol))
        .collect();
    ports.sort();
    assert_eq!(ports, ["10.0.0.1:81/tcp", ":53/udp", ":8080/tcp"]);
}

#[test]
fn on_the_node_s_network_exposed_ports_are_claims() {
    let config = parse(json!({
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "1"}]}},
    }))
    .unwrap();
    assert!(config.request.host_network);
    assert_eq!(config.request.ports, [HostPort::any(80, PortProtocol::Tcp)]);
}

#[test]
fn a_node_before_a_network_is_a_constraint() {
    let config = parse(json!({
        "HostConfig": {"NetworkMode": "node-1/back"},
        "NetworkingConfig": {"EndpointsConfig": {"node-1/back": {"Aliases": ["x"]}}},
    }))
    .unwrap();
    assert_eq!(config.body["HostConfig"]["NetworkMode"], "back");
    assert_eq!(
        config.body["NetworkingConfig"]["EndpointsConfig"],
        json!({"back": {"Aliases": ["x"]}})
    );
    assert_eq!(config.networks, ["back"]);
    assert_eq!(config.request.constraints[0].to_string(), "node==node-1");
    assert!(config.is_pinned());
    // A constraint that the endpoint derived is not written into the user's labels.
    assert!(
        config.body["Labels"]
            .get("com.docker.swarm.constraints")
            .is_none()
    );
}

#[test]
fn what_waits_is_weighed_as_it_lies_in_memory() {
    let small = parse(json!({"Image": "a"})).unwrap().weight();
    let trees: Vec<Value> = (0..10_000).map(|_| json!({"": 0})).collect();
    let large = parse(json!({"Image": "a", "X": trees})).unwrap().weight();
    // 70 kB of text are some six million bytes.
    assert!(small < 4096 && large > 10_000 * 640, "{small} {large}");
}

proptest! {
    /// Whatever the environment and the label hold, nothing panics; what is accepted prints back,
    /// and no carrier reaches the container.
    #[test]
    fn any_carriers_parse_or_are_refused(
        env in proptest::collection::vec(
            prop_oneof![
                "constraint:[a-z~=!/*.]{0,12}",
                "affinity:[a-z]{1,4}(==|!=)~?[a-z0-9]{1,4}",
                "reschedule:(off|on-node-failure|x)",
                "[A-Z]{1,3}=.{0,8}",
                ".{0,20}",
            ],
            0..6,
        ),
        label in prop_oneof![
            Just("[\"zone==a\"]".to_owned()),
            Just("[]".to_owned()),
            ".{0,16}",
        ],
    ) {
        let body = json!({
            "Env": env,
            "Labels": {"com.docker.swarm.constraints": label},
        });
        match parse(body) {
            Err(error) => prop_assert_eq!(error.status().as_u16(), 400),
            Ok(config) => {
                let left = config.body["Env"].as_array().unwrap();
                let carriers = ["constraint:", "affinity:", "whitelist:", "reschedule:"];
                let clean = left.iter().all(|pair| {
                    carriers.iter().all(|word| !pair.as_str().unwrap().starts_with(word))
                });
                prop_assert!(clean, "a carrier is left in {:?}", left);
                let written = config.body["Labels"]["com.docker.swarm.constraints"]
                    .as_str()
                    .unwrap();
                let written: Vec<String> = serde_json::from_str(written).unwrap();
                let read: Vec<String> = written
                    .iter()
                    .map(|text| text.parse::<Expression>().unwrap().to_string())
                    .collect();
                let kept: Vec<String> = config
                    .request
                    .constraints
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                prop_assert_eq!(read, kept);
            }
        }
    }
}

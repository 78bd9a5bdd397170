//! The harness on real engines: every fault, and nothing left behind.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may be as blunt as the test"
)]

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use longshore_lab::{Host, Lab, LabHostSpec, LabRecord, leftovers};

const IMAGE: &str = "busybox:lab";

/// Whether `from` reaches the engine of `to`, in one second.
fn reaches(from: &Host, to: &Host) -> bool {
    from.reaches(to.tcp_endpoint())
}

/// Whether a datagram that `to` waits for arrives from `from`.
#[track_caller]
fn hears(to: &Host, from: &Host) -> bool {
    let listener = to
        .enter(|| UdpSocket::bind((to.address(), 0)))
        .unwrap()
        .unwrap();
    listener
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let sender = from
        .enter(|| UdpSocket::bind((from.address(), 0)))
        .unwrap()
        .unwrap();
    sender
        .send_to(b"hello", listener.local_addr().unwrap())
        .unwrap();
    listener.recv(&mut [0; 8]).is_ok()
}

#[track_caller]
fn run(host: &Host, arguments: &[&str]) -> String {
    host.docker_ok(arguments).unwrap()
}

#[track_caller]
fn nothing_remains(lab: Lab) {
    let id = lab.id();
    lab.stop().unwrap();
    assert_eq!(leftovers(id), Vec::<String>::new());
}

#[test]
fn each_host_runs_containers_under_its_own_name_and_leaves_no_trace() {
    let Some(lab) = Lab::builder()
        .hosts(3)
        .start_or_skip("lab_harness::engines")
    else {
        return;
    };
    lab.import_busybox(IMAGE).unwrap();
    for (host, zone) in lab.hosts().zip(["a", "b", "c"]) {
        assert_eq!(run(host, &["info", "-f", "{{.Name}}"]), host.name());
        assert_eq!(host.zone(), zone);
        assert!(run(host, &["info", "-f", "{{.Labels}}"]).contains(&format!("zone={zone}")));
        assert_eq!(
            run(host, &["run", "--rm", "-m", "32m", IMAGE, "echo", "hello"]),
            "hello"
        );
        run(
            host,
            &[
                "run", "-d", "--name", "stays", "-p", "8080:80", IMAGE, "sleep", "1000",
            ],
        );
    }
    // Between hosts, to a published port, with the engine's own translation.
    let (first, second) = (lab.host(0), lab.host(1));
    run(
        second,
        &["exec", "-d", "stays", "httpd", "-f", "-h", "/etc"],
    );
    let url = format!("http://{}:8080/group", second.address());
    let fetch = ["busybox", "wget", "-q", "-O", "-", &url];
    let page = first.command(fetch[0]).args(&fetch[1..]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&page.stdout).contains("root:x:0:"),
        "{page:?}"
    );
    nothing_remains(lab);
}

#[test]
fn a_bash_image_runs_bash() {
    let Some(lab) = Lab::builder().hosts(1).start_or_skip("lab_harness::bash") else {
        return;
    };
    lab.import_bash("bash:lab").unwrap();
    let script = "[[ $BASH_VERSION ]] && printf '%s' {a..c}";
    assert_eq!(
        run(
            lab.host(0),
            &["run", "--rm", "bash:lab", "bash", "-c", script]
        ),
        "abc"
    );
}

#[test]
fn a_host_behind_nat_dials_out_and_is_reached_by_nobody() {
    let builder = Lab::builder()
        .hosts(1)
        .host(LabHostSpec::default().with_nat());
    let Some(lab) = builder.start_or_skip("lab_harness::nat") else {
        return;
    };
    let (open, hidden) = (lab.host(0), lab.host(1));
    lab.import_busybox(IMAGE).unwrap();
    run(
        hidden,
        &[
            "run", "-d", "-p", "2376:80", IMAGE, "httpd", "-f", "-h", "/etc",
        ],
    );
    assert!(reaches(hidden, open));
    assert!(!reaches(open, hidden));
    for port in [2375, 2376] {
        let address = (hidden.address(), port).into();
        let dialled = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500));
        assert!(dialled.is_err(), "port {port} is open");
    }
    let container = ["run", "--rm", IMAGE, "wget", "-q", "-O", "-"];
    let url = format!("http://{}:2375/_ping", open.address());
    assert_eq!(run(hidden, &[&container[..], &[&url]].concat()), "OK");
}

#[test]
fn links_are_cut_in_one_direction_or_both_or_altogether() {
    let Some(lab) = Lab::builder().hosts(3).start_or_skip("lab_harness::links") else {
        return;
    };
    let [first, second, third] = [0, 1, 2].map(|index| lab.host(index));

    let cut = lab.cut(0, 1).unwrap();
    assert!(!reaches(first, second) && !reaches(second, first));
    assert!(reaches(first, third) && reaches(second, third));
    cut.undo().unwrap();
    assert!(reaches(first, second) && reaches(second, first));

    let one_way = lab.cut_one_way(0, 1).unwrap();
    assert!(!hears(second, first) && hears(first, second));
    drop(one_way);
    assert!(hears(second, first) && hears(first, second));

    let listener = std::net::TcpListener::bind((lab.gateway(), 0)).unwrap();
    let server = listener.local_addr().unwrap();
    assert!(third.reaches(server));
    {
        let _isolated = lab.isolate(2).unwrap();
        assert!(!reaches(third, first) && !reaches(first, third));
        assert!(!third.reaches(server) && reaches(first, second));
    }
    assert!(reaches(third, first) && reaches(first, third));
    nothing_remains(lab);
}

#[test]
fn an_engine_is_killed_frozen_restarted_and_powered_off() {
    let spec = LabHostSpec::default().with_live_restore();
    let Some(lab) = Lab::builder()
        .host(spec)
        .start_or_skip("lab_harness::engine")
    else {
        return;
    };
    let host = lab.host(0);
    lab.import_busybox(IMAGE).unwrap();
    run(
        host,
        &[
            "run",
            "-d",
            "--name",
            "stays",
            "--restart",
            "always",
            IMAGE,
            "sleep",
            "1000",
        ],
    );
    let started = ["inspect", "-f", "{{.State.StartedAt}}", "stays"];
    let before = run(host, &started);

    let old = host.dockerd_pid();
    let killed = lab.kill_dockerd(0).unwrap();
    assert!(!host.answers() && host.dockerd_pid().is_none());
    killed.undo().unwrap();
    assert!(host.answers() && host.dockerd_pid() != old);
    assert_eq!(
        run(host, &started),
        before,
        "live restore keeps the container"
    );

    let frozen = lab.freeze_dockerd(0).unwrap();
    let asked = Instant::now();
    assert!(!host.answers());
    assert!(
        asked.elapsed() > Duration::from_secs(1),
        "a frozen engine refuses nothing"
    );
    frozen.undo().unwrap();
    assert!(host.answers());

    lab.restart_dockerd(0).unwrap();
    assert_eq!(run(host, &started), before);

    let off = lab.power_off(0).unwrap();
    assert!(!host.answers());
    off.undo().unwrap();
    assert_eq!(run(host, &["info", "-f", "{{.Name}}"]), host.name());
    let deadline = Instant::now() + Duration::from_secs(20);
    while run(host, &["inspect", "-f", "{{.State.Running}}", "stays"]) != "true" {
        assert!(Instant::now() < deadline, "the container did not come back");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_ne!(
        run(host, &started),
        before,
        "after a power cut it was started anew"
    );
    nothing_remains(lab);
}

#[test]
fn a_disk_is_filled_and_freed() {
    let spec = LabHostSpec::default().with_data_mib(96);
    let Some(lab) = Lab::builder().host(spec).start_or_skip("lab_harness::disk") else {
        return;
    };
    let host = lab.host(0);
    lab.import_busybox(IMAGE).unwrap();
    run(
        host,
        &["run", "-d", "--name", "writes", IMAGE, "sleep", "1000"],
    );
    let write = [
        "exec",
        "writes",
        "dd",
        "if=/dev/zero",
        "of=/tmp/x",
        "bs=1M",
        "count=1",
    ];
    let full = lab.fill_disk(0).unwrap();
    let refused = host.docker(write).unwrap();
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("No space left"),
        "{refused:?}"
    );
    full.undo().unwrap();
    run(host, &write);
    nothing_remains(lab);
}

#[test]
fn a_process_runs_in_its_host_and_dies_with_its_handle() {
    let Some(lab) = Lab::builder()
        .hosts(1)
        .start_or_skip("lab_harness::process")
    else {
        return;
    };
    let host = lab.host(0);
    let script = "hostname; ip -4 -oneline address show eth0; sleep 1000 & wait";
    let mut command = host.command("sh");
    command.args(["-c", script]).stdout(Stdio::piped());
    let mut process = host.spawn(&mut command).unwrap();
    let mut lines = BufReader::new(process.take_stdout().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), host.name());
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .contains(&host.address().to_string())
    );
    process.freeze();
    assert!(process.is_running());
    process.thaw();
    drop(process);
    // The pipe ends only when the grandchild is gone too.
    assert!(lines.next().is_none());
}

#[test]
fn a_panic_takes_the_lab_down() {
    let builder = Lab::builder().hosts(1);
    let Some(lab) = builder.start_or_skip("lab_harness::panic") else {
        return;
    };
    let id = lab.id();
    let thread = std::thread::spawn(move || {
        lab.import_busybox(IMAGE).unwrap();
        run(lab.host(0), &["run", "-d", IMAGE, "sleep", "1000"]);
        let _cut = lab.isolate(0).unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(thread.join().is_err());
    assert_eq!(leftovers(id), Vec::<String>::new());
}

#[test]
fn an_owner_that_is_killed_leaves_nothing() {
    if std::env::var_os("LONGSHORE_LAB_VICTIM").is_some() {
        let lab = Lab::builder().hosts(1).start().unwrap();
        lab.import_busybox(IMAGE).unwrap();
        run(lab.host(0), &["run", "-d", IMAGE, "sleep", "1000"]);
        println!("VICTIM {}", lab.id());
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    if let Err(reason) = longshore_lab::available() {
        longshore_lab::skip("lab_harness::killed", &reason);
        return;
    }
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap());
    victim.args([
        "--exact",
        "an_owner_that_is_killed_leaves_nothing",
        "--nocapture",
    ]);
    victim
        .env("LONGSHORE_LAB_VICTIM", "1")
        .stdout(Stdio::piped());
    let mut victim = longshore_lab::LabProcess::spawn(&mut victim).unwrap();
    let lines = BufReader::new(victim.take_stdout().unwrap()).lines();
    let id: u8 = lines
        .map(Result::unwrap)
        .find_map(|line| line.split_once("VICTIM ")?.1.trim().parse().ok())
        .unwrap();
    assert!(leftovers(id).len() > 5);
    victim.kill();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !leftovers(id).is_empty() {
        assert!(Instant::now() < deadline, "left: {:?}", leftovers(id));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_detached_lab_stays_until_it_is_removed() {
    let builder = Lab::builder().hosts(1).detached();
    let Some(lab) = builder.start_or_skip("lab_harness::detached") else {
        return;
    };
    let id = lab.id();
    drop(lab);
    assert!(!Lab::sweep().unwrap().contains(&id));
    let record = LabRecord::all()
        .into_iter()
        .find(|record| record.id == id)
        .unwrap();
    assert!(record.is_alive() && record.hosts[0].socket.exists());
    record.remove().unwrap();
    assert_eq!(leftovers(id), Vec::<String>::new());
}

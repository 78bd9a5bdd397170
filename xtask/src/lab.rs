//! `cargo xtask lab`: the multi-host harness by hand.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc::channel;
use std::time::Instant;

use clap::Subcommand;
use longshore_lab::{HostRecord, Lab, LabHostSpec, LabRecord};
use serde_json::json;

/// Several Docker hosts on this machine, each with its own address and engine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a lab; it stays until `down`, unless --foreground is given
    Up(Up),
    /// Remove a lab, or without its number every one that `up` left running on this machine, whoever
    /// started it, and what dead runs left behind
    Down {
        /// Its number, as `status` lists it
        number: Option<u8>,
    },
    /// List the running labs and whether their engines answer
    Status,
    /// Enter a host's namespaces, with DOCKER_HOST set
    Shell(Shell),
}

#[derive(Debug, clap::Args)]
struct Up {
    /// How many hosts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=64))]
    hosts: u8,
    /// How many of them, counted from the last, are behind NAT: all inbound traffic is dropped
    #[arg(long, default_value_t = 0, value_name = "N")]
    nat: u8,
    /// Print a JSON array of {name, address, socket} on stdout, where socket is
    /// what `docker -H` takes: unix:///…
    #[arg(long)]
    json: bool,
    /// Stay, and remove the lab on Ctrl-C
    #[arg(long)]
    foreground: bool,
    /// Leave the engines without images (otherwise each gets busybox:lab and bash:lab)
    #[arg(long)]
    no_images: bool,
}

#[derive(Debug, clap::Args)]
struct Shell {
    /// The host's name, as `status` lists it
    name: String,
    /// What to run instead of an interactive shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.action {
        Action::Up(up) => start(up),
        Action::Down { number: None } => down(),
        Action::Down {
            number: Some(number),
        } => down_one(*number),
        Action::Status => status(),
        Action::Shell(wanted) => shell(wanted),
    }
}

fn start(up: &Up) -> Result<ExitCode, String> {
    let started = Instant::now();
    let (sender, interrupted) = channel();
    if up.foreground {
        // Before anything is started, so that an early Ctrl-C is not lost.
        let tell = move || sender.send(()).unwrap_or_default();
        ctrlc::set_handler(tell).map_err(|e| e.to_string())?;
    }
    eprintln!("starting {} hosts …", up.hosts);
    let mut builder = Lab::builder();
    for index in 0..up.hosts {
        let spec = LabHostSpec::default();
        let hidden = index >= up.hosts.saturating_sub(up.nat);
        builder = builder.host(if hidden { spec.with_nat() } else { spec });
    }
    let builder = if up.foreground {
        builder
    } else {
        builder.detached()
    };
    let lab = builder.start().map_err(|e| e.to_string())?;
    eprintln!("ready after {:.1} s", started.elapsed().as_secs_f64());
    if !up.no_images {
        lab.import_busybox("busybox:lab")
            .map_err(|e| e.to_string())?;
        lab.import_bash("bash:lab").map_err(|e| e.to_string())?;
        eprintln!("images: busybox:lab, bash:lab");
    }
    if up.json {
        let hosts: Vec<_> = lab
            .hosts()
            .map(|host| {
                json!({
                    "name": host.name(),
                    "address": host.address().to_string(),
                    "socket": host.docker_host(),
                })
            })
            .collect();
        println!("{}", json!(hosts));
    } else {
        for host in lab.hosts() {
            let nat = if host.spec().nat { "behind NAT" } else { "" };
            let zone = host.zone();
            println!(
                "{}  {}  zone={zone}  {}  {nat}",
                host.name(),
                host.address(),
                host.docker_host()
            );
        }
    }
    std::io::stdout().flush().map_err(|e| e.to_string())?;
    if up.foreground {
        eprintln!("Ctrl-C removes the lab");
        let _ = interrupted.recv();
        eprintln!("removing …");
        lab.stop().map_err(|e| e.to_string())?;
    } else {
        eprintln!(
            "next: cargo xtask lab shell {} | status | down",
            lab.host(0).name()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn down() -> Result<ExitCode, String> {
    let swept = Lab::sweep().map_err(|e| e.to_string())?;
    for id in &swept {
        eprintln!("removed what was left of lab {id}");
    }
    let detached: Vec<_> = LabRecord::all()
        .into_iter()
        .filter(|lab| lab.detached)
        .collect();
    for lab in &detached {
        lab.remove().map_err(|e| e.to_string())?;
        eprintln!("removed lab {} ({} hosts)", lab.id, lab.hosts.len());
    }
    if swept.is_empty() && detached.is_empty() {
        eprintln!("no lab to remove");
    }
    Ok(ExitCode::SUCCESS)
}

fn down_one(number: u8) -> Result<ExitCode, String> {
    let labs = LabRecord::all();
    let lab = removable(&labs, number)?;
    lab.remove().map_err(|e| e.to_string())?;
    eprintln!("removed lab {} ({} hosts)", lab.id, lab.hosts.len());
    Ok(ExitCode::SUCCESS)
}

/// What a test runs in is not taken from under it.
fn removable(labs: &[LabRecord], number: u8) -> Result<&LabRecord, String> {
    let lab = labs.iter().find(|lab| lab.id == number);
    let lab =
        lab.ok_or_else(|| format!("there is no lab {number}: see `cargo xtask lab status`"))?;
    match lab.detached {
        true => Ok(lab),
        false => Err(format!(
            "lab {number} belongs to a test, which removes it; what dead tests left, `cargo xtask lab down` does"
        )),
    }
}

fn status() -> Result<ExitCode, String> {
    let labs = LabRecord::all();
    if labs.is_empty() {
        eprintln!("no lab is running: cargo xtask lab up --hosts 3");
    }
    for lab in &labs {
        let kind = match (lab.is_alive(), lab.detached) {
            (false, _) => "dead: `cargo xtask lab down` removes it",
            (true, true) => "detached",
            (true, false) => "owned by a running test",
        };
        println!("lab {}  gateway {}  {kind}", lab.id, lab.gateway);
        for host in &lab.hosts {
            let answers = if host.answers() {
                "answers"
            } else {
                "does not answer"
            };
            let nat = if host.nat { "  behind NAT" } else { "" };
            let socket = host.socket.display();
            println!(
                "  {}  {}  unix://{socket}  {answers}{nat}",
                host.name, host.address
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn shell(wanted: &Shell) -> Result<ExitCode, String> {
    let host = find(&wanted.name)?;
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(host.holder.to_string());
    command.args(["--mount", "--uts", "--net", "--pid", "--"]);
    if wanted.command.is_empty() {
        command
            .arg("bash")
            .env("PS1", format!("{} \\w # ", host.name));
    } else {
        command.args(&wanted.command);
    }
    command.env("DOCKER_HOST", format!("unix://{}", host.socket.display()));
    Err(format!("cannot run nsenter: {}", command.exec()))
}

/// The host with this name in the first running lab that has one.
fn find(name: &str) -> Result<HostRecord, String> {
    let labs = LabRecord::all();
    let running = labs
        .iter()
        .filter(|lab| lab.is_alive())
        .flat_map(|lab| &lab.hosts);
    let names: Vec<&str> = running.clone().map(|host| host.name.as_str()).collect();
    running
        .clone()
        .find(|host| host.name == name)
        .cloned()
        .ok_or_else(|| {
            if names.is_empty() {
                "no lab is running: cargo xtask lab up --hosts 3".to_owned()
            } else {
                format!("no host {name:?}; there are: {}", names.join(", "))
            }
        })
}

const EXAMPLES: &str = "\
Needs root, and Debian's docker.io, iptables, nftables, iproute2 and busybox-static.

Examples:
  cargo xtask lab up --hosts 3               three hosts that stay
  cargo xtask lab up --hosts 3 --nat 1       the last one dials out only
  cargo xtask lab up --json | jq -r '.[].socket'
  cargo xtask lab shell host-1
  cargo xtask lab shell host-1 -- docker run --rm busybox:lab hostname
  cargo xtask lab down 3                     lab 3 alone
  cargo xtask lab down                       all labs of this machine, others' too";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lab_that_stays_is_removed_by_its_number() {
        let lab = |id: u8, detached: bool| -> LabRecord {
            let record = json!({
                "id": id, "boot_id": "", "owners": [], "detached": detached,
                "gateway": "10.0.0.1", "hosts": [],
            });
            serde_json::from_value(record).expect("a record")
        };
        let labs = [lab(3, true), lab(4, false)];
        assert_eq!(removable(&labs, 3).map(|lab| lab.id), Ok(3));
        for (number, words) in [(4, "belongs to a test"), (5, "there is no lab 5")] {
            let error = removable(&labs, number).map(|lab| lab.id).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}

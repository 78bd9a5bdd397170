//! Ports for servers that end and come back on the same one.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::LabError;

/// As many different ports of 127.0.0.1, free now, most likely in a fresh namespace too.
///
/// They are outside the range that the kernel hands out by itself. Other tests open connections all
/// the time; from that range, one of them could have the port of a server that is down for a moment.
///
/// # Errors
/// When so many are not free.
pub fn free_ports(count: usize) -> Result<Vec<u16>, LabError> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let call = LAST.fetch_add(1, Ordering::Relaxed);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let range = outside(&fs::read_to_string(HANDED_OUT).unwrap_or_default());
    let ports: Vec<_> = scattered(range.clone(), std::process::id(), call)
        .filter(free)
        .take(count)
        .collect();
    match ports.len() == count {
        true => Ok(ports),
        false => Err(LabError::new(format!(
            "fewer than {count} of the ports {range:?} are free on loopback"
        ))),
    }
}

/// The ports below those that the kernel hands out, from its own setting.
fn outside(setting: &str) -> Range<u16> {
    let first = setting.split_whitespace().next();
    let first = first
        .and_then(|word| word.parse().ok())
        .unwrap_or(32_768u16);
    first.saturating_sub(ROOM).max(1024)..first.max(1024)
}

/// All of a range, once each. Processes begin far apart, and a process where it was not before.
fn scattered(range: Range<u16>, process: u32, call: u32) -> impl Iterator<Item = u16> {
    let length = u32::from(range.end - range.start).max(1);
    // Knuth's multiplicative hashing; each call goes on behind the largest cluster of the one before.
    let begin = process
        .wrapping_mul(2_654_435_761)
        .wrapping_add(call.wrapping_mul(16));
    let begin = u16::try_from(begin % length).unwrap_or(0);
    let turn = range.start + begin;
    (turn..range.end).chain(range.start..turn)
}

const HANDED_OUT: &str = "/proc/sys/net/ipv4/ip_local_port_range";

const ROOM: u16 = 12_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_outside_what_the_kernel_hands_out() {
        assert_eq!(outside("32768\t60999\n"), 20_768..32_768);
        assert_eq!(outside("2048 4096"), 1024..2048);
        assert_eq!(outside("no numbers"), 20_768..32_768);
    }

    #[test]
    fn each_port_comes_once_and_processes_begin_apart() {
        let all = |process, call| scattered(100..1100, process, call).collect::<Vec<_>>();
        let mut sorted = all(7, 3);
        sorted.sort_unstable();
        assert_eq!(sorted, (100..1100).collect::<Vec<_>>());
        let begins = [all(7, 0)[0], all(7, 1)[0], all(8, 0)[0]];
        assert!(begins[0].abs_diff(begins[1]) >= 16, "{begins:?}");
        assert!(begins[0].abs_diff(begins[2]) >= 16, "{begins:?}");
    }

    #[test]
    fn what_is_taken_is_passed_over() {
        let first = free_ports(3).unwrap();
        let held: Vec<_> = first
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap())
            .collect();
        let second = free_ports(3).unwrap();
        assert!(second.iter().all(|port| !first.contains(port)));
        drop(held);
    }
}

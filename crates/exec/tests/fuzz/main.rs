//! The fuzz targets' bodies for a bounded number of seeded inputs: `fuzz/` runs them for longer,
//! guided by coverage, where nightly and cargo-fuzz are at hand.

#[path = "bodies.rs"]
mod bodies;
#[cfg(feature = "jwt")]
#[path = "tokens.rs"]
mod tokens;

use longshore_core::{Random, SeededRandom};

/// Whole messages of each protocol, to be changed: what is almost right gets further than noise.
const SAMPLES: &[&[u8]] = &[
    // Native: OPEN, RESUME, INPUT, IN_EOF, RESIZE, SIGNAL, ACK, DETACH, END, PING.
    br#"{"target":"web","argv":["sh"],"tty":true,"cols":80,"rows":24}"#,
    b"\x01{\"target\":\"web\",\"mode\":\"watch\",\"text\":true}",
    b"\x02{\"session\":\"s\",\"secret\":\"x\",\"want\":3}",
    b"\x03\0\0\0\0\0\0\0\x05hi",
    b"\x04\0\0\0\0\0\0\0\x07",
    b"\x05\0\x50\0\x18",
    b"\x06\x0f",
    b"\x07\0\0\0\0\0\0\x01\x02",
    b"\x08",
    b"\x09",
    b"\x0a\0\0\0\0\0\0\0\x01",
    // Native, of the server: READY, OUTPUT, IN_ACK, GAP, SNAPSHOT, EXIT, NOTICE, PACKED, PONG.
    b"\x81{\"session\":\"s\",\"base\":0,\"head\":0,\"in_next\":0,\"in_window\":9}",
    b"\x82\0\0\0\0\0\0\0\0\x01hi",
    b"\x83\0\0\0\0\0\0\0\x09",
    b"\x84\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x02",
    b"\x85\0\0\0\0\0\0\0\x02x",
    b"\x86{\"reason\":\"exited\",\"code\":7,\"out_len\":0}",
    b"\x87{\"level\":\"info\",\"code\":\"started\",\"text\":\"\"}",
    // 300 times an `a`, by any DEFLATE.
    b"\x88\0\0\0\0\0\0\0\0\x01\0\0\x01\x2cKL\x1c\x05\xa3`\x14\0\0",
    b"\x8a\0\0\0\0\0\0\0\x01",
    // LAIN: keys and a size in protobuf, the same and a hello in JSON.
    b"\x12\x01a",
    b"\x08\x01\x12\x0580 24",
    br#"{"content":"YQ=="}"#,
    br#"{"msgType":1,"content":"ODAgMjQ="}"#,
    br#"{"access_token":"t","app_name":"a","proc_name":"p","instance_no":1}"#,
    // Kubernetes: input, size, the end of a channel.
    b"\x00hi",
    b"\x04{\"Width\":80,\"Height\":24}",
    b"\xff\x00",
    // ttyd: hello, input, size, pause, resume.
    br#"{"AuthToken":"","columns":80,"rows":24}"#,
    b"0ls\r",
    br#"1{"columns":80,"rows":24}"#,
    b"2",
    b"3",
    // A token of three parts.
    b"eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#,
];

struct Rolls(SeededRandom);

impl Rolls {
    fn below(&self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    /// A sample, with up to three changes.
    fn message(&self) -> Vec<u8> {
        let mut message = SAMPLES[self.below(SAMPLES.len())].to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(message.len());
            match self.below(5) {
                0 if !message.is_empty() => message[at] ^= 1 << self.below(8),
                1 => message.insert(at, self.0.next_u64() as u8),
                2 => message.truncate(at),
                3 if !message.is_empty() => message[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
                _ => message.extend(SAMPLES[self.below(SAMPLES.len())]),
            }
        }
        message
    }

    /// Some, each behind its length.
    fn messages(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for _ in 0..=self.below(6) {
            let message = self.message();
            all.push(message.len().min(255) as u8);
            all.extend(message.iter().take(255));
        }
        all
    }

    fn noise(&self, most: usize) -> Vec<u8> {
        let mut noise = vec![0; self.below(most)];
        self.0.fill(&mut noise);
        noise
    }
}

#[test]
fn every_protocol_takes_or_refuses_whatever_comes() {
    for protocol in 0..bodies::PROTOCOLS {
        let rolls = Rolls(SeededRandom::new(u64::from(protocol)));
        for round in 0..8_000 {
            // A multiple of six beyond 128 is text.
            let first = protocol + if round % 4 == 0 { 132 } else { 0 };
            bodies::messages(&[&[first], &rolls.messages()[..]].concat());
            bodies::messages(&[&[first], &rolls.noise(200)[..]].concat());
        }
    }
}

#[test]
fn a_client_takes_or_refuses_whatever_a_gateway_sends() {
    let rolls = Rolls(SeededRandom::new(11));
    for _ in 0..10_000 {
        bodies::client(&rolls.messages());
        bodies::client(&rolls.noise(200));
    }
}

#[test]
fn sessions_stay_within_their_bounds() {
    let rolls = Rolls(SeededRandom::new(12));
    for _ in 0..1_500 {
        bodies::session(&rolls.noise(300));
    }
}

#[cfg(feature = "jwt")]
#[test]
fn no_text_is_a_token() {
    let rolls = Rolls(SeededRandom::new(13));
    for _ in 0..10_000 {
        tokens::token(&rolls.message());
        tokens::token(&rolls.noise(100));
    }
}

//! The fuzz targets' bodies for a bounded number of seeded inputs: `fuzz/` runs them for longer,
//! guided by coverage, where nightly and cargo-fuzz are at hand.

#[path = "bodies.rs"]
mod bodies;
#[cfg(feature = "docker")]
#[path = "streams.rs"]
mod streams;
#[cfg(feature = "docker")]
#[path = "tables.rs"]
mod tables;
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

/// Of streams and files, to be changed in the same way.
#[cfg(feature = "docker")]
const FILES: &[&[u8]] = &[
    // What an engine multiplexes, cut after the first byte's count.
    b"\x03\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!\0\0\0\0\0\0\0\0",
    // To a stub: input, its end, a size, a signal, a beat, the end.
    b"\x02\x01\0\0\0\x02hi\x02\0\0\0\0\x03\0\0\0\x04\0\x50\0\x18\x04\0\0\0\x01\x0f\x05\0\0\0\0\x06\0\0\0\0",
    // Of a stub: hello, started, output, errors, taken, an exit, cleaned; and a failure.
    b"\x05\x40\0\0\0\x01\x01\x41\0\0\0\0\x43\0\0\0\x02hi\x44\0\0\0\x01!\x45\0\0\0\x04\0\0\0\x02\x46\0\0\0\x02\x01\x0f\x47\0\0\0\x08\0\0\0\x01\0\0\0\0",
    b"\x01\x42\0\0\0\x03\x7fno",
    // Recordings of other programs.
    b"\x00{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.5, \"o\", \"a\"]\n[1, \"r\", \"9x9\"]\n[2, \"i\", \"b\"]\n",
    b"\x300.5 3\n0.25 2\nO 1.0 3\nI 0.5 9\nScript started on 2026-11-25 20:00:00+00:00 [x]\nabcdef\nScript done on x\n",
    // Records of a log: output, input, its end.
    b"\x02\x0a\0\0\0\0\0\0\0\0hi\x04\x03ls\r\x06\x04\0\x50\0\x18\x09\x11{\"reason\":\"idle\"}",
    b"\x07\x1f{\"rule\":\"halt\",\"action\":\"log\"}\x05\0\x08\0\x0a\0",
];

/// The processes of a container: the first one, and one that a session of another life has left.
#[cfg(feature = "docker")]
const TABLE: &str = r#"{"Titles":["PID","PPID","SID","ELAPSED","STAT","COMMAND","COMMAND"],"Processes":[["100","9","100","99","Ss","init","init"],["1001","9","1001","1","Ss","sleep","sleep 1 SECRET=x LONGSHORE_EXEC_ID=MARK"],["1002","1001","1001","1","Z","sh","sh"]]}"#;

struct Rolls(SeededRandom);

impl Rolls {
    fn below(&self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    /// A sample, with up to three changes.
    fn message(&self) -> Vec<u8> {
        self.changed(SAMPLES)
    }

    fn changed(&self, samples: &[&[u8]]) -> Vec<u8> {
        let mut message = samples[self.below(samples.len())].to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(message.len());
            match self.below(5) {
                0 if !message.is_empty() => message[at] ^= 1 << self.below(8),
                1 => message.insert(at, self.0.next_u64() as u8),
                2 => message.truncate(at),
                3 if !message.is_empty() => message[at] = [0, 0x7f, 0x80, 0xff][self.below(4)],
                _ => message.extend(samples[self.below(samples.len())]),
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

#[cfg(feature = "docker")]
#[test]
fn streams_and_files_are_taken_or_refused() {
    let rolls = Rolls(SeededRandom::new(14));
    for body in [
        streams::demultiplexed,
        streams::stub,
        streams::imported,
        streams::log,
    ] {
        FILES.iter().for_each(|file| body(file));
        for _ in 0..8_000 {
            body(&rolls.changed(FILES));
            body(&rolls.noise(200));
        }
    }
}

#[cfg(feature = "docker")]
#[test]
fn any_process_table_is_looked_at_or_passed_over() {
    let mark = "t8af97972044b8af2111111111111111122222222222222222222222222222222";
    let sound = TABLE.replace("MARK", mark);
    assert_eq!(tables::table(sound.as_bytes()), 1, "what was left is found");
    let rolls = Rolls(SeededRandom::new(15));
    for _ in 0..1_000 {
        tables::table(&rolls.changed(&[sound.as_bytes()]));
        tables::table(&rolls.noise(200));
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

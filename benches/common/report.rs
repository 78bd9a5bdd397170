//! What every bench of ours prints: a table for people, and with `--json` one object a line.

use std::time::Instant;

/// What was asked for on the command line.
pub struct Arguments {
    pub json: bool,
    /// Fewer rounds, for a look.
    pub quick: bool,
    case: Option<String>,
}

impl Arguments {
    /// Reads `--json`, `--quick` and `--case NAME`; ends the program when something else is given.
    pub fn read(capability: &str, cases: &[&str]) -> Self {
        let mut this = Self {
            json: false,
            quick: false,
            case: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => this.json = true,
                "--quick" => this.quick = true,
                // Cargo's own.
                "--bench" | "--test" => {}
                "--case" => match arguments.next() {
                    Some(case) if cases.contains(&case.as_str()) => this.case = Some(case),
                    other => fail(&format!(
                        "--case {}: the cases of {capability} are {}",
                        other.unwrap_or_default(),
                        cases.join(", ")
                    )),
                },
                other => fail(&format!(
                    "unknown argument {other:?}; known are --json, --quick and --case NAME"
                )),
            }
        }
        this
    }

    pub fn wants(&self, case: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| wanted == case)
    }

    pub fn rounds(&self, full: usize) -> usize {
        if self.quick {
            full.div_ceil(5).max(1)
        } else {
            full
        }
    }
}

fn fail(message: &str) -> ! {
    eprintln!("error: {message}");
    std::process::exit(2);
}

/// One figure beside its peer's, taken in the same run.
pub struct Measurement {
    pub case: &'static str,
    pub ours: f64,
    pub peer: f64,
    pub peer_name: &'static str,
    pub unit: &'static str,
    /// What the issue asks for, for people.
    pub bar: &'static str,
}

pub struct Report {
    capability: &'static str,
    json: bool,
    start: Instant,
}

impl Report {
    pub fn new(capability: &'static str, arguments: &Arguments) -> Self {
        eprintln!("bench {capability}: {}", load());
        if !arguments.json {
            println!(
                "{:<16} {:>12} {:>12} {:<5} {:>7}  {:<28} bar",
                "case", "ours", "peer", "unit", "ratio", "peer is"
            );
        }
        Self {
            capability,
            json: arguments.json,
            start: Instant::now(),
        }
    }

    pub fn progress(&self, text: &str) {
        eprintln!("[{:>6.1} s] {text}", self.start.elapsed().as_secs_f64());
    }

    pub fn add(&self, measurement: &Measurement) {
        let Measurement {
            case,
            ours,
            peer,
            peer_name,
            unit,
            bar,
        } = measurement;
        let ratio = ours / peer;
        if self.json {
            let object = serde_json::json!({
                "capability": self.capability,
                "case": case,
                "ours": ours,
                "peer": peer,
                "peer_name": peer_name,
                "unit": unit,
                "ratio": ratio,
                "bar": bar,
            });
            println!("{object}");
        } else {
            println!(
                "{case:<16} {ours:>12.1} {peer:>12.1} {unit:<5} {ratio:>7.2}  {peer_name:<28} {bar}"
            );
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        eprintln!("bench {}: done; {}", self.capability, load());
    }
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "load average {} on {cores} cores",
        load.split(' ').next().unwrap_or("unknown")
    )
}

/// The middle of the values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

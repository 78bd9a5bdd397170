//! The curve over the number of nodes, as a picture.

use std::fmt::Write;

use longshore_sched::Strategy;

use crate::{
    cases::{batch_rate, placements},
    cluster::filled,
    report::{Arguments, Report, median},
};

const NODES: [u64; 7] = [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000];
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 30.0;
/// Rates from 10^4 to 10^7.
const DECADES: (f64, f64) = (4.0, 7.0);

/// Measures spread and binpack over the number of nodes and draws `docs/sched.svg`.
pub fn draw(arguments: &Arguments, report: &Report) {
    let curves = [
        ("spread", Strategy::Spread, "#1f77b4"),
        ("binpack", Strategy::BinPack, "#d62728"),
    ]
    .map(|(name, strategy, colour)| {
        let points = NODES.map(|nodes| {
            let mut rates: Vec<f64> = (0..arguments.rounds(3) as u64)
                .map(|round| {
                    let mut scheduler = filled(nodes, strategy);
                    batch_rate(&mut scheduler, nodes.min(1_000), 1_000 + round);
                    batch_rate(&mut scheduler, placements(nodes), round)
                })
                .collect();
            let rate = median(&mut rates);
            report.progress(&format!("curve: {name} at {nodes} nodes: {rate:.0}/s"));
            (nodes, rate)
        });
        (name, colour, points)
    });
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("docs/sched.svg");
    let folder = std::fs::create_dir_all(root.join("docs"));
    match folder.and_then(|()| std::fs::write(&path, svg(&curves))) {
        Ok(()) => report.progress("docs/sched.svg is drawn"),
        Err(error) => report.progress(&format!("docs/sched.svg can't be written: {error}")),
    }
}

fn x(nodes: f64) -> f64 {
    LEFT + (nodes.log10() - 2.0) / 3.0 * WIDTH
}

fn y(rate: f64) -> f64 {
    let (low, high) = DECADES;
    TOP + HEIGHT - (rate.log10() - low) / (high - low) * HEIGHT
}

/// A name, a colour, and rates by the number of nodes.
type Curve<'a> = (&'a str, &'a str, [(u64, f64); 7]);

fn svg(curves: &[Curve<'_>]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 30.0,
        TOP + HEIGHT + 60.0,
    );
    for (exponent, label) in [
        (4, "10,000/s"),
        (5, "100,000/s"),
        (6, "1,000,000/s"),
        (7, "10,000,000/s"),
    ] {
        let at = y(10f64.powi(exponent));
        let _ = writeln!(
            text,
            "<path d=\"M{LEFT} {at:.1}h{WIDTH}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0,
        );
    }
    for nodes in [100u32, 1_000, 10_000, 100_000] {
        let at = x(nodes.into());
        let _ = writeln!(
            text,
            "<path d=\"M{at:.1} {TOP}v{HEIGHT}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{nodes}</text>",
            TOP + HEIGHT + 20.0,
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">nodes; placements per second of \
         processor time, in batches of 100</text>",
        LEFT + WIDTH / 2.0,
        TOP + HEIGHT + 45.0,
    );
    for (number, (name, colour, points)) in curves.iter().enumerate() {
        let line: Vec<String> = points
            .iter()
            .map(|(nodes, rate)| format!("{:.1},{:.1}", x(*nodes as f64), y(*rate)))
            .collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            line.join(" "),
            LEFT + 10.0,
            TOP + HEIGHT - 30.0 + 18.0 * number as f64,
        );
    }
    text.push_str("</svg>\n");
    text
}

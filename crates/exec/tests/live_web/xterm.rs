//! Snapshots on xterm.js itself, which is what the page draws with.

use std::{path::Path, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use longshore_core::{Random, SeededRandom, TerminalSize};
use longshore_exec::{screen::TerminalScreens, session::Screens};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::browser::find;

/// What programs print. Left out is what the model and xterm.js do in different ways whoever looks
/// on: where IL and DL leave the cursor, a cursor that is saved and scrolled, erasing at the margin and
/// with inverse or underlined blanks.
const ATOMS: [&str; 49] = [
    "$ ls -l\r\n",
    "\x1b[1;34mfolder\x1b[0m  ",
    "\x1b[38;5;208morange\x1b[m ",
    "\x1b[48;2;10;20;30mtrue colour\x1b[49m",
    "日本語 ",
    "한국어",
    "中文字",
    "😀",
    "🚢",
    "e\u{301}a\u{308}",
    "か\u{3099}",
    "กำ",
    "\x1b[1mbold\x1b[22m",
    "\x1b[3mitalic\x1b[23m",
    "\x1b[H",
    "\x1b[3;4H",
    "\x1b[2;1H",
    "\r\x1b[K",
    "\r\x1b[J",
    "\x1b[A",
    "\x1b[2B",
    "\x1b[3C",
    "\x1b[2D",
    "\x1b[5G",
    "\r\x1b[L",
    "\r\x1b[M",
    "\r\x1b[2P",
    "\r\x1b[2@",
    "\r\x1b[3X",
    "\x1b7\x1b[2;2Hthere\x1b8",
    "\x1bM",
    "\x1bD",
    "\x1b[2;4r\x1b[4;1Hin a region\n\n\x1bM\x1b[r",
    "\x1b[?1049h",
    "\x1b[?25l",
    "\x1b[?25h",
    "\x1b[?1h",
    "\x1b[?1l",
    "\x1b[?2004h",
    "\x1b[?1002h\x1b[?1006h",
    "\x1b[?1002l",
    "\x1b(0lqk\x1b(B",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "\x08",
    "a longer line that is wrapped at the edge\r\n",
    "x",
];

/// Ninety-nine in a hundred random storms: the rest are halves of wide characters that were written
/// over, which the model and xterm.js leave in different ways.
#[tokio::test]
async fn xterm_goes_on_from_a_snapshot_as_if_it_had_seen_everything() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let Some(node) = find("node").filter(|_| web.join("node_modules/@xterm/headless").is_dir())
    else {
        println!("SKIPPED snapshots on xterm.js: needs node, and `npm ci` in crates/exec/web");
        return;
    };
    let random = SeededRandom::new(20);
    let below = |limit: usize| (random.next_u64() % limit as u64) as usize;
    let cases: Vec<_> = (0..1500)
        .map(|case| {
            let mut alternate = false;
            let mut atom = || match ATOMS[below(ATOMS.len())] {
                // In and out in turn.
                "\x1b[?1049h" => {
                    alternate = !alternate;
                    if alternate {
                        "\x1b[?1049h"
                    } else {
                        "\x1b[?1049l"
                    }
                }
                other => other,
            };
            let whole: String = (0..below(60)).map(|_| atom()).collect();
            let scrollback = case % 2 == 0;
            let whole = if scrollback {
                whole.replace("\x1b[M", "")
            } else {
                whole
            };
            let (before, after) = whole.as_bytes().split_at(below(whole.len() + 1));
            let (cols, rows) = (10 + below(20) as u16, 4 + below(5) as u16);
            let mut screen = TerminalScreens::new().screen(TerminalSize::new(cols, rows));
            screen.output(before);
            json!({
                "cols": cols,
                "rows": rows,
                "scrollback": scrollback,
                "before": STANDARD.encode(before),
                "redraw": STANDARD.encode(screen.redraw()),
                "after": STANDARD.encode(after),
            })
        })
        .collect();
    let mut child = Command::new(node)
        .arg("tools/replay.mjs")
        .current_dir(web)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(json!(cases).to_string().as_bytes())
        .await
        .unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = said
        .trim_end()
        .strip_suffix(" wrong")
        .and_then(|said| said.rsplit(' ').next());
    let wrong: u32 = wrong
        .and_then(|wrong| wrong.parse().ok())
        .unwrap_or(u32::MAX);
    assert!(said.contains("1500 cases") && wrong <= 15, "{said}");
}

//! What the tests of this crate share: the programs of the suites as scripted programs.

use std::time::Duration;

use longshore_core::{ClockExt, Signal, SystemClock, testkit::programs::Programs};
use longshore_exec::{ScriptedExec, ScriptedProcess};

/// The programs of the suites by name; arguments are hexadecimal where they are bytes.
pub(crate) struct Names;

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&text[place..place + 2], 16).unwrap())
        .collect()
}

impl Programs for Names {
    fn forever(&self) -> Vec<String> {
        words(["forever"])
    }

    fn stubborn(&self) -> Vec<String> {
        words(["stubborn"])
    }

    fn exit_on_usr1(&self, code: u8) -> Vec<String> {
        words(["usr1", &code.to_string()])
    }

    fn print(&self, stdout: &[u8], stderr: &[u8]) -> Vec<String> {
        words(["print", &to_hex(stdout), &to_hex(stderr)])
    }

    fn print_slowly(&self, first: &[u8], pause: Duration, second: &[u8]) -> Vec<String> {
        let pause = pause.as_millis().to_string();
        words(["slowly", &to_hex(first), &pause, &to_hex(second)])
    }

    fn lines(&self, count: u32) -> Vec<String> {
        words(["lines", &count.to_string()])
    }

    fn exit(&self, code: u8) -> Vec<String> {
        words(["exit", &code.to_string()])
    }

    fn copy(&self) -> Vec<String> {
        words(["copy"])
    }

    fn count(&self) -> Vec<String> {
        words(["count"])
    }

    fn copy_raw(&self, bytes: usize) -> Vec<String> {
        words(["raw", &bytes.to_string()])
    }

    fn terminal_size(&self) -> Vec<String> {
        words(["size"])
    }

    fn print_env(&self, name: &str) -> Vec<String> {
        words(["env", name])
    }

    fn missing(&self) -> Vec<String> {
        words(["missing"])
    }
}

fn argument(process: &ScriptedProcess, index: usize) -> String {
    process.request().command[index].clone()
}

async fn forever(process: ScriptedProcess) -> u8 {
    process.print("ready\n").await;
    std::future::pending().await
}

async fn stubborn(mut process: ScriptedProcess) -> u8 {
    process.print("ready\n").await;
    loop {
        process.signal().await;
    }
}

async fn usr1(mut process: ScriptedProcess) -> u8 {
    let code = argument(&process, 1).parse().unwrap();
    process.print("ready\n").await;
    while process.signal().await != Signal::USR1 {}
    code
}

async fn print(process: ScriptedProcess) -> u8 {
    process.print(from_hex(&argument(&process, 1))).await;
    process.print_error(from_hex(&argument(&process, 2))).await;
    0
}

async fn slowly(process: ScriptedProcess) -> u8 {
    process.print(from_hex(&argument(&process, 1))).await;
    let pause = argument(&process, 2).parse().unwrap();
    SystemClock::new().sleep(Duration::from_millis(pause)).await;
    process.print(from_hex(&argument(&process, 3))).await;
    0
}

async fn lines(process: ScriptedProcess) -> u8 {
    let count: u32 = argument(&process, 1).parse().unwrap();
    for number in 1..=count {
        process.print(format!("{number}\n")).await;
    }
    0
}

async fn copy(mut process: ScriptedProcess) -> u8 {
    while let Some(bytes) = process.read(usize::MAX).await {
        process.print(bytes).await;
    }
    0
}

async fn count(mut process: ScriptedProcess) -> u8 {
    let mut count = 0;
    while let Some(bytes) = process.read(usize::MAX).await {
        count += bytes.len();
    }
    process.print(format!("{count}\n")).await;
    0
}

async fn raw(mut process: ScriptedProcess) -> u8 {
    process.print("R").await;
    let mut left: usize = argument(&process, 1).parse().unwrap();
    while left > 0 {
        let Some(bytes) = process.read(left).await else {
            break;
        };
        left -= bytes.len();
        process.print(bytes).await;
    }
    0
}

async fn size(mut process: ScriptedProcess) -> u8 {
    process.print("R").await;
    while process.read(1).await.is_some_and(|byte| byte != "\n") {}
    let size = process.size();
    let text = format!("{} {}\r\n", size.rows, size.columns);
    process.print(text).await;
    0
}

async fn env(process: ScriptedProcess) -> u8 {
    let name = argument(&process, 1);
    let value = process.env(&name).unwrap_or_default().to_owned();
    process.print(value).await;
    0
}

/// A backend with all the programs and no workload.
pub(crate) fn scripted() -> ScriptedExec {
    ScriptedExec::new()
        .with_program("forever", forever)
        .with_program("stubborn", stubborn)
        .with_program("usr1", usr1)
        .with_program("print", print)
        .with_program("slowly", slowly)
        .with_program("lines", lines)
        .with_program("exit", |process| async move {
            argument(&process, 1).parse().unwrap()
        })
        .with_program("copy", copy)
        .with_program("count", count)
        .with_program("raw", raw)
        .with_program("size", size)
        .with_program("env", env)
}

use super::{
    Harness,
    trial::{Trial, noise},
};
use crate::TerminalSize;

/// On a terminal every byte arrives; all of it is standard output.
///
/// Newline is left out: terminals send a carriage return before it.
pub async fn output_on_a_terminal_is_byte_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let command = trial.programs.print(&bytes, b"");
    let outcome = trial.run_on_terminal(command).await;
    assert_eq!(outcome.stdout, bytes);
    let outcome = trial
        .run_on_terminal(trial.programs.print(b"", b"on a terminal"))
        .await;
    assert_eq!(outcome.stdout, &b"on a terminal"[..]);
    assert!(outcome.stderr.is_empty());
    assert_eq!(outcome.status.code, Some(0));
    trial.finish().await;
}

/// On a terminal nothing is framed, so nothing may be taken for a frame.
pub async fn output_on_a_terminal_that_begins_with_a_low_byte_is_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    for bytes in [
        &b"\0\0\0\0\x7f\xff\xff\xffNUL-first"[..],
        b"\x01\0\0\0\0\0\0\x04abcd",
        b"\x02",
        b"\0",
    ] {
        let command = trial.programs.print(bytes, b"");
        let outcome = trial.run_on_terminal(command).await;
        assert_eq!(outcome.stdout, bytes);
    }
    trial.finish().await;
}

/// Every typed byte arrives, keys that others take for themselves (Ctrl-P Ctrl-Q) included.
pub async fn typed_bytes_arrive_exactly(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let mut bytes = b"\x10\x11\x10\x10\x11\x1e\x03\x04\x1a\x1c".to_vec();
    bytes.extend(0..=255);
    bytes.extend(noise(1000));
    let request = trial
        .request(trial.programs.copy_raw(bytes.len()))
        .with_tty(TerminalSize::default());
    let session = trial.exec(&request).await;
    let mut output = session.take_output().expect("the output");
    let mut input = session.take_input().expect("the input");
    trial.read_until(&mut output, b"R").await;
    // Ctrl-P alone arrives at once: it is not held back for a key that may follow.
    let (first, rest) = bytes.split_at(1);
    trial.write(&mut input, first).await;
    trial.read_until(&mut output, first).await;
    trial.write(&mut input, rest).await;
    let (stdout, _) = trial.read_to_end(output).await;
    assert_eq!(stdout, rest);
    assert_eq!(trial.wait(&*session).await.code, Some(0));
    trial.finish().await;
}

/// The size asked for is there from the start.
pub async fn the_first_size_is_the_terminals(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let text = size_after(&trial, TerminalSize::new(111, 33), None).await;
    assert_eq!(text, "33 111");
    trial.finish().await;
}

/// A new size arrives.
pub async fn a_resize_reaches_the_terminal(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let size = Some(TerminalSize::new(132, 50));
    let text = size_after(&trial, TerminalSize::default(), size).await;
    assert_eq!(text, "50 132");
    trial.finish().await;
}

/// Without a terminal there is nothing to resize.
pub async fn a_resize_without_a_terminal_is_no_error(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.copy()).with_stdin();
    let session = trial.exec(&request).await;
    let resize = session.resize(TerminalSize::new(10, 10));
    trial.within(resize).await.expect("no error");
    drop(session.take_input());
    assert_eq!(trial.outcome(&*session).await.status.code, Some(0));
    trial.finish().await;
}

/// After the end there is nothing to resize.
pub async fn a_resize_after_the_end_is_no_error(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial
        .request(trial.programs.exit(0))
        .with_tty(TerminalSize::default());
    let session = trial.exec(&request).await;
    trial.outcome(&*session).await;
    let resize = session.resize(TerminalSize::new(10, 10));
    trial.within(resize).await.expect("no error");
    trial.finish().await;
}

async fn size_after(trial: &Trial<'_>, first: TerminalSize, then: Option<TerminalSize>) -> String {
    let request = trial
        .request(trial.programs.terminal_size())
        .with_tty(first);
    let session = trial.exec(&request).await;
    let mut output = session.take_output().expect("the output");
    let mut input = session.take_input().expect("the input");
    trial.read_until(&mut output, b"R").await;
    if let Some(size) = then {
        trial.within(session.resize(size)).await.expect("resize");
    }
    trial.write(&mut input, b"\n").await;
    let (stdout, _) = trial.read_to_end(output).await;
    String::from_utf8_lossy(&stdout).trim().to_owned()
}

use std::sync::Arc;

use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use super::{
    Harness,
    trial::{Trial, noise},
};

/// What goes in comes out, also when it is much more than any buffer on the way.
pub async fn input_is_byte_exact(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let bytes = noise(1 << 20);
    let request = trial.request(trial.programs.copy()).with_stdin();
    let session = trial.exec(&request).await;
    let mut input = session.take_input().expect("the input");
    let output = session.take_output().expect("the output");
    let writing = async {
        input.write_all(&bytes).await.expect("write");
        input.shutdown().await.expect("half-close");
    };
    let (((stdout, stderr), ()), status) = trial
        .within(async {
            let both = tokio::join!(trial.read_to_end(output), writing);
            (both, trial.wait(&*session).await)
        })
        .await;
    assert!(stdout == bytes, "{} of {} bytes", stdout.len(), bytes.len());
    assert!(stderr.is_empty());
    assert_eq!(status.code, Some(0));
    trial.finish().await;
}

/// The end of the input is not the end of the session: what the command says then arrives.
pub async fn a_half_close_leaves_the_output_open(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.count()).with_stdin();
    let session = trial.exec(&request).await;
    let mut input = session.take_input().expect("the input");
    trial.write(&mut input, b"hello").await;
    trial.within(input.shutdown()).await.expect("half-close");
    let outcome = trial.outcome(&*session).await;
    assert_eq!(outcome.stdout, &b"5\n"[..]);
    assert_eq!(outcome.status.code, Some(0));
    trial.finish().await;
}

/// A command without input reads the end and does not wait for somebody to type.
pub async fn without_input_the_end_is_read_at_once(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let outcome = trial.run(trial.programs.count()).await;
    assert_eq!(outcome.stdout, &b"0\n"[..]);
    trial.finish().await;
}

/// The request's environment is the command's.
pub async fn an_environment_variable_arrives(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial
        .request(trial.programs.print_env("GREETING"))
        .with_env("GREETING=good day");
    let session = trial.exec(&request).await;
    assert_eq!(trial.outcome(&*session).await.stdout, &b"good day"[..]);
    trial.finish().await;
}

/// Many sessions at a time get their own bytes.
pub async fn sessions_do_not_mix(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let trial = Arc::new(trial);
    let runs = (0..16u8).map(|number| {
        let trial = &trial;
        async move {
            let request = trial.request(trial.programs.copy()).with_stdin();
            let session = trial.exec(&request).await;
            let mut input = session.take_input().expect("the input");
            let bytes = vec![number; 4000];
            trial.write(&mut input, &bytes).await;
            input.shutdown().await.expect("half-close");
            assert_eq!(trial.outcome(&*session).await.stdout, bytes);
        }
    });
    join_all(runs).await;
    if let Some(trial) = Arc::into_inner(trial) {
        trial.finish().await;
    }
}

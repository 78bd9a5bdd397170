use std::sync::Arc;

use futures::StreamExt;

use super::{Harness, trial::Trial};
use crate::{ErrorKind, Signal, TerminalSize};

/// Each pipe is there once; an input that was not asked for is not there.
pub async fn pipes_are_taken_once(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.copy()).with_stdin();
    let session = trial.exec(&request).await;
    let input = session.take_input();
    assert!(input.is_some() && session.take_input().is_none());
    let output = session.take_output();
    assert!(output.is_some() && session.take_output().is_none());
    drop(input);
    trial.wait(&*session).await;

    let session = trial.exec(&trial.request(trial.programs.exit(0))).await;
    assert!(session.take_input().is_none());
    trial.outcome(&*session).await;
    trial.finish().await;
}

/// An exit code other than 0 is told.
pub async fn an_exit_code_is_told(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    for code in [0, 1, 7, 255] {
        let outcome = trial.run(trial.programs.exit(code)).await;
        assert_eq!(outcome.status.code, Some(i64::from(code)));
    }
    trial.finish().await;
}

/// All who wait get one answer, early and late, and one that gives up takes nothing away.
pub async fn wait_gives_everybody_the_same_answer(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.count()).with_stdin();
    let session = trial.exec(&request).await;
    let early: Vec<_> = (0..3)
        .map(|_| {
            let session = Arc::clone(&session);
            tokio::spawn(async move { session.wait().await })
        })
        .collect();
    tokio::task::yield_now().await;
    early[0].abort();
    drop(session.take_input());
    let status = trial.outcome(&*session).await.status;
    assert_eq!(status.code, Some(0));
    for waiting in early.into_iter().skip(1) {
        let other = trial.within(waiting).await.expect("no panic");
        assert_eq!(other.expect("wait"), status);
    }
    assert_eq!(trial.wait(&*session).await, status);
    trial.finish().await;
}

/// The end is told also to who reads no output.
pub async fn wait_needs_no_reader(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let session = trial
        .exec(&trial.request(trial.programs.print(b"unread", b"unread")))
        .await;
    assert_eq!(trial.wait(&*session).await.code, Some(0));
    let session = trial.exec(&trial.request(trial.programs.exit(3))).await;
    drop(session.take_output());
    assert_eq!(trial.wait(&*session).await.code, Some(3));
    trial.finish().await;
}

/// A signal is delivered, or the backend says that it can't.
pub async fn a_signal_arrives_or_is_unsupported(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.exit_on_usr1(33));
    let session = trial.exec(&request).await;
    let mut output = session.take_output().expect("the output");
    trial.read_until(&mut output, b"ready\n").await;
    match trial.within(session.signal(Signal::USR1)).await {
        Ok(()) => assert_eq!(trial.wait(&*session).await.code, Some(33)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            trial.within(session.close()).await.expect("close");
        }
    }
    trial.finish().await;
}

/// On a terminal a signal reaches the command as well.
pub async fn a_signal_on_a_terminal_arrives_or_is_unsupported(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial
        .request(trial.programs.exit_on_usr1(34))
        .with_tty(TerminalSize::default());
    let session = trial.exec(&request).await;
    let mut output = session.take_output().expect("the output");
    // A terminal sends a carriage return before the newline.
    trial.read_until(&mut output, b"\n").await;
    match trial.within(session.signal(Signal::USR1)).await {
        Ok(()) => assert_eq!(trial.wait(&*session).await.code, Some(34)),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            trial.within(session.close()).await.expect("close");
        }
    }
    trial.finish().await;
}

/// Whoever is killed is told to have been, by the signal or by its code, and a signal after that
/// changes nothing.
pub async fn a_killed_command_is_told_as_one(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let session = trial.exec(&trial.request(trial.programs.stubborn())).await;
    let mut output = session.take_output().expect("the output");
    trial.read_until(&mut output, b"ready\n").await;
    match trial.within(session.signal(Signal::KILL)).await {
        Ok(()) => {
            let status = trial.wait(&*session).await;
            let told = status.signal == Some(Signal::KILL) || status.code == Some(137);
            assert!(told, "{status}");
            let late = trial.within(session.signal(Signal::TERM)).await;
            late.expect("a signal after the end");
            assert_eq!(trial.wait(&*session).await, status);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            trial.within(session.close()).await.expect("close");
        }
    }
    trial.finish().await;
}

/// A closed session's output ends, and wait does not tell of a success.
pub async fn closing_ends_the_session(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let session = trial.exec(&trial.request(trial.programs.forever())).await;
    let mut output = session.take_output().expect("the output");
    trial.read_until(&mut output, b"ready\n").await;
    trial.within(session.close()).await.expect("close");
    let end = trial.within(async {
        // An error may tell of the end; more output may not come.
        output.next().await.is_none_or(|piece| piece.is_err())
    });
    assert!(end.await);
    // A backend that can't tell the code says so, or fails; a 0 would be a lie.
    if let Ok(status) = trial.within(session.wait()).await {
        assert!(!status.is_success(), "{status}");
    }
    trial.finish().await;
}

/// A second close, and one after the end, change nothing.
pub async fn closing_twice_is_no_error(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let session = trial.exec(&trial.request(trial.programs.exit(6))).await;
    let outcome = trial.outcome(&*session).await;
    trial.within(session.close()).await.expect("close");
    trial.within(session.close()).await.expect("close again");
    assert_eq!(trial.wait(&*session).await, outcome.status);
    trial.finish().await;
}

/// Dropping the last handle ends the streams that were taken from it.
pub async fn dropping_the_session_ends_its_output(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.copy()).with_stdin();
    let session = trial.exec(&request).await;
    let mut output = session.take_output().expect("the output");
    let mut input = session.take_input().expect("the input");
    trial.write(&mut input, b"hello").await;
    trial.read_until(&mut output, b"hello").await;
    drop(session);
    let end = trial.within(async { output.next().await.is_none_or(|piece| piece.is_err()) });
    assert!(end.await);
    drop(input);
    trial.finish().await;
}

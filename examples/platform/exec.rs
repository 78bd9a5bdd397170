//! `platform exec`: a command in a container, with the terminal restored on every way out.

use std::{io::IsTerminal, sync::Arc};

use futures::StreamExt;
use longshore::{
    ExecBackend, ExecSession,
    core::{ExecInput, ExecRequest, OsRandom, OutputKind, SystemClock, WorkloadId},
    exec::DockerExec,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    Failure,
    cli::Exec,
    client,
    say::unwritten,
    signals,
    terminal::{self, RawTerminal},
};

pub async fn run(args: Exec) -> Result<(), Failure> {
    if args.tty && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Failure::new(
            "-t needs a terminal: input or output is not one; leave out -t",
        ));
    }
    let connector = client::connector(&args.host)?;
    let backend = DockerExec::new(
        connector.clone(),
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
    );
    let container = WorkloadId::new(&args.container).map_err(longshore::Error::from)?;
    let mut request = ExecRequest::new(container, &args.command);
    for pair in &args.env {
        request = request.with_env(pair);
    }
    if args.tty {
        request = request.with_tty(terminal::size());
        if let Ok(term) = std::env::var("TERM") {
            request = request.with_env(format!("TERM={term}"));
        }
    }
    if args.interactive {
        request = request.with_stdin();
    } else {
        request.stdin = false;
    }
    let session = client::answer(&*connector, backend.exec(&request)).await?;
    let raw = args.tty.then(RawTerminal::enter).transpose()?;
    let result = converse(&*session, args.interactive, args.tty).await;
    drop(raw);
    let _ = session.close().await;
    result?;
    let status = session.wait().await?;
    match status.code {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::silent(u8::try_from(code).unwrap_or(255))),
        None => Err(Failure::new(format!("the command {status}"))),
    }
}

async fn converse(session: &dyn ExecSession, interactive: bool, tty: bool) -> Result<(), Failure> {
    let input = session.take_input().filter(|_| interactive);
    let mut output = session.take_output().expect("the output is taken once");
    let mut resized =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
    let typed = forward_input(input);
    let interrupted = signals::interrupted_or_hung_up();
    tokio::pin!(typed, interrupted);
    let mut typing = true;
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    loop {
        tokio::select! {
            piece = output.next() => match piece {
                None => return Ok(()),
                Some(piece) => {
                    let piece = piece?;
                    match piece.kind {
                        OutputKind::Stdout => {
                            let written = stdout.write_all(&piece.bytes).await;
                            written.map_err(|error| unwritten(&error))?;
                            let flushed = stdout.flush().await;
                            flushed.map_err(|error| unwritten(&error))?;
                        }
                        OutputKind::Stderr => {
                            // As for every note: nothing can be said of a failure.
                            let _ = stderr.write_all(&piece.bytes).await;
                            let _ = stderr.flush().await;
                        }
                    }
                }
            },
            () = &mut typed, if typing => typing = false,
            _ = resized.recv(), if tty => session.resize(terminal::size()).await?,
            () = &mut interrupted, if !tty => return Err(Failure::silent(130)),
        }
    }
}

/// Moves what is typed to the command; its end is the end of the command's input.
async fn forward_input(input: Option<ExecInput>) {
    let Some(mut input) = input else { return };
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 8192];
    while let Ok(count) = stdin.read(&mut buffer).await {
        if count == 0 || input.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        if input.flush().await.is_err() {
            break;
        }
    }
    let _ = input.shutdown().await;
}

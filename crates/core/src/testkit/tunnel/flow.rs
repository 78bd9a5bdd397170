use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Harness, connect,
    streams::{open, pattern},
    within,
};
use crate::{BoxByteStream, ClockExt, StreamTarget};

/// Writes until it has to wait for a while; returns how much went in.
async fn stuff(harness: &dyn Harness, stream: &mut BoxByteStream, most: usize) -> usize {
    let chunk = vec![7; 16 * 1024];
    let mut written = 0;
    while written < most {
        let clock = harness.clock();
        let write = stream.write(&chunk);
        match clock
            .timeout(Duration::from_millis(200), "write", write)
            .await
        {
            Ok(count) => written += count.expect("it writes or waits"),
            Err(_) => break,
        }
    }
    written
}

/// Head-of-line blocking between streams is what multiplexing must not have.
pub async fn a_stream_that_is_not_read_holds_up_no_other(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut stuck, _unread) = open(harness, &session).await;
    stuff(harness, &mut stuck, 64 << 20).await;
    let (mut near, mut far) = open(harness, &session).await;
    let sent = pattern(4, 3_000_000);
    let copy = sent.clone();
    let carry = async {
        let write = async {
            near.write_all(&copy).await?;
            near.shutdown().await
        };
        let mut received = Vec::new();
        let (wrote, read) = tokio::join!(write, far.read_to_end(&mut received));
        wrote.expect("it writes");
        read.expect("it reads");
        received
    };
    assert!(within(harness, "the other stream", carry).await == sent);
}

/// However much of the shared memory unread streams hold, another stream goes on.
pub async fn many_unread_streams_leave_room_for_another(harness: &dyn Harness) {
    let session = connect(harness).await;
    let mut held = Vec::new();
    let limit = harness.listener().capabilities().max_streams;
    for _ in 0..limit.saturating_sub(1).min(100) {
        let (mut near, far) = open(harness, &session).await;
        // Quick: what does not go in at once stays out.
        let _ = harness
            .clock()
            .timeout(
                Duration::from_millis(2),
                "write",
                near.write_all(&[1; 512 * 1024]),
            )
            .await;
        held.push((near, far));
    }
    let (mut near, mut far) = open(harness, &session).await;
    let sent = pattern(5, 200_000);
    let mut received = vec![0; sent.len()];
    let both = async { tokio::join!(near.write_all(&sent), far.read_exact(&mut received)) };
    let (wrote, read) = within(harness, "the other stream", both).await;
    wrote.expect("it writes");
    read.expect("it reads");
    assert!(received == sent);
}

/// Memory is bounded by waiting, and the wait ends when the reader goes on.
pub async fn a_writer_waits_for_its_reader(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    let most = 64 << 20;
    let written = stuff(harness, &mut near, most).await;
    assert!(
        written < most,
        "{written} bytes went in and nobody read them"
    );
    let drain = async {
        let mut left = written;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            left -= far.read(&mut buffer).await.expect("it reads");
        }
    };
    within(harness, "draining", drain).await;
    let (more, mut buffer) = (vec![8; 100_000], vec![0; 100_000]);
    let again = async { tokio::join!(near.write_all(&more), far.read_exact(&mut buffer)) };
    let (wrote, read) = within(harness, "writing again", again).await;
    wrote.expect("the writer goes on");
    read.expect("and so does the reader");
}

/// Bytes of one stream never show up in another.
pub async fn many_streams_at_once_keep_their_bytes(harness: &dyn Harness) {
    let session = connect(harness).await;
    let count = u64::from(harness.listener().capabilities().max_streams.min(50));
    let listener = session.listener.clone();
    let echo = tokio::spawn(async move {
        while let Ok(incoming) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(incoming.stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    let mut asks = Vec::new();
    for seed in 0..count {
        let stream = session
            .dialer
            .open(&StreamTarget::Engine)
            .await
            .expect("it opens");
        asks.push(tokio::spawn(async move {
            let sent = pattern(seed, 40_000 + seed as usize * 13);
            let (mut reader, mut writer) = tokio::io::split(stream);
            let mut received = Vec::new();
            let write = async {
                writer.write_all(&sent).await?;
                writer.shutdown().await
            };
            let (wrote, read) = tokio::join!(write, reader.read_to_end(&mut received));
            wrote.expect("it writes");
            read.expect("it reads");
            assert!(received == sent, "stream {seed} has other bytes");
        }));
    }
    for ask in asks {
        within(harness, "an echo", ask)
            .await
            .expect("no stream fails");
    }
    echo.abort();
}

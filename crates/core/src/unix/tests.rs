use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::*;

fn pair() -> (UnixByteStream, UnixByteStream) {
    let (near, far) = tokio::net::UnixStream::pair().unwrap();
    (
        UnixByteStream::new(near).unwrap(),
        UnixByteStream::new(far).unwrap(),
    )
}

#[tokio::test]
async fn what_is_written_is_read_and_an_end_is_an_end() {
    let (mut near, mut far) = pair();
    near.write_all(b"question").await.unwrap();
    let mut read = [0; 64];
    assert_eq!(far.read(&mut read).await.unwrap(), 8);
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut read).await.unwrap(), 0);
    // The other half is open still.
    far.write_all(b"answer").await.unwrap();
    drop(far);
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    assert!(near.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn more_than_the_kernel_takes_arrives_whole_and_in_order() {
    let (mut near, far) = pair();
    let sent: Vec<u8> = (0..8 << 20).map(|at: u32| (at % 251) as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        near.write_all(&sent).await.unwrap();
        assert!(near.writable.is_some(), "it had to wait");
        near.shutdown().await.unwrap();
        near
    });
    let mut received = Vec::new();
    let mut pieces = far.take(u64::MAX);
    pieces.read_to_end(&mut received).await.unwrap();
    assert!(received == expected);
    // One that had to wait once still serves.
    let mut near = writer.await.unwrap();
    let mut far = pieces.into_inner();
    far.write_all(b"again").await.unwrap();
    let mut read = [0; 5];
    near.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"again");
}

#[tokio::test]
async fn a_read_that_filled_its_buffer_goes_on_without_a_new_event() {
    let (mut near, mut far) = pair();
    near.write_all(b"abcdef").await.unwrap();
    let mut read = [0; 2];
    for part in [b"ab", b"cd", b"ef"] {
        let count = timeout(Duration::from_secs(10), far.read(&mut read)).await;
        assert_eq!(count.unwrap().unwrap(), 2);
        assert_eq!(&read, part);
    }
}

#[tokio::test]
async fn an_end_behind_the_last_bytes_is_seen() {
    let (mut near, mut far) = pair();
    near.write_all(b"last").await.unwrap();
    drop(near);
    tokio::task::yield_now().await;
    let mut read = [0; 64];
    assert_eq!(far.read(&mut read).await.unwrap(), 4);
    let end = timeout(Duration::from_secs(10), far.read(&mut read)).await;
    assert_eq!(end.unwrap().unwrap(), 0);
}

#[test]
fn the_peer_s_reading_wakes_nobody() {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_unpark(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let peer = std::thread::spawn(move || {
        for _ in 0..10 {
            far.read_exact(&mut [0]).unwrap();
            // Time to wake the other side for nothing.
            std::thread::sleep(Duration::from_millis(10));
            far.write_all(b"y").unwrap();
        }
    });
    runtime.block_on(async {
        let near = tokio::net::UnixStream::from_std(near).unwrap();
        let mut near = UnixByteStream::new(near).unwrap();
        for _ in 0..10 {
            near.write_all(b"x").await.unwrap();
            near.read_exact(&mut [0]).await.unwrap();
        }
    });
    peer.join().unwrap();
    assert_eq!(wakes.load(Ordering::SeqCst), 10, "one for each answer");
}

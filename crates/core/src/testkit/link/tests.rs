use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{SystemClock, testkit::ManualClock};

fn link(options: LinkOptions) -> Link {
    Link::new(Arc::new(SystemClock::new()), 1, options)
}

#[tokio::test(start_paused = true)]
async fn bytes_keep_their_order_under_loss_and_jitter() {
    let link = link(
        LinkOptions::default()
            .with_loss(0.3)
            .with_jitter(Duration::from_millis(80))
            .with_random_stalls(3, 20, Duration::from_secs(10), Duration::from_secs(1)),
    );
    let (mut near, mut far) = link.pair();
    let sent: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let copy = sent.clone();
    tokio::spawn(async move {
        for chunk in copy.chunks(777) {
            near.write_all(chunk).await.unwrap();
        }
    });
    let mut received = Vec::new();
    far.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, sent);
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept() {
    let link = link(LinkOptions::default().with_rate(10_000));
    let (mut near, mut far) = link.pair();
    let start = tokio::time::Instant::now();
    tokio::spawn(async move { near.write_all(&[0; 50_000]).await });
    far.read_exact(&mut [0; 50_000]).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!((4.9..5.2).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_resets_both_ends_even_while_they_wait() {
    let link = link(LinkOptions::default().with_fault(Duration::from_secs(5), Fault::Cut));
    let (mut near, mut far) = link.pair();
    let mut byte = [0];
    let error = near.read(&mut byte).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(far.write(&[1]).await.is_err());
    let (mut near, mut far) = link.pair();
    near.write_all(&[9]).await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_in_one_direction_leaves_the_other() {
    let link = link(LinkOptions::default().with_buffer(10));
    let (mut near, mut far) = link.pair();
    link.black_hole(Way::Out);
    near.write_all(&[0; 10]).await.unwrap();
    far.write_all(&[4]).await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), 4);
    // The writer's buffer never empties, and the reader sees nothing.
    let wait = Duration::from_secs(3600);
    assert!(tokio::time::timeout(wait, near.write(&[0])).await.is_err());
    assert!(tokio::time::timeout(wait, far.read_u8()).await.is_err());
}

#[tokio::test]
async fn a_manual_clock_drives_the_delay() {
    let clock = ManualClock::default();
    let options = LinkOptions::default().with_delay(Duration::from_secs(60));
    let link = Link::new(Arc::new(clock.clone()), 1, options);
    let (mut near, mut far) = link.pair();
    near.write_all(b"x").await.unwrap();
    drop(near);
    let read = tokio::spawn(async move {
        let mut text = String::new();
        far.read_to_string(&mut text).await.map(|_| text)
    });
    tokio::task::yield_now().await;
    assert!(!read.is_finished());
    clock.advance(Duration::from_secs(61));
    assert_eq!(read.await.unwrap().unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_stall_holds_bytes_back_until_healed() {
    let link = link(LinkOptions::default());
    let (mut near, mut far) = link.pair();
    link.stall(Way::Both);
    near.write_all(&[1]).await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_secs(99), far.read_u8())
            .await
            .is_err()
    );
    link.heal();
    assert_eq!(far.read_u8().await.unwrap(), 1);
}

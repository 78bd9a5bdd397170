//! A TCP relay on loopback that can break connections.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a [`Relay`] does to what goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Forward,
    /// Takes everything and passes nothing on.
    Swallow,
    Reset,
}

/// A TCP relay on loopback that can break connections.
pub(crate) struct Relay {
    mood: watch::Sender<Mood>,
    tasks: tokio::task::JoinSet<()>,
}

impl Relay {
    pub(crate) fn new() -> Self {
        Self {
            mood: watch::Sender::new(Mood::Forward),
            tasks: tokio::task::JoinSet::new(),
        }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Relays to `target` and returns where.
    pub(crate) async fn to(&mut self, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mood = self.mood.clone();
        self.tasks.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mood = mood.subscribe();
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        relay(near, far, mood).await;
                    }
                });
            }
        });
        address
    }
}

async fn relay(near: TcpStream, far: TcpStream, mut mood: watch::Receiver<Mood>) {
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    {
        let (mut near_read, mut near_write) = near.into_split();
        let (mut far_read, mut far_write) = far.into_split();
        let (out, back) = (mood.clone(), mood.clone());
        let forward = async {
            tokio::join!(
                copy(&mut near_read, &mut far_write, out),
                copy(&mut far_read, &mut near_write, back)
            )
        };
        tokio::select! {
            _ = forward => return,
            _ = mood.wait_for(|mood| *mood == Mood::Reset) => {}
        }
        for half in [(near_read, near_write), (far_read, far_write)] {
            let tcp = half.0.reunite(half.1).unwrap();
            socket2::SockRef::from(&tcp)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
        }
    }
}

async fn copy(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mood: watch::Receiver<Mood>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                if *mood.borrow() == Mood::Swallow {
                    std::future::pending::<()>().await;
                }
                let _ = to.shutdown().await;
                return;
            }
            Ok(count) => {
                if *mood.borrow() == Mood::Forward && to.write_all(&buffer[..count]).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

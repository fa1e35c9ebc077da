//! A way from an address to another that can be closed and opened again: what stands between a port of the internet and a
//! listener, where firewalls and load balancers go wrong.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Connections under way at most: an authority's questions are few.
const MOST: usize = 64;

/// The way; closed when dropped.
#[derive(Debug)]
pub(super) struct Road {
    from: SocketAddr,
    to: SocketAddr,
    open: Option<AbortHandle>,
}

impl Road {
    /// Opens it.
    pub(super) async fn open(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let mut road = Self {
            from,
            to,
            open: None,
        };
        road.reopen().await?;
        Ok(road)
    }

    pub(super) async fn reopen(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.from).await?;
        self.open = Some(tokio::spawn(carry(listener, self.to)).abort_handle());
        Ok(())
    }

    /// From now on whoever comes is refused, and who is under way is cut off.
    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.close();
    }
}

async fn carry(listener: TcpListener, to: SocketAddr) {
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            came = listener.accept(), if under_way.len() < MOST => {
                // A connection that is over before it was taken is nobody's.
                let Ok((mut from, _)) = came else { continue };
                under_way.spawn(async move {
                    let mut there = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut from, &mut there).await
                });
            }
            Some(_ended) = under_way.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_road_that_is_closed_refuses_and_carries_again_when_it_is_opened() {
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = there.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = there.accept().await {
                drop(stream.write_all(b"here").await);
            }
        });
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let from = free.local_addr().unwrap();
        drop(free);
        let ask = async || -> io::Result<String> {
            let mut text = String::new();
            let mut stream = TcpStream::connect(from).await?;
            stream.read_to_string(&mut text).await?;
            Ok(text)
        };
        let mut road = Road::open(from, to).await.unwrap();
        assert_eq!(ask().await.unwrap(), "here");
        road.close();
        // The task that listens ends when it is next run.
        while ask().await.is_ok_and(|text| text == "here") {}
        assert!(TcpStream::connect(from).await.is_err());
        road.reopen().await.unwrap();
        assert_eq!(ask().await.unwrap(), "here");
    }
}

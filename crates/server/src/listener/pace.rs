//! A peer that takes its answer too slowly is cut: a stream that waits for its peer without end would keep a file, a
//! buffer and a place for ever. Counted is only the time in which there was something to write and the peer's side was
//! full; an idle connection is never cut by this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::limits::{SLOW_WRITE_MIN_BYTES, SLOW_WRITE_WINDOW};

/// A connection whose peer has to take what it asked for.
#[derive(Debug)]
pub struct Paced<S> {
    inner: S,
    /// Since when the peer's side has been full.
    blocked_since: Option<Instant>,
    /// How long it was full before that, in this window.
    blocked: Duration,
    /// Bytes taken in this window.
    taken: u64,
    /// Wakes at the window's end; made when it is first needed, because most connections never block.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Watches `inner`.
    pub fn new(inner: S) -> Self {
        Paced { inner, blocked_since: None, blocked: Duration::ZERO, taken: 0, timer: None }
    }

    fn wrote(&mut self, bytes: usize) {
        if let Some(since) = self.blocked_since.take() {
            self.blocked += since.elapsed();
        }
        self.taken = self.taken.saturating_add(bytes as u64);
    }

    /// Waits for the peer or for the window's end, whichever comes first.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let now = Instant::now();
            let since = *self.blocked_since.get_or_insert(now);
            let left = SLOW_WRITE_WINDOW.saturating_sub(self.blocked + now.saturating_duration_since(since));
            if left.is_zero() {
                if self.taken < SLOW_WRITE_MIN_BYTES {
                    return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the peer takes its answer too slowly"));
                }
                (self.blocked, self.taken, self.blocked_since) = (Duration::ZERO, 0, Some(now));
                continue;
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
            timer.as_mut().reset(now + left);
            ready!(timer.as_mut().poll(cx));
        }
    }

    fn judge(&mut self, polled: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(n)) => {
                self.wrote(n);
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(cx).map(Err),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.judge(polled, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.judge(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Writes 1 MiB to a peer that takes `piece` bytes a second; how long that took and how it ended.
    async fn write_to(piece: usize) -> (Duration, io::Result<()>) {
        let (mut peer, ours) = tokio::io::duplex(1024);
        let mut ours = Paced::new(ours);
        let began = Instant::now();
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; piece.max(1)];
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if piece > 0 && peer.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        });
        let ended = ours.write_all(&vec![7; 1024 * 1024]).await;
        reader.abort();
        (began.elapsed(), ended)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_or_a_trickle_is_cut_and_a_slow_one_is_served() {
        for piece in [0, 100] {
            let (took, ended) = write_to(piece).await;
            assert_eq!(ended.expect_err("cut").kind(), io::ErrorKind::TimedOut);
            assert!(took >= SLOW_WRITE_WINDOW && took < SLOW_WRITE_WINDOW * 2, "{piece} bytes a second: {took:?}");
        }
        let (took, ended) = write_to(4096).await;
        ended.expect("served");
        assert!(took > SLOW_WRITE_WINDOW * 3, "over several windows: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_anything_to_write_does_not_count() {
        let (mut peer, ours) = tokio::io::duplex(1024);
        let mut ours = Paced::new(ours);
        for _ in 0..3 {
            ours.write_all(b"hint").await.expect("written");
            tokio::time::sleep(SLOW_WRITE_WINDOW * 2).await;
            let mut hint = [0; 4];
            peer.read_exact(&mut hint).await.expect("read");
        }
    }
}

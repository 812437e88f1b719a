//! A file as the body of an answer: read in pieces as the peer takes them, never more than one piece ahead. Holds the
//! stream's place until the last byte is gone or the peer is.

use std::io;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::limits::CONTENT_PIECE_BYTES;
use crate::metrics::ContentBytes;

struct Sending {
    file: File,
    left: u64,
    sent: ContentBytes,
    _place: OwnedSemaphorePermit,
}

/// `length` bytes of `file` from `first` on. A file that ends too early ends the connection: the peer sees a cut, never
/// a short file that looks whole.
pub(super) async fn of_file(
    mut file: File,
    first: u64,
    length: u64,
    sent: ContentBytes,
    place: OwnedSemaphorePermit,
) -> io::Result<Body> {
    if first > 0 {
        file.seek(io::SeekFrom::Start(first)).await?;
    }
    file.set_max_buf_size(CONTENT_PIECE_BYTES);
    let sending = Sending { file, left: length, sent, _place: place };
    Ok(Body::from_stream(futures::stream::try_unfold(sending, |mut sending| async move {
        Ok::<_, io::Error>(sending.next().await?.map(|piece| (piece, sending)))
    })))
}

impl Sending {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(CONTENT_PIECE_BYTES);
        let mut piece = BytesMut::with_capacity(wanted);
        let mut limited = (&mut self.file).take(wanted as u64);
        if limited.read_buf(&mut piece).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"));
        }
        self.left -= piece.len() as u64;
        self.sent.add(piece.len() as u64);
        Ok(Some(piece.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    async fn read(bytes: &[u8], first: u64, length: u64) -> (Result<Bytes, axum::Error>, u64) {
        let path = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(path.path(), bytes).expect("written");
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.expect("free");
        let sent = ContentBytes::default();
        let file = File::open(path.path()).await.expect("open");
        let body = of_file(file, first, length, sent.clone(), place).await.expect("a body");
        assert_eq!(places.available_permits(), 0);
        let read = axum::body::to_bytes(body, usize::MAX).await;
        assert_eq!(places.available_permits(), 1, "the place is free again");
        (read, sent.get())
    }

    #[tokio::test]
    async fn a_part_is_sent_exactly_and_counted() {
        let bytes: Vec<u8> = (0..CONTENT_PIECE_BYTES * 2 + 77).map(|i| (i % 251) as u8).collect();
        let (whole, sent) = read(&bytes, 0, bytes.len() as u64).await;
        assert!(whole.expect("read") == bytes);
        assert_eq!(sent, bytes.len() as u64);
        let (part, _) = read(&bytes, 1000, CONTENT_PIECE_BYTES as u64 + 5).await;
        assert!(part.expect("read") == bytes[1000..1000 + CONTENT_PIECE_BYTES + 5]);
        let (nothing, _) = read(b"", 0, 0).await;
        assert!(nothing.expect("read").is_empty());
    }

    #[tokio::test]
    async fn a_file_that_was_cut_is_an_error_and_not_a_short_answer() {
        let (cut, _) = read(b"12345", 0, 6).await;
        assert!(cut.is_err());
    }
}

//! Process 1's own socket. There it signs its messages with a well-known name, which zbus takes for no valid sender; such a
//! name is replaced in passing by a unique one of the same length, which changes nothing else.
//!
//! Absent: passing of file descriptors, which nothing here needs.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::UnixStream;
use zbus::connection::socket::{ReadHalf as Receive, Socket, Split, WriteHalf as Send};
use zbus::export::async_trait::async_trait;

/// The sender field of a message's header, as little-endian D-Bus has it: field 7, type `s`, length 24.
const SENDER: &[u8] = b"\x07\x01s\0\x18\0\0\0org.freedesktop.systemd1\0";
/// The same field with a name that only a connection may have.
const REPLACED: &[u8] = b"\x07\x01s\0\x18\0\0\0:1.000000000000000000001\0";

/// A connection to process 1.
#[derive(Debug)]
pub struct Direct(UnixStream);

impl Direct {
    /// Over this stream; needs a runtime.
    pub fn new(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Direct(UnixStream::from_std(stream)?))
    }
}

impl Socket for Direct {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = tokio::io::split(self.0);
        Split::new(Reader(read), Writer(write))
    }
}

/// The half that receives.
#[derive(Debug)]
pub struct Reader(ReadHalf<UnixStream>);

#[async_trait]
impl Receive for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let n = self.0.read(buffer).await?;
        rename(&mut buffer[..n]);
        Ok((n, Vec::new()))
    }
}

/// The half that sends.
#[derive(Debug)]
pub struct Writer(WriteHalf<UnixStream>);

#[async_trait]
impl Send for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// A header's fields come in one read, so none of them is cut; if one ever were, the connection ends and another is made.
fn rename(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(SENDER.len()).position(|w| w == SENDER) {
        bytes[at + found..at + found + SENDER.len()].copy_from_slice(REPLACED);
        at += found + SENDER.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sender_is_renamed_and_nothing_moves() {
        assert_eq!(SENDER.len(), REPLACED.len());
        let mut bytes = [b"fields ", SENDER, b" body org.freedesktop.systemd1 ", SENDER].concat();
        rename(&mut bytes);
        assert_eq!(bytes, [b"fields ", REPLACED, b" body org.freedesktop.systemd1 ", REPLACED].concat());
    }
}

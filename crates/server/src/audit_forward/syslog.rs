//! Syslog: RFC 5424 messages as datagrams (UDP, a socket of this machine) or over TCP with octet counting (RFC 6587). Syslog
//! confirms nothing: what the network or the receiver loses is lost there, and the numbers of records show the gap.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::settings::Place;

/// Facility 13 (log audit), severity 6 (informational).
const USUAL: u8 = 13 * 8 + 6;
/// The same, severity 4 (warning): for what was denied or failed.
const WARNING: u8 = 13 * 8 + 4;
/// Time to connect, and to write a batch.
const TIME_MAX: Duration = Duration::from_secs(10);
/// A message that does not fit into a datagram is cut to this, bytes.
const CUT_TO_BYTES: usize = 8 * 1024;

/// A connection, opened when something is sent.
pub(super) struct Syslog {
    place: Place,
    open: Option<Open>,
    host: String,
}

enum Open {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    pub(super) fn new(place: Place) -> Syslog {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        // A field of the header has no spaces and at most 255 characters.
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        Syslog { place, open: None, host: if host.is_empty() { "-".to_owned() } else { host } }
    }

    pub(super) async fn send(&mut self, lines: &[Vec<u8>]) -> Result<()> {
        let late = |_| Error::new(ErrorKind::TimedOut, "syslog does not take messages in time");
        tokio::time::timeout(TIME_MAX, self.send_all(lines)).await.map_err(late)?
    }

    async fn send_all(&mut self, lines: &[Vec<u8>]) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => connect(&self.place).await?,
        };
        for line in lines {
            let message = message(&self.host, line, Timestamp::now());
            match &mut open {
                Open::Tcp(stream) => {
                    stream.write_all(format!("{} ", message.len()).as_bytes()).await?;
                    stream.write_all(&message).await?;
                }
                Open::Unix(socket) => {
                    let sent = socket.send(&message).await;
                    if is_too_long(&sent, &message) {
                        socket.send(&message[..CUT_TO_BYTES]).await?;
                    } else {
                        sent?;
                    }
                }
                Open::Udp(socket) => {
                    let sent = socket.send(&message).await;
                    if is_too_long(&sent, &message) {
                        socket.send(&message[..CUT_TO_BYTES]).await?;
                    } else {
                        sent?;
                    }
                }
            }
        }
        if let Open::Tcp(stream) = &mut open {
            stream.flush().await?;
        }
        self.open = Some(open);
        Ok(())
    }
}

async fn connect(place: &Place) -> Result<Open> {
    match place {
        Place::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            Ok(Open::Unix(socket))
        }
        Place::Udp(host) => {
            let mut found = tokio::net::lookup_host(host).await?;
            let address = found.next().ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{host} has no address")))?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            Ok(Open::Udp(socket))
        }
        Place::Tcp(host) => Ok(Open::Tcp(TcpStream::connect(host).await?)),
    }
}

/// Is the message too long for the socket, so that it is sent cut?
fn is_too_long(sent: &Result<usize>, message: &[u8]) -> bool {
    const TOO_LONG: i32 = 90;
    sent.as_ref().is_err_and(|e| e.raw_os_error() == Some(TOO_LONG)) && message.len() > CUT_TO_BYTES
}

/// One message: the line of an export, without its line feed, behind the header.
fn message(host: &str, line: &[u8], now: Timestamp) -> Vec<u8> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let bad = text.contains("\"outcome\":\"denied\"") || text.contains("\"outcome\":\"failed\"");
    let priority = if bad { WARNING } else { USUAL };
    // The header takes microseconds at most.
    let at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    let kind = if text.starts_with("{\"seal\"") { "seal" } else { "record" };
    let mut out = format!("<{priority}>1 {at} {host} drydockd {} {kind} - ", std::process::id()).into_bytes();
    out.extend_from_slice(line);
    out
}

//! Bounds of the daemon itself: connections, requests, waiting. Bounds of documents are the domain's
//! (`drydock_domain::limits`).

use std::time::Duration;

/// A TLS handshake must be done after this time: a silent peer costs a task and two buffers no longer than that.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// HTTP/1.1 request head must be complete after this time.
pub const HEADER_READ_MAX: Duration = Duration::from_secs(15);
/// HTTP/1.1 head, bytes.
pub const HEADER_MAX_BYTES: usize = 32 * 1024;
/// HTTP/2 header list, bytes.
pub const HEADER_LIST_MAX_BYTES: u32 = 32 * 1024;
/// Streams of one HTTP/2 connection. An agent uses three (attach, report, pull); a console tab a few more.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 64;
/// HTTP/2 pings to a peer that is silent.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// No answer to a ping for this long ends the connection.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(20);
/// A peer that has something to take is looked at after so much time in which it took nothing …
pub const SLOW_WRITE_WINDOW: Duration = Duration::from_secs(60);
/// … and cut when it took fewer bytes than this meanwhile (1 KiB/s; package managers give up below that too).
pub const SLOW_WRITE_MIN_BYTES: u64 = 60 * 1024;
/// Body of a REST request, bytes: a patch job with two scripts of 64 KiB and a filter of 4 × 1,000 names, tripled for
/// JSON escapes.
pub const REST_BODY_MAX_BYTES: usize = 1024 * 1024;
/// A REST request (not an event stream) must be answered after this time.
pub const REST_REQUEST_MAX: Duration = Duration::from_secs(30);
/// Collecting what content nobody needs any more must be done after this time: a walk over all snapshots.
pub const COLLECT_REQUEST_MAX: Duration = Duration::from_secs(600);
/// An upload must be done after this time: 4 GiB at 1.2 MiB/s.
pub const UPLOAD_REQUEST_MAX: Duration = Duration::from_secs(3600);
/// An upload from which nothing comes for this long ends.
pub const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(30);
/// Name of an uploaded file, bytes.
pub const UPLOAD_NAME_MAX_BYTES: usize = 255;
/// An imported feed of advisories, bytes as sent: the largest published ones (Ubuntu's CVEs) have some hundred megabytes.
pub const FEED_MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// The head of an answer with content must be there after this time: a place is waited for, then the upstream.
pub const CONTENT_REQUEST_MAX: Duration = Duration::from_secs(60);
/// A request for content waits so long for a place among [`crate::config::Settings::content_streams_max`].
pub const CONTENT_PLACE_WAIT: Duration = Duration::from_secs(15);
/// A request for a package that the upstream still has to send waits so long (package managers give up after 30 s
/// without a byte); the fetch goes on, and the next try finds the file.
pub const CONTENT_FETCH_WAIT: Duration = Duration::from_secs(25);
/// What a client is told to wait when there is no place or the upstream is slow.
pub const CONTENT_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Piece in which files are read and sent, bytes. TLS encrypts in this process, so the kernel cannot send files itself.
pub const CONTENT_PIECE_BYTES: usize = 256 * 1024;
/// A signature is taken from the same version as the index it belongs to for this long after the index was asked for.
pub const HEAD_LEASE: Duration = Duration::from_secs(60);
/// Signatures remembered for that, count: 16,384 × at most 4 KiB = 64 MiB, usually 16 MiB. When full, the oldest go.
pub const HEAD_LEASES_MAX: usize = 16_384;
/// A larger signature is not remembered, bytes: one of several keys has 1 KiB.
pub const HEAD_LEASE_MAX_BYTES: usize = 4096;
/// A call of an agent (not Attach) must be answered after this time.
pub const AGENT_CALL_MAX: Duration = Duration::from_secs(60);
/// Sign of life on an event stream, so that proxies keep it open.
pub const EVENT_KEEP_ALIVE: Duration = Duration::from_secs(15);
/// An event stream looks again after this time even when nothing woke it.
pub const EVENT_POLL: Duration = Duration::from_secs(2);
/// An event stream ends after this time; the browser's EventSource opens it again.
pub const EVENT_STREAM_MAX: Duration = Duration::from_secs(3600);
/// Event streams open at once, count: each reads its job's tasks at every change.
pub const EVENT_STREAMS_MAX: usize = 256;
/// Failed authentications or enrolments of one address before it is told to wait, count.
pub const FAILURES_PER_ADDRESS_MAX: u32 = 20;
/// A wait ends, and failures are forgotten, after this time.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered for that, count: 16,384 × ~64 bytes = 1 MiB. When full, the oldest are forgotten.
pub const FAILURE_ADDRESSES_MAX: usize = 16_384;
/// Sign-ins with a password from one address at once, count: an office behind one address, in the morning …
pub const SIGN_INS_PER_ADDRESS_BURST: u32 = 30;
/// … and one more after each such time.
pub const SIGN_INS_PER_ADDRESS_EVERY: Duration = Duration::from_secs(1);
/// Sign-ins with a password as one user, from wherever, count: good ones too, since nobody has ten browsers to sign in with …
pub const SIGN_INS_PER_NAME_BURST: u32 = 10;
/// … and one more after each such time.
pub const SIGN_INS_PER_NAME_EVERY: Duration = Duration::from_secs(6);
/// Requests of one address a second when nobody says otherwise: an office behind one address.
pub const RATE_ADDRESS_PER_S: u32 = 200;
/// Requests of one principal a second when nobody says otherwise.
pub const RATE_PRINCIPAL_PER_S: u32 = 100;
/// Calls of one agent a second: it makes a few a minute, and some a second while a task runs.
pub const RATE_CALLS_PER_S: u32 = 20;
/// Who was silent may send the requests of so many seconds at once.
pub const RATE_BURST_SECS: u32 = 20;
/// Addresses, principals and agents remembered for that, count each: 65,536 × ~100 bytes = 7 MiB.
pub const RATE_KEYS_MAX: usize = 65_536;
/// Idempotency-Key header, bytes.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 128;
/// Open files the daemon asks the system for: a connection each, and the store's.
pub const OPEN_FILES_WANTED: u64 = 65_536;
/// Open files kept back from connections for the store, logs and the rest.
pub const OPEN_FILES_RESERVED: u64 = 128;
/// Free in the data directory, bytes, below which the daemon calls itself not ready: a few large reports fit in it.
pub const DISK_FREE_MIN_BYTES: u64 = 8 * 1024 * 1024;
/// Configuration file, bytes.
pub const CONFIG_MAX_BYTES: u64 = 1024 * 1024;

//! How a command ends: exit codes, and errors that say what to do.

use std::io;

use drydock_api::rest::{ApiError, ErrorKind};

use crate::spec;
use crate::text::clean;

/// The exit codes, as `--help` shows them.
pub const EXIT_CODES: &str = "Exit codes:
  0    done; for a job that was waited for: every host succeeded
  1    the job ended otherwise (failures, silent hosts, cancelled, timed out); an export of the audit is not whole
  2    wrong usage: arguments, a file they name, or the configuration
  3    the server cannot be reached, is not the pinned one, or does not know the token
  4    the server refused the request
  130  left with Ctrl-C; the job goes on";

/// Exit code of wrong usage.
pub const EXIT_USAGE: u8 = 2;

/// How a command ended when nothing went wrong on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Done,
    /// The job it waited for ended, but not with success on every host.
    JobFailed,
    /// Left with Ctrl-C.
    Left,
}

impl Ending {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Ending::Done => 0,
            Ending::JobFailed => 1,
            Ending::Left => 130,
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Arguments, a file they name, or the configuration are wrong.
    #[error("{0}")]
    Usage(String),
    /// The server does not answer; trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// The server answers, but must not or cannot be trusted, or is no Drydock server.
    #[error("{0}")]
    Untrusted(String),
    /// No token, or one that the server does not know.
    #[error("{0}")]
    Unauthenticated(String),
    /// The server refused.
    #[error("{}", .error.message)]
    Refused {
        /// Its words.
        error: Box<ApiError>,
        /// `token "alice" has the role viewer`; only for FORBIDDEN.
        role: Option<String>,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl From<io::Error> for Failure {
    /// The only `?` on plain I/O in this crate is on the standard streams; files are read with their own message.
    fn from(e: io::Error) -> Self {
        Failure::Output(e)
    }
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => EXIT_USAGE,
            Failure::Unreachable(_) | Failure::Untrusted(_) | Failure::Unauthenticated(_) => 3,
            Failure::Refused { .. } => 4,
            // The reader went away (`drydock … | head`): it has what it wanted.
            Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Output(_) => EXIT_USAGE,
        }
    }

    /// Nothing to tell.
    pub fn is_silent(&self) -> bool {
        matches!(self, Failure::Output(e) if e.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Might the same request succeed in a moment?
    pub fn is_transient(&self) -> bool {
        match self {
            Failure::Unreachable(_) => true,
            Failure::Refused { error, .. } => matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal),
            _ => false,
        }
    }

    /// The whole message for a person, several lines where that helps.
    pub fn explain(&self) -> String {
        let Failure::Refused { error, role } = self else {
            return format!("error: {self}");
        };
        let mut text = format!("error: {}", clean(headline(error)));
        for field in &error.fields {
            let flag = spec::flag_of(&field.field).map(|f| format!(" ({f})")).unwrap_or_default();
            text += &format!("\n  {}{flag}: {}", clean(&field.field), clean(&field.message));
        }
        if let Some(role) = role {
            text += &format!("\n  {role}; ask an administrator for a token with another role (drydock access create)");
        }
        if error.kind == ErrorKind::Internal {
            text += &format!("\n  request id {}", clean(&error.request_id));
        }
        text
    }
}

/// The message without the fields that it repeats for clients which read nothing else; they are listed one a line.
fn headline(error: &ApiError) -> &str {
    let first = error.fields.first().and_then(|f| error.message.find(&format!("{}: ", f.field)));
    match first.and_then(|at| error.message.get(..at)) {
        Some(before) if before.trim_end_matches([':', ' ']).is_empty() => "the request is refused",
        Some(before) => before.trim_end_matches([':', ' ']),
        None => &error.message,
    }
}

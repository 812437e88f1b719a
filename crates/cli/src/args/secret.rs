//! `drydock secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ListArgs;

/// `drydock secret`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Set the value of a secret; hosts whose policies name it get it at once
    ///
    /// The value is read from standard input or a file, never from the command line, where others could see it. One line break
    /// at its end is dropped; --keep-line-break keeps it. Templates name it: {{ secret.NAME }}.
    ///
    ///   printf %s "$PASSWORD" | drydock secret set db_password
    #[command(verbatim_doc_comment)]
    Set(SetSecretArgs),
    /// List secrets without their values
    List(ListArgs),
    /// Forget a secret; hosts keep what they have, and policies that name it reach nobody until it is set again
    Delete(SecretArgs),
    /// Put it into another compartment
    Move(super::calendar::MoveNamedArgs),
}

/// Arguments of `secret set`.
#[derive(Debug, Args)]
pub struct SetSecretArgs {
    /// Name: letters, digits, _ and -
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Read the value from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// The line break at the value's end belongs to it
    #[arg(long)]
    pub keep_line_break: bool,
    /// Path of the compartment a new one is made in, such as /A: policies of assignments there and below may use it [default:
    /// /, or the one topmost in which you may]
    #[arg(long, value_name = "PATH")]
    pub compartment: Option<String>,
}

/// One secret.
#[derive(Debug, Args)]
pub struct SecretArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub name: String,
}

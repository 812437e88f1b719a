//! `drydock access api-key` and `drydock access oidc`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ListArgs, Output};

/// `drydock access api-key`.
#[derive(Debug, Subcommand)]
pub enum ApiKeyCommand {
    /// Add the public half of an RSA key to a user, who can then sign requests with it
    ///
    ///   openssl genrsa -out drydock.pem 2048 && chmod 600 drydock.pem
    ///   openssl rsa -in drydock.pem -pubout -out drydock.pub.pem
    ///   drydock access api-key add ann --public-key drydock.pub.pem
    ///   drydock --api-key-file drydock.pem --api-key-id tenancy/ann/FINGERPRINT whoami
    #[command(verbatim_doc_comment)]
    Add(AddApiKeyArgs),
    /// List the keys of a user
    List(ListApiKeysArgs),
    /// Delete a key of a user; requests that it signs are refused at once
    Delete(DeleteApiKeyArgs),
}

/// Arguments of `access api-key add`.
#[derive(Debug, Args)]
pub struct AddApiKeyArgs {
    /// The user
    #[arg(value_name = "USER")]
    pub user: String,
    /// File with the public key, PEM
    #[arg(long, value_name = "FILE")]
    pub public_key: PathBuf,
    /// Format.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `access api-key list`.
#[derive(Debug, Args)]
pub struct ListApiKeysArgs {
    /// The user
    #[arg(value_name = "USER")]
    pub user: String,
    /// Rows and format.
    #[command(flatten)]
    pub list: ListArgs,
}

/// Arguments of `access api-key delete`.
#[derive(Debug, Args)]
pub struct DeleteApiKeyArgs {
    /// The user
    #[arg(value_name = "USER")]
    pub user: String,
    /// The key's fingerprint, from `drydock access api-key list`
    #[arg(value_name = "FINGERPRINT")]
    pub fingerprint: String,
}

/// `drydock access oidc`.
#[derive(Debug, Subcommand)]
pub enum OidcCommand {
    /// Link a user to a subject of the provider, who then signs in to the console as that user
    ///
    /// Whoever signs in without being linked is told their subject.
    Link(LinkUserArgs),
    /// Unlink a user from the provider
    Unlink(UnlinkUserArgs),
}

/// Arguments of `access oidc link`.
#[derive(Debug, Args)]
pub struct LinkUserArgs {
    /// The user
    #[arg(value_name = "USER")]
    pub user: String,
    /// The provider, exactly as the server's configuration names it
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// Its name for the person: the claim `sub`
    #[arg(long, value_name = "SUBJECT")]
    pub subject: String,
}

/// Arguments of `access oidc unlink`.
#[derive(Debug, Args)]
pub struct UnlinkUserArgs {
    /// The user
    #[arg(value_name = "USER")]
    pub user: String,
}

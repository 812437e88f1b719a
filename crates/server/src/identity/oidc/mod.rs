//! Sign-in with an OpenID Connect provider: the authorisation code flow with PKCE, as one relying party of one provider.
//!
//! [`provider`] is the flow: [`Provider::begin`] says where to send the browser and what it has to keep,
//! [`Provider::finish`] turns what comes back into an [`Identity`]. [`discovery`] and [`keys`] read what the provider
//! publishes, [`id_token`] verifies what it says, [`fetch`] is the bounded way to talk to it, [`settings`] is the
//! configuration.
//!
//! Absent on purpose: which user that identity is and what it may do (`control`), cookies and pages (the console), the
//! provider's userinfo endpoint (everything needed stands in the ID token), refresh tokens (a session of the console has
//! its own limits), logging out at the provider.

pub mod discovery;
pub(crate) mod fetch;
pub mod id_token;
pub mod keys;
pub mod provider;
pub mod settings;

#[cfg(test)]
mod tests;

pub use id_token::BadToken;
pub use provider::{Begun, Identity, Provider, Returned};
pub use settings::OidcSettings;

/// Why nobody was signed in. People at a browser read [`OidcError::for_people`]; the log has the whole.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// A setting that cannot be used.
    #[error("oidc.{key}: {problem}")]
    Setting {
        /// The key in `[oidc]`.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The provider does not answer as it should.
    #[error("cannot {doing} at {url}: {problem}")]
    Fetch {
        /// What was wanted.
        doing: &'static str,
        /// Where, without query.
        url: String,
        /// What happened.
        problem: String,
    },
    /// What the provider publishes about itself cannot be used.
    #[error("the provider's {document} cannot be used: {problem}")]
    Published {
        /// Which document.
        document: &'static str,
        /// Why.
        problem: String,
    },
    /// It did not answer a moment ago.
    #[error("the provider could not be used a moment ago; the next try is made in some seconds")]
    Paused,
    /// The provider sent the browser back with an error.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// The browser came back without what it was given, or with something else.
    #[error("the answer does not belong to a sign-in that this browser began: {0}")]
    NotBegun(&'static str),
    /// The ID token is not good.
    #[error("the provider's ID token is refused: {0}")]
    Token(#[from] BadToken),
    /// The machine gives no random bytes.
    #[error("the system's random generator failed; sign-in is not possible until it works")]
    Random,
}

impl OidcError {
    /// What a person at the browser is told. What the provider said is not repeated: anybody can put text into that address.
    pub fn for_people(&self) -> &'static str {
        match self {
            OidcError::Refused(_) => "The sign-in provider did not let you in. Ask its administrator, or try once more.",
            OidcError::NotBegun(_) => "This sign-in was begun in another browser, or too long ago. Try once more.",
            OidcError::Token(_) => "The sign-in provider's answer could not be trusted. The server's log says why.",
            _ => "The sign-in provider cannot be used at the moment. The server's log says why.",
        }
    }
}

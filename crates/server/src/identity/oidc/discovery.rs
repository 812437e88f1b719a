//! The provider's discovery document: where its endpoints are. It must name the very issuer that was configured, or
//! somebody else's document would decide where secrets go.

use reqwest::{Client, Url};
use serde::Deserialize;

use super::settings::usable;
use super::{OidcError, fetch};

/// What the standard puts behind the issuer.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// Browsers are sent there.
    pub authorise: Url,
    /// Codes are exchanged there.
    pub token: Url,
    /// Public keys are there.
    pub keys: Url,
    /// The secret goes into the form instead of the Authorization header.
    pub secret_in_form: bool,
    /// The provider names itself when it sends a browser back (RFC 9207).
    pub names_itself: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Fetches and reads the document of `issuer`.
pub async fn fetch(client: &Client, issuer: &str) -> Result<Discovery, OidcError> {
    let url = usable(&format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/')))
        .map_err(|problem| OidcError::Setting { key: "issuer", problem })?;
    read(&fetch::get(client, &url, "read the discovery document").await?, issuer)
}

/// Reads a discovery document that must be of `issuer`.
pub fn read(json: &[u8], issuer: &str) -> Result<Discovery, OidcError> {
    let unusable = |problem: String| OidcError::Published { document: "discovery document", problem };
    let document: Document = serde_json::from_slice(json).map_err(|e| unusable(e.to_string()))?;
    if document.issuer != issuer {
        let named: String = document.issuer.chars().take(200).collect();
        return Err(unusable(format!("it is of the issuer {named:?} and not of {issuer:?}: set oidc.issuer to what it says")));
    }
    let methods = document.code_challenge_methods_supported;
    if methods.is_some_and(|methods| !methods.iter().any(|m| m == "S256")) {
        return Err(unusable("the provider does not take PKCE with S256".to_owned()));
    }
    let is_plain = issuer.starts_with("http:");
    let endpoint = |name: &str, text: &str| match usable(text) {
        Ok(url) if url.scheme() == "https" || is_plain => Ok(url),
        Ok(_) => Err(unusable(format!("{name} is not https"))),
        Err(problem) => Err(unusable(format!("{name}: {problem}"))),
    };
    let methods = &document.token_endpoint_auth_methods_supported;
    let takes = |method: &str| methods.iter().any(|m| m == method);
    Ok(Discovery {
        authorise: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
        token: endpoint("token_endpoint", &document.token_endpoint)?,
        keys: endpoint("jwks_uri", &document.jwks_uri)?,
        // An absent list means `client_secret_basic`.
        secret_in_form: takes("client_secret_post") && !takes("client_secret_basic"),
        names_itself: document.authorization_response_iss_parameter_supported,
    })
}

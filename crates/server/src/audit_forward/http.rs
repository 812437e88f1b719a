//! HTTP: batches of JSON lines with POST. Any 2xx confirms the whole batch; anything else sends it again.

use std::path::{Path, PathBuf};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};

use crate::identity::oidc::fetch;

/// What is sent.
const JSON_LINES: &str = "application/x-ndjson";
/// Longest token, bytes.
const TOKEN_MAX_BYTES: usize = 8192;

/// A receiver.
pub(super) struct Http {
    client: Client,
    url: Url,
    token_file: Option<PathBuf>,
}

impl Http {
    pub(super) fn new(url: Url, token_file: Option<PathBuf>, ca_file: Option<&Path>) -> Result<Http, String> {
        let client = fetch::client(ca_file).map_err(|e| e.to_string())?;
        Ok(Http { client, url, token_file })
    }

    pub(super) async fn send(&self, lines: &[Vec<u8>]) -> Result<(), String> {
        let mut request = self.client.post(self.url.clone()).header(CONTENT_TYPE, JSON_LINES).body(lines.concat());
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, authorization(path)?);
        }
        let answer = request.send().await.map_err(|e| crate::rest::error::chain(&e.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

/// Read for each batch: a token that is changed needs no restart.
fn authorization(path: &Path) -> Result<HeaderValue, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let token = text.trim();
    if token.is_empty() || token.len() > TOKEN_MAX_BYTES {
        return Err(format!("{} holds no token", path.display()));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| format!("the token in {} has characters that no header may have", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

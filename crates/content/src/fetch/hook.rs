//! One question to an address that an operator named: a POST with a JSON body, answered within a bounded time. Redirects
//! are not followed, and of the answer only a short beginning is read.

use std::time::Duration;

use reqwest::Url;
use tokio::time::timeout;

use super::request::Limits;
use super::{UpstreamAccess, tls};

/// Bytes of an answer that are kept for people.
const ANSWER_MAX_BYTES: usize = 512;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookAnswer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of the body, on one line.
    pub text: String,
}

/// Asks `url`. All of it, name look-up and TLS included, takes at most `within`.
///
/// # Errors
/// For people: what kept it from being asked.
pub async fn ask_hook(url: &str, json: String, within: Duration) -> Result<HookAnswer, String> {
    let url: Url = url.parse().map_err(|_| "the address is no URL".to_owned())?;
    let client = tls::client(&UpstreamAccess::default(), &Limits::default()).map_err(|e| e.to_string())?;
    let asked = async {
        let request = client.post(url).header(reqwest::header::CONTENT_TYPE, "application/json").body(json);
        let mut response = request.send().await.map_err(|e| format!("cannot be asked: {}", e.without_url()))?;
        let mut body = Vec::new();
        while body.len() < ANSWER_MAX_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_MAX_BYTES - body.len())]);
        }
        let text: String = String::from_utf8_lossy(&body).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Ok(HookAnswer { status: response.status().as_u16(), text: text.trim().to_owned() })
    };
    timeout(within, asked).await.unwrap_or_else(|_| Err(format!("gave no answer within {} seconds", within.as_secs())))
}

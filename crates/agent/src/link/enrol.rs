//! One enrolment call. Repeating it is harmless: the key stays the same, and by it the server knows the request.

use std::time::Duration;

use drydock_api::agent::v1::enrol_response::State as Wire;
use drydock_api::agent::v1::{EnrolRequest, EnrolResponse};
use drydock_domain::ids::InstanceId;
use drydock_domain::inventory::OsFacts;

use super::channel::{ConnectError, Target, chain, connect, timed};

/// The server's pause between two calls is kept within these bounds, seconds.
const RETRY_SECS: std::ops::RangeInclusive<u64> = 1..=300;

/// What the server answered.
#[derive(Debug)]
pub enum Answer {
    /// We are a managed instance.
    Active {
        /// Which.
        instance: InstanceId,
        /// Certificate, CA and work key.
        response: EnrolResponse,
    },
    /// A person must accept.
    Pending {
        /// The instance's id, already fixed.
        instance: String,
        /// Why.
        message: String,
        /// When to ask again.
        retry: Duration,
    },
}

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server says no, for good.
    #[error("the server refuses the enrolment: {0}")]
    Refused(String),
    /// The server cannot answer now.
    #[error("the server cannot enrol hosts now: {0}")]
    Later(String),
    /// The answer makes no sense.
    #[error("the server's answer cannot be used: {0}")]
    Answer(String),
}

impl EnrolError {
    /// Would asking again later help?
    pub fn is_final(&self) -> bool {
        match self {
            EnrolError::Refused(_) | EnrolError::Answer(_) => true,
            EnrolError::Connect(e) => matches!(e, ConnectError::Tls { .. } | ConnectError::Name(_)),
            EnrolError::Later(_) => false,
        }
    }
}

/// Asks once.
pub async fn ask(target: &Target, token: &str, csr_der: Vec<u8>, facts: &OsFacts) -> Result<Answer, EnrolError> {
    let mut client = connect(target).await?;
    let request = EnrolRequest {
        token: token.to_owned(),
        csr_der,
        machine_id: facts.machine_id.clone(),
        hostname: facts.hostname.clone(),
        os_facts: serde_json::to_vec(facts).map_err(|e| EnrolError::Answer(e.to_string()))?,
    };
    let response = client.enrol(timed(request)).await.map_err(|status| judge(&status))?.into_inner();
    match response.state() {
        Wire::Active => {
            let instance = response.instance_id.parse().map_err(|e| EnrolError::Answer(format!("{e}")))?;
            Ok(Answer::Active { instance, response })
        }
        Wire::Pending => Ok(Answer::Pending {
            instance: response.instance_id,
            message: response.message,
            retry: Duration::from_secs(u64::from(response.retry_after_secs).clamp(*RETRY_SECS.start(), *RETRY_SECS.end())),
        }),
        Wire::Unspecified => Err(EnrolError::Answer("it names no state".to_owned())),
    }
}

fn judge(status: &tonic::Status) -> EnrolError {
    use tonic::Code;
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Internal
        | Code::Unknown
        | Code::ResourceExhausted => EnrolError::Later(told(status)),
        _ => EnrolError::Refused(told(status)),
    }
}

/// A status for people.
pub fn told(status: &tonic::Status) -> String {
    if status.message().is_empty() { chain(status) } else { status.message().to_owned() }
}

//! The stream an agent holds open: hints, heartbeats, and its end at revocation, at the certificate's end and when the
//! daemon goes down.

use std::pin::Pin;
use std::time::Duration;

use drydock_api::agent::v1::{AttachRequest, Hint};
use drydock_control::Attachment;
use futures::Stream;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Code, Request, Status};

use super::{Link, info_of, session};
use crate::pki::PeerCertificate;
use crate::shutdown::Shutdown;

/// Hints until the stream is cut.
pub type HintStream = Pin<Box<dyn Stream<Item = Result<Hint, Status>> + Send>>;

struct Open {
    link: Link,
    certificate: PeerCertificate,
    request_id: String,
    attachment: Attachment,
    heartbeat: Interval,
    shutdown: Shutdown,
    began: bool,
}

/// Opens the stream. Checked before and after it is registered: a revocation in between is not missed.
pub(super) async fn open(link: &Link, request: &Request<AttachRequest>) -> Result<HintStream, Status> {
    let opened = link.session(request).await?;
    let certificate = session::certificate(request)?;
    let attachment = link.state.control.hub().attach(opened.instance);
    link.check(&certificate, &opened.ctx.request_id).await?;
    link.state.control.touch(opened.instance);
    let heartbeat_secs = link.state.settings.heartbeat_secs;
    let period = Duration::from_secs(u64::from(heartbeat_secs));
    let mut heartbeat = tokio::time::interval_at(Instant::now() + period, period);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let open = Open {
        link: link.clone(),
        certificate,
        request_id: info_of(request).id,
        attachment,
        heartbeat,
        shutdown: link.state.shutdown.clone(),
        began: false,
    };
    Ok(Box::pin(futures::stream::unfold(Some(open), move |open| async move {
        let mut open = open?;
        match open.next().await {
            Ok(look) => Some((Ok(Hint { heartbeat_secs, look }), Some(open))),
            Err(end) => Some((Err(end), None)),
        }
    })))
}

impl Open {
    /// The next hint: `true` = look, `false` = a sign of life.
    async fn next(&mut self) -> Result<bool, Status> {
        if !self.began {
            // Whatever happened while the agent was away: look.
            self.began = true;
            return Ok(true);
        }
        let look = tokio::select! {
            biased;
            () = self.shutdown.begun() => return Err(Status::unavailable("the server is going down; connect again")),
            hint = self.attachment.next() => {
                if hint.is_none() {
                    return Err(self.why_cut().await);
                }
                true
            }
            _ = self.heartbeat.tick() => false,
        };
        // The store may be down for a moment; only a clear no ends the stream.
        if !look
            && let Err(status) = self.link.check(&self.certificate, &self.request_id).await
            && status.code() != Code::Unavailable
        {
            return Err(status);
        }
        self.link.state.control.touch(self.certificate.instance);
        Ok(look)
    }

    /// Revoked, deleted — or only replaced by a newer stream of the same agent.
    async fn why_cut(&self) -> Status {
        match self.link.check(&self.certificate, &self.request_id).await {
            Err(status) => status,
            Ok(_) => Status::aborted("a newer stream of this agent took over"),
        }
    }
}

//! The link's part: asks for the document and the content certificate, keeps both, tells the server how far the host
//! is. Failures are logged and tried again at the next look: patching must not wait for sources.

use std::sync::mpsc::Sender;

use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use drydock_api::agent::v1::{IssueContentCertificateRequest, PullSourcesRequest, ReportSourcesRequest};
use drydock_domain::source::host::{HostSources, HostSourcesReport, HostSourcesState};
use jiff::Timestamp;
use tonic::transport::Channel;

use super::certificate::{self, ContentCertificate};
use super::document::{self, Taker};
use super::render::finding;
use super::site::Files;
use super::worker::Ask;
use crate::identity::Identity;
use crate::link::channel::{chain, timed};
use crate::link::enrol::told;
use crate::paths::Paths;

/// One look at the server.
pub struct Pull<'a> {
    /// Places.
    pub paths: &'a Paths,
    /// Who we are.
    pub identity: &'a Identity,
    /// The session's client.
    pub client: AgentLinkClient<Channel>,
    /// The thread that applies.
    pub asks: &'a Sender<Ask>,
}

impl Pull<'_> {
    /// Document, certificate, report.
    pub async fn run(mut self) {
        let files = Files::of(self.paths);
        if let Err(e) = files.make() {
            tracing::error!("cannot create {}: {e}", self.paths.sources().display());
            return;
        }
        let document = self.document(&files).await;
        let certificate = self.certificate(&files).await;
        if document || certificate {
            // The thread is gone only when the agent ends.
            let _ = self.asks.send(Ask::Apply);
        }
        self.report(&files).await;
    }

    /// The kept document; one of an earlier enrolment counts nothing.
    fn held(&self, files: &Files) -> Option<HostSources> {
        let own = self.identity.instance.instance_id;
        document::load(&files.document()).ok().flatten().filter(|d| d.instance == own)
    }

    /// True when a new document was kept.
    async fn document(&mut self, files: &Files) -> bool {
        let held = self.held(files).map_or(0, |d| d.generation);
        let response = match self.client.pull_sources(timed(PullSourcesRequest { generation: held })).await {
            Ok(response) => response.into_inner(),
            // A server of before.
            Err(status) if status.code() == tonic::Code::Unimplemented => return false,
            Err(status) => {
                tracing::warn!("the sources of this host could not be asked for: {}", told(&status));
                return false;
            }
        };
        if !response.changed {
            return false;
        }
        let taker = Taker { instance: self.identity.instance.instance_id, work_key: &self.identity.work_key };
        match document::take(&files.document(), &response.document, &response.signature, &taker) {
            Ok(taken) => {
                if let Some(new) = &taken {
                    tracing::info!("sources: generation {} taken, {} sources", new.generation, new.sources.len());
                }
                taken.is_some()
            }
            Err(why) => {
                let why = chain(&why);
                tracing::error!("{why}");
                self.complain(files, held, &why);
                false
            }
        }
    }

    /// True when there is a new certificate. It is asked for once there are sources, and renewed in time.
    async fn certificate(&mut self, files: &Files) -> bool {
        let Some(document) = self.held(files) else { return false };
        if document.sources.is_empty() {
            return false;
        }
        let instance = self.identity.instance.instance_id;
        let held = ContentCertificate::load(&files.certificate(), instance);
        if held.as_ref().is_some_and(|c| !c.is_due(Timestamp::now())) {
            return false;
        }
        match self.issue(files).await {
            Ok(()) => true,
            Err(why) => {
                let why = format!("the server gives no content certificate: {why}");
                tracing::warn!("{why}");
                if held.is_none() {
                    self.complain(files, document.generation, &why);
                }
                false
            }
        }
    }

    async fn issue(&mut self, files: &Files) -> Result<(), String> {
        let (key, csr_der) = certificate::request().map_err(|e| e.to_string())?;
        let request = timed(IssueContentCertificateRequest { csr_der });
        let response = self.client.issue_content_certificate(request).await.map_err(|s| told(&s))?.into_inner();
        certificate::store(&files.certificate(), self.identity.instance.instance_id, &key, &response.certificate_pem)
    }

    fn complain(&self, files: &Files, generation: u64, why: &str) {
        let taken_over = files.outbox().newest().map(|r| r.taken_over).unwrap_or_default();
        let report = HostSourcesReport {
            generation,
            state: HostSourcesState::Failed,
            taken_over,
            findings: vec![finding("sources", why)],
        };
        if let Err(e) = files.outbox().put(report) {
            tracing::error!("{e}");
        }
    }

    /// Sends the report the server does not have yet.
    async fn report(&mut self, files: &Files) {
        let outbox = files.outbox();
        let Some(report) = outbox.due() else { return };
        let body = match serde_json::to_vec(&report) {
            Ok(body) => body,
            Err(e) => return tracing::error!("the report of the sources cannot be encoded: {e}"),
        };
        match self.client.report_sources(timed(ReportSourcesRequest { report: body })).await {
            Ok(_) => outbox.delivered(&report),
            // It will never take this one.
            Err(status) if status.code() == tonic::Code::InvalidArgument => {
                tracing::error!("the server refuses the report of the sources: {}", told(&status));
                outbox.delivered(&report);
            }
            Err(status) => tracing::warn!("the report of the sources could not be delivered: {}", told(&status)),
        }
    }
}

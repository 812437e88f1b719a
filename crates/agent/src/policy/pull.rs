//! The link's part: asks for the document, previews and checks on demand, keeps them, and tells the server how the host
//! stands. Failures are logged and tried again at the next look.

use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use drydock_api::agent::v1::{PullPoliciesRequest, PullPoliciesResponse, ReportPoliciesRequest};
use jiff::Timestamp;
use tonic::transport::Channel;

use super::document::{self, Offer, Taker};
use super::outbox::Mail;
use super::site::{self, Files};
use super::ward::Ward;
use crate::identity::Identity;
use crate::link::channel::{chain, timed};
use crate::link::enrol::told;
use crate::paths::Paths;

/// Previews taken at once, count.
const PREVIEWS_MAX: usize = 16;
/// Reports sent in a row, count: more drift waits for the next look.
const REPORTS_MAX: usize = 16;

/// One look at the server.
pub struct Pull<'a> {
    /// Places.
    pub paths: &'a Paths,
    /// Who we are.
    pub identity: &'a Identity,
    /// The session's client.
    pub client: AgentLinkClient<Channel>,
    /// Who sees that the keeper runs.
    pub ward: &'a Ward,
}

impl Pull<'_> {
    /// Document, check, previews; then the reports.
    pub async fn run(mut self) {
        let files = Files::of(self.paths);
        if let Err(e) = files.make() {
            tracing::error!("cannot create {}: {e}", self.paths.policies().display());
            return;
        }
        self.ask(&files).await;
        self.tell(&files).await;
    }

    /// Only the reports.
    pub async fn report(mut self) {
        let files = Files::of(self.paths);
        self.tell(&files).await;
    }

    async fn ask(&mut self, files: &Files) {
        let own = self.identity.instance.instance_id;
        let held = document::load(&files.document()).ok().flatten().map(|k| k.document).filter(|d| d.instance == own);
        let known = site::read_number(&files.check());
        let request = PullPoliciesRequest { generation: held.map_or(0, |d| d.generation), check: known };
        let response = match self.client.pull_policies(timed(request)).await {
            Ok(response) => response.into_inner(),
            // A server of before.
            Err(status) if status.code() == tonic::Code::Unimplemented => return,
            Err(status) => {
                tracing::warn!("the policies of this host could not be asked for: {}", told(&status));
                return;
            }
        };
        let news = self.document(files, &response) | self.check(files, known, response.check) | self.previews(files, &response);
        if news {
            self.ward.look();
        }
    }

    fn taker(&self) -> Taker<'_> {
        Taker { instance: self.identity.instance.instance_id, work_key: &self.identity.work_key }
    }

    /// True when a new document was kept.
    fn document(&self, files: &Files, response: &PullPoliciesResponse) -> bool {
        if !response.changed {
            return false;
        }
        let offer = Offer { document: &response.document, signature: &response.signature, secrets: &response.secrets };
        let mail = Mail::new(files, self.identity.instance.instance_id);
        match document::take(&files.document(), offer, self.taker()) {
            Ok(taken) => {
                mail.refused("");
                if let Some(new) = &taken {
                    tracing::info!("policies: generation {} taken, {} policies", new.generation, new.policies.len());
                }
                taken.is_some()
            }
            Err(why) => {
                let why = chain(&why);
                tracing::error!("{why}");
                mail.refused(&why);
                false
            }
        }
    }

    fn check(&self, files: &Files, known: u64, asked: u64) -> bool {
        if asked <= known {
            return false;
        }
        match site::write_number(&files.check(), asked) {
            Ok(()) => true,
            Err(e) => {
                tracing::error!("a check of the policies is asked for, but {} cannot be written: {e}", files.check().display());
                false
            }
        }
    }

    fn previews(&self, files: &Files, response: &PullPoliciesResponse) -> bool {
        let mut any = false;
        for signed in response.previews.iter().take(PREVIEWS_MAX) {
            let offer = Offer { document: &signed.document, signature: &signed.signature, secrets: &signed.secrets };
            // Looked at already; its result is on its way.
            let done = |id: &str| files.preview_result(id).exists();
            match document::take_preview(|id| files.preview(id), done, offer, self.taker()) {
                Ok(new) => any |= new,
                Err(why) => tracing::error!("a preview of policies was refused: {}", chain(&why)),
            }
        }
        any
    }

    /// Sends the reports the server does not have yet.
    async fn tell(&mut self, files: &Files) {
        let mail = Mail::new(files, self.identity.instance.instance_id);
        for _ in 0..REPORTS_MAX {
            let Some(report) = mail.due(Timestamp::now()) else { return };
            let body = match serde_json::to_vec(&report) {
                Ok(body) => body,
                Err(e) => return tracing::error!("the report of the policies cannot be encoded: {e}"),
            };
            match self.client.report_policies(timed(ReportPoliciesRequest { report: body })).await {
                Ok(answer) if answer.get_ref().stored => mail.delivered(&report),
                Ok(_) => return,
                // It will never take this one.
                Err(status) if matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::NotFound) => {
                    tracing::error!("the server refuses the report of the policies: {}", told(&status));
                    mail.delivered(&report);
                }
                Err(status) if status.code() == tonic::Code::Unimplemented => return,
                Err(status) => {
                    tracing::warn!("the report of the policies could not be delivered: {}", told(&status));
                    return;
                }
            }
        }
    }
}

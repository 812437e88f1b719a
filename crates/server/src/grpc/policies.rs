//! The policies of a host: its document, the previews it is asked for, and its answers.

use drydock_api::agent::v1::{
    PullPoliciesRequest, PullPoliciesResponse, ReportPoliciesRequest, ReportPoliciesResponse, SignedPolicies as Signed,
};
use drydock_control::SignedPolicies;
use tonic::{Request, Status};

use super::{Link, status_of};

pub(super) async fn pull(link: &Link, request: Request<PullPoliciesRequest>) -> Result<PullPoliciesResponse, Status> {
    let session = link.session(&request).await?;
    let PullPoliciesRequest { generation, check } = request.into_inner();
    let pulled = link.state.control.pull_policies(&session.ctx, generation, check).await;
    let pulled = pulled.map_err(|e| status_of(&e, &session.ctx.request_id))?;
    let previews = pulled.previews.into_iter().map(signed).collect();
    let answer = PullPoliciesResponse { check: pulled.check, previews, ..PullPoliciesResponse::default() };
    Ok(match pulled.changed.map(signed) {
        None => answer,
        Some(Signed { document, signature, secrets }) => {
            PullPoliciesResponse { changed: true, document, signature, secrets, ..answer }
        }
    })
}

fn signed(policies: SignedPolicies) -> Signed {
    Signed { document: policies.document, signature: policies.signature, secrets: policies.secrets.expose().as_bytes().to_vec() }
}

pub(super) async fn report(link: &Link, request: Request<ReportPoliciesRequest>) -> Result<ReportPoliciesResponse, Status> {
    let session = link.session(&request).await?;
    let stored = link.state.control.report_policies(&session.ctx, &request.into_inner().report).await;
    let stored = stored.map_err(|e| status_of(&e, &session.ctx.request_id))?;
    Ok(ReportPoliciesResponse { stored })
}

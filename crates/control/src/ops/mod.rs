//! Operations (signatures only at this commit; bodies follow).
#![allow(unused_variables, missing_docs)]
use crate::*;
use drydock_domain::{access::Role, enrolment::ProfileSpec, ids::*, inventory::SectionKind, patch::spec::PatchJobSpec};
use drydock_store::records::*;
use jiff::Timestamp;
fn later<T>() -> Result<T> {
    Err(Error::Unavailable { message: "this operation is not built yet", source: None })
}
impl Control {
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal> {
        later()
    }
    pub async fn whoami(&self, ctx: &OpCtx) -> Result<WhoAmI> {
        later()
    }
    pub async fn create_access_token(
        &self,
        ctx: &OpCtx,
        name: &str,
        role: Role,
        expires_at: Option<Timestamp>,
    ) -> Result<(AccessTokenRecord, Secret)> {
        later()
    }
    pub async fn list_access_tokens(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<AccessTokenRecord>> {
        later()
    }
    pub async fn revoke_access_token(&self, ctx: &OpCtx, id: AccessTokenId) -> Result<AccessTokenRecord> {
        later()
    }
    pub async fn bootstrap_admin_token(&self, name: &str, role: Role) -> Result<(AccessTokenRecord, Secret)> {
        later()
    }
    pub async fn create_profile(&self, ctx: &OpCtx, spec: ProfileSpec) -> Result<(ProfileRecord, Secret)> {
        later()
    }
    pub async fn list_profiles(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<ProfileRecord>> {
        later()
    }
    pub async fn get_profile(&self, ctx: &OpCtx, id: ProfileId) -> Result<ProfileRecord> {
        later()
    }
    pub async fn revoke_profile(&self, ctx: &OpCtx, id: ProfileId) -> Result<ProfileRecord> {
        later()
    }
    pub async fn list_instances(&self, ctx: &OpCtx, q: &InstanceQuery) -> Result<Paged<InstanceView>> {
        later()
    }
    pub async fn get_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        later()
    }
    pub async fn edit_instance(
        &self,
        ctx: &OpCtx,
        id_or_name: &str,
        edit: InstanceEdit,
        if_match: Option<&str>,
    ) -> Result<InstanceView> {
        later()
    }
    pub async fn accept_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        later()
    }
    pub async fn reject_instance(&self, ctx: &OpCtx, id_or_name: &str, reason: &str) -> Result<InstanceView> {
        later()
    }
    pub async fn revoke_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<InstanceView> {
        later()
    }
    pub async fn delete_instance(&self, ctx: &OpCtx, id_or_name: &str) -> Result<()> {
        later()
    }
    pub async fn instance_packages(&self, ctx: &OpCtx, id_or_name: &str, name_contains: &str) -> Result<PackagesView> {
        later()
    }
    pub async fn instance_updates(&self, ctx: &OpCtx, id_or_name: &str) -> Result<UpdatesView> {
        later()
    }
    pub async fn instance_history(&self, ctx: &OpCtx, id_or_name: &str, page: &PageQuery) -> Result<Paged<HistoryRecord>> {
        later()
    }
    pub async fn instance_tasks(&self, ctx: &OpCtx, id_or_name: &str, page: &PageQuery) -> Result<Paged<TaskRecord>> {
        later()
    }
    pub async fn create_patch_job(&self, ctx: &OpCtx, spec: PatchJobSpec, idempotency_key: Option<&str>) -> Result<JobView> {
        later()
    }
    pub async fn list_patch_jobs(&self, ctx: &OpCtx, q: &JobQuery) -> Result<Paged<JobView>> {
        later()
    }
    pub async fn get_patch_job(&self, ctx: &OpCtx, id: JobId) -> Result<JobView> {
        later()
    }
    pub async fn cancel_patch_job(&self, ctx: &OpCtx, id: JobId, kill: bool) -> Result<JobView> {
        later()
    }
    pub async fn list_tasks(&self, ctx: &OpCtx, job: JobId, q: &TaskQuery) -> Result<Paged<TaskRecord>> {
        later()
    }
    pub async fn get_task(&self, ctx: &OpCtx, job: JobId, task: TaskId) -> Result<TaskDetail> {
        later()
    }
    pub async fn list_audit(&self, ctx: &OpCtx, page: &PageQuery) -> Result<Paged<AuditRecord>> {
        later()
    }
    pub async fn overview(&self, ctx: &OpCtx) -> Result<FleetCounts> {
        later()
    }
    pub async fn enrol(&self, request_id: &str, ask: EnrolAsk) -> Result<Enrolled> {
        later()
    }
    pub async fn agent_session(&self, instance: InstanceId, spki_sha256: &str, request_id: &str) -> Result<OpCtx> {
        later()
    }
    pub async fn record_certificate(
        &self,
        instance: InstanceId,
        spki_sha256: &str,
        serial: &str,
        not_after: Timestamp,
    ) -> Result<()> {
        later()
    }
    pub async fn unregister(&self, ctx: &OpCtx) -> Result<()> {
        later()
    }
    pub async fn report_inventory(&self, ctx: &OpCtx, sections: Vec<SectionIn>) -> Result<Vec<SectionKind>> {
        later()
    }
    pub async fn pull_work(&self, ctx: &OpCtx, held: &[TaskId]) -> Result<Pulled> {
        later()
    }
    pub async fn report_task(&self, ctx: &OpCtx, report: &[u8]) -> Result<Reported> {
        later()
    }
    pub async fn refuse_order(&self, ctx: &OpCtx, task: Option<TaskId>, reason: &str) -> Result<()> {
        later()
    }
}

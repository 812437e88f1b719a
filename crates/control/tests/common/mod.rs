//! A whole control in one process: SQLite in a temporary directory, a clock that tests set, hosts that are structs.

#![allow(dead_code, missing_docs)]

pub mod alma;
pub mod policy;
pub mod sources;
pub mod teams;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use drydock_control::content::Content;
use drydock_control::content::openpgp::RepositoryKeys;
use drydock_control::records::*;
use drydock_control::store::audit::AuditQuery;
use drydock_control::store::{Location, Store};
use drydock_control::*;
use drydock_domain::access::Role;
use drydock_domain::audit::Record;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::{InstanceId, JobId, TaskId};
use drydock_domain::inventory::{ManagerKind, OsFacts, fingerprint};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::{Directive, WorkOrder, signed_bytes};
use jiff::Timestamp;

/// Where the tests' time begins.
pub const START: i64 = 1_800_000_000;

/// A clock that goes on only when told.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::SeqCst)).expect("in range")
    }
}

/// Where the picture of the fleet is kept in a world's directory.
pub const PICTURE: &str = "fleet-picture";

pub struct World {
    pub control: Control,
    pub clock: TestClock,
    pkcs8: Vec<u8>,
    pub dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = TestClock(Arc::new(AtomicI64::new(START * 1000)));
        let (_, pkcs8) = WorkKey::generate().expect("a key");
        let control = open(dir.path(), &clock, &pkcs8).await;
        World { control, clock, pkcs8, dir }
    }

    /// Kills the server without a word and starts it again on the same files.
    pub async fn restart(&mut self) {
        self.control = open(self.dir.path(), &self.clock, &self.pkcs8).await;
    }

    /// Another server on the same files and the same clock.
    pub async fn second(&self) -> Control {
        open(self.dir.path(), &self.clock, &self.pkcs8).await
    }

    /// How often each content job was claimed.
    pub async fn attempts(&self) -> Vec<u32> {
        use drydock_control::store::content_jobs;
        let location = Location::Sqlite(self.dir.path().join("drydock.sqlite"));
        let mut c = Store::open(&location).await.expect("a store").read().await.expect("a reader");
        let all = content_jobs::list(&mut c, &Default::default(), &drydock_domain::access::Scope::Everywhere)
            .await
            .expect("jobs")
            .items;
        all.into_iter().filter(|j| j.source.is_some()).map(|j| j.attempts).collect()
    }

    pub fn pass(&self, secs: i64) {
        self.clock.0.fetch_add(secs * 1000, Ordering::SeqCst);
    }

    /// A little time goes by, as it does between two requests.
    pub fn tick(&self) {
        self.clock.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn server(&self) -> OpCtx {
        self.tick();
        self.control.ctx(Principal::Server, "test")
    }

    pub async fn person(&self, role: Role) -> OpCtx {
        let (_, secret) = self.control.bootstrap_admin_token(role.as_str(), role).await.expect("a token");
        let who = self.control.authenticate(secret.expose()).await.expect("known");
        self.control.ctx(who, "req-1")
    }

    /// Turns of the reconcilers until nothing more changes by itself (bounded: lookup, admission, end).
    pub async fn settle(&self) {
        for _ in 0..4 {
            self.tick();
            let failed = reconcile::turn(&self.control).await;
            assert!(failed.is_empty(), "{failed:?}");
        }
    }

    pub async fn profile(&self, spec: ProfileSpec) -> Secret {
        self.control.create_profile(&self.server(), spec).await.expect("a profile").1
    }

    /// Enrols active hosts `h1`, `h2` … that have spoken.
    pub async fn hosts(&self, n: usize) -> Vec<Host> {
        let token = self.profile(auto_accept()).await;
        let mut hosts = Vec::new();
        for i in 1..=n {
            let ask = ask(&token, &format!("h{i}"), &format!("m{i}"));
            let key = ask.spki_sha256.clone();
            let enrolled = self.control.enrol("req", ask).await.expect("enrolled");
            let host = Host { id: enrolled.instance, name: enrolled.name, key };
            host.ctx(self).await;
            hosts.push(host);
        }
        hosts
    }

    pub async fn job(&self, json: &str) -> JobId {
        let spec: PatchJobSpec = serde_json::from_str(json).expect("a spec");
        self.control.create_patch_job(&self.server(), spec, None).await.expect("a job").record.id
    }

    pub async fn view(&self, job: JobId) -> JobView {
        self.control.get_patch_job(&self.server(), job).await.expect("the job")
    }

    pub async fn tasks(&self, job: JobId) -> Vec<TaskRecord> {
        self.control.list_tasks(&self.server(), job, &TaskQuery::default()).await.expect("tasks").items
    }

    pub async fn states(&self, job: JobId) -> Vec<&'static str> {
        self.tasks(job).await.into_iter().map(|t| t.state.as_str()).collect()
    }

    /// What is recorded, newest first.
    pub async fn audit(&self) -> Vec<Record<'static>> {
        let page = PageQuery { cursor: None, limit: Some(1000) };
        let query = AuditQuery { page, ..AuditQuery::default() };
        let items = self.control.list_audit(&self.server(), &query).await.expect("audit").items;
        items.into_iter().map(|r| r.record).collect()
    }
}

async fn open(dir: &Path, clock: &TestClock, pkcs8: &[u8]) -> Control {
    let store = Store::open(&Location::Sqlite(dir.join("drydock.sqlite"))).await.expect("a store");
    let key = WorkKey::from_pkcs8(pkcs8).expect("a key");
    let content = Content::open(&dir.join("content")).expect("content");
    let keys = RepositoryKeys::load_or_create(&dir.join("repository-keys"), clock.now()).expect("repository keys");
    Control::new(store, Config::default(), key, Arc::new(clock.clone()))
        .with_content(content, keys)
        .with_secret_key(SecretKey::from_bytes(&[7; SECRET_KEY_BYTES]).expect("a key"))
        .with_picture_file(PictureFile { path: dir.join(PICTURE), build: "test".to_owned() })
}

pub fn auto_accept() -> ProfileSpec {
    serde_json::from_str(r#"{"displayName":"test","autoAccept":true,"labels":{"env":"test"},"zone":"z1"}"#).expect("a profile")
}

pub fn ask(token: &Secret, hostname: &str, machine_id: &str) -> EnrolAsk {
    EnrolAsk {
        token: token.clone(),
        spki_sha256: fingerprint(format!("{hostname}/{machine_id}").as_bytes()),
        machine_id: machine_id.to_owned(),
        hostname: hostname.to_owned(),
        os: OsFacts {
            hostname: hostname.to_owned(),
            boot_id: "boot-1".to_owned(),
            architecture: "x86_64".to_owned(),
            managers: vec![ManagerKind::Dnf],
            ..OsFacts::default()
        },
    }
}

/// An enrolled host.
#[derive(Clone)]
pub struct Host {
    pub id: InstanceId,
    pub name: String,
    pub key: String,
}

impl Host {
    pub async fn ctx(&self, world: &World) -> OpCtx {
        world.tick();
        world.control.agent_session(self.id, &self.key, "agent").await.expect("a session")
    }

    pub async fn pull(&self, world: &World, held: &[TaskId]) -> Pulled {
        world.control.pull_work(&self.ctx(world).await, held).await.expect("work")
    }

    /// Pulls, and checks the signature and address of the one order it must get.
    pub async fn take(&self, world: &World) -> WorkOrder {
        let pulled = self.pull(world, &[]).await;
        assert_eq!(pulled.orders.len(), 1, "{} gets one order", self.name);
        let order = verify(world, &pulled.orders[0]);
        order.accept(self.id, 0, world.control.now()).expect("acceptable");
        order
    }

    pub async fn report(&self, world: &World, task: TaskId, seq: u64, state: TaskState) -> Reported {
        self.try_report(world, &report(task, seq, state)).await.expect("taken")
    }

    pub async fn try_report(&self, world: &World, report: &TaskReport) -> Result<Reported> {
        let bytes = serde_json::to_vec(report).expect("JSON");
        world.control.report_task(&self.ctx(world).await, &bytes).await
    }
}

pub fn verify(world: &World, signed: &SignedOrder) -> WorkOrder {
    let public = world.control.work_public_key();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    key.verify(&signed_bytes(&signed.order), &signed.signature).expect("signed by the server");
    serde_json::from_slice(&signed.order).expect("an order")
}

pub fn report(task: TaskId, seq: u64, state: TaskState) -> TaskReport {
    TaskReport {
        task,
        seq,
        at: Timestamp::from_second(START).expect("in range"),
        state,
        message: format!("report {seq}"),
        steps: Vec::new(),
        plans: Vec::new(),
        packages: Vec::new(),
        modules: vec![],
        health: vec![],
        differs: vec![],
        reboots: 0,
        reboot_reasons: Vec::new(),
    }
}

pub const ALL: &str = r#"{"instanceFilter":{"all":true}}"#;

pub fn go_on(reported: Reported) -> bool {
    reported == Reported { directive: Directive::Continue, stored: true }
}

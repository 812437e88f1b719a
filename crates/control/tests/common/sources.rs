//! A yum repository on loopback, and jobs that run to their end.

use drydock_control::reconcile::Runner;
use drydock_control::*;
use drydock_domain::ids::ContentJobId;
use drydock_domain::source::environment::{EnvironmentSpec, Promotion};
use drydock_domain::source::job::ContentJobState;
use drydock_domain::source::spec::SourceSpec;
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::write_yum;

use super::{Host, World};

/// An upstream whose metadata can be replaced.
pub struct Yum {
    pub server: LoopbackServer,
    dir: tempfile::TempDir,
}

impl Yum {
    /// `names` packages, one version each.
    pub fn new(names: u32) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write_yum(dir.path(), names, 1, 0).expect("metadata");
        Yum { server: serve_dir(dir.path()).expect("a server"), dir }
    }

    /// The same packages in `versions` versions, and `extra` new ones.
    pub fn publish(&self, names: u32, versions: u32, extra: u32) {
        write_yum(self.dir.path(), names, versions, extra).expect("metadata");
    }

    pub fn spec(&self, name: &str, more: &str) -> SourceSpec {
        spec(&format!(
            r#"{{"name":"{name}","format":"rpm","origin":{{"upstream":{{"urls":["{}/"]}}}}{more}}}"#,
            self.server.url()
        ))
    }
}

pub fn spec(json: &str) -> SourceSpec {
    serde_json::from_str(json).expect("a spec")
}

pub fn promotion(json: &str) -> Promotion {
    serde_json::from_str(json).expect("a promotion")
}

impl World {
    /// A source with an upstream, synced once.
    pub async fn synced(&self, yum: &Yum, name: &str) -> SourceView {
        self.control.create_source(&self.server(), yum.spec(name, "")).await.expect("a source");
        self.sync(name).await;
        self.control.get_source(&self.server(), name).await.expect("the source")
    }

    /// Syncs to the end; it must succeed.
    pub async fn sync(&self, name: &str) -> ContentJobView {
        let job = self.control.sync_source(&self.server(), name).await.expect("a job").id;
        self.run_jobs().await;
        let job = self.content_job(job).await;
        assert_eq!(job.state, ContentJobState::Succeeded, "{}", job.message);
        job
    }

    pub async fn content_job(&self, id: ContentJobId) -> ContentJobView {
        self.control.get_content_job(&self.server(), id).await.expect("the job")
    }

    /// Gets the day's collection over with. Files have the real clock's times, which the test's clock is far ahead of:
    /// nothing would be young enough to be spared beside a job that another server is at.
    pub async fn collected(&self) {
        self.run_jobs().await;
    }

    /// Jobs run until none is open, and what follows from them is done.
    pub async fn run_jobs(&self) {
        let mut runner = Runner::default();
        // A turn that finds nothing to do is the last one: a job may be what another one waits for.
        let mut idle = false;
        for _ in 0..20 {
            self.tick();
            let failed = runner.turn(&self.control).await;
            assert!(failed.is_empty(), "{failed:?}");
            let before = self.open_content_jobs().await;
            runner.idle().await;
            if before == 0 && std::mem::replace(&mut idle, before == 0) {
                break;
            }
        }
        self.settle().await;
    }

    pub async fn open_content_jobs(&self) -> usize {
        let all = self.control.list_content_jobs(&self.server(), &ContentJobQuery::default()).await.expect("jobs");
        all.items.iter().filter(|j| !j.state.is_final()).count()
    }

    pub async fn environment(&self, name: &str, rank: u32) {
        let spec = EnvironmentSpec { name: name.to_owned(), description: String::new(), rank, compartment: None };
        self.control.create_environment(&self.server(), spec).await.expect("an environment");
    }

    pub async fn promote(&self, environment: &str, json: &str) -> PromotionView {
        let done = self.control.promote(&self.server(), environment, promotion(json)).await;
        let view = done.expect("promoted");
        self.settle().await;
        view
    }

    pub async fn refused(&self, environment: &str, json: &str) -> Error {
        self.control.promote(&self.server(), environment, promotion(json)).await.expect_err("refused")
    }

    pub async fn change(&self, host: &Host, change: SourcesChange) -> InstanceSourcesView {
        let done = self.control.change_instance_sources(&self.server(), &host.name, &change).await;
        let view = done.expect("changed");
        self.settle().await;
        view
    }

    pub async fn sources_of(&self, host: &Host) -> InstanceSourcesView {
        self.control.instance_sources(&self.server(), &host.name).await.expect("sources")
    }

    /// Number of the snapshot an environment is on.
    pub async fn at(&self, environment: &str, source: &str) -> Option<u64> {
        let view = self.control.get_environment(&self.server(), environment).await.expect("the environment");
        view.pointers.into_iter().find(|p| p.source == source).map(|p| p.snapshot.number)
    }
}

impl Host {
    pub fn peer(&self) -> ContentPeer {
        ContentPeer::Agent { instance: self.id, spki_sha256: self.key.clone() }
    }
}

pub fn attach(names: &[&str]) -> SourcesChange {
    SourcesChange { attach: names.iter().map(|n| (*n).to_owned()).collect(), ..SourcesChange::default() }
}

pub fn detach(names: &[&str]) -> SourcesChange {
    SourcesChange { detach: names.iter().map(|n| (*n).to_owned()).collect(), ..SourcesChange::default() }
}

pub fn into(environment: &str) -> SourcesChange {
    SourcesChange { environment: Some(environment.to_owned()), ..SourcesChange::default() }
}

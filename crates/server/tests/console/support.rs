//! A server in this process, a browser made of cookies, and hosts that talk to `control` as the agent protocol does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use drydock_control::{EnrolAsk, OpCtx, Principal, Secret, SectionBodyIn, SectionIn, TokenAsk};
use drydock_domain::access::Role;
use drydock_domain::enrolment::ProfileSpec;
use drydock_domain::ids::{InstanceId, TaskId};
use drydock_domain::instance::Labels;
use drydock_domain::inventory::{
    Health, OsFacts, Package, PackageSet, RebootReason, SectionKind, Update, UpdateKind, UpdateSet, fingerprint,
};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::policy::{HostPolicies, HostPoliciesReport};
use drydock_domain::source::host::SourcesMode;
use drydock_domain::work::WorkOrder;
use drydock_server::config::{Inputs, Settings, fragment::Fragment};
use drydock_server::{Running, Server};
use http::{Method, Request, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Everything that is waited for in these tests happens within this time.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Polls until there is a value.
pub async fn wait_until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A server with its directory.
pub struct World {
    pub running: Running,
    pub admin: String,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let inputs = Inputs::from_fragment(Fragment::default());
        let inputs = inputs.override_with(Some(dir.path().to_owned()), Some("127.0.0.1:0".to_owned()));
        let mut settings = Settings::from_inputs(inputs).expect("valid settings");
        change(&mut settings);
        let mut running = Server::start(settings).await.expect("started");
        let admin = running.admin_token.take().expect("a first run").expose().to_owned();
        World { running, admin, _dir: dir }
    }

    pub fn control(&self) -> &drydock_control::Control {
        &self.running.state.control
    }

    pub fn ctx(&self) -> OpCtx {
        self.control().ctx(Principal::Server, "test")
    }

    /// The secret of a new access token.
    pub async fn token(&self, name: &str, role: Role) -> String {
        let ask = TokenAsk { name: name.to_owned(), role: Some(role), ..TokenAsk::default() };
        let (_, secret) = self.control().create_access_token(&self.ctx(), ask).await.expect("a token");
        secret.expose().to_owned()
    }

    /// A browser that is not signed in.
    pub fn stranger(&self) -> Browser {
        Browser { router: drydock_server::console::router(self.running.state.clone()), cookies: BTreeMap::new() }
    }

    /// A browser that is signed in.
    pub async fn browser(&self, token: &str) -> Browser {
        let mut browser = self.stranger();
        let page = browser.sign_in(token).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
        browser
    }

    pub async fn admin(&self) -> Browser {
        self.browser(&self.admin).await
    }

    /// A host that asked to enrol.
    pub async fn host_with(&self, hostname: &str, machine_id: &str, auto_accept: bool) -> Host {
        let labels = Labels::from([("env".to_owned(), "prod".to_owned())]);
        let spec = ProfileSpec {
            display_name: format!("for {hostname}"),
            description: String::new(),
            expires_at: None,
            max_uses: None,
            labels,
            compartment: "/".to_owned(),
            zone: "zone-a".to_owned(),
            auto_accept,
            sources_mode: SourcesMode::default(),
            environment: None,
        };
        let (_, token) = self.control().create_profile(&self.ctx(), spec).await.expect("a profile");
        let spki = fingerprint(format!("key of {hostname} {machine_id}").as_bytes());
        let os = OsFacts {
            hostname: hostname.to_owned(),
            long_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            short_name: "debian".to_owned(),
            version: "12".to_owned(),
            kernel_release: "6.1.0-41-amd64".to_owned(),
            agent_version: "0.1.0".to_owned(),
            machine_id: machine_id.to_owned(),
            ..OsFacts::default()
        };
        let ask = EnrolAsk {
            token: Secret::new(token.expose()),
            spki_sha256: spki.clone(),
            machine_id: machine_id.to_owned(),
            hostname: hostname.to_owned(),
            os: os.clone(),
        };
        let enrolled = self.control().enrol("test", ask).await.expect("enrolled");
        Host { control: self.control().clone(), id: enrolled.instance, spki, os }
    }

    /// An active host with an inventory: a security update, a held one, a reason to reboot.
    pub async fn host(&self, hostname: &str) -> Host {
        let host = self.host_with(hostname, &fingerprint(hostname.as_bytes())[..32], true).await;
        let end = Timestamp::now().checked_add(SignedDuration::from_hours(24)).expect("in range");
        host.control.record_certificate(host.id, "r", &host.spki, "01", end).await.expect("recorded");
        host.report_inventory().await;
        host
    }
}

/// An agent, without its wire.
pub struct Host {
    pub control: drydock_control::Control,
    pub id: InstanceId,
    spki: String,
    os: OsFacts,
}

impl Host {
    async fn ctx(&self) -> OpCtx {
        self.control.agent_session(self.id, &self.spki, "test").await.expect("an active instance")
    }

    /// Packages of amd64 alone: name and version.
    pub async fn report_packages(&self, packages: &[(&str, &str)]) {
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).to_owned(),
            arch: "amd64".to_owned(),
            version: (*version).to_owned(),
            ..Package::default()
        };
        let set = PackageSet::new(packages.iter().map(package).collect());
        let body = serde_json::to_vec(&set).expect("JSON");
        let kind = SectionKind::Packages.as_str().to_owned();
        let section = SectionIn { kind, fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
        self.control.report_inventory(&self.ctx().await, vec![section]).await.expect("stored");
    }

    /// What the host's configuration says, as JSON.
    pub async fn report_rules(&self, rules: &str) {
        let (kind, body) = (SectionKind::Rules.as_str().to_owned(), rules.as_bytes().to_vec());
        let section = SectionIn { kind, fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
        self.control.report_inventory(&self.ctx().await, vec![section]).await.expect("stored");
    }

    pub async fn report_inventory(&self) {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            arch: "amd64".to_owned(),
            version: version.to_owned(),
            ..Package::default()
        };
        let update = |name: &str, kind, held: &str| Update {
            name: name.to_owned(),
            arch: "amd64".to_owned(),
            from: "3.0.17-1~deb12u2".to_owned(),
            to: "3.0.17-1~deb12u3".to_owned(),
            repository: "Debian-Security:12/stable-security".to_owned(),
            kind,
            advisories: vec!["DSA-6015-1".to_owned()],
            severity: "Important".to_owned(),
            held: held.to_owned(),
        };
        let updates = UpdateSet {
            updates: vec![
                update("openssl", UpdateKind::Security, ""),
                update("postgresql-15", UpdateKind::Bugfix, "held by apt-mark"),
            ],
            findings: vec![],
        };
        let health = Health {
            reboot_reasons: vec![RebootReason {
                source: "kernel".to_owned(),
                detail: "linux-image-6.1.0-42-amd64 is newer".to_owned(),
            }],
            stale_services: vec!["nginx.service".to_owned()],
            ..Health::default()
        };
        let packages = PackageSet::new(vec![package("openssl", "3.0.17-1~deb12u2"), package("bash", "5.2.15-2")]);
        let bodies = [
            (SectionKind::Os, serde_json::to_vec(&self.os)),
            (SectionKind::Packages, serde_json::to_vec(&packages)),
            (SectionKind::Updates, serde_json::to_vec(&updates)),
            (SectionKind::Health, serde_json::to_vec(&health)),
        ];
        let sections = bodies.into_iter().map(|(kind, body)| {
            let body = body.expect("JSON");
            SectionIn { kind: kind.as_str().to_owned(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) }
        });
        let wanted = self.control.report_inventory(&self.ctx().await, sections.collect()).await.expect("stored");
        assert!(wanted.is_empty(), "{wanted:?}");
    }

    pub fn hostname(&self) -> &str {
        &self.os.hostname
    }

    pub fn machine_id(&self) -> &str {
        &self.os.machine_id
    }

    /// Tells one section as JSON; maybe it is refused.
    pub async fn try_section(&self, kind: SectionKind, section: &Value) -> Result<(), drydock_control::Error> {
        let body = serde_json::to_vec(section).expect("JSON");
        let section =
            SectionIn { kind: kind.as_str().to_owned(), fingerprint: fingerprint(&body), body: SectionBodyIn::Full(body) };
        self.control.report_inventory(&self.ctx().await, vec![section]).await.map(drop)
    }

    /// Tells how its policies stand; was it taken?
    pub async fn try_policies(&self, report: &HostPoliciesReport) -> bool {
        let body = serde_json::to_vec(report).expect("JSON");
        self.control.report_policies(&self.ctx().await, &body).await.unwrap_or(false)
    }

    /// As [`Host::report`]; was it taken?
    pub async fn try_report(&self, task: TaskId, seq: u64, state: &str, more: Value) -> bool {
        let mut report = json!({"task": task, "seq": seq, "at": Timestamp::now().to_string(), "state": state});
        for (key, value) in more.as_object().expect("an object") {
            report[key] = value.clone();
        }
        let body = serde_json::to_vec(&report).expect("JSON");
        self.control.report_task(&self.ctx().await, &body).await.is_ok_and(|answer| answer.stored)
    }

    /// Pulls until there is an order.
    pub async fn pull(&self) -> WorkOrder {
        wait_until("an order", async || {
            let pulled = self.control.pull_work(&self.ctx().await, &[]).await.expect("pulled");
            pulled.orders.first().map(|o| serde_json::from_slice(&o.order).expect("an order"))
        })
        .await
    }

    /// The policies document it is to have, if there is one.
    pub async fn policies(&self) -> Option<HostPolicies> {
        let pulled = self.control.pull_policies(&self.ctx().await, 0, 0).await.expect("pulled");
        pulled.changed.map(|changed| serde_json::from_slice(&changed.document).expect("a document"))
    }

    /// The number of the newest check on demand.
    pub async fn policy_check(&self) -> u64 {
        self.control.pull_policies(&self.ctx().await, 0, 0).await.expect("pulled").check
    }

    /// Tells how its policies stand.
    pub async fn report_policies(&self, report: &HostPoliciesReport) {
        let body = serde_json::to_vec(report).expect("JSON");
        assert!(self.control.report_policies(&self.ctx().await, &body).await.expect("taken"));
    }

    /// Reports; `more` is merged over the fields every report has.
    pub async fn report(&self, task: TaskId, seq: u64, state: &str, more: Value) {
        let mut report = json!({"task": task, "seq": seq, "at": Timestamp::now().to_string(), "state": state});
        for (key, value) in more.as_object().expect("an object") {
            report[key] = value.clone();
        }
        let report: TaskReport = serde_json::from_value(report).expect("a report");
        let body = serde_json::to_vec(&report).expect("JSON");
        let answer = self.control.report_task(&self.ctx().await, &body).await.expect("taken");
        assert!(answer.stored);
    }
}

/// What a host tells when it has installed openssl and left postgresql alone.
pub fn finished() -> Value {
    let action = json!({"action": "UPGRADE", "name": "openssl", "arch": "amd64", "from": "3.0.17-1~deb12u2",
        "to": "3.0.17-1~deb12u3", "repository": "Debian-Security:12/stable-security", "kind": "security",
        "advisories": ["DSA-6015-1"]});
    let mut result = action.clone();
    result["outcome"] = json!("APPLIED");
    result["found"] = json!("3.0.17-1~deb12u3");
    let now = Timestamp::now().to_string();
    let step = |step: &str, message: &str, output: &str| {
        json!({"step": step, "startedAt": now, "endedAt": now, "outcome": "SUCCEEDED", "exitCode": 0, "message": message,
            "output": {"head": output}})
    };
    json!({
        "message": "1 package installed as planned",
        "plans": [{"manager": "apt", "actions": [action],
            "skipped": [{"name": "postgresql-15", "arch": "amd64", "version": "15.15-0", "reason": "held by apt-mark"}]}],
        "packages": [result],
        "health": [{"check": "unit nginx.service", "healthy": false, "detail": "is <failed>", "at": now}],
        "differs": [{"name": "openssl", "arch": "amd64", "frozen": "3.0.17-1~deb12u9", "planned": "3.0.17-1~deb12u3"}],
        "steps": [step("PLAN", "planned 1 update, skipped 1", ""), step("APPLY", "", "Setting up openssl (3.0.17-1~deb12u3) ...\n")],
    })
}

/// A browser: cookies and nothing else.
#[derive(Clone)]
pub struct Browser {
    router: Router,
    pub cookies: BTreeMap<String, String>,
}

/// An answer.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Page {
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The CSRF token of the page's first form.
    pub fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="csrf" value=""#).expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> String {
        let (_, rest) = self.body.split_once(&format!(r#"name="{name}" value=""#)).expect("the field");
        rest.split('"').next().expect("a value").to_owned()
    }

    #[track_caller]
    pub fn has(&self, text: &str) -> &Self {
        assert!(self.body.contains(text), "no {text:?} in {}", self.body);
        self
    }

    #[track_caller]
    pub fn lacks(&self, text: &str) -> &Self {
        assert!(!self.body.contains(text), "{text:?} in {}", self.body);
        self
    }
}

impl Browser {
    /// Sends a request and keeps the cookies of the answer; the body is still to be read.
    pub async fn send(&mut self, method: Method, path: &str, body: String) -> http::Response<Body> {
        let cookies: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, "text/html")
            .header(header::COOKIE, cookies.join("; "))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        for set in response.headers().get_all(header::SET_COOKIE) {
            let text = set.to_str().expect("ASCII");
            // The one that waits while the browser is at a sign-in provider comes back with a request from there.
            let same_site = if text.starts_with("__Host-drydock-oidc=") { "Lax" } else { "Strict" };
            assert!(text.contains(&format!("; Secure; HttpOnly; SameSite={same_site}")), "{text}");
            let (name, value) = text.split(';').next().and_then(|p| p.split_once('=')).expect("a cookie");
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }

    async fn read(&mut self, method: Method, path: &str, body: String) -> Page {
        let response = self.send(method, path, body).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.expect("a body");
        Page { status: parts.status, headers: parts.headers, body: String::from_utf8(bytes.to_vec()).expect("UTF-8") }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.read(Method::GET, path, String::new()).await
    }

    /// A page that must be there.
    pub async fn page(&mut self, path: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
        page
    }

    pub async fn post_raw(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let body: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
        self.read(Method::POST, path, body.join("&")).await
    }

    /// Submits a form with this session's CSRF token.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.page("/").await.csrf();
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.post_raw(path, &fields).await
    }

    pub async fn sign_in(&mut self, token: &str) -> Page {
        let form = self.get("/sign-in?next=/instances").await;
        self.post_raw("/sign-in", &[("csrf", &form.csrf()), ("token", token), ("next", "/instances")]).await
    }
}

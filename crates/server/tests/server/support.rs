//! A server in this process, people and agents that talk to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drydock_api::agent::v1::agent_link_client::AgentLinkClient;
use drydock_api::agent::v1::section_report::Body;
use drydock_api::agent::v1::{EnrolRequest, EnrolResponse, ReportTaskRequest, ReportTaskResponse, SectionReport};
use drydock_domain::host_rules::HostRules;
use drydock_domain::ids::TaskId;
use drydock_domain::inventory::{Health, OsFacts, Package, PackageSet, SectionKind, UpdateSet, fingerprint};
use drydock_domain::patch::report::TaskReport;
use drydock_domain::patch::task::TaskState;
use drydock_domain::work::WorkOrder;
use drydock_server::config::Settings;
use drydock_server::{Running, Server};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Everything that is waited for in these tests happens within this time.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Settings for a server on a free port of the loopback.
pub fn settings(data_dir: &std::path::Path) -> Settings {
    let mut settings = Settings::on_loopback(data_dir.to_owned()).expect("valid");
    settings.drain_secs = 5;
    settings
}

/// A server with its directory.
pub struct TestServer {
    pub running: Running,
    pub admin: Person,
    _dir: tempfile::TempDir,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut settings = settings(dir.path());
        change(&mut settings);
        let mut running = Server::start(settings).await.expect("started");
        let token = running.admin_token.take().expect("a first run").expose().to_owned();
        let admin = Person::new(running.addr, &running.ca_pem, &token);
        TestServer { running, admin, _dir: dir }
    }

    /// Another person with a role.
    pub async fn person(&self, role: &str) -> Person {
        let made = self.admin.post("/access-tokens", json!({"name": format!("a {role}"), "role": role})).await;
        assert_eq!(made.status, 201, "{made:?}");
        Person { token: made.body["secret"].as_str().expect("a secret").to_owned(), ..self.admin.clone() }
    }

    /// An enrolment token.
    pub async fn enrolment_token(&self, auto_accept: bool) -> String {
        let made = self.admin.post("/enrolment-profiles", json!({"displayName": "test", "autoAccept": auto_accept})).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.body["token"].as_str().expect("a token").to_owned()
    }

    /// An active agent.
    pub async fn agent(&self, hostname: &str) -> Agent {
        let token = self.enrolment_token(true).await;
        let mut agent = Agent::new(self.running.addr, &self.running.ca_pem, hostname);
        let answer = agent.enrol(&token).await.expect("enrolled");
        assert!(!answer.certificate_pem.is_empty(), "{answer:?}");
        agent
    }
}

/// Somebody with an access token.
#[derive(Clone)]
pub struct Person {
    pub client: reqwest::Client,
    pub base: String,
    pub token: String,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Person {
    pub fn new(addr: SocketAddr, ca_pem: &str, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("a certificate");
        let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(LIMIT).build().expect("a client");
        Person { client, base: format!("https://127.0.0.1:{}", addr.port()), token: token.to_owned() }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse::<reqwest::Method>().expect("a method");
        self.client.request(method, format!("{}/api/v1{path}", self.base)).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request("POST", path).json(&body)).await
    }

    pub async fn patch_job(&self, spec: Value) -> Value {
        let made = self.post("/patch-jobs", spec).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.body
    }

    /// Reads `path` until `good`.
    pub async fn wait_for(&self, path: &str, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, async || {
            let answer = self.get(path).await;
            (answer.status == 200 && good(&answer.body)).then_some(answer.body)
        })
        .await
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("a body");
    Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
}

/// Polls until there is a value.
pub async fn wait_until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An agent made of its protocol alone.
#[derive(Debug)]
pub struct Agent {
    pub addr: SocketAddr,
    pub ca_pem: String,
    pub key: rcgen::KeyPair,
    pub certificate_pem: String,
    pub instance: String,
    pub work_key: Vec<u8>,
    pub os: OsFacts,
}

pub fn csr(key: &rcgen::KeyPair) -> Vec<u8> {
    let params = rcgen::CertificateParams::new(vec!["host".to_owned()]).expect("params");
    params.serialize_request(key).expect("a request").der().to_vec()
}

impl Agent {
    pub fn new(addr: SocketAddr, ca_pem: &str, hostname: &str) -> Self {
        let os = OsFacts {
            hostname: hostname.to_owned(),
            machine_id: format!("{:0>32}", hostname.bytes().map(|b| format!("{b:02x}")).collect::<String>()),
            long_name: "Debian GNU/Linux 12".to_owned(),
            short_name: "debian".to_owned(),
            boot_id: "boot-1".to_owned(),
            ..OsFacts::default()
        };
        Agent {
            addr,
            ca_pem: ca_pem.to_owned(),
            key: rcgen::KeyPair::generate().expect("a key"),
            certificate_pem: String::new(),
            instance: String::new(),
            work_key: Vec::new(),
            os,
        }
    }

    /// A connection with the agent's certificate, or without one when it has none.
    pub async fn link(&self) -> AgentLinkClient<Channel> {
        AgentLinkClient::new(channel(self.addr, &self.ca_pem, &self.certificate_pem, &self.key).await.expect("connected"))
    }

    pub async fn enrol(&mut self, token: &str) -> Result<EnrolResponse, Status> {
        let channel = channel(self.addr, &self.ca_pem, "", &self.key).await.expect("connected");
        let request = EnrolRequest {
            token: token.to_owned(),
            csr_der: csr(&self.key),
            machine_id: self.os.machine_id.clone(),
            hostname: self.os.hostname.clone(),
            os_facts: serde_json::to_vec(&self.os).expect("JSON"),
        };
        let answer = AgentLinkClient::new(channel).enrol(request).await?.into_inner();
        self.instance.clone_from(&answer.instance_id);
        self.certificate_pem.clone_from(&answer.certificate_pem);
        self.work_key.clone_from(&answer.work_key);
        Ok(answer)
    }

    /// The sections of a small inventory.
    pub fn sections(&self, packages: &[(&str, &str)]) -> Vec<SectionReport> {
        let package = |(name, version): &(&str, &str)| Package {
            name: (*name).to_owned(),
            arch: "amd64".to_owned(),
            version: (*version).to_owned(),
            ..Package::default()
        };
        let set = PackageSet::new(packages.iter().map(package).collect());
        let json = |kind: SectionKind| match kind {
            SectionKind::Os => serde_json::to_vec(&self.os),
            SectionKind::Packages => serde_json::to_vec(&set),
            SectionKind::Updates => serde_json::to_vec(&UpdateSet::default()),
            SectionKind::Health => serde_json::to_vec(&Health::default()),
            SectionKind::Rules => serde_json::to_vec(&HostRules::default()),
        };
        SectionKind::ALL
            .into_iter()
            .map(|kind| {
                let body = json(kind).expect("JSON");
                let kind = kind.as_str().to_owned();
                SectionReport { kind, fingerprint: fingerprint(&body), body: Some(Body::Full(body)) }
            })
            .collect()
    }

    /// Verifies an order as an agent does.
    pub fn verify(&self, order: &drydock_api::agent::v1::SignedOrder) -> WorkOrder {
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &self.work_key);
        key.verify(&drydock_api::agent::signed_bytes(&order.order), &order.signature).expect("signed by the work key");
        let order: WorkOrder = serde_json::from_slice(&order.order).expect("an order");
        assert_eq!(order.instance.to_string(), self.instance);
        order
    }

    /// Pulls until there is an order.
    pub async fn pull_one(&self) -> WorkOrder {
        let link = self.link().await;
        wait_until("an order", async || {
            let pulled = link.clone().pull_work(Request::new(Default::default())).await.expect("pulled").into_inner();
            pulled.orders.first().map(|o| self.verify(o))
        })
        .await
    }

    pub async fn report(&self, task: TaskId, seq: u64, state: TaskState) -> Result<ReportTaskResponse, Status> {
        let report = TaskReport {
            task,
            seq,
            at: Timestamp::now(),
            state,
            message: format!("report {seq}"),
            steps: vec![],
            plans: vec![],
            packages: vec![],
            modules: vec![],
            health: vec![],
            differs: vec![],
            reboots: 0,
            reboot_reasons: vec![],
        };
        let report = serde_json::to_vec(&report).expect("JSON");
        Ok(self.link().await.report_task(ReportTaskRequest { report }).await?.into_inner())
    }
}

/// A TLS connection pinned to `ca_pem`, with a client certificate unless it is empty.
pub async fn channel(
    addr: SocketAddr,
    ca_pem: &str,
    certificate_pem: &str,
    key: &rcgen::KeyPair,
) -> Result<Channel, tonic::transport::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = if certificate_pem.is_empty() {
        builder.with_no_client_auth()
    } else {
        let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes()).map(|c| c.expect("a certificate")).collect();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key");
        builder.with_client_auth_cert(chain, key).expect("a certificate with its key")
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let connector = tower::service_fn(move |_: http::Uri| {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
        async move {
            let tcp = tokio::net::TcpStream::connect(addr).await?;
            let name = ServerName::try_from("127.0.0.1").expect("a name");
            connector.connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("https://127.0.0.1").connect_with_connector(connector).await
}

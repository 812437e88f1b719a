//! Software sources from the upstream to a host: a real repository is synced through REST and read over TLS as package
//! managers read it.

use std::path::{Path, PathBuf};

use drydock_api::agent::v1::{IssueContentCertificateRequest, PullSourcesRequest, PullWorkRequest, ReportSourcesRequest};
use drydock_domain::inventory::ManagerKind;
use drydock_domain::source::host::{HostSources, HostSourcesReport, HostSourcesState, signed_bytes};
use drydock_server::Server;
use drydock_server::backup::{self, Portion};
use drydock_server::files::DataDir;
use drydock_testkit::serve::{LoopbackServer, serve_dir};
use drydock_testkit::upstream::{DebPackage, PackageFile, RpmPackage, RpmRepository, cached};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Agent, Answer, LIMIT, Person, TestServer, answer, channel, csr};

/// A file large enough for ranges: 300 KiB that do not compress away.
fn payload() -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300 * 1024).map(|_| next()).collect()
}

/// A yum repository with `dd-app` in this version, and the same `dd-lib` in all of them.
fn repository(version: &'static str) -> PathBuf {
    let build = |dir: &Path| {
        let mut app = RpmPackage::new("dd-app", version);
        app.files = vec![PackageFile::new("/usr/share/dd-app/payload", payload())];
        let mut packages = vec![app];
        const LIB: &str = "dd-lib-1.0-1.noarch.rpm";
        if version == "1.0" {
            packages.push(RpmPackage::new("dd-lib", "1.0"));
        } else {
            std::fs::create_dir_all(dir)?;
            std::fs::copy(repository("1.0").join(LIB), dir.join(LIB))?;
        }
        RpmRepository { packages, advisories: vec![] }.build(dir)
    };
    cached("server-content", &format!("dd-app {version}, one dd-lib 1.0"), build).expect("built")
}

fn copy_over(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_over(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// A server with a synced source `app`, attached to a host.
struct World {
    server: TestServer,
    host: Agent,
    upstream: LoopbackServer,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        copy_over(&repository("1.0"), &dir.path().join("up"));
        let upstream = serve_dir(&dir.path().join("up")).expect("serves");
        let server = TestServer::start().await;
        let spec = json!({"name": "app", "format": "rpm", "origin": {"upstream": {"urls": [upstream.url()]}}});
        let made = server.admin.post("/sources", spec).await;
        assert_eq!((made.status, made.body["spec"]["name"].as_str()), (201, Some("app")), "{made:?}");
        sync(&server.admin, "app").await;
        let host = rpm_host(&server, "web-1").await;
        let world = World { server, host, upstream, dir };
        let attached = world.put("/instances/web-1/sources", json!({"attach": ["app"]})).await;
        assert_eq!(attached.status, 200, "{attached:?}");
        assert_eq!(attached.body["sources"][0]["path"], "/content/latest/app/", "{attached:?}");
        world
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        answer(self.server.admin.request("PUT", path).json(&body)).await
    }

    /// The upstream has the newer version from now on.
    async fn move_on(&self) {
        copy_over(&repository("2.0"), &self.dir.path().join("up"));
        sync(&self.server.admin, "app").await;
    }

    fn client(&self, agent: &Agent) -> Host {
        Host::new(&self.server, &agent.certificate_pem, &agent.key)
    }
}

/// Syncs a source and waits for it.
async fn sync(admin: &Person, name: &str) -> Value {
    let job = admin.post(&format!("/sources/{name}:sync"), json!({})).await;
    assert_eq!(job.status, 202, "{job:?}");
    finished(admin, &job.body).await
}

async fn finished(admin: &Person, job: &Value) -> Value {
    let path = format!("/content-jobs/{}", job["id"].as_str().expect("an id"));
    let done = admin.wait_for(&path, "the job is done", |j| j["finishedAt"].is_string()).await;
    assert_eq!(done["state"], "SUCCEEDED", "{done}");
    done
}

async fn rpm_host(server: &TestServer, name: &str) -> Agent {
    let token = server.enrolment_token(true).await;
    let mut agent = Agent::new(server.running.addr, &server.running.ca_pem, name);
    agent.os.managers = vec![ManagerKind::Dnf];
    agent.os.architecture = "x86_64".to_owned();
    agent.enrol(&token).await.expect("enrolled");
    let sections = agent.sections(&[("dd-app", "1.0-1")]);
    let report = drydock_api::agent::v1::ReportInventoryRequest { sections, ..Default::default() };
    agent.link().await.report_inventory(report).await.expect("stored");
    agent
}

/// A package manager: a client with a certificate, or with none.
struct Host {
    client: reqwest::Client,
    base: String,
}

/// What it got.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("text"))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Host {
    fn new(server: &TestServer, certificate_pem: &str, key: &rcgen::KeyPair) -> Self {
        Host::at(&server.admin.base, &server.running.ca_pem, certificate_pem, key)
    }

    fn at(base: &str, ca_pem: &str, certificate_pem: &str, key: &rcgen::KeyPair) -> Self {
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).expect("a certificate");
        let mut builder = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().timeout(LIMIT);
        if !certificate_pem.is_empty() {
            let pem = certificate_pem.to_owned() + &key.serialize_pem();
            builder = builder.identity(reqwest::Identity::from_pem(pem.as_bytes()).expect("a certificate with its key"));
        }
        Host { client: builder.build().expect("a client"), base: base.to_owned() }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Got {
        let method = method.parse::<reqwest::Method>().expect("a method");
        let mut request = self.client.request(method, format!("{}/content/{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Got { status, headers, body: response.bytes().await.expect("a body").to_vec() }
    }

    async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[]).await
    }
}

/// The `href` of the first file of a kind in repomd.xml.
fn href(repomd: &str, kind: &str) -> String {
    let (_, rest) = repomd.split_once(&format!("type=\"{kind}\"")).unwrap_or_else(|| panic!("no {kind} in {repomd}"));
    let (_, rest) = rest.split_once("href=\"").expect("a location");
    rest.split_once('"').expect("its end").0.to_owned()
}

/// Where `dd-app` is, from primary.xml.gz.
fn package_path(primary: &[u8]) -> String {
    let packed = std::process::Command::new("gzip")
        .args(["-dc"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut gzip = packed.expect("gzip");
    std::io::Write::write_all(&mut gzip.stdin.take().expect("piped"), primary).expect("written");
    let xml = String::from_utf8(gzip.wait_with_output().expect("unpacked").stdout).expect("text");
    let at = xml.find("<name>dd-app</name>").expect("the package");
    let (_, rest) = xml[at..].split_once("<location href=\"").expect("a location");
    rest.split_once('"').expect("its end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_reads_metadata_and_packages_in_parts_and_only_what_changed() {
    let world = World::new().await;
    let host = world.client(&world.host);
    let head = host.get("latest/app/repodata/repomd.xml").await;
    assert_eq!((head.status, head.header("cache-control")), (200, "no-cache"), "{}", head.text());
    assert!(head.header("last-modified").ends_with("GMT") && head.header("etag").len() == 66, "{:?}", head.headers);
    for condition in [("if-none-match", head.header("etag")), ("if-modified-since", head.header("last-modified"))] {
        let again = host.ask("GET", "latest/app/repodata/repomd.xml", &[condition]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{condition:?}");
        assert_eq!(again.header("etag"), head.header("etag"));
    }
    let primary = href(&head.text(), "primary");
    let got = host.get(&format!("latest/app/{primary}")).await;
    assert_eq!((got.status, got.header("content-length")), (200, got.body.len().to_string().as_str()));
    assert!(got.header("cache-control").contains("immutable"), "{:?}", got.headers);

    // Nobody has asked for the package yet: the server fetches it while the host waits.
    let before = world.upstream.requests();
    let path = format!("latest/app/{}", package_path(&got.body));
    let size = host.ask("HEAD", &path, &[]).await;
    assert_eq!((size.status, world.upstream.requests()), (200, before), "a HEAD fetches nothing");
    let package = host.get(&path).await;
    assert_eq!(package.status, 200, "{}", package.text());
    assert_eq!(size.header("content-length"), package.body.len().to_string());
    let name = path.rsplit('/').next().expect("a name");
    let original = std::fs::read(world.dir.path().join("up").join(name)).expect("there");
    assert!(package.body == original, "the upstream's bytes");
    assert_eq!(world.upstream.requests(), before + 1);
    world.upstream.set_down(true);

    let etag = package.header("etag").to_owned();
    let part = host.ask("GET", &path, &[("range", "bytes=1000-1999")]).await;
    assert_eq!((part.status, part.header("content-range")), (206, format!("bytes 1000-1999/{}", original.len()).as_str()));
    assert!(part.body == original[1000..2000]);
    let rest = host.ask("GET", &path, &[("range", "bytes=270000-"), ("if-range", &etag)]).await;
    assert!(rest.status == 206 && rest.body == original[270_000..], "{} {}", rest.status, rest.body.len());
    let other = host.ask("GET", &path, &[("range", "bytes=270000-"), ("if-range", "\"other\"")]).await;
    assert!(other.status == 200 && other.body == original);
    let beyond = host.ask("GET", &path, &[("range", &format!("bytes={}-", original.len()))]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{}", original.len()).as_str()));
    let several = host.ask("GET", &path, &[("range", "bytes=0-1,5-6")]).await;
    assert!(several.status == 200 && several.body == original, "several ranges are answered with the whole file");

    for missing in [
        "latest/app/repodata/nothing.xml",
        "latest/app/packages/sha256-00/x.rpm",
        "latest/app/repodata%2F..%2Frepodata/repomd.xml",
    ] {
        let got = host.get(missing).await;
        assert!(matches!(got.status, 403 | 404), "{missing}: {} {}", got.status, got.text());
        assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
        assert!(got.text().trim_end().lines().count() == 1 && !got.text().trim().is_empty(), "{missing}: {}", got.text());
    }
    let metrics = host.client.get(format!("{}/metrics", host.base)).bearer_auth(&world.server.admin.token);
    let metrics = metrics.send().await.expect("an answer").text().await.expect("text");
    for line in ["drydock_content_bytes_total", "drydock_content_requests_total{status=\"206\"}", "outcome=\"fetched\"} 1"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(metrics.contains("drydock_content_streams 0"), "every place is free again: {metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_a_bounded_number_of_places_and_heads_need_none() {
    let world = World::new().await;
    let host = world.client(&world.host);
    let head = host.get("latest/app/repodata/repomd.xml").await;
    let path = format!("latest/app/{}", href(&head.text(), "primary"));
    let places = world.server.running.state.content_streams.clone();
    let all = places.clone().acquire_many_owned(u32::try_from(places.available_permits()).expect("few")).await.expect("free");
    let (waiting, ()) = tokio::join!(host.get(&path), async {
        // Heads pass while every place is taken; the file gets one as soon as it is free.
        assert_eq!(host.get("latest/app/repodata/repomd.xml").await.status, 200);
        drop(all);
    });
    assert_eq!(waiting.status, 200, "{}", waiting.text());
    places.close();
    let busy = host.get(&path).await;
    assert_eq!((busy.status, busy.header("retry-after")), (503, "5"), "{}", busy.text());
    assert!(busy.text().contains("content.streams"), "{}", busy.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_down_is_named_and_the_next_try_works() {
    let world = World::new().await;
    let host = world.client(&world.host);
    let head = host.get("latest/app/repodata/repomd.xml").await;
    let primary = host.get(&format!("latest/app/{}", href(&head.text(), "primary"))).await;
    let path = format!("latest/app/{}", package_path(&primary.body));
    world.upstream.set_down(true);
    let got = host.get(&path).await;
    assert!(matches!(got.status, 502 | 503), "{} {}", got.status, got.text());
    assert!(got.text().contains("dd-app"), "{}", got.text());
    world.upstream.set_down(false);
    assert_eq!(host.get(&path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_for_hosts_that_see_it_and_for_people_who_may_read_sources() {
    let world = World::new().await;
    const HEAD: &str = "latest/app/repodata/repomd.xml";
    let stranger = Host::new(&world.server, "", &world.host.key);
    let refused = stranger.get(HEAD).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert!(refused.text().contains("certificate") && !refused.header("www-authenticate").is_empty(), "{}", refused.text());
    assert_eq!(stranger.get("keys/repository.asc").await.status, 401);
    let viewer = world.server.person("viewer").await;
    let token = format!("Bearer {}", viewer.token);
    assert_eq!(stranger.ask("GET", HEAD, &[("authorization", &token)]).await.status, 200);
    assert_eq!(stranger.ask("GET", HEAD, &[("authorization", "Bearer ddt_wrong")]).await.status, 401);
    let keys = stranger.ask("GET", "keys/repository.asc", &[("authorization", &token)]).await;
    assert!(keys.status == 200 && keys.text().contains("BEGIN PGP PUBLIC KEY BLOCK"), "{} {}", keys.status, keys.text());

    // Another host of the fleet, to which nothing is attached.
    let other = rpm_host(&world.server, "web-2").await;
    let refused = world.client(&other).get(HEAD).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("app"), "{}", refused.text());
    let host = world.client(&world.host);
    assert_eq!(host.get(HEAD).await.status, 200);
    assert_eq!(host.get("keys/repository.asc").await.status, 200);
    assert!(matches!(host.get("prod/app/repodata/repomd.xml").await.status, 403 | 404));
    assert!(matches!(host.get("latest/none/repodata/repomd.xml").await.status, 403 | 404));

    let detached = world.put("/instances/web-1/sources", json!({"detach": ["app"]})).await;
    assert_eq!(detached.status, 200, "{detached:?}");
    assert_eq!(host.get(HEAD).await.status, 403, "what is detached is gone at once");
    world.put("/instances/web-1/sources", json!({"attach": ["app"]})).await;
    assert_eq!(host.get(HEAD).await.status, 200);
    let revoked = world.server.admin.post("/instances/web-1:revoke", json!({})).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let refused = host.get(HEAD).await;
    assert!(matches!(refused.status, 401 | 403), "a revoked host reads nothing: {}", refused.text());
}

/// A content certificate of a host, with its key.
async fn content_certificate(host: &Agent) -> (String, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let ask = IssueContentCertificateRequest { csr_der: csr(&key) };
    let issued = host.link().await.issue_content_certificate(ask).await.expect("issued").into_inner();
    assert_eq!(issued.ca_pem, host.ca_pem);
    (issued.certificate_pem, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_certificate_reads_content_and_nothing_else() {
    let world = World::new().await;
    const HEAD: &str = "latest/app/repodata/repomd.xml";
    let (certificate, key) = content_certificate(&world.host).await;
    let manager = Host::new(&world.server, &certificate, &key);
    assert_eq!(manager.get(HEAD).await.status, 200);
    assert_eq!(manager.get("keys/repository.asc").await.status, 200);

    let link = channel(world.host.addr, &world.host.ca_pem, &certificate, &key).await.expect("connected");
    let mut link = drydock_api::agent::v1::agent_link_client::AgentLinkClient::new(link);
    let mut refusals = vec![
        link.pull_work(PullWorkRequest::default()).await.expect_err("refused"),
        link.renew(drydock_api::agent::v1::RenewRequest { csr_der: csr(&key) }).await.expect_err("refused"),
        link.attach(drydock_api::agent::v1::AttachRequest::default()).await.expect_err("refused"),
        link.report_inventory(drydock_api::agent::v1::ReportInventoryRequest::default()).await.expect_err("refused"),
        link.report_task(drydock_api::agent::v1::ReportTaskRequest::default()).await.expect_err("refused"),
        link.refuse_order(drydock_api::agent::v1::RefuseOrderRequest::default()).await.expect_err("refused"),
        link.unregister(drydock_api::agent::v1::UnregisterRequest {}).await.expect_err("refused"),
        link.enrol(drydock_api::agent::v1::EnrolRequest::default()).await.expect_err("refused"),
    ];
    refusals.push(link.pull_sources(PullSourcesRequest::default()).await.expect_err("refused"));
    refusals.push(link.report_sources(ReportSourcesRequest::default()).await.expect_err("refused"));
    let ask = IssueContentCertificateRequest { csr_der: csr(&key) };
    refusals.push(link.issue_content_certificate(ask).await.expect_err("refused"));
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal:?}");
        assert!(refusal.message().contains("/content"), "{refusal:?}");
    }
    let rest = manager.client.get(format!("{}/api/v1/sources", manager.base)).send().await.expect("an answer");
    assert_eq!(rest.status(), 401);
    assert_eq!(world.server.admin.get("/instances/web-1").await.body["state"], "ACTIVE");

    // The agent's own key, which the package managers' users must not read, is refused.
    let own = IssueContentCertificateRequest { csr_der: csr(&world.host.key) };
    let refused = world.host.link().await.issue_content_certificate(own).await.expect_err("refused");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    // Renewed: the new one works, and so does the old one until it is replaced again.
    let (second, second_key) = content_certificate(&world.host).await;
    assert_eq!(Host::new(&world.server, &second, &second_key).get(HEAD).await.status, 200);
    assert_eq!(manager.get(HEAD).await.status, 200, "the one before still reads: the files change one after the other");
    content_certificate(&world.host).await;
    assert!(matches!(manager.get(HEAD).await.status, 401 | 403), "two renewals later it is over");
    world.server.admin.post("/instances/web-1:revoke", json!({})).await;
    let refused = Host::new(&world.server, &second, &second_key).get(HEAD).await;
    assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_belongs_to_the_index_the_host_got() {
    let world = World::new().await;
    let (index, signature) = ("latest/app/repodata/repomd.xml", "latest/app/repodata/repomd.xml.asc");
    let host = world.client(&world.host);
    let first = host.get(index).await;
    let of_first = host.get(signature).await;
    assert!(of_first.status == 200 && of_first.text().contains("BEGIN PGP SIGNATURE"), "{}", of_first.text());
    assert_eq!(host.get(index).await.body, first.body);
    world.move_on().await;
    assert_eq!(host.get(signature).await.body, of_first.body, "of the index this host has");
    let token = format!("Bearer {}", world.server.admin.token);
    let person = Host::new(&world.server, "", &world.host.key);
    let now = person.ask("GET", signature, &[("authorization", &token)]).await;
    assert_ne!(now.body, of_first.body, "somebody who has not got the old index gets the new signature");
    let second = host.get(index).await;
    assert_ne!(second.body, first.body);
    assert_eq!(host.get(signature).await.body, now.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_compared_promoted_and_rolled_back() {
    let world = World::new().await;
    let admin = &world.server.admin;
    for (name, rank) in [("dev", 1), ("prod", 2)] {
        let made = admin.post("/environments", json!({"name": name, "rank": rank})).await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    let nothing = admin.post("/sources/app:sync", json!({})).await;
    finished(admin, &nothing.body).await;
    let snapshots = admin.get("/sources/app/snapshots").await;
    assert_eq!(snapshots.body["items"].as_array().map(Vec::len), Some(1), "no change, no snapshot: {snapshots:?}");
    world.move_on().await;
    let units = admin.get("/sources/app/packages?q=dd-app").await;
    assert_eq!(units.body["items"][0]["version"], "2.0-1", "{units:?}");
    assert_eq!(units.body["snapshot"]["number"], 2, "{units:?}");
    let old = admin.get("/sources/app/snapshots/1/units?q=dd-app").await;
    assert_eq!(old.body["items"][0]["version"], "1.0-1", "{old:?}");
    let diff = admin.get("/sources/app:diff?from=1&to=latest").await;
    assert_eq!((diff.status, &diff.body["counts"]["added"]), (200, &json!(1)), "{diff:?}");
    assert_eq!(admin.get("/sources/app:diff").await.status, 400);
    assert_eq!(admin.get("/sources/app:else").await.status, 404);

    let first = admin.get("/sources/app/snapshots/1").await;
    let promotion = json!({"sources": ["app"], "snapshot": first.body["id"], "dryRun": true});
    let would = admin.post("/environments/dev:promote", promotion.clone()).await;
    assert_eq!((would.status, &would.body["moves"][0]["to"]["number"]), (200, &json!(1)), "{would:?}");
    assert_eq!(admin.get("/environments/dev").await.body["pointers"], json!([]), "a dry run moves nothing");
    let mut real = promotion;
    real["dryRun"] = json!(false);
    assert_eq!(admin.post("/environments/dev:promote", real).await.status, 200);
    world.put("/instances/web-1/sources", json!({"environment": "dev"})).await;
    let host = world.client(&world.host);
    let primary = async || {
        let head = host.get("dev/app/repodata/repomd.xml").await;
        assert_eq!(head.status, 200, "{}", head.text());
        let primary = host.get(&format!("dev/app/{}", href(&head.text(), "primary"))).await;
        (head.header("last-modified").to_owned(), package_path(&primary.body))
    };
    let (_, at_first) = primary().await;
    assert!(at_first.contains("dd-app-1.0-1"), "{at_first}");
    let promoted = admin.post("/environments/dev:promote", json!({"sources": ["app"]})).await;
    assert_eq!((promoted.status, &promoted.body["moves"][0]["instances"]), (200, &json!(1)), "{promoted:?}");
    assert!(primary().await.1.contains("dd-app-2.0-1"));
    assert_eq!(admin.post("/environments/prod:promote", json!({})).await.status, 200);
    let back = admin.post("/environments/dev:promote", json!({"rollback": true})).await;
    assert_eq!(back.status, 200, "{back:?}");
    assert!(primary().await.1.contains("dd-app-1.0-1"), "rolled back");
    let history = admin.get("/environments/dev/history").await;
    assert_eq!(history.body["items"].as_array().map(Vec::len), Some(3), "{history:?}");
    let latest = host.get("latest/app/repodata/repomd.xml").await;
    assert_eq!(latest.status, 403, "a host of an environment sees the environment: {}", latest.text());
    let report = admin.post("/content:collect?dryRun=true", json!({})).await;
    assert_eq!((report.status, &report.body["dryRun"]), (200, &json!(true)), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_has_its_snapshots_and_serves_them_as_before() {
    let world = World::new().await;
    world.move_on().await;
    let host = world.client(&world.host);
    let head = host.get("latest/app/repodata/repomd.xml").await;
    let from = &world.server.running.state.settings;
    let file = world.dir.path().join("backup.tar");
    let content = Some((from.content_dir.as_path(), Portion::Snapshots));
    let control = &world.server.running.state.control;
    let written = backup::write(control, &DataDir::new(&from.data_dir), None, content, &file, jiff::Timestamp::now()).await;
    assert!(written.expect("written").content.is_some_and(|sum| sum.files > 0));

    let to = crate::support::settings(&world.dir.path().join("restored"));
    let config = world.dir.path().join("none.toml");
    backup::restore(&file, &DataDir::new(&to.data_dir), &to.content_dir, &config).expect("restored");
    let running = Server::start(to).await.expect("started");
    let admin = Person::new(running.addr, &running.ca_pem, &world.server.admin.token);
    let old = admin.get("/sources/app/snapshots/1/units?q=dd-app").await;
    assert_eq!(old.body["items"][0]["version"], "1.0-1", "the frozen snapshot is whole: {old:?}");
    let host = Host::at(&admin.base, &running.ca_pem, &world.host.certificate_pem, &world.host.key);
    let again = host.get("latest/app/repodata/repomd.xml").await;
    assert_eq!((again.status, again.header("etag")), (200, head.header("etag")), "{}", again.text());
    let primary = host.get(&format!("latest/app/{}", href(&again.text(), "primary"))).await;
    let package = host.get(&format!("latest/app/{}", package_path(&primary.body))).await;
    assert_eq!(package.status, 200, "a package file that was not in the backup is fetched again: {}", package.text());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_edited_with_its_etag_and_deleted_when_nothing_uses_it() {
    let world = World::new().await;
    let admin = &world.server.admin;
    let found = admin.get("/sources/app").await;
    let etag = found.headers["etag"].to_str().expect("text").to_owned();
    let mut spec = found.body["spec"].clone();
    spec["description"] = json!("the application");
    let edited = answer(admin.request("PUT", "/sources/app").header("if-match", &etag).json(&spec)).await;
    assert_eq!((edited.status, &edited.body["spec"]["description"]), (200, &json!("the application")), "{edited:?}");
    let stale = answer(admin.request("PUT", "/sources/app").header("if-match", &etag).json(&spec)).await;
    assert_eq!(stale.status, 412, "{stale:?}");
    let used = answer(admin.request("DELETE", "/sources/app")).await;
    assert_eq!(used.status, 409, "{used:?}");
    world.put("/instances/web-1/sources", json!({"detach": ["app"]})).await;
    assert_eq!(answer(admin.request("DELETE", "/sources/app")).await.status, 204);
    assert_eq!(admin.get("/sources/app").await.status, 404);
    let twice = json!({"name": "Bad Name", "format": "rpm", "origin": {"upstream": {"urls": ["ftp://x"]}}});
    let refused = admin.post("/sources", twice).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body["fields"].as_array().is_some_and(|f| f.len() >= 2), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_uploaded_into_local_sources_by_those_who_may() {
    let server = TestServer::start_with(|s| s.upload_max_mib = 1).await;
    let admin = &server.admin;
    let made = admin.post("/sources", json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let dir = tempfile::tempdir().expect("a directory");
    DebPackage::new("dd-ours", "1.0").build(dir.path()).expect("built");
    let path = std::fs::read_dir(dir.path()).expect("read").next().expect("a file").expect("an entry").path();
    let (name, bytes) = (path.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&path).expect("read"));
    let upload = |person: &Person, name: &str, bytes: Vec<u8>| {
        person.request("POST", &format!("/sources/ours/packages?fileName={name}")).body(bytes)
    };
    let viewer = server.person("viewer").await;
    assert_eq!(answer(upload(&viewer, &name, bytes.clone())).await.status, 403);
    assert_eq!(answer(upload(admin, &name, vec![])).await.status, 400);
    assert_eq!(answer(upload(admin, "..%2Fa.deb", bytes.clone())).await.status, 400);
    assert_eq!(answer(upload(admin, &name, vec![0; 1024 * 1024 + 1])).await.status, 413);
    let streamed =
        reqwest::Body::wrap_stream(futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(vec![0; 64 * 1024]))));
    let refused = admin.request("POST", &format!("/sources/ours/packages?fileName={name}")).body(streamed);
    assert_eq!(answer(refused).await.status, 413, "a length nobody announced is counted");
    let staging = server.running.state.settings.content_dir.join("staging");
    let left = || {
        std::fs::read_dir(&staging)
            .expect("read")
            .filter(|e| e.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("upload-")))
            .count()
    };
    assert_eq!(left(), 0, "refused uploads leave nothing");
    let operator = server.person("operator").await;
    let taken = answer(upload(&operator, &name, bytes.clone())).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    finished(admin, &taken.body).await;
    let units = admin.get("/sources/ours/packages").await;
    assert_eq!(
        (&units.body["items"][0]["name"], &units.body["items"][0]["version"]),
        (&json!("dd-ours"), &json!("1.0")),
        "{units:?}"
    );
    let missing = admin.request("POST", "/sources/nobody/packages?fileName=a.deb").body(bytes);
    assert_eq!(answer(missing).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_is_given_a_signed_document_once_and_tells_what_became_of_it() {
    let world = World::new().await;
    let mut link = world.host.link().await;
    let pulled = crate::support::wait_until("a document", async || {
        let pulled =
            world.host.link().await.pull_sources(PullSourcesRequest { generation: 0 }).await.expect("pulled").into_inner();
        pulled.changed.then_some(pulled)
    })
    .await;
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &world.host.work_key);
    key.verify(&signed_bytes(&pulled.document), &pulled.signature).expect("signed by the work key");
    let document: HostSources = serde_json::from_slice(&pulled.document).expect("a document");
    assert_eq!(document.instance.to_string(), world.host.instance);
    assert_eq!(document.sources.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), ["/content/latest/app/"]);
    assert!(document.repository_keys[0].contains("BEGIN PGP PUBLIC KEY BLOCK"));
    let same = link.pull_sources(PullSourcesRequest { generation: document.generation }).await.expect("pulled").into_inner();
    assert!(!same.changed && same.document.is_empty());
    let report = HostSourcesReport {
        generation: document.generation,
        state: HostSourcesState::Applied,
        taken_over: vec!["/etc/yum.repos.d/x.repo".into()],
        findings: vec![],
    };
    let report = serde_json::to_vec(&report).expect("JSON");
    link.report_sources(ReportSourcesRequest { report }).await.expect("stored");
    let shown = world.server.admin.get("/instances/web-1/sources").await;
    assert_eq!(shown.body["report"]["takenOver"], json!(["/etc/yum.repos.d/x.repo"]), "{shown:?}");
    assert_eq!(shown.body["applied"], true, "{shown:?}");
    let refused = link.report_sources(ReportSourcesRequest { report: b"{".to_vec() }).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let refused = link.report_sources(ReportSourcesRequest { report: vec![b' '; 2 << 20] }).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_read_its_sources_and_are_patched_together() {
    const INDEX: &str = "latest/app/repodata/repomd.xml";
    let world = World::new().await;
    let admin = &world.server.admin;
    let other = rpm_host(&world.server, "web-2").await;
    world.put("/instances/web-1/sources", json!({"detach": ["app"]})).await;
    assert_eq!(admin.post("/groups", json!({"name": "web"})).await.status, 201);
    let attached = world.put("/groups/web/sources", json!({"attach": ["app"]})).await;
    assert_eq!((attached.status, &attached.body["sources"]), (200, &json!(["app"])), "{attached:?}");
    let (first, second) = (world.client(&world.host), world.client(&other));
    assert_eq!(first.get(INDEX).await.status, 403, "not a member yet");
    let added = world.put("/groups/web/members", json!({"add": ["web-1"]})).await;
    assert_eq!((added.status, &added.body["instances"]), (200, &json!(1)), "{added:?}");
    assert_eq!(added.body["family"]["architecture"], "x86_64", "{added:?}");
    let sources = admin.get("/instances/web-1/sources").await;
    assert_eq!(sources.body["sources"][0]["attachedTo"], json!(["group web"]), "{sources:?}");
    assert_eq!((first.get(INDEX).await.status, second.get(INDEX).await.status), (200, 403));

    let mut strange = Agent::new(world.server.running.addr, &world.server.running.ca_pem, "arm-1");
    strange.os.architecture = "aarch64".to_owned();
    strange.enrol(&world.server.enrolment_token(true).await).await.expect("enrolled");
    let report = drydock_api::agent::v1::ReportInventoryRequest { sections: strange.sections(&[]), ..Default::default() };
    strange.link().await.report_inventory(report).await.expect("stored");
    let refused = world.put("/groups/web/members", json!({"add": ["web-2", "arm-1"]})).await;
    let message = refused.body["message"].as_str().unwrap_or_default();
    assert!(refused.status == 409 && message.contains("arm-1") && message.contains("beside web-1"), "{refused:?}");
    let members = admin.get("/groups/web/members").await;
    assert_eq!(members.body["items"].as_array().map(Vec::len), Some(1), "all or nothing: {members:?}");

    let unknown = admin.post("/patch-jobs", json!({"instanceFilter": {"groups": ["none-such"]}})).await;
    assert_eq!((unknown.status, &unknown.body["kind"]), (400, &json!("INVALID")), "{unknown:?}");
    let job = admin.post("/patch-jobs", json!({"instanceFilter": {"groups": ["web"]}, "dryRun": true})).await;
    assert_eq!(job.body["spec"]["instanceFilter"]["groups"], json!(["web"]), "{job:?}");
    let path = format!("/patch-jobs/{}/tasks", job.body["id"].as_str().expect("an id"));
    let tasks = admin.wait_for(&path, "its hosts are looked up", |t| t["items"] != json!([])).await;
    assert_eq!((tasks["items"].as_array().map(Vec::len), &tasks["items"][0]["instanceName"]), (Some(1), &json!("web-1")));

    let delete = async || answer(admin.request("DELETE", "/groups/web")).await.status;
    assert_eq!(delete().await, 409, "somebody is in it");
    assert_eq!(world.put("/groups/web/members", json!({"remove": ["web-1"]})).await.status, 200);
    assert_eq!((first.get(INDEX).await.status, delete().await), (403, 204));
}

//! A fleet in which every path of the server leads to something: a refusal about something that is not there would say
//! nothing about permissions.

use drydock_api::agent::v1::ReportInventoryRequest;
use drydock_control::SignInFrom;
use drydock_testkit::upstream::DebPackage;
use serde_json::{Value, json};

use super::bodies;
use crate::advisories::{import, lines, osv};
use crate::support::{Agent, Person, TestServer, answer};

/// Name of the approval rule: bodies name it too.
pub const RULE: &str = "two-people";
/// An operation that nothing else in these tests does where the rule holds.
const RULED: &str = "group.create";
/// Requests a second that nobody reaches.
const RATE: u32 = 1_000_000;

/// The server with one of everything, and what paths name.
pub struct World {
    pub server: TestServer,
    pub agent: Agent,
    /// Noun of a path (`instances`) and what stands after it.
    names: Vec<(&'static str, String)>,
}

/// The id of what was made, wherever it stands in the answer.
fn id_in(made: &Value) -> &str {
    let inner = made.as_object().into_iter().flatten().find_map(|(_, part)| part["id"].as_str());
    made["id"].as_str().or(inner).unwrap_or_else(|| panic!("no id in {made}"))
}

impl World {
    pub async fn start() -> Self {
        // Hundreds of requests in a moment are the tests' own.
        let server = TestServer::start_with(|s| (s.address_requests_per_s, s.principal_requests_per_s) = (RATE, RATE)).await;
        let agent = server.agent("web-1").await;
        let sections = agent.sections(&[("openssl", "3.0.11-1~deb12u2"), ("bash", "5.2.15-2")]);
        let report = ReportInventoryRequest { sections, ..Default::default() };
        agent.link().await.report_inventory(report).await.expect("stored");
        let mut world = World { server, agent, names: Vec::new() };
        world.names.push(("instances", world.agent.instance.clone()));
        world.fill_content().await;
        world.fill_advisories().await;
        world.fill_work().await;
        world.fill_people().await;
        world.fill_credentials().await;
        world
    }

    fn admin(&self) -> &Person {
        &self.server.admin
    }

    async fn make(&self, path: &str, body: Value) -> Value {
        let made = self.admin().post(path, body).await;
        assert!(matches!(made.status, 200..=202), "{path}: {made:?}");
        made.body
    }

    /// Makes something; its path goes on with this field of the answer, or of the specification in it.
    async fn named(&mut self, noun: &'static str, body: Value, field: &str) -> String {
        let made = self.make(&format!("/{noun}"), body).await;
        let inner = ["spec", "assignment", "preview"].into_iter().find_map(|part| made[part][field].as_str());
        let name = made[field].as_str().or(inner);
        let name = name.unwrap_or_else(|| panic!("{noun}: no {field} in {made}")).to_owned();
        self.names.push((noun, name.clone()));
        name
    }

    async fn fill_content(&mut self) {
        self.make("/sources", json!({"name": "ours", "format": "deb", "origin": {"local": {}}})).await;
        self.names.push(("sources", "ours".to_owned()));
        let dir = tempfile::tempdir().expect("a directory");
        DebPackage::new("dd-ours", "1.0").build(dir.path()).expect("built");
        let path = std::fs::read_dir(dir.path()).expect("read").next().expect("a file").expect("an entry").path();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("read");
        let upload = self.admin().request("POST", &format!("/sources/ours/packages?fileName={file}")).body(bytes);
        let job = answer(upload).await;
        assert_eq!(job.status, 202, "{job:?}");
        let id = job.body["id"].as_str().expect("an id").to_owned();
        let path = format!("/content-jobs/{id}");
        self.admin().wait_for(&path, "the upload", |b| b["state"] == "SUCCEEDED").await;
        self.names.push(("content-jobs", id));
        self.names.push(("snapshots", "latest".to_owned()));
        self.named("environments", json!({"name": "prod", "rank": 1}), "name").await;
        let sources = json!({"attach": ["ours"]});
        let attached = answer(self.admin().request("PUT", "/environments/prod/sources").json(&sources)).await;
        assert_eq!(attached.status, 200, "{attached:?}");
    }

    async fn fill_advisories(&mut self) {
        let feed = lines(&[osv("ALSA-2026:0001", "bash", "0:4.4.20-5.el8", "CVE-2026-0001")]);
        let made = import(self.admin(), "alma8", "", feed).await;
        assert_eq!(made.status, 200, "{made:?}");
        self.names.push(("advisory-feeds", "alma8".to_owned()));
        self.names.push(("advisories", "ALSA-2026:0001".to_owned()));
        self.names.push(("vulnerabilities", "CVE-2026-0001".to_owned()));
        let exception = bodies::of("createVulnerabilityException").expect("known");
        self.named("vulnerability-exceptions", exception, "id").await;
    }

    async fn fill_work(&mut self) {
        // Before there are windows and freezes that would hold it.
        let job = self.named("patch-jobs", json!({"instanceFilter": {"all": true}, "dryRun": true}), "id").await;
        let order = self.agent.pull_one().await;
        assert_eq!(order.task.job.to_string(), job);
        self.names.push(("tasks", order.task.task.to_string()));
        for (noun, operation) in [
            ("groups", "createGroup"),
            ("deployments", "createDeployment"),
            ("maintenance-windows", "createMaintenanceWindow"),
            ("freeze-calendars", "createFreezeCalendar"),
            ("reboot-slot-groups", "createRebootSlotGroup"),
            ("policy-assignments", "createPolicyAssignment"),
        ] {
            self.named(noun, bodies::of(operation).expect("known"), "name").await;
        }
        self.names.push(("revisions", "1".to_owned()));
        self.named("policy-previews", bodies::of("createPolicyPreview").expect("known"), "id").await;
        let secret = answer(self.admin().request("PUT", "/secrets/password").json(&json!({"value": "x"}))).await;
        assert!(matches!(secret.status, 200 | 201), "{secret:?}");
        self.names.push(("secrets", "password".to_owned()));
        self.names.push(("packages", "openssl".to_owned()));
    }

    async fn fill_people(&mut self) {
        let token = self.make("/access-tokens", json!({"name": "t", "role": "viewer"})).await;
        let id = id_in(&token).to_owned();
        self.names.push(("access-tokens", id));
        self.make("/compartments", json!({"parent": "/", "name": "A"})).await;
        self.names.push(("compartments", "%2FA".to_owned()));
        let statements = "allow group Team to read drydock-instances in compartment A";
        self.make("/users", json!({"name": "ann"})).await;
        self.make("/user-groups", json!({"name": "Team"})).await;
        self.make("/access-policies", json!({"name": "team", "statements": statements})).await;
        self.make("/dynamic-groups", json!({"name": "hosts", "rules": "ANY {label.env = 'prod'}"})).await;
        for (noun, name) in [("users", "ann"), ("user-groups", "Team"), ("access-policies", "team"), ("dynamic-groups", "hosts")]
        {
            self.names.push((noun, name.to_owned()));
        }
        let profile = self.make("/enrolment-profiles", json!({"displayName": "x"})).await;
        let id = id_in(&profile).to_owned();
        self.names.push(("enrolment-profiles", id));
    }

    /// Ann's session and API key; a rule, and a request for approval that it led to.
    async fn fill_credentials(&mut self) {
        let control = self.server.running.state.control.clone();
        let server = control.ctx(drydock_control::Principal::Server, "test");
        let ann = control.get_user(&server, "ann").await.expect("there").user.id;
        let from = SignInFrom { address: None, request_id: "test".to_owned(), user_agent: String::new() };
        control.start_session(ann, "password", false, &from).await.expect("a session");
        let sessions = self.admin().get("/sessions?user=ann").await;
        let session = sessions.body["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{sessions:?}")).to_owned();
        self.names.push(("sessions", session));
        let private = drydock_testkit::keys::rsa_pem(2048).expect("a key");
        let public = drydock_testkit::keys::public_pem(&private).expect("its public half");
        let key = self.make("/users/ann/api-keys", json!({"publicKey": public})).await;
        self.names.push(("api-keys", key["fingerprint"].as_str().expect("a fingerprint").to_owned()));
        let rule = json!({"name": RULE, "operations": [RULED], "compartment": "/A"});
        let set = answer(self.admin().request("PUT", &format!("/approval-rules/{RULE}")).json(&rule)).await;
        assert_eq!(set.status, 200, "{set:?}");
        self.names.push(("approval-rules", RULE.to_owned()));
        let asked = self.admin().post("/groups", json!({"name": "guarded", "compartment": "/A"})).await;
        assert_eq!(asked.status, 409, "{asked:?}");
        let waiting = self.admin().get("/approvals").await;
        let id = waiting.body["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{waiting:?}")).to_owned();
        self.names.push(("approvals", id));
    }

    /// From now on viewers may do nothing: what their statements give, one takes.
    pub async fn close_for_viewers(&self) {
        let control = &self.server.running.state.control;
        let server = control.ctx(drydock_control::Principal::Server, "test");
        let deny = "deny group Viewers to manage all-resources in tenancy";
        control.create_access_policy(&server, "closed", "/", "", deny).await.expect("a policy");
    }

    /// A path whose parameters name what is there; the noun stands before its parameter.
    pub fn filled(&self, template: &str) -> String {
        let mut out: Vec<String> = Vec::new();
        for part in template.split('/') {
            let Some(inner) = part.strip_prefix('{') else {
                out.push(part.to_owned());
                continue;
            };
            let (_, verb) = inner.split_once('}').expect("closed");
            // The console's addresses have nouns of their own.
            let noun = match out.last().map_or("", String::as_str) {
                "enrolment" => "enrolment-profiles",
                "exceptions" => "vulnerability-exceptions",
                "policies" => "policy-assignments",
                noun => noun,
            };
            let known = self.names.iter().find(|(own, _)| *own == noun);
            let (_, name) = known.unwrap_or_else(|| {
                panic!("{template}: make one of {noun} in guard/world.rs, so that a refusal is about something that is there")
            });
            out.push(format!("{name}{verb}"));
        }
        out.join("/")
    }
}

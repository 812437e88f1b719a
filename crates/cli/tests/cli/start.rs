//! Starting jobs: what is sent, and what the verbs differ in.

use drydock_api::rest::PatchTaskDetail;
use drydock_domain::patch::job::JobState;
use drydock_domain::patch::spec::PatchJobSpec;
use drydock_domain::patch::task::TaskState;
use insta::assert_snapshot;

use crate::documents::*;
use crate::fake::Fake;

#[tokio::test]
async fn detached_prints_the_id_alone() {
    let fake = Fake::start().await;
    fake.json("POST /patch-jobs", &job(JobState::Started, &[]));
    for flag in ["--no-wait", "--detach"] {
        let ran = fake.run(&format!("patch run --all --name 'Thursday night' {flag} --idempotency-key night-47")).await;
        assert_eq!((ran.code, ran.out.as_str()), (0, format!("{JOB}\n").as_str()), "{ran}");
    }
    let sent = fake.seen().remove(0);
    let spec: PatchJobSpec = serde_json::from_str(&sent.body).expect("a spec");
    assert!(spec.instance_filter.all && !spec.dry_run && spec.display_name == "Thursday night");
    assert_eq!(sent.headers["idempotency-key"], "night-47");
}

#[tokio::test]
async fn a_key_is_made_when_none_is_given() {
    let fake = Fake::start().await;
    fake.json("POST /patch-jobs", &job(JobState::Started, &[]));
    fake.run("patch run --all --detach").await;
    fake.run("patch run --all --detach").await;
    let keys: Vec<String> = fake.seen().iter().map(|s| s.headers["idempotency-key"].to_str().expect("text").to_owned()).collect();
    assert!(keys[0] != keys[1] && keys[0].len() == 36, "{keys:?}");
}

#[tokio::test]
async fn a_plan_is_a_dry_run_that_prints_what_each_host_would_do() {
    let fake = Fake::start().await;
    let mut web = task(1, "web-1", TaskState::Succeeded);
    (web.planned, web.skipped, web.dry_run) = (4, 1, true);
    let tasks = vec![web.clone()];
    let mut done = job(JobState::Succeeded, &tasks);
    done.spec.dry_run = true;
    let mut planned: PatchTaskDetail = detail(web.clone());
    let report = planned.report.as_mut().expect("a report");
    report.packages.clear();
    report.steps.truncate(2);
    report.reboots = 0;
    report.health.clear();
    report.differs.clear();
    fake.json("POST /patch-jobs", &done)
        .json(&format!("GET /patch-jobs/{JOB}"), &done)
        .json(&format!("GET /patch-jobs/{JOB}/tasks?limit=1000"), &page(tasks))
        .json(&format!("GET /patch-jobs/{JOB}/tasks/{}", web.id), &planned);
    assert_snapshot!("patch_plan", fake.run("patch plan --instance web-1 --exclude 'linux-h*'").await);
    let spec: PatchJobSpec = serde_json::from_str(&fake.seen()[0].body).expect("a spec");
    assert!(spec.dry_run);
    fake.run("patch run --all --dry-run --detach").await;
    let spec: PatchJobSpec = serde_json::from_str(&fake.seen().pop().expect("sent").body).expect("a spec");
    assert!(spec.dry_run);
}

#[tokio::test]
async fn scripts_and_spec_files_are_read_here() {
    let fake = Fake::start().await;
    fake.json("POST /patch-jobs", &job(JobState::Started, &[]));
    let mut prepared = fake.prepared().input("displayName: from the file\ndurationSecs: 600\n");
    let script = prepared.home.path().join("pre.sh");
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").expect("written");
    let ran = prepared.run(&format!("patch run --all --file - --pre-script {} --detach", script.display())).await;
    assert_eq!(ran.code, 0, "{ran}");
    let spec: PatchJobSpec = serde_json::from_str(&fake.seen()[0].body).expect("a spec");
    assert_eq!((spec.display_name.as_str(), spec.duration_secs), ("from the file", Some(600)));
    let pre = spec.patch_config.pre_step.and_then(|s| s.linux_exec_step_config).expect("a step");
    assert_eq!(pre.script.as_deref(), Some("#!/bin/sh\nexit 0\n"));
    let file = prepared.home.path().join("night.yaml");
    std::fs::write(&file, "patchConfig:\n  apt:\n    exclude: [vim]\n").expect("written");
    prepared.hide.push((prepared.home.path().display().to_string(), "HOME".into()));
    assert_snapshot!("error_file", prepared.run(&format!("patch run --all --file {}", file.display())).await);
}

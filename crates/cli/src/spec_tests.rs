//! Tests of the spec from flags and files.

use super::*;
use crate::world::Pace;
use clap::Parser;
use drydock_domain::patch::spec::{AptType, ExecStep, ExecStepConfig};

fn world(input: &str) -> World {
    World {
        env: BTreeMap::new(),
        input: Box::new(std::io::Cursor::new(input.to_owned())),
        out: Box::new(std::io::sink()),
        err: Box::new(std::io::sink()),
        out_is_terminal: false,
        screen: || None,
        hide: |_| false,
        now: || jiff::Timestamp::UNIX_EPOCH,
        interrupt: Box::new(|| Box::pin(std::future::pending())),
        pace: Pace::default(),
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    spec: SpecArgs,
}

fn read(flags: &str, file: Option<&str>) -> Result<PatchJobSpec, String> {
    let mut words = vec!["x".to_owned()];
    words.extend(flags.split_whitespace().map(str::to_owned));
    if file.is_some() {
        words.extend(["--file".to_owned(), "-".to_owned()]);
    }
    let line = Line::try_parse_from(words).map_err(|e| e.to_string())?;
    build(&line.spec, false, &mut world(file.unwrap_or_default())).map_err(|e| e.to_string())
}

#[test]
fn every_flag_reaches_its_field() {
    let spec = read(
        "--group env=prod,role=web --group env=test --zone z1 --zone z2 --instance h1 --name-prefix web- --in-group front \
         --name N --description D --duration 2h --concurrency 20% --wave canary=1,bake=10m --zone-by-zone --budget 10% \
         --halt-after 2 --undo-failed-wave --require-approval --ignore-windows now --late-hosts 2d --newest-content --seed 7 --reboot never --strict-repositories \
         --apt-dist --apt-exclude a1 --exclude all* --yum-security --yum-minimal --yum-exclude y1 \
         --zypper-optional --zypper-update --zypper-category security --zypper-severity critical --zypper-exclude z* \
         --pre-path /opt/pre --pre-shell --pre-arg -x --pre-arg y --pre-env A=b=c --pre-time-limit 5m --pre-success-code 0 \
         --pre-success-code -3 --post-path /opt/post",
        None,
    )
    .expect("a spec");
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec).expect("JSON"));
    assert_eq!(spec.validate(), Ok(()));
}

#[test]
fn exclusive_packages_and_security_reach_every_manager() {
    let spec = read("--all --apt-exclusive a --yum-exclusive b --zypper-exclusive c", None).expect("a spec");
    let config = spec.patch_config;
    assert_eq!(config.apt.exclusive_packages, ["a"]);
    assert_eq!(config.yum.exclusive_packages, ["b"]);
    assert_eq!(config.zypper.exclusive_patches, ["c"]);
    let spec = read("--all --security --zypper-category recommended", None).expect("a spec");
    assert!(spec.patch_config.apt.security && spec.patch_config.yum.security);
    assert_eq!(spec.patch_config.zypper.categories, ["recommended", "security"]);
    let spec = read("--all --apt-security", None).expect("a spec");
    assert!(spec.patch_config.apt.security && !spec.patch_config.yum.security);
}

#[test]
fn a_soak_is_whole_days() {
    let config =
        |flags: &str| read(flags, None).map(|spec| (spec.patch_config.soak_days, spec.patch_config.soak_except_security));
    assert_eq!(config("--all --soak 7d"), Ok((7, false)));
    assert_eq!(config("--all --soak 48h --soak-except-security"), Ok((2, true)));
    assert_eq!(config("--all"), Ok((0, false)));
    for (bad, words) in [
        ("--all --soak 7", "\"7\" is not a number of whole days; write 7d"),
        ("--all --soak 36h", "not a number of whole days"),
        ("--all --soak -1d", "unexpected argument"),
        ("--all --soak 0d", "0 days are no soak"),
        ("--all --soak 99999999999999d", "not a number of whole days"),
        ("--all --soak-except-security", "--soak <DAYS>"),
    ] {
        let refused = config(bad).expect_err(bad);
        assert!(refused.contains(words), "{bad}: {refused}");
    }
    let twice = read("--soak 7d", Some("instanceFilter: {all: true}\npatchConfig: {soakDays: 3}")).expect_err("said twice");
    assert!(twice.contains("--soak") && twice.contains("soakDays"), "{twice}");
    assert_eq!(flag_of("patchConfig.soakDays"), Some("--soak"));
}

#[test]
fn a_filter_chooses_hosts() {
    let line = Line::try_parse_from(["x", "--filter", "package openssl < 3", "--zone", "z1"]).expect("flags");
    let filter = build(&line.spec, false, &mut world("")).expect("a spec").instance_filter;
    assert_eq!((filter.query.as_deref(), filter.zones.as_slice()), (Some("package openssl < 3"), ["z1".to_owned()].as_slice()));
    assert_eq!(flag_of("instanceFilter.query"), Some("--filter"));
    assert!(read("--all --filter reboot", None).is_err(), "all hosts and some of them");
}

#[test]
fn package_flags_reach_their_fields() {
    let spec =
        read("--all --install nginx --install vim=9.1-1 --remove nano.x86_64 --update curl --from-cache", None).expect("a spec");
    let packages = spec.patch_config.packages.expect("named packages");
    assert_eq!(
        (packages.install, packages.remove, packages.update),
        (vec!["nginx".to_owned(), "vim=9.1-1".to_owned()], vec!["nano.x86_64".to_owned()], vec!["curl".to_owned()],)
    );
    assert!(spec.patch_config.from_cache);
    let spec = read(
        "--all --type bugfix --type other --advisory ELSA-2026-1 --cve CVE-2026-0001 --min-severity important --overdue --download-only",
        None,
    );
    let config = spec.expect("a spec").patch_config;
    assert_eq!(config.update_types, [UpdateType::Bugfix, UpdateType::Other]);
    assert_eq!(config.min_severity, Some(drydock_domain::advisory::Severity::Important));
    assert_eq!((config.advisories, config.cves), (vec!["ELSA-2026-1".to_owned()], vec!["CVE-2026-0001".to_owned()]));
    assert!(config.overdue && config.download_only && config.packages.is_none());
    assert!(!read("--all --type other", None).expect("a spec").patch_config.overdue);
    assert!(read("--all --download-only --from-cache", None).is_err());
    let added = read("--all --remove b", Some("patchConfig: {packages: {install: [a]}}")).expect("a spec");
    let packages = added.patch_config.packages.expect("named packages");
    assert_eq!((packages.install, packages.remove), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(flag_of("patchConfig.packages.remove[0]"), Some("--remove"));
    assert_eq!(flag_of("patchConfig.packages"), Some("--install, --remove, --update"));
}

#[test]
fn health_checks_reach_their_fields() {
    let flags = "--all --health-check unit:nginx.service --health-check tcp:[::1]:22 --health-check https://localhost/ready \
        --health-check exec:/opt/ready --health-check no-new-failed-units --health-within 5m --health-settle 30s";
    let spec = read(flags, None).expect("a spec");
    assert_eq!(spec.validate(), Ok(()));
    let health = spec.patch_config.health_checks.expect("checks");
    let names: Vec<String> = health.labelled().map(|(name, _)| name).collect();
    let wanted = ["unit nginx.service", "tcp [::1]:22", "http https://localhost/ready", "exec /opt/ready", "no new failed units"];
    assert_eq!((names.as_slice(), health.within_secs, health.settle_secs), (&wanted.map(str::to_owned)[..], 300, 30));
    let file = "patchConfig: {healthChecks: {checks: [{tcp: {address: 'a:1'}}]}}";
    let health = read("--all --health-settle 1m", Some(file)).expect("a spec").patch_config.health_checks.expect("checks");
    assert_eq!((health.checks.len(), health.within_secs, health.settle_secs), (1, 120, 60));
    for wrong in ["ping", "http://", "https://a:b@c/"] {
        assert!(read(&format!("--all --health-check {wrong}"), None).is_err(), "{wrong}");
    }
    assert_eq!(flag_of("patchConfig.healthChecks.checks[0].tcp.address"), Some("--health-check"));
}

#[test]
fn module_changes_reach_their_field() {
    let words = ["enable:a:1", "disable:b", "reset:c", "switch:d:2", "install:a:1/common", "remove:e:1"];
    let flags: String = words.iter().map(|w| format!(" --module {w}")).collect();
    let config = read(&format!("--all{flags}"), None).expect("a spec").patch_config;
    let changes: Vec<String> = config.modules.iter().map(ToString::to_string).collect();
    assert_eq!(changes, words);
    let error = read("--all --module enable:a", None).expect_err("refused");
    assert!(error.contains("names no stream; write enable:NAME:STREAM"), "{error}");
    let file = "patchConfig: {modules: [{action: SWITCH, module: d, stream: '2'}]}";
    assert_eq!(read("--all", Some(file)).expect("a spec").patch_config.modules[0].to_string(), "switch:d:2");
    assert_eq!(flag_of("patchConfig.modules[3]"), Some("--module"));
}

#[test]
fn labels_are_anded_and_groups_ored() {
    let spec = read("--label a=1 --label b=2", None).expect("a spec");
    assert_eq!(spec.instance_filter.group_labels.len(), 1);
    assert_eq!(spec.instance_filter.group_labels[0].labels.len(), 2);
    assert!(read("--label a=1 --group b=2", None).is_err());
    assert!(read("--all --zone z", None).is_err());
    assert!(read("", None).expect_err("refused").starts_with("no hosts are chosen"));
}

#[test]
fn a_flag_adds_to_the_file_and_never_changes_it() {
    let file = "displayName: nightly\npatchConfig:\n  apt: {excludes: [vim]}\n  preStep:\n";
    let spec = read("--all --apt-dist --reboot never --name nightly --pre-path /p", Some(file)).expect("a spec");
    assert_eq!((spec.display_name.as_str(), spec.patch_config.apt.upgrade_type), ("nightly", AptType::Dist));
    assert_eq!(spec.patch_config.apt.excludes.len(), 1);
    assert!(spec.patch_config.pre_step.is_some());
    assert_eq!(
        read("--all --apt-exclude nano", Some(file)).expect_err("refused"),
        "patchConfig.apt.excludes is said twice: - says [\"vim\"], --exclude, --apt-exclude says [\"nano\"]; keep one"
    );
    assert!(read("--all --name weekly", Some(file)).expect_err("refused").contains("displayName is said twice"));
    assert!(read("--zone a", Some("instanceFilter: {zones: [b]}")).expect_err("refused").contains("said twice"));
}

#[test]
fn a_dry_run_verb_and_a_file_that_says_no_dry_run_disagree() {
    let line = Line::try_parse_from(["x", "--all", "--file", "-"]).expect("flags");
    let err = build(&line.spec, true, &mut world("dryRun: false")).expect_err("refused").to_string();
    assert_eq!(err, "dryRun is said twice: - says false, --dry-run says true; keep one");
    assert!(build(&line.spec, true, &mut world("")).expect("a spec").dry_run);
}

#[test]
fn a_wrong_file_is_refused_with_line_and_column() {
    let unknown = read("--all", Some("displayName: x\npatchConfig:\n  apt:\n    exclude: [a]\n")).expect_err("refused");
    assert!(unknown.contains("exclude") && unknown.contains("4"), "{unknown}");
    let kind = read("--all", Some("durationSecs: soon\n")).expect_err("refused");
    assert!(kind.contains('1'), "{kind}");
    assert!(read("--all", Some("[1, 2]")).is_err());
    assert!(read("--all", Some("a: b: c")).is_err());
    assert!(parse_file::<SpecFile>("{\n \"dryRun\": 3\n}", true).expect_err("refused").contains("line 2"));
}

#[test]
fn a_whole_spec_survives_as_yaml_and_json() {
    let step = ExecStepConfig { script: Some("#!/bin/sh\necho \"hi\"\n".into()), time_limit_secs: Some(5), ..Default::default() };
    let mut spec = read("--zone z --concurrency 3 --duration 1h --security --exclude /^kernel/", None).expect("a spec");
    spec.patch_config.post_step =
        Some(ExecStep { windows_exec_step_config: Some(step.clone()), linux_exec_step_config: Some(step) });
    let json = serde_json::to_string(&spec).expect("JSON");
    let yaml = serde_saphyr::to_string(&serde_json::to_value(&spec).expect("JSON")).expect("YAML");
    for (text, is_json) in [(&json, true), (&json, false), (&yaml, false)] {
        let back: PatchJobSpec = serde_json::from_value(parse_file::<SpecFile>(text, is_json).expect("read")).expect("a spec");
        assert_eq!(back, spec, "{text}");
    }
}

#[test]
fn only_one_thing_comes_from_standard_input() {
    let err = read("--all --pre-script - --post-script -", None).expect_err("refused");
    assert!(err.contains("only one of"), "{err}");
}

#[test]
fn a_refused_field_names_its_flag() {
    assert_eq!(flag_of("durationSecs"), Some("--duration"));
    assert_eq!(flag_of("patchConfig.apt.excludes[2]"), Some("--exclude, --apt-exclude"));
    assert_eq!(flag_of("patchConfig.preStep.linuxExecStepConfig.script"), Some("--pre-script"));
    assert_eq!(flag_of("patchConfig.preStep.linuxExecStepConfig"), Some("--pre-script, --pre-path"));
    assert_eq!(
        flag_of("instanceFilter"),
        Some("--all, --label, --group, --zone, --instance, --name-prefix, --in-group, --filter")
    );
    assert_eq!(flag_of("concurrency.percent"), Some("--concurrency"));
    assert_eq!(flag_of("labels.Env"), None);
}

//! Users, groups, kernel parameters, modules, timers and cron files.

use std::sync::{Arc, Mutex};

use drydock_domain::policy::Evidence;
use drydock_domain::policy::host::SECRET_MARKS;
use drydock_pkgmgr::run::{Captured, CommandSpec, End, Finished, RunError, Runner};

use super::testing::{Bench, SECRET};
use crate::policy::kind::{Found, Watch};

/// A command that does what it says, on text files.
type Deed = Box<dyn Fn(&str) + Send + Sync>;

/// Notes commands and does a deed for each.
struct Doing {
    seen: Arc<Mutex<Vec<String>>>,
    deed: Deed,
}

impl Runner for Doing {
    fn run(&self, command: &CommandSpec) -> Result<Finished, RunError> {
        let line = std::iter::once(&command.program).chain(&command.args).cloned().collect::<Vec<_>>().join(" ");
        (self.deed)(&line);
        self.seen.lock().expect("lock").push(line);
        let none = || Captured::from_bytes(b"");
        Ok(Finished { exit_code: Some(0), end: End::Exited(0), stdout: none(), stderr: none(), wall: Default::default() })
    }
}

/// A host whose commands do this, and what they were.
fn doing(deed: impl Fn(&std::path::Path, &str) + Send + Sync + 'static) -> (Bench, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut bench = Bench::new();
    let root = bench.root.clone();
    bench.runner = Box::new(Doing { seen: Arc::clone(&seen), deed: Box::new(move |line| deed(&root, line)) });
    (bench, seen)
}

fn taken(seen: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *seen.lock().expect("lock"))
}

const USER: &str =
    r#"{"id":"u","user":{"name":"web","uid":990,"groups":["adm","www"],"home":"/srv/web","shell":"/bin/false","system":true}}"#;

#[test]
fn a_user_is_made_mended_and_taken_back() {
    let (bench, seen) = doing(|root, line| {
        let right = "root:x:0:0::/root:/bin/sh\nweb:x:990:990::/srv/web:/bin/false\n";
        if line.starts_with("useradd") || line.starts_with("usermod") {
            std::fs::write(root.join("etc/passwd"), right).expect("written");
            std::fs::write(root.join("etc/group"), "web:x:990:\nadm:x:4:web\nwww:x:33:x,web\n").expect("written");
        } else if line.starts_with("userdel") {
            std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("written");
        }
    });
    bench.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    bench.put("/etc/group", "adm:x:4:\nwww:x:33:x\n");
    let mut kind = bench.kind(USER);
    assert_eq!(bench.enforce(&mut *kind), ("absent".to_owned(), "made".to_owned()));
    assert_eq!(taken(&seen), ["useradd -u 990 -G adm,www -d /srv/web -s /bin/false -M -r web"]);
    bench.put("/etc/passwd", "web:x:990:990::/srv/web:/bin/bash\n");
    bench.put("/etc/group", "web:x:990:\nadm:x:4:web\nwww:x:33:x\nwheel:x:10:web\n");
    let what = bench.enforce(&mut *kind).0;
    assert_eq!(what, "shell /bin/bash instead of /bin/false, groups adm,wheel instead of adm,www");
    assert_eq!(taken(&seen), ["usermod -s /bin/false -G adm,www web"]);
    assert!(kind.watches().contains(&Watch::Path("/etc/passwd".into())));
    assert!(kind.remove(&bench.cx()).expect("taken back").what.starts_with("removed"));
    assert_eq!(taken(&seen), ["userdel web"]);
}

#[test]
fn a_user_that_was_there_is_not_removed_with_the_policy() {
    let (bench, seen) = doing(|root, _| {
        std::fs::write(root.join("etc/passwd"), "web:x:990:990::/srv/web:/bin/false\n").expect("written");
    });
    bench.put("/etc/passwd", "web:x:5:990::/srv/web:/bin/false\n");
    bench.put("/etc/group", "");
    let mut kind = bench.kind(r#"{"id":"u","user":{"name":"web","uid":990}}"#);
    bench.enforce(&mut *kind);
    assert_eq!(taken(&seen), ["usermod -u 990 web"]);
    assert!(kind.remove(&bench.cx()).expect("left").what.starts_with("left as it is"));
    assert!(taken(&seen).is_empty());
}

#[test]
fn a_group_is_made_mended_and_removed() {
    let (bench, seen) = doing(|root, line| {
        let text = if line.starts_with("groupdel") { "" } else { "ops:x:777:\n" };
        std::fs::write(root.join("etc/group"), text).expect("written");
    });
    bench.put("/etc/group", "");
    let mut kind = bench.kind(r#"{"id":"g","group":{"name":"ops","gid":777,"system":true}}"#);
    bench.enforce(&mut *kind);
    bench.put("/etc/group", "ops:x:5:\n");
    assert_eq!(bench.enforce(&mut *kind).0, "gid 5 instead of 777");
    bench.enforce(&mut *bench.kind(r#"{"id":"g","group":{"name":"ops","state":"ABSENT"}}"#));
    assert_eq!(taken(&seen), ["groupadd -g 777 -r ops", "groupmod -g 777 ops", "groupdel ops"]);
}

const SYSCTL: &str = r#"{"id":"s","sysctl":{"key":"net.ipv4.ip_forward","value":"0"}}"#;

#[test]
fn a_kernel_parameter_is_set_now_and_for_the_next_boot_and_comes_back() {
    let bench = Bench::new();
    bench.put("/proc/sys/net/ipv4/ip_forward", "1\n");
    let mut kind = bench.kind(SYSCTL);
    let (what, evidence) = bench.wanting(&mut *kind);
    assert_eq!((what.as_str(), evidence), ("is 1", Some(Evidence::State { old: "1".into(), new: "0".into() })));
    bench.enforce(&mut *kind);
    let file = "/etc/sysctl.d/99-zz-drydock-net.ipv4.ip_forward.conf";
    assert_eq!(bench.get(file), "# Managed by Drydock\nnet.ipv4.ip_forward = 0\n");
    bench.put(file, "net.ipv4.ip_forward = 1\n");
    assert!(bench.enforce(&mut *kind).0.ends_with("differs"));
    assert_eq!(kind.watches()[0], Watch::Sysctl("/proc/sys/net/ipv4/ip_forward".into()));
    kind.remove(&bench.cx()).expect("taken back");
    assert_eq!(bench.get("/proc/sys/net/ipv4/ip_forward"), "1\n");
    assert!(!bench.host(file).exists());
}

#[test]
fn values_are_compared_by_their_words_and_an_unknown_parameter_is_named() {
    let bench = Bench::new();
    bench.put("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    bench.put("/proc/sys/net/ipv4/conf/eth0.1/forwarding", "0\n");
    let rmem = r#"{"id":"s","sysctl":{"key":"net.ipv4.tcp_rmem","value":"4096 131072 6291456"}}"#;
    assert!(bench.wanting(&mut *bench.kind(rmem)).0.ends_with("is absent"), "only the file is wanting");
    bench.enforce(&mut *bench.kind(r#"{"id":"s","sysctl":{"key":"net.ipv4.conf.eth0/1.forwarding","value":"1"}}"#));
    assert_eq!(bench.get("/proc/sys/net/ipv4/conf/eth0.1/forwarding"), "1\n");
    let failure = bench.kind(SYSCTL).validate(&bench.cx()).expect_err("unknown");
    assert!(failure.message.contains("no parameter net.ipv4.ip_forward"), "{failure:?}");
}

#[test]
fn a_module_is_loaded_or_barred_and_in_a_container_neither() {
    let (bench, seen) = doing(|root, line| {
        let text = if line.contains("-r") { "" } else { "nf_conntrack 1 0 - Live 0x0\n" };
        std::fs::write(root.join("proc/modules"), text).expect("written");
    });
    bench.put("/proc/modules", "");
    bench.put("/lib/modules/x/y", "");
    let mut kind = bench.kind(r#"{"id":"m","kernelModule":{"name":"nf-conntrack"}}"#);
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/modules-load.d/drydock-nf-conntrack.conf"), "# Managed by Drydock\nnf-conntrack\n");
    let mut barred = bench.kind(r#"{"id":"m","kernelModule":{"name":"nf-conntrack","state":"BARRED"}}"#);
    bench.enforce(&mut *barred);
    assert_eq!(taken(&seen), ["modprobe -- nf-conntrack", "modprobe -r -- nf-conntrack"]);
    assert!(bench.get("/etc/modprobe.d/drydock-nf-conntrack.conf").contains("install nf-conntrack /bin/false\n"));
    bench.put("/run/systemd/container", "lxc");
    let failure = kind.enforce(&bench.cx()).expect_err("a container");
    assert!(failure.message.contains("this is a container"), "{failure:?}");
}

const TIMER: &str = r#"{"id":"t","timer":{"name":"clean","onCalendar":"*-*-* 04:00","command":["/usr/bin/clean","--mode=100%","a b"],"persistent":true}}"#;

#[test]
fn a_timer_is_written_enabled_started_and_removed() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.host("/run/systemd/system")).expect("made");
    bench.units.put("clean.timer", "inactive", "disabled");
    let mut kind = bench.kind(TIMER);
    assert_eq!(bench.enforce(&mut *kind).1, "written, enabled, started");
    let service = bench.get("/etc/systemd/system/clean.service");
    assert!(service.contains("ExecStart=/usr/bin/clean --mode=100%% \"a b\"\n"), "{service}");
    assert!(bench.get("/etc/systemd/system/clean.timer").contains("OnCalendar=*-*-* 04:00\nPersistent=true\n"));
    bench.put("/etc/systemd/system/clean.timer", "[Timer]\n");
    bench.enforce(&mut *kind);
    bench.units.put("clean.timer", "inactive", "enabled");
    assert_eq!(bench.enforce(&mut *kind), ("inactive".to_owned(), "started".to_owned()));
    bench.units.asked();
    kind.remove(&bench.cx()).expect("removed");
    assert_eq!(bench.units.asked(), ["stop clean.timer", "disable clean.timer", "daemon-reload"]);
    assert!(!bench.host("/etc/systemd/system/clean.timer").exists() && !bench.host("/etc/systemd/system/clean.service").exists());
}

#[test]
fn a_cron_file_is_kept_and_a_host_without_cron_says_so() {
    let bench = Bench::new();
    bench.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    let cron = |command: &str| {
        let cron = serde_json::json!({"name": "clean", "schedule": "0 4 * * *", "user": "root", "command": command,
            "environment": {"MAILTO": "ops"}});
        bench.kind(&serde_json::json!({"id": "c", "cron": cron}).to_string())
    };
    let mut kind = cron("/usr/bin/clean");
    assert!(matches!(kind.check(&bench.cx()), Ok(Found::NonCompliant { .. })));
    assert!(kind.enforce(&bench.cx()).expect_err("no cron").message.contains("has no cron"));
    bench.put("/usr/sbin/cron", "");
    bench.enforce(&mut *kind);
    assert_eq!(bench.get("/etc/cron.d/clean"), "# Managed by Drydock\nMAILTO=ops\n0 4 * * * root /usr/bin/clean\n");
    let mut kind = cron(&format!("/usr/bin/clean --token {}pw{}", SECRET_MARKS.0, SECRET_MARKS.1));
    let (what, evidence) = bench.wanting(&mut *kind);
    let done = kind.enforce(&bench.cx()).expect("written");
    assert!(bench.get("/etc/cron.d/clean").contains(SECRET));
    assert!(!format!("{what} {evidence:?} {done:?}").contains(SECRET));
    assert_eq!(kind.remove(&bench.cx()).expect("removed").what, "removed");
}

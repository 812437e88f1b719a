//! Files as the real tools wrote them (dnf 4.14, dnf 5.4, zypper 1.14, apt 2.6) and what `--dump` said of them.

use std::fs;
use std::path::Path;

use drydock_domain::host_rules::{ModuleState, PackageExclude, PackageLock};

use super::*;
use crate::run::SystemRunner;

fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a root");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }
    dir
}

fn rules(kind: ManagerKind, root: &Path) -> HostRules {
    read(kind, root, &SystemRunner::new()).expect("rules").checked().expect("within bounds")
}

fn excludes(list: &[PackageExclude]) -> Vec<String> {
    list.iter().map(|e| format!("{}@{}", e.pattern, e.repository)).collect()
}

fn locks(list: &[PackageLock]) -> Vec<String> {
    list.iter().map(|l| format!("{}{}@{}", if l.exclude { "!" } else { "" }, l.pattern, l.repository)).collect()
}

const DNF_CONF: &str = "[main]\n# c\nexclude=a b, c*\n  d\nexclude = f\n; other\nexcludepkgs=g\n\th\ninstallonlypkgs=foo\n\
    includepkgs =\n x y\nobsoletes=no\nmodule_platform_id=platform:el8\n[inner]\nname=inner\nbaseurl=file:///nowhere\n\
    excludepkgs=inr\nenabled=1\n";
const REPO: &str = "[t]\nname=t\nbaseurl=file:///nowhere\nenabled=1\nexclude=q r\nexcludepkgs=,s\n u\nincludepkgs=i*\n\
    [off]\nname=off\nbaseurl=file:///nowhere\nenabled=0\nexclude=zz\n";

#[test]
fn dnf_4_adds_up_its_lists_as_its_own_dump_shows() {
    let host =
        root(&[("etc/dnf/dnf.conf", DNF_CONF), ("etc/yum.repos.d/t.repo", REPO), ("etc/yum.repos.d/t.repo.rpmsave", REPO)]);
    let rules = rules(ManagerKind::Dnf, host.path());
    assert_eq!(excludes(&rules.excludes), ["f@", "g@", "h@", "inr@inner", "s@t", "u@t"]);
    assert_eq!(excludes(&rules.includes), ["i*@t", "x@", "y@"]);
    assert!(rules.multi_version.iter().any(|w| w == "foo") && rules.multi_version.iter().any(|w| w == "installonlypkg(vm)"));
    assert!(rules.ignore_obsoletes);
    assert_eq!((rules.platform.as_str(), rules.vendor_change), ("platform:el8", None));

    let host =
        root(&[("etc/dnf/dnf.conf", &DNF_CONF.replace("obsoletes=no", "disable_excludes=main inner\nallow_vendor_change=0"))]);
    let rules = super::tests::rules(ManagerKind::Dnf, host.path());
    assert!(rules.excludes.is_empty() && rules.includes.is_empty());
    assert_eq!(rules.vendor_change, Some(false));
}

#[test]
fn nothing_configured_is_nothing_said() {
    for kind in [ManagerKind::Dnf, ManagerKind::Dnf5, ManagerKind::Yum, ManagerKind::Zypper] {
        let host = root(&[("etc/dnf/dnf.conf", "[main]\ngpgcheck=True\ninstallonly_limit=3\n")]);
        assert_eq!(rules(kind, host.path()), HostRules::default(), "{kind:?}");
    }
    let host = root(&[("etc/os-release", "ID=ol\nPLATFORM_ID=\"platform:el9\"\n")]);
    assert_eq!(rules(ManagerKind::Dnf, host.path()).platform, "platform:el9");
}

#[test]
fn dnf_5_takes_its_drop_ins_and_overrides() {
    let host = root(&[
        ("etc/dnf/dnf.conf", DNF_CONF),
        ("etc/yum.repos.d/t.repo", REPO),
        ("etc/dnf/libdnf5.conf.d/10-x.conf", "[main]\nexcludepkgs=dropin\nobsoletes=1\n"),
        ("usr/share/dnf5/libdnf.conf.d/20-y.conf", "[main]\nexcludepkgs=vendor\n"),
        ("usr/share/dnf5/libdnf.conf.d/10-x.conf", "[main]\nexcludepkgs=masked\n"),
        ("etc/dnf/repos.override.d/10-o.repo", "[t]\nexcludepkgs=over\n[inn*]\nincludepkgs=glob\n"),
        (
            "usr/lib/sysimage/libdnf5/modules.toml",
            "version = \"1.0\"\n[modules.nodejs]\nenabled_stream = \"18\"\nstate = \"Enabled\"\ninstalled_profiles = [\"common\"]\n",
        ),
    ]);
    let rules = rules(ManagerKind::Dnf5, host.path());
    assert_eq!(excludes(&rules.excludes), ["dropin@", "f@", "g@", "h@", "inr@inner", "over@t", "s@t", "u@t", "vendor@"]);
    assert_eq!(excludes(&rules.includes), ["glob@inner", "i*@t", "x@", "y@"]);
    assert!(rules.ignore_obsoletes, "dnf.conf is read last");
    assert_eq!(
        rules.modules,
        [ModuleState { name: "nodejs".into(), stream: "18".into(), enabled: true, profiles: vec!["common".into()] }]
    );
}

const LOCKLIST: &str =
    "\n# Added lock on Sun Nov 22 23:14:35 2026\nnginx-0:1.20*\n\n# Added exclude on Sun Nov 22 23:14:35 2026\n!bash-0:5*\n";
const LOCK_CONF: &str = "[main]\nenabled = 1\nlocklist = /etc/dnf/plugins/versionlock.list\n";
const LOCK_PLUGIN: &str = "usr/lib/python3.9/site-packages/dnf-plugins/versionlock.py";

#[test]
fn locks_count_only_where_the_plugin_runs() {
    let list = ("etc/dnf/plugins/versionlock.list", LOCKLIST);
    let conf = ("etc/dnf/plugins/versionlock.conf", LOCK_CONF);
    let plugin = (LOCK_PLUGIN, "");
    let on = root(&[list, conf, plugin]);
    assert_eq!(locks(&rules(ManagerKind::Dnf, on.path()).locks), ["!bash-0:5*@", "nginx-0:1.20*@"]);
    let off = ("etc/dnf/plugins/versionlock.conf", "[main]\nenabled = 0\nlocklist = /etc/dnf/plugins/versionlock.list\n");
    for host in [
        root(&[list, conf]),
        root(&[list, plugin]),
        root(&[list, off, plugin]),
        root(&[list, conf, plugin, ("etc/dnf/dnf.conf", "[main]\nplugins=0\n")]),
    ] {
        assert_eq!(rules(ManagerKind::Dnf, host.path()).locks, []);
    }
}

#[test]
fn locks_of_yum_and_dnf_5_say_the_same_in_one_form() {
    let host = root(&[
        ("etc/yum.conf", "[main]\nplugins=1\nexclude=kernel*\ninstallonlypkgs=kernel our\n"),
        ("etc/yum/pluginconf.d/versionlock.conf", "[main]\nenabled = 1\nlocklist = /etc/yum/pluginconf.d/versionlock.list\n"),
        ("etc/yum/pluginconf.d/versionlock.list", "0:nginx-all-modules-1.20.1-1.el7.*\n!1:bash-5.1-2.*\nodd\n"),
        ("usr/lib/yum-plugins/versionlock.py", ""),
    ]);
    let yum = rules(ManagerKind::Yum, host.path());
    assert_eq!(locks(&yum.locks), ["!bash-1:5.1-2.*@", "nginx-all-modules-0:1.20.1-1.el7.*@", "odd@"]);
    assert_eq!(
        (excludes(&yum.excludes), yum.multi_version),
        (vec!["kernel*@".to_owned()], vec!["kernel".to_owned(), "our".to_owned()])
    );

    let text = "version = \"1.0\"\n\n[[packages]]\nname = \"bash\"\ncomment = \"c\"\n[[packages.conditions]]\nkey = \"evr\"\n\
        comparator = \"=\"\nvalue = \"0:5.2.15-1.fc38\"\n[[packages.conditions]]\nkey = \"arch\"\ncomparator = \"=\"\nvalue = \"x86_64\"\n\n\
        [[packages]]\nname = \"acl\"\nconditions = [ { key = \"evr\", comparator = \">=\", value = \"3\" }, { key = \"evr\", comparator = \"<\", value = \"4\" } ]\n\
        [[packages]]\nname = \"tar\"\nconditions = [ { key = \"evr\", comparator = \"!=\", value = \"1-1\" } ]\n";
    let host = root(&[("etc/dnf/versionlock.toml", text)]);
    assert_eq!(
        locks(&rules(ManagerKind::Dnf5, host.path()).locks),
        ["acl >= 3 < 4@", "bash-0:5.2.15-1.fc38.x86_64@", "!tar-1-1.*@"]
    );
    let broken = root(&[("etc/dnf/versionlock.toml", "name =")]);
    assert_eq!(rules(ManagerKind::Dnf5, broken.path()).locks, []);
}

#[test]
fn module_streams_are_read_as_dnf_4_keeps_them() {
    let host = root(&[
        ("etc/dnf/modules.d/nodejs.module", "[nodejs]\nname=nodejs\nstream=18\nprofiles=common, development\nstate=enabled\n"),
        ("etc/dnf/modules.d/perl.module", "[perl]\nname=perl\nstream=\nprofiles=\nstate=disabled\n"),
        ("etc/dnf/modules.d/php.module", "[php]\nname=php\nstream=\nprofiles=\nstate=\n"),
    ]);
    let module = |name: &str, stream: &str, enabled, profiles: &[&str]| ModuleState {
        name: name.into(),
        stream: stream.into(),
        enabled,
        profiles: profiles.iter().map(|p| (*p).to_owned()).collect(),
    };
    let want = [module("nodejs", "18", true, &["common", "development"]), module("perl", "", false, &[])];
    assert_eq!(rules(ManagerKind::Dnf, host.path()).modules, want);
}

#[test]
fn zyppers_locks_and_settings() {
    let text = "\ntype: package\nversion: >= 1:2-3\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: bar\n\n\n\
        type: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: php*\n\n\n\
        type: patch\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: p1\n\n\n\
        repo: updates\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: vim*\n\n";
    let host = root(&[
        ("etc/zypp/locks", text),
        (
            "etc/zypp/zypp.conf",
            "[main]\n## multiversion = x\nmultiversion = provides:multiversion(kernel)\nsolver.allowVendorChange = false\n",
        ),
        ("usr/etc/zypp/zypp.conf", "[main]\nsolver.allowVendorChange = true\n"),
        ("etc/zypp/multiversion.d/jdk", "# more\njdk\n"),
    ]);
    let rules = rules(ManagerKind::Zypper, host.path());
    assert_eq!(locks(&rules.locks), ["bar >= 1:2-3@", "php*@", "vim*@updates"]);
    assert_eq!(
        (rules.multi_version, rules.vendor_change),
        (vec!["jdk".to_owned(), "multiversion(kernel)".to_owned()], Some(false))
    );
}

#[test]
fn only_preferences_that_apt_reads_count_and_keep_their_order() {
    let host = root(&[
        (
            "etc/apt/preferences",
            "Explanation: x\nPackage: nginx\n src:openssl\nPin: release a=stable, n=bookworm\nPin-Priority: 990\n# c\n\nPackage: *\nPin: origin \"\"\nPin-Priority: -10\n",
        ),
        ("etc/apt/preferences.d/20-b.pref", "Package: /^lib/\nPin: version 1.2*\nPin-Priority: 1001"),
        (
            "etc/apt/preferences.d/10-a",
            "Package: a\nPin: version 1\nPin-Priority: 0\n\nPin: version 1\nPin-Priority: 5\n\nPackage: z\nPin: version 2\nPin-Priority: 5\n",
        ),
        ("etc/apt/preferences.d/x.conf", "Package: no\nPin: version 1\nPin-Priority: 5\n"),
        ("etc/apt/preferences.d/.hidden", "Package: no\nPin: version 1\nPin-Priority: 5\n"),
        ("etc/apt/preferences.d/odd name", "Package: no\nPin: version 1\nPin-Priority: 5\n"),
    ]);
    let pins = preferences::read(&host.path().join("etc/apt/preferences"), &host.path().join("etc/apt/preferences.d"));
    let shown: Vec<_> = pins.iter().map(|p| format!("{}|{}|{}", p.packages.join(" "), p.pin, p.priority)).collect();
    assert_eq!(
        shown,
        ["nginx src:openssl|release a=stable, n=bookworm|990", "*|origin \"\"|-10", "z|version 2|5", "/^lib/|version 1.2*|1001"]
    );
}

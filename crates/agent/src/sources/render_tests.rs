//! The files each package manager gets.

use drydock_domain::ids::InstanceId;
use uuid::Uuid;

use super::*;

fn key(byte: u8) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode([byte; 90]);
    format!(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\n{}\n{}\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n",
        &body[..64],
        &body[64..]
    )
}

fn source(name: &str, format: Format) -> HostSource {
    HostSource {
        name: name.into(),
        display_name: format!("The {name}"),
        format,
        path: format!("/content/prod/{name}/"),
        suite: "bookworm".into(),
        components: vec!["main".into(), "contrib".into()],
        architectures: vec!["amd64".into(), "i386".into()],
        keys: vec![key(1)],
        gpgcheck: true,
        priority: Some(10),
        module_hotfixes: format == Format::Rpm,
    }
}

fn document(sources: Vec<HostSource>) -> HostSources {
    HostSources {
        version: 1,
        instance: InstanceId(Uuid::nil()),
        generation: 1,
        mode: SourcesMode::Exclusive,
        repository_keys: vec![key(2), key(3)],
        sources,
    }
}

fn ca() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    rcgen::CertificateParams::new(Vec::new()).expect("params").self_signed(&key).expect("signed").pem()
}

fn rendered(manager: ManagerKind, document: &HostSources, proxy: Option<Option<&Proxy>>) -> Rendered {
    let server = ServerAddress { host: "drydock.example".into(), port: 8443 };
    let facts = Facts {
        manager,
        plugin_dir: Some("/plugins".into()),
        apt_user: Some(42),
        architectures: vec!["amd64".into(), "armhf".into()],
    };
    render(&Input { document, server: &server, proxy, ca_pem: &ca(), client_pem: "CLIENT", facts: &facts })
}

fn text(rendered: &Rendered, path: &str) -> String {
    let file = rendered.files.iter().find(|f| f.path == path);
    let file = file.unwrap_or_else(|| panic!("no {path} in {:?}", rendered.files.iter().map(|f| &f.path).collect::<Vec<_>>()));
    String::from_utf8(file.bytes.clone()).expect("text")
}

#[test]
fn dnf_gets_one_file_and_a_plugin() {
    let made = rendered(ManagerKind::Dnf, &document(vec![source("a", Format::Rpm), source("b", Format::Rpm)]), None);
    assert!(made.findings.is_empty() && !made.incomplete, "{:?}", made.findings);
    let repo = text(&made, "/etc/yum.repos.d/drydock.repo");
    for line in [
        "[drydock-a]",
        "[drydock-b]",
        "name=The a",
        "baseurl=https://drydock.example:8443/content/prod/a/",
        "sslverify=1",
        "sslcacert=/etc/drydock-agent/content/ca.pem",
        "sslclientkey=/etc/drydock-agent/content/client.pem",
        "gpgcheck=1",
        "repo_gpgcheck=0",
        "priority=10",
        "module_hotfixes=1",
        "metadata_expire=300",
    ] {
        assert!(repo.lines().any(|l| l == line), "{line} is not in\n{repo}");
    }
    // The source's key is named by both sections; the server's two are for tools that verify metadata.
    assert_eq!(repo.matches("file:///etc/drydock-agent/content/keys/").count(), 2);
    assert_eq!(made.files.iter().filter(|f| f.path.starts_with(KEYS_DIR)).count(), 3);
    let client = made.files.iter().find(|f| f.path == CLIENT_FILE).expect("there");
    assert_eq!((client.mode, client.owner), (0o600, None));
    assert_eq!(text(&made, "/etc/dnf/plugins/drydock.conf"), "[main]\nenabled=1\nexclusive=1\n");
    assert!(text(&made, "/plugins/drydock.py").contains(plugin::BANNER));
}

#[test]
fn metadata_is_trusted_by_tls_alone() {
    let mut one = document(vec![source("a", Format::Rpm)]);
    one.sources[0].gpgcheck = false;
    let repo = text(&rendered(ManagerKind::Yum, &one, None), "/etc/yum.repos.d/drydock.repo");
    assert!(repo.contains("\nrepo_gpgcheck=0\n") && repo.contains("\ngpgcheck=0\n") && !repo.contains("gpgkey"), "{repo}");
}

#[test]
fn zypper_gets_a_file_per_source_and_its_keys_in_the_rpm_database() {
    let made = rendered(ManagerKind::Zypper, &document(vec![source("a", Format::Rpm), source("b", Format::Rpm)]), None);
    let repo = text(&made, "/etc/zypp/repos.d/drydock-b.repo");
    let url = "baseurl=https://drydock.example:8443/content/prod/b/?ssl_verify=yes&ssl_capath=/etc/drydock-agent/content/ca&\
        ssl_clientcert=/etc/drydock-agent/content/client.pem&ssl_clientkey=/etc/drydock-agent/content/client.pem";
    assert!(repo.lines().any(|l| l == url), "{repo}");
    assert!(repo.contains("pkg_gpgcheck=1") && made.rpm_keys.len() == 3, "{:?}", made.rpm_keys);
    assert!(made.files.iter().any(|f| f.path.starts_with("/etc/drydock-agent/content/ca/") && f.path.ends_with(".0")));
}

#[test]
fn apt_gets_sources_a_binary_keyring_and_settings_for_one_host() {
    let mut two = document(vec![source("a", Format::Deb), source("b", Format::Deb)]);
    let made = rendered(ManagerKind::Apt, &two, None);
    let sources = text(&made, "/etc/apt/sources.list.d/drydock.sources");
    assert!(sources.contains("URIs: https://drydock.example:8443/content/prod/b/\nSuites: bookworm\nComponents: main contrib\nArchitectures: amd64\nSigned-By: /etc/apt/keyrings/drydock.gpg\nDate-Max-Future: 86400\n"), "{sources}");
    let keyring = made.files.iter().find(|f| f.path == "/etc/apt/keyrings/drydock.gpg").expect("there");
    assert_eq!(keyring.bytes, [[2u8; 90], [3u8; 90]].concat());
    let config = text(&made, "/etc/apt/apt.conf.d/50drydock");
    assert!(config.contains("Acquire::https::drydock.example {\n  CaInfo \"/etc/drydock-agent/content/ca.pem\";"), "{config}");
    let client = made.files.iter().find(|f| f.path == CLIENT_FILE).expect("there");
    assert_eq!((client.mode, client.owner), (0o400, Some(42)));
    assert!(text(&made, "/etc/apt/preferences.d/50drydock.pref").contains("Pin-Priority: 10\n"));
    two.sources[1].priority = None;
    let made = rendered(ManagerKind::Apt, &two, None);
    assert!(made.findings.len() == 1 && !made.incomplete && !made.files.iter().any(|f| f.path.ends_with(".pref")));
}

#[test]
fn a_proxy_is_for_package_managers_too_and_its_password_for_root() {
    let proxy = Proxy::parse("http://me:p%40ss@proxy:3128").expect("a proxy");
    let one = document(vec![source("a", Format::Rpm)]);
    let made = rendered(ManagerKind::Dnf5, &one, Some(Some(&proxy)));
    let repo = text(&made, "/etc/yum.repos.d/drydock.repo");
    assert!(repo.contains("\nproxy=http://proxy:3128\nproxy_username=me\nproxy_password=p@ss\n"), "{repo}");
    assert_eq!(made.files.iter().find(|f| f.path.ends_with("drydock.repo")).map(|f| f.mode), Some(0o600));
    let made = rendered(ManagerKind::Zypper, &one, Some(Some(&proxy)));
    assert!(
        text(&made, "/etc/zypp/repos.d/drydock-a.repo").contains("&proxy=proxy&proxyport=3128&proxyuser=me&proxypass=p%40ss\n")
    );
    let made = rendered(ManagerKind::Apt, &document(vec![source("a", Format::Deb)]), Some(Some(&proxy)));
    assert!(text(&made, "/etc/apt/apt.conf.d/50drydock").contains("Proxy \"http://me:p%40ss@proxy:3128\";"));
}

#[test]
fn what_cannot_be_written_is_told_and_the_rest_is() {
    let mut bad = source("bad", Format::Rpm);
    bad.path = "/content/x\n/".into();
    let made = rendered(ManagerKind::Dnf, &document(vec![bad, source("good", Format::Rpm), source("deb", Format::Deb)]), None);
    assert!(made.incomplete);
    let subjects: Vec<&str> = made.findings.iter().map(|f| f.subject.as_str()).collect();
    assert_eq!(subjects, ["bad", "deb"]);
    let repo = text(&made, "/etc/yum.repos.d/drydock.repo");
    assert!(repo.contains("[drydock-good]") && !repo.contains("bad") && !repo.contains("deb]"), "{repo}");
    let none = rendered(ManagerKind::Dnf, &document(Vec::new()), None);
    assert!(none.files.is_empty() && none.dirs.is_empty(), "without sources nothing is ours");
}

//! What is refused in a software source, field by field: [`SourceSpec::validate`] looks at a specification by itself,
//! [`SourceSpec::check_edit`] at one that is to replace another. Whether the sources it names exist, and whether keys
//! and certificates can be read by what uses them, is looked at elsewhere.

use super::name::check_name;
use super::spec::{DownloadPolicy, Origin, SignatureCheck, SourceSpec, Upstream};
use super::unit::Format;
use super::url::{check_base_url, check_list_url, check_proxy};
use crate::limits::{DESCRIPTION_MAX_BYTES, DISPLAY_NAME_MAX_BYTES};
use crate::validate::{Invalid, Problems};

/// Mirrors of one upstream, count.
pub const URLS_MAX: usize = 16;
/// Sources one custom source takes from, count.
pub const FROM_MAX: usize = 50;
/// OpenPGP keys of one source, count.
pub const KEYS_MAX: usize = 16;
/// One armoured OpenPGP key, bytes: distribution keyrings with many signatures stay below 20 KiB.
pub const KEY_MAX_BYTES: usize = 64 * 1024;
/// Certificates or a key for an upstream, PEM, bytes: a bundle of all public authorities has some 230 KiB.
pub const PEM_MAX_BYTES: usize = 512 * 1024;
/// Architectures of one source, count.
pub const ARCHITECTURES_MAX: usize = 32;
/// One architecture, bytes.
pub const ARCHITECTURE_MAX_BYTES: usize = 32;
/// Components of a deb upstream, count.
pub const COMPONENTS_MAX: usize = 64;
/// A suite or a component, bytes.
pub const SUITE_MAX_BYTES: usize = 128;
/// Shortest time between syncs, seconds.
pub const SYNC_INTERVAL_MIN_SECS: u64 = 60;
/// Longest time between syncs, seconds (30 days).
pub const SYNC_INTERVAL_MAX_SECS: u64 = 30 * 24 * 3600;
/// Most snapshots kept besides those that environments use, count.
pub const KEEP_SNAPSHOTS_MAX: u32 = 10_000;
/// Highest rpm `priority`.
pub const RPM_PRIORITY_MAX: u32 = 99;
/// Highest deb pin: apt reads 16 bits with a sign.
pub const DEB_PRIORITY_MAX: u32 = 32_767;

const PGP_BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const PGP_END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

impl SourceSpec {
    /// Checks the specification by itself.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        problems.text("displayName", &self.display_name, DISPLAY_NAME_MAX_BYTES);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        match &self.origin {
            Origin::Upstream(upstream) => check_upstream(upstream, self.format, &mut problems),
            Origin::Sources { from } => self.check_from(from, &mut problems),
            Origin::Local { suite } => {
                if self.format == Format::Deb {
                    check_suite("origin.local.suite", suite, false, &mut problems);
                }
            }
        }
        if let Some(parent) = &self.parent {
            check_name("parent", parent, &mut problems);
            if *parent == self.name {
                problems.add("parent", "is the source itself; name another one or leave it out");
            }
        }
        self.check_architectures(&mut problems);
        check_keys(&self.keys, &mut problems);
        self.check_by_origin(&mut problems);
        self.check_by_format(&mut problems);
        self.selection.validate("selection", self.format, &mut problems);
        if self.keep_snapshots.is_some_and(|n| n == 0 || n > KEEP_SNAPSHOTS_MAX) {
            problems.add("keepSnapshots", format!("must be between 1 and {KEEP_SNAPSHOTS_MAX}"));
        }
        problems.finish()
    }

    /// Checks that this specification may replace `stored`: what hosts, snapshots and URLs depend on never changes.
    pub fn check_edit(&self, stored: &SourceSpec) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        if self.name != stored.name {
            problems.add("name", format!("stays {}; make a new source for another name", stored.name));
        }
        if self.format != stored.format {
            problems.add("format", format!("stays {}; make a new source for the other one", stored.format.as_str()));
        }
        if std::mem::discriminant(&self.origin) != std::mem::discriminant(&stored.origin) {
            problems.add("origin", "stays of the kind it is (upstream, sources or local); make a new source for another kind");
        }
        problems.finish()
    }

    fn check_from(&self, from: &[String], problems: &mut Problems) {
        let field = "origin.sources.from";
        if from.is_empty() {
            problems.add(field, "is empty; name at least one source to take from");
        }
        problems.count(field, from.len(), FROM_MAX);
        for (i, name) in from.iter().enumerate().take(FROM_MAX) {
            let at = format!("{field}[{i}]");
            check_name(&at, name, problems);
            if *name == self.name {
                problems.add(&at, "is the source itself; name another one");
            }
            if from[..i].contains(name) {
                problems.add(&at, format!("repeats {name}"));
            }
        }
    }

    fn check_architectures(&self, problems: &mut Problems) {
        let field = "architectures";
        problems.count(field, self.architectures.len(), ARCHITECTURES_MAX);
        for (i, arch) in self.architectures.iter().enumerate().take(ARCHITECTURES_MAX) {
            let at = format!("{field}[{i}]");
            let word = arch.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
            if arch.is_empty() || arch.len() > ARCHITECTURE_MAX_BYTES || !word {
                problems.add(&at, format!("is 1 to {ARCHITECTURE_MAX_BYTES} of a-z, 0-9, _ and -, for example x86_64 or amd64"));
            } else if let Some(right) = other_familys_name(self.format, arch) {
                problems.add(&at, format!("{arch} is not what {} calls it; write {right}", self.format.as_str()));
            }
            if self.architectures[..i].contains(arch) {
                problems.add(&at, format!("repeats {arch}"));
            }
        }
        if self.format == Format::Deb && !self.architectures.is_empty() && self.architectures.iter().all(|a| a == "all") {
            problems
                .add(field, "names all alone, which has no index of its own; name the hosts' architectures, for example amd64");
        }
    }

    /// Settings that mean something only where packages come from an upstream.
    fn check_by_origin(&self, problems: &mut Problems) {
        let Origin::Upstream(upstream) = &self.origin else {
            if self.policy == DownloadPolicy::MetadataOnly {
                problems.add("policy", "metadata-only needs an upstream whose URLs hosts can use; choose immediate or on-demand");
            }
            if self.signatures == SignatureCheck::Required {
                problems.add("signatures", "required needs an upstream; nothing signed is read here, leave it out");
            }
            if self.sync_interval_secs.is_some() {
                problems
                    .add("syncIntervalSecs", "is for upstreams; this source changes by itself when what it is made of changes");
            }
            return;
        };
        // Hosts trust this server's CA alone for everything of a repository, and would show its upstream their certificate.
        let lists = [&upstream.mirrorlist, &upstream.metalink];
        let elsewhere = upstream.urls.iter().chain(lists.into_iter().flatten()).any(|url| url.starts_with("https:"));
        if self.policy == DownloadPolicy::MetadataOnly && elsewhere {
            problems.add(
                "policy",
                "metadata-only works with http:// upstreams only: hosts trust no other server's certificate; choose on-demand",
            );
        }
        if self.signatures == SignatureCheck::Required && self.keys.is_empty() {
            problems.add("keys", "is empty, but signatures are required; add the public key the upstream signs with");
        }
        if self.sync_interval_secs.is_some_and(|s| !(SYNC_INTERVAL_MIN_SECS..=SYNC_INTERVAL_MAX_SECS).contains(&s)) {
            problems.add(
                "syncIntervalSecs",
                format!("must be between {SYNC_INTERVAL_MIN_SECS} and {SYNC_INTERVAL_MAX_SECS} seconds; leave it out to sync only when asked"),
            );
        }
    }

    /// Settings that only one of the two families knows.
    fn check_by_format(&self, problems: &mut Problems) {
        let highest = match self.format {
            Format::Rpm => RPM_PRIORITY_MAX,
            Format::Deb => DEB_PRIORITY_MAX,
        };
        if self.priority.is_some_and(|p| p == 0 || p > highest) {
            problems.add("priority", format!("must be between 1 and {highest} for {}", self.format.as_str()));
        }
        if self.format == Format::Rpm {
            return;
        }
        if self.policy == DownloadPolicy::MetadataOnly {
            problems
                .add("policy", "metadata-only is for rpm: apt takes packages only from where it has the index; choose on-demand");
        }
        if self.module_hotfixes {
            problems.add("moduleHotfixes", "is for rpm; leave it out");
        }
    }
}

fn check_upstream(upstream: &Upstream, format: Format, problems: &mut Problems) {
    let at = |field: &str| format!("origin.upstream.{field}");
    problems.count(&at("urls"), upstream.urls.len(), URLS_MAX);
    for (i, url) in upstream.urls.iter().enumerate().take(URLS_MAX) {
        let field = at(&format!("urls[{i}]"));
        check_base_url(&field, url, problems);
        if upstream.urls[..i].contains(url) {
            problems.add(&field, "repeats a mirror");
        }
    }
    for (field, url) in [("mirrorlist", &upstream.mirrorlist), ("metalink", &upstream.metalink)] {
        let Some(url) = url else { continue };
        if format == Format::Deb {
            problems.add(at(field), "is for rpm; give urls instead");
        } else {
            check_list_url(&at(field), url, problems);
        }
    }
    match format {
        Format::Rpm => {
            let given = [!upstream.urls.is_empty(), upstream.mirrorlist.is_some(), upstream.metalink.is_some()];
            match given.into_iter().filter(|g| *g).count() {
                1 => {}
                0 => problems.add(at("urls"), "is empty; give one of urls, mirrorlist and metalink"),
                _ => problems.add(at("urls"), "give one of urls, mirrorlist and metalink, not several"),
            }
            if upstream.suite.is_some() {
                problems.add(at("suite"), "is for deb; leave it out");
            }
            if !upstream.components.is_empty() {
                problems.add(at("components"), "is for deb; leave it out");
            }
        }
        Format::Deb => {
            if upstream.urls.is_empty() {
                problems.add(
                    at("urls"),
                    "is empty; give the URL of the directory that holds dists/, or Release for a flat repository",
                );
            }
            check_suite_and_components(upstream, problems);
        }
    }
    check_credentials(upstream, problems);
}

fn check_suite_and_components(upstream: &Upstream, problems: &mut Problems) {
    let field = "origin.upstream.components";
    let Some(suite) = &upstream.suite else {
        problems.add(
            "origin.upstream.suite",
            "is missing; give a suite or codename, for example bookworm, or ./ for a flat repository",
        );
        return;
    };
    check_suite("origin.upstream.suite", suite, true, problems);
    if suite.ends_with('/') {
        if !upstream.components.is_empty() {
            problems.add(field, "a flat repository (a suite that ends with /) has no components; leave it out");
        }
        return;
    }
    if upstream.components.is_empty() {
        problems.add(field, "is empty; name at least one, for example main");
    }
    problems.count(field, upstream.components.len(), COMPONENTS_MAX);
    for (i, component) in upstream.components.iter().enumerate().take(COMPONENTS_MAX) {
        let at = format!("{field}[{i}]");
        check_suite(&at, component, false, problems);
        if upstream.components[..i].contains(component) {
            problems.add(&at, format!("repeats {component}"));
        }
    }
}

/// A suite or a component: words with `/` between them. `flat`: may end with `/`, and be `./`.
fn check_suite(field: &str, text: &str, flat: bool, problems: &mut Problems) {
    let words = if flat { text.strip_suffix('/').unwrap_or(text) } else { text };
    let fine = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+~-".contains(&b))
            && word.bytes().any(|b| b != b'.')
    };
    let here = flat && text == "./";
    if text.len() > SUITE_MAX_BYTES || !(here || words.split('/').all(fine)) {
        problems.add(
            field,
            format!(
                "is at most {SUITE_MAX_BYTES} of letters, digits and . _ + ~ - with / between words, without .. and a leading /"
            ),
        );
    }
}

fn check_credentials(upstream: &Upstream, problems: &mut Problems) {
    let at = |field: &str| format!("origin.upstream.{field}");
    if let Some(ca) = &upstream.ca_pem {
        check_pem(&at("caPem"), ca, "CERTIFICATE", problems);
    }
    if let Some(certificate) = &upstream.client_certificate_pem {
        check_pem(&at("clientCertificatePem"), certificate, "CERTIFICATE", problems);
        let urls = upstream.urls.iter().chain(&upstream.mirrorlist).chain(&upstream.metalink);
        if urls.clone().count() > 0 && !urls.into_iter().any(|url| url.starts_with("https://")) {
            problems.add(at("clientCertificatePem"), "is used with https:// only, and no URL of this source is");
        }
    }
    if let Some(key) = &upstream.client_key_pem {
        if key.contains("ENCRYPTED") {
            problems.add(at("clientKeyPem"), "is encrypted; give it without a passphrase (openssl pkey -in KEY)");
        } else {
            check_pem(&at("clientKeyPem"), key, "PRIVATE KEY", problems);
        }
    }
    match (&upstream.client_certificate_pem, &upstream.client_key_pem) {
        (Some(_), None) => problems.add(at("clientKeyPem"), "is missing; a client certificate comes with its key"),
        (None, Some(_)) => problems.add(at("clientCertificatePem"), "is missing; a client key comes with its certificate"),
        _ => {}
    }
    if let Some(proxy) = &upstream.proxy {
        check_proxy(&at("proxy"), proxy, problems);
    }
}

/// Looks for a PEM block whose label ends with `label`; what is inside is for those who use it.
fn check_pem(field: &str, pem: &str, label: &str, problems: &mut Problems) {
    problems.text(field, &pem.replace('\r', ""), PEM_MAX_BYTES);
    let begins = pem.lines().any(|l| l.starts_with("-----BEGIN ") && l.trim_end().ends_with(&format!("{label}-----")));
    let ends = pem.lines().any(|l| l.starts_with("-----END ") && l.trim_end().ends_with(&format!("{label}-----")));
    if !begins || !ends {
        problems.add(field, format!("is not PEM with a block -----BEGIN … {label}-----"));
    }
}

fn check_keys(keys: &[String], problems: &mut Problems) {
    problems.count("keys", keys.len(), KEYS_MAX);
    for (i, key) in keys.iter().enumerate().take(KEYS_MAX) {
        let field = format!("keys[{i}]");
        if key.len() > KEY_MAX_BYTES {
            problems.add(&field, format!("is {} bytes long; at most {KEY_MAX_BYTES} are allowed", key.len()));
            continue;
        }
        if key.contains("PGP PRIVATE KEY BLOCK") {
            problems.add(&field, "is a secret key; give the public one (gpg --export --armor)");
            continue;
        }
        let begin = key.find(PGP_BEGIN);
        let armoured = begin.is_some_and(|b| key[b..].contains(PGP_END));
        if !armoured || key.bytes().any(|b| b == 0) {
            problems.add(
                &field,
                format!("is not an ASCII-armoured public key ({PGP_BEGIN}); convert it with gpg --enarmor or --export --armor"),
            );
        }
        if keys[..i].contains(key) {
            problems.add(&field, "repeats a key");
        }
    }
}

/// What this family calls an architecture that was given by the other family's name.
fn other_familys_name(format: Format, arch: &str) -> Option<&'static str> {
    const NAMES: [(&str, &str); 5] =
        [("x86_64", "amd64"), ("aarch64", "arm64"), ("ppc64le", "ppc64el"), ("i686", "i386"), ("noarch", "all")];
    match format {
        Format::Rpm => NAMES.into_iter().find(|(_, deb)| *deb == arch && arch != "i386").map(|(rpm, _)| rpm),
        Format::Deb => NAMES.into_iter().find(|(rpm, _)| *rpm == arch).map(|(_, deb)| deb),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n";
    const CERT: &str = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n";
    const PRIVATE: &str = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\n";

    fn rpm() -> serde_json::Value {
        serde_json::json!({"name": "ol9-base", "format": "rpm", "origin": {"upstream": {"urls": ["https://repo.example/ol9/"]}}})
    }

    fn deb() -> serde_json::Value {
        serde_json::json!({"name": "bookworm", "format": "deb", "keys": [KEY], "signatures": "required", "origin": {"upstream":
            {"urls": ["http://deb.example/debian"], "suite": "bookworm", "components": ["main", "contrib"]}}})
    }

    fn custom() -> serde_json::Value {
        serde_json::json!({"name": "mix", "format": "rpm", "origin": {"sources": {"from": ["a", "b"]}}})
    }

    fn local() -> serde_json::Value {
        serde_json::json!({"name": "ours", "format": "deb", "origin": {"local": {"suite": "stable"}}})
    }

    /// `base` with the value at this JSON pointer put in.
    fn with(mut base: serde_json::Value, path: &str, value: serde_json::Value) -> serde_json::Value {
        let (parent, last) = path.rsplit_once('/').expect("a pointer");
        base.pointer_mut(parent).expect("there").as_object_mut().expect("an object").insert(last.to_owned(), value);
        base
    }

    fn spec(json: serde_json::Value) -> SourceSpec {
        serde_json::from_value(json).expect("a spec")
    }

    #[test]
    fn what_people_write_is_accepted() {
        let up = "/origin/upstream";
        let good = [
            rpm(),
            deb(),
            custom(),
            local(),
            with(
                with(rpm(), "/policy", "metadata-only".into()),
                "/origin/upstream/urls",
                serde_json::json!(["http://repo.example/"]),
            ),
            with(rpm(), "/priority", 10.into()),
            with(rpm(), "/architectures", serde_json::json!(["x86_64", "i686", "noarch", "src"])),
            with(deb(), "/architectures", serde_json::json!(["amd64", "arm64", "all"])),
            with(deb(), "/origin/upstream/suite", "bookworm-updates/experimental".into()),
            with(with(deb(), "/origin/upstream/suite", "./".into()), "/origin/upstream/components", serde_json::json!([])),
            with(with(deb(), "/origin/upstream/suite", "amd64/".into()), "/origin/upstream/components", serde_json::json!([])),
            with(deb(), "/signatures", "none".into()),
            with(rpm(), up, serde_json::json!({"mirrorlist": "https://mirrors.example/list?repo=ol9&arch=x86_64"})),
            with(rpm(), up, serde_json::json!({"metalink": "https://mirrors.example/metalink?repo=f40"})),
            with(rpm(), "/origin/upstream/proxy", "http://user:secret@proxy.example:3128".into()),
            with(
                rpm(),
                up,
                serde_json::json!({"urls": ["https://cdn.example/"], "clientCertificatePem": CERT, "clientKeyPem": PRIVATE, "caPem": CERT}),
            ),
            with(rpm(), "/syncIntervalSecs", 60.into()),
            with(rpm(), "/keys", serde_json::json!([format!("comment of the vendor\n{KEY}")])),
        ];
        for json in good {
            assert_eq!(spec(json.clone()).validate(), Ok(()), "{json}");
        }
    }

    /// What is wrong, the field that is to be named, and what is to be said.
    type Wrong = (serde_json::Value, &'static str, &'static str);

    fn wrong_upstreams() -> Vec<Wrong> {
        let up = "/origin/upstream";
        vec![
            (with(rpm(), "/name", "Ol9".into()), "name", "a-z"),
            (with(rpm(), "/name", "latest".into()), "name", "reserved"),
            (with(rpm(), "/displayName", "x".repeat(129).into()), "displayName", "128"),
            (with(rpm(), "/description", "\u{7}".into()), "description", "control"),
            (with(rpm(), up, serde_json::json!({})), "origin.upstream.urls", "one of urls, mirrorlist and metalink"),
            (with(rpm(), "/origin/upstream/metalink", "https://m.example/x".into()), "origin.upstream.urls", "not several"),
            (with(rpm(), "/origin/upstream/urls", serde_json::json!(["ftp://h/x"])), "origin.upstream.urls[0]", "http://"),
            (
                with(rpm(), "/origin/upstream/urls", serde_json::json!(["https://h/", "https://h/"])),
                "origin.upstream.urls[1]",
                "repeats",
            ),
            (with(rpm(), "/origin/upstream/urls", vec!["https://h/"; 17].into()), "origin.upstream.urls", "at most 16"),
            (with(rpm(), "/origin/upstream/suite", "el9".into()), "origin.upstream.suite", "for deb"),
            (with(rpm(), "/origin/upstream/components", serde_json::json!(["main"])), "origin.upstream.components", "for deb"),
            (with(deb(), "/origin/upstream/mirrorlist", "https://m.example/".into()), "origin.upstream.mirrorlist", "for rpm"),
            (with(deb(), "/origin/upstream/metalink", "https://m.example/".into()), "origin.upstream.metalink", "for rpm"),
            (with(deb(), "/origin/upstream/urls", serde_json::json!([])), "origin.upstream.urls", "dists/"),
            (with(deb(), "/origin/upstream/suite", serde_json::Value::Null), "origin.upstream.suite", "missing"),
            (with(deb(), "/origin/upstream/suite", "../x".into()), "origin.upstream.suite", "without .."),
            (with(deb(), "/origin/upstream/suite", "/x".into()), "origin.upstream.suite", "leading /"),
            (with(deb(), "/origin/upstream/suite", "./".into()), "origin.upstream.components", "flat"),
            (with(deb(), "/origin/upstream/components", serde_json::json!([])), "origin.upstream.components", "main"),
            (
                with(deb(), "/origin/upstream/components", serde_json::json!(["main", "main"])),
                "origin.upstream.components[1]",
                "repeats",
            ),
            (with(deb(), "/origin/upstream/components", serde_json::json!(["a b"])), "origin.upstream.components[0]", "letters"),
            (with(rpm(), "/origin/upstream/caPem", "x".into()), "origin.upstream.caPem", "PEM"),
            (with(rpm(), "/origin/upstream/clientCertificatePem", CERT.into()), "origin.upstream.clientKeyPem", "missing"),
            (with(rpm(), "/origin/upstream/clientKeyPem", PRIVATE.into()), "origin.upstream.clientCertificatePem", "missing"),
            (
                with(
                    rpm(),
                    up,
                    serde_json::json!({"urls": ["https://h/"], "clientCertificatePem": CERT, "clientKeyPem": "-----BEGIN ENCRYPTED PRIVATE KEY-----"}),
                ),
                "origin.upstream.clientKeyPem",
                "passphrase",
            ),
            (
                with(
                    rpm(),
                    up,
                    serde_json::json!({"urls": ["http://h/"], "clientCertificatePem": CERT, "clientKeyPem": PRIVATE}),
                ),
                "origin.upstream.clientCertificatePem",
                "https://",
            ),
            (with(rpm(), "/origin/upstream/proxy", "socks5://h:1".into()), "origin.upstream.proxy", "http://"),
            (with(rpm(), "/origin/upstream/proxy", "http://u:********@h:1".into()), "origin.upstream.proxy", "password"),
        ]
    }

    fn wrong_elsewhere() -> Vec<Wrong> {
        let big_key = format!("{KEY}{}", "x".repeat(KEY_MAX_BYTES));
        vec![
            (with(custom(), "/origin/sources/from", serde_json::json!([])), "origin.sources.from", "at least one"),
            (with(custom(), "/origin/sources/from", serde_json::json!(["a", "a"])), "origin.sources.from[1]", "repeats"),
            (with(custom(), "/origin/sources/from", serde_json::json!(["mix"])), "origin.sources.from[0]", "itself"),
            (
                with(custom(), "/origin/sources/from", (0..51).map(|i| format!("s{i}")).collect::<Vec<_>>().into()),
                "origin.sources.from",
                "at most 50",
            ),
            (with(custom(), "/policy", "metadata-only".into()), "policy", "upstream"),
            (with(rpm(), "/policy", "metadata-only".into()), "policy", "http:// upstreams only"),
            (with(custom(), "/signatures", "required".into()), "signatures", "upstream"),
            (with(custom(), "/syncIntervalSecs", 3600.into()), "syncIntervalSecs", "by itself"),
            (with(local(), "/syncIntervalSecs", 3600.into()), "syncIntervalSecs", "upstreams"),
            (with(local(), "/origin/local/suite", "./".into()), "origin.local.suite", "letters"),
            (with(rpm(), "/parent", "ol9-base".into()), "parent", "itself"),
            (with(rpm(), "/parent", "A".into()), "parent", "a-z"),
            (with(rpm(), "/architectures", serde_json::json!(["amd64"])), "architectures[0]", "x86_64"),
            (with(deb(), "/architectures", serde_json::json!(["x86_64"])), "architectures[0]", "amd64"),
            (with(rpm(), "/architectures", serde_json::json!(["x86_64", "x86_64"])), "architectures[1]", "repeats"),
            (with(rpm(), "/architectures", serde_json::json!(["X"])), "architectures[0]", "a-z"),
            (with(deb(), "/architectures", serde_json::json!(["all"])), "architectures", "amd64"),
            (with(deb(), "/keys", serde_json::json!([])), "keys", "required"),
            (with(rpm(), "/keys", vec![KEY; 17].into()), "keys", "at most 16"),
            (with(rpm(), "/keys", serde_json::json!([KEY, KEY])), "keys[1]", "repeats"),
            (with(rpm(), "/keys", serde_json::json!([big_key])), "keys[0]", "65536"),
            (with(rpm(), "/keys", serde_json::json!(["mQINBF"])), "keys[0]", "ASCII-armoured"),
            (with(rpm(), "/keys", serde_json::json!(["-----BEGIN PGP PRIVATE KEY BLOCK-----"])), "keys[0]", "secret key"),
            (with(deb(), "/policy", "metadata-only".into()), "policy", "apt"),
            (with(deb(), "/moduleHotfixes", true.into()), "moduleHotfixes", "for rpm"),
            (
                with(deb(), "/selection", serde_json::json!({"rules": [{"action": "include", "module": "php"}]})),
                "selection.rules[0].module",
                "for rpm",
            ),
            (
                with(
                    deb(),
                    "/selection",
                    serde_json::json!({"rules": [{"action": "include", "advisory": {"types": ["security"]}}]}),
                ),
                "selection.rules[0].advisory",
                "for rpm",
            ),
            (with(rpm(), "/syncIntervalSecs", 59.into()), "syncIntervalSecs", "between 60"),
            (with(rpm(), "/syncIntervalSecs", (30 * 86_400 + 1).into()), "syncIntervalSecs", "2592000"),
            (with(rpm(), "/keepSnapshots", 0.into()), "keepSnapshots", "between 1"),
            (with(rpm(), "/priority", 100.into()), "priority", "99"),
            (with(deb(), "/priority", 0.into()), "priority", "32767"),
        ]
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (json, field, says) in wrong_upstreams().into_iter().chain(wrong_elsewhere()) {
            let shown: String = json.to_string().chars().take(300).collect();
            let refused = spec(json).validate().expect_err(&shown);
            let found = refused.errors.iter().any(|e| e.field == field && e.message.contains(says));
            assert!(found, "{shown}: {field} / {says} expected, got {refused}");
        }
    }

    #[test]
    fn one_mistake_is_one_refusal() {
        let wrong = with(with(rpm(), "/name", "X".into()), "/priority", 0.into());
        let fields: Vec<_> = spec(wrong).validate().expect_err("refused").errors.into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["name", "priority"]);
    }

    #[test]
    fn an_edit_keeps_name_format_and_kind() {
        let stored = spec(rpm());
        assert_eq!(spec(with(rpm(), "/priority", 5.into())).check_edit(&stored), Ok(()));
        let other = spec(with(local(), "/name", "x".into())).check_edit(&stored).expect_err("refused");
        let fields: Vec<_> = other.errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["name", "format", "origin"]);
    }
}

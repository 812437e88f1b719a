//! apt: deb822 sources, one keyring of the server's keys, and TLS settings for the server's host only.
//!
//! apt looks up TLS settings by host name, without the port: other https sources on the very same host get them too.

use std::fmt::Write;

use drydock_domain::source::host::SourcesMode;

use super::plugin::BANNER;
use super::render::{CA_FILE, CLIENT_FILE, HostFile, Input, Rendered, Source, dearmoured, finding};

const SOURCES_FILE: &str = "/etc/apt/sources.list.d/drydock.sources";
const CONFIG_FILE: &str = "/etc/apt/apt.conf.d/50drydock";
const PIN_FILE: &str = "/etc/apt/preferences.d/50drydock.pref";
/// How far the server's clock may be ahead of the host's, seconds: a head is dated with the moment of a promotion, and
/// apt by itself refuses what is 10 s ahead of the host. Releases before apt 1.6 do not know the field.
const CLOCK_SKEW_MAX_SECS: u32 = 24 * 3600;
/// Binary, because older releases read only the first of several armoured keys.
const KEYRING_FILE: &str = "/etc/apt/keyrings/drydock.gpg";

/// Makes apt's files.
pub fn render(input: &Input<'_>, sources: &[Source<'_>], repository_keys: &[&str], out: &mut Rendered) {
    let host = &input.server.host;
    if host.contains(':') {
        let why = "apt has no TLS settings for an IPv6 address; enrol this host with the server's name";
        out.lacks("apt", why);
        return;
    }
    let mut keyring = Vec::new();
    for key in repository_keys {
        match dearmoured(key) {
            Some(bytes) => keyring.extend(bytes),
            None => out.lacks("repository keys", "the armour of one of the server's cannot be read"),
        }
    }
    for dir in ["/etc/apt/keyrings", "/etc/apt/apt.conf.d", "/etc/apt/preferences.d", "/etc/apt/sources.list.d"] {
        out.dirs.push((dir.to_owned(), 0o755));
    }
    out.files.push(HostFile::open(KEYRING_FILE, keyring));
    out.files.push(config(input, host));
    pin(host, sources, out);
    let mut text = "# Written by drydock-agent; changes are undone. `drydock-agent unregister` removes it.\n".to_owned();
    for source in sources {
        let suite = if source.source.suite.is_empty() { "flat" } else { &source.source.suite };
        let components = if source.source.components.is_empty() { "main".to_owned() } else { source.source.components.join(" ") };
        let _ = write!(
            text,
            "\nX-Repolib-Name: {}\nX-Drydock-Source: {}\nTypes: deb\nURIs: {}\nSuites: {suite}\nComponents: {components}\n",
            source.display, source.source.name, source.url
        );
        // Without the field apt asks for every architecture of the host, whether the source has it or not.
        let both = |a: &&String| input.facts.architectures.contains(a);
        let architectures: Vec<&str> = source.source.architectures.iter().filter(both).map(String::as_str).collect();
        if !architectures.is_empty() {
            let _ = writeln!(text, "Architectures: {}", architectures.join(" "));
        }
        let _ = writeln!(text, "Signed-By: {KEYRING_FILE}\nDate-Max-Future: {CLOCK_SKEW_MAX_SECS}");
    }
    out.files.push(HostFile::open(SOURCES_FILE, text));
}

fn config(input: &Input<'_>, host: &str) -> HostFile {
    let mut text = format!(
        "// Written by drydock-agent; changes are undone. `drydock-agent unregister` removes it.\n\
         Acquire::https::{host} {{\n  CaInfo \"{CA_FILE}\";\n  SslCert \"{CLIENT_FILE}\";\n  SslKey \"{CLIENT_FILE}\";\n  \
         Verify-Peer \"true\";\n  Verify-Host \"true\";\n"
    );
    let mut mode = 0o644;
    match input.proxy {
        Some(Some(proxy)) => {
            let user = match proxy.url_user() {
                Some(user) => {
                    mode = 0o600;
                    format!("{user}@")
                }
                None => String::new(),
            };
            let _ = writeln!(text, "  Proxy \"http://{user}{}\";", proxy.address.authority());
        }
        Some(None) => text.push_str("  Proxy \"DIRECT\";\n"),
        None => {}
    }
    text.push_str("};\n");
    let _ = writeln!(text, "APT::Update::Pre-Invoke:: \"echo '{BANNER}' >&2\";");
    if input.document.mode == SourcesMode::Exclusive {
        // Otherwise apt tells of each file it does not read.
        text.push_str("Dir::Ignore-Files-Silently:: \"\\.drydock-(backup|new)(-[0-9]+)?$\";\n");
    }
    HostFile { path: CONFIG_FILE.to_owned(), bytes: text.into_bytes(), mode, owner: None }
}

/// apt pins by the server's host, so all its sources of one host have one priority.
fn pin(host: &str, sources: &[Source<'_>], out: &mut Rendered) {
    let mut priorities: Vec<Option<u32>> = sources.iter().map(|s| s.source.priority).collect();
    priorities.dedup();
    match priorities[..] {
        [Some(priority)] => {
            let text = format!("# Written by drydock-agent.\nPackage: *\nPin: origin \"{host}\"\nPin-Priority: {priority}\n");
            out.files.push(HostFile::open(PIN_FILE, text));
        }
        [] | [None] => {}
        _ => {
            let why =
                "the sources of this host have different priorities, which apt cannot tell apart by their server; none is set";
            out.findings.push(finding("apt", why));
        }
    }
}

//! Repository files of yum 3, dnf 4, dnf 5 and zypper.
//!
//! zypper reads TLS options from the URL, and trusts a directory of CA certificates whose names are hashes of their
//! subjects. It imports no key by itself when nobody can be asked: ours are given to the rpm database.

use std::fmt::Write;

use drydock_domain::inventory::ManagerKind;

use super::ca_hash;
use super::render::{CA_FILE, CLIENT_FILE, CONTENT_DIR, HostFile, Input, Rendered, Source};
use crate::link::address::{Proxy, percent_encoded};

/// Repository file of yum and dnf.
const YUM_FILE: &str = "/etc/yum.repos.d/drydock.repo";
/// Metadata is looked at again after this, seconds: a promotion is seen without anybody's doing.
const METADATA_EXPIRE_SECS: u32 = 300;
const HEAD: &str = "# Written by drydock-agent; changes are undone. `drydock-agent unregister` removes it.\n";

fn yes(value: bool) -> u8 {
    u8::from(value)
}

/// yum and dnf: one file.
pub fn render_yum(input: &Input<'_>, sources: &[Source<'_>], out: &mut Rendered) {
    // TLS, pinned to the server's own CA, protects the metadata. A check of its signature would have dnf ask for the key
    // again after each cleaned cache, and fail where nobody answers; yum 3's gpg may not know the kind of our keys.
    let mut text = HEAD.to_owned();
    for source in sources {
        let _ = write!(
            text,
            "\n[drydock-{name}]\nname={display}\nbaseurl={url}\nenabled=1\nsslverify=1\nsslcacert={CA_FILE}\n\
             sslclientcert={CLIENT_FILE}\nsslclientkey={CLIENT_FILE}\ngpgcheck={gpgcheck}\nrepo_gpgcheck=0\n\
             metadata_expire={METADATA_EXPIRE_SECS}\n",
            name = source.source.name,
            display = source.display,
            url = source.url,
            gpgcheck = yes(source.source.gpgcheck),
        );
        text.push_str(&key_lines(source.keys.iter()));
        if let Some(priority) = source.source.priority {
            let _ = writeln!(text, "priority={priority}");
        }
        if source.source.module_hotfixes {
            text.push_str("module_hotfixes=1\n");
        }
        match input.proxy {
            Some(Some(proxy)) => {
                let _ = writeln!(text, "proxy=http://{}", proxy.address.authority());
                if let Some((user, password)) = credentials(proxy) {
                    let _ = write!(text, "proxy_username={user}\nproxy_password={password}\n");
                }
            }
            // dnf 5 takes an empty value for "none", the others the word.
            Some(None) if input.facts.manager == ManagerKind::Dnf5 => text.push_str("proxy=\n"),
            Some(None) => text.push_str("proxy=_none_\n"),
            None => {}
        }
    }
    out.dirs.push(("/etc/yum.repos.d".to_owned(), 0o755));
    out.files.push(HostFile { path: YUM_FILE.to_owned(), bytes: text.into_bytes(), mode: mode(input), owner: None });
}

/// zypper: one file per source, and the directory of CA certificates.
pub fn render_zypper(input: &Input<'_>, sources: &[Source<'_>], repository_keys: &[String], out: &mut Rendered) {
    let ca_dir = format!("{CONTENT_DIR}/ca");
    out.dirs.push((ca_dir.clone(), 0o755));
    match ca_hash::files(input.ca_pem) {
        Ok(files) => out.files.extend(files.into_iter().map(|(name, pem)| HostFile::open(format!("{ca_dir}/{name}"), pem))),
        Err(why) => out.lacks("ca.pem", &format!("the server's CA cannot be given to zypper: {why}")),
    }
    out.dirs.push(("/etc/zypp".to_owned(), 0o755));
    out.dirs.push(("/etc/zypp/repos.d".to_owned(), 0o755));
    for source in sources {
        let name = &source.source.name;
        let mut url =
            format!("{}?ssl_verify=yes&ssl_capath={ca_dir}&ssl_clientcert={CLIENT_FILE}&ssl_clientkey={CLIENT_FILE}", source.url);
        if let Some(Some(proxy)) = input.proxy {
            let _ = write!(url, "&proxy={}&proxyport={}", proxy.address.host, proxy.address.port);
            if let Some((user, password)) = credentials(proxy) {
                let _ = write!(url, "&proxyuser={}&proxypass={}", percent_encoded(&user), percent_encoded(&password));
            }
        }
        let gpgcheck = yes(source.source.gpgcheck);
        let mut text = format!(
            "{HEAD}\n[drydock-{name}]\nname={}\nbaseurl={url}\nenabled=1\nautorefresh=1\ntype=rpm-md\ngpgcheck=1\n\
             repo_gpgcheck=1\npkg_gpgcheck={gpgcheck}\n",
            source.display
        );
        text.push_str(&key_lines(repository_keys.iter().chain(&source.keys)));
        if let Some(priority) = source.source.priority {
            let _ = writeln!(text, "priority={priority}");
        }
        for key in repository_keys.iter().chain(&source.keys) {
            if !out.rpm_keys.contains(key) {
                out.rpm_keys.push(key.clone());
            }
        }
        let path = format!("/etc/zypp/repos.d/drydock-{name}.repo");
        out.files.push(HostFile { path, bytes: text.into_bytes(), mode: mode(input), owner: None });
    }
}

fn key_lines<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let urls: Vec<String> = keys.map(|k| format!("file://{k}")).collect();
    if urls.is_empty() { String::new() } else { format!("gpgkey={}\n", urls.join("\n       ")) }
}

/// A proxy's password is nobody else's business.
fn mode(input: &Input<'_>) -> u32 {
    if input.proxy.flatten().is_some_and(|p| p.authorization.is_some()) { 0o600 } else { 0o644 }
}

/// User and password of a proxy; what cannot stand in one line of a file is left out, and the proxy will say so.
fn credentials(proxy: &Proxy) -> Option<(String, String)> {
    let (user, password) = proxy.credentials()?;
    let fits = |text: &str| !text.chars().any(char::is_control);
    (fits(&user) && fits(&password)).then_some((user, password))
}

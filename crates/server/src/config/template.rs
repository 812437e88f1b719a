//! The configuration written at the first run: every key, commented, with its default.

use std::path::Path;

/// The file's text. Lines that begin with `#=` are defaults that are not set: remove `#= ` to set them.
pub fn default_config(data_dir: &Path, listen: Option<&str>, names: &[String]) -> String {
    let content_dir = toml::Value::from(data_dir.join("content").to_string_lossy().into_owned());
    let data_dir = toml::Value::from(data_dir.to_string_lossy().into_owned());
    let (mark, list) =
        if names.is_empty() { ("#= ", "[]".to_owned()) } else { ("", toml::Value::from(names.to_vec()).to_string()) };
    let (listen_mark, listen) = listen.map_or(("#= ", "0.0.0.0:8443"), |l| ("", l));
    let listen = toml::Value::from(listen);
    format!(
        r##"# Drydock server. Check with `drydockd check-config`; unknown keys are refused.
# Lines that begin with "#=" show a default: remove the mark to change it. Restart the server afterwards.

# Keys, certificates and the database. Keep it private; `drydockd backup` copies it.
data_dir = {data_dir}

# The one TLS port: console, REST, agents.
{listen_mark}listen = {listen}

# DNS names and IP addresses by which hosts and people reach this server. The host name, localhost and the loopback
# addresses are always included. The first name is shown in commands for hosts. The server's certificate is made anew
# by itself when this list changes.
{mark}names = {list}

[agents]
# Life of an agent's certificate in hours; an agent renews at two thirds of it.
#= certificate_hours = 168
# A patch job gives up on a host that has been silent for this many seconds.
#= no_agent_after_secs = 300
# Seconds between two signs of life on an agent's open stream (1 to 30). Fewer notice a dead host sooner and cost more.
#= heartbeat_secs = 30

[content]
# Package files, snapshots and published metadata of software sources; may be on another disk.
#= dir = {content_dir}
# Files sent at once. Each needs about half a MiB; more requests wait a moment, then are told to come again.
#= streams = 256
# Largest uploaded package file in MiB.
#= upload_mib = 4096

[limits]
# Connections at once (an agent holds one). Each needs an open file and about 41 kB.
#= connections = 52000
# At SIGTERM, running requests have this many seconds to end.
#= drain_secs = 20
# Requests a second that one address (of REST and console) and one person, program or token may send in the long run; twenty
# seconds' worth may come at once. Agents, their package managers, event streams and probes are not counted here.
#= address_requests_per_s = 200
#= principal_requests_per_s = 100

[log]
# "text" or "json".
#= format = "text"
# Which lines: error, warn, info, debug, trace, or a filter such as "info,drydock_control=debug".
#= level = "info"

# Audit records may be forwarded (docs/audit.md): to syslog and, as JSON lines with POST, to an HTTP server.
# [audit]
# syslog = "unix:/dev/log", "udp://host:514" or "tcp://host:601"
# http_url = "https://siem.example/drydock"
# A file with a token for it, and one with certificate authorities (PEM) besides the system's.
# http_token_file = "/etc/drydock/siem-token"
# http_ca_file = "/etc/drydock/siem-ca.pem"

# People may sign in to the console with an OpenID Connect provider (docs/sign-in.md). Register there as redirect address
# what this server is called, followed by /sign-in/oidc/callback.
# [oidc]
# issuer = "https://login.example/realms/ops"
# client_id = "drydock"
# A file with the client's secret; leave it out for a public client.
# client_secret_file = "/etc/drydock/oidc-secret"
# A file with certificate authorities (PEM) for the provider, besides the system's.
# ca_file = "/etc/drydock/login-ca.pem"
# label = "Sign in with Example"
# scopes = ["profile", "email", "groups"]
# The claim that names users who are made at their first sign-in, if they are to be made.
# name_claim = "preferred_username"
# create_users = false
# The claim that lists groups; the groups of this server with those names are kept as the provider says.
# groups_claim = "groups"
"##
    )
}

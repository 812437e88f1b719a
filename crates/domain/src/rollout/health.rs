//! What a host must show after patching before its task counts as done: checks that its agent makes on the host itself,
//! and how long they may take to hold and must hold. That the agent still reports is the server's part of the gate.
//!
//! Absent on purpose: making the checks (the agent does) and deciding about other hosts (the planner does).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::patch::spec::{ExecStepConfig, Interpreter};
use crate::validate::Problems;

/// Checks of one job, count.
pub const CHECKS_MAX: usize = 32;
/// Longest time that the checks must hold, seconds.
pub const SETTLE_MAX_SECS: u32 = 3600;
/// Longest time a host may take to become healthy, seconds.
pub const WITHIN_MAX_SECS: u32 = 3600;
/// Time to become healthy where none is given, seconds.
pub const WITHIN_DEFAULT_SECS: u32 = 120;
/// Time limit of an exec check that names none, seconds: it runs every two seconds.
pub const EXEC_LIMIT_DEFAULT_SECS: u32 = 30;
/// Longest name of a unit, bytes (systemd's own bound).
const UNIT_MAX_BYTES: usize = 255;
/// Longest URL, bytes.
const URL_MAX_BYTES: usize = 2048;
/// Longest host name, bytes.
const HOST_MAX_BYTES: usize = 253;
/// Longest name of a check in a result, bytes.
const LABEL_MAX_BYTES: usize = 2304;
/// Longest detail of a result, bytes.
pub const DETAIL_MAX_BYTES: usize = 1024;
/// Statuses of HTTP.
const STATUSES: std::ops::RangeInclusive<u16> = 100..=599;

/// What must hold on a host after patching, after its post-step and its reboot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthChecks {
    /// All of them must hold.
    pub checks: Vec<HealthCheck>,
    /// Seconds for which they must go on to hold after all held for the first time.
    #[serde(default)]
    pub settle_secs: u32,
    /// Seconds within which they must all hold for the first time.
    #[serde(default = "within_default")]
    pub within_secs: u32,
}

fn within_default() -> u32 {
    WITHIN_DEFAULT_SECS
}

/// One check that an agent makes on its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HealthCheck {
    /// A command that ends with an allowed exit code. It is run again and again and must change nothing. Without a time
    /// limit of its own it gets 30 seconds.
    Exec(ExecStepConfig),
    /// This unit of systemd is active.
    UnitActive(UnitCheck),
    /// A connection can be opened from the host.
    Tcp(TcpCheck),
    /// An HTTP server answers the host's GET.
    Http(HttpCheck),
    /// No unit is failed that was not failed before the task began.
    NoNewFailedUnits(NoNewFailedUnits),
}

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitCheck {
    /// Its name, for example `nginx.service`.
    pub unit: String,
}

/// A TCP connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpCheck {
    /// `host:port`, as the host sees it: `127.0.0.1:5432`, `[::1]:22`, `db.example.org:5432`.
    pub address: String,
}

/// An HTTP request. Redirections are not followed: a 3xx is an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// `http://…` or `https://…`, as the host sees it.
    pub url: String,
    /// Lowest status that is healthy.
    #[serde(default = "status_min")]
    pub status_min: u16,
    /// Highest status that is healthy.
    #[serde(default = "status_max")]
    pub status_max: u16,
    /// The certificate is not verified; else by the roots that the host trusts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

impl HttpCheck {
    /// Any status from 200 to 399, with a certificate that the host trusts.
    pub fn new(url: impl Into<String>) -> Self {
        HttpCheck { url: url.into(), status_min: status_min(), status_max: status_max(), insecure: false }
    }
}

fn status_min() -> u16 {
    200
}

fn status_max() -> u16 {
    399
}

/// Has no settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoNewFailedUnits {}

/// What became of one check, as the agent tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthResult {
    /// Which, for people: `unit nginx.service`.
    pub check: String,
    /// It held when it was last made.
    pub healthy: bool,
    /// What was found.
    #[serde(default)]
    pub detail: String,
    /// When it was last made.
    pub at: Timestamp,
}

/// Where an HTTP check goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    /// `https`.
    pub tls: bool,
    /// Where.
    pub place: HostPort,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port`; `default` stands for a port that is left out.
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, String> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or("has no ] after an IPv6 address")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("{host:?} is no IPv6 address"));
            }
            (host, port)
        } else {
            let host = text.split(':').next().unwrap_or_default();
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if host.is_empty() || host.len() > HOST_MAX_BYTES || !host.bytes().all(fine) || host.starts_with(['.', '-']) {
                return Err("names no host; write host:port, and an IPv6 address in brackets".to_owned());
            }
            (host, &text[host.len()..])
        };
        let port = match (port.strip_prefix(':'), default) {
            (Some(port), _) => port.parse().ok().filter(|p| *p != 0),
            (None, default) if port.is_empty() => default,
            _ => None,
        };
        let port = port.ok_or("needs a port from 1 to 65535 after a colon")?;
        Ok(HostPort { host: host.to_owned(), port })
    }

    /// `host:port`, with brackets where needed.
    pub fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

impl HttpTarget {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.len() > URL_MAX_BYTES {
            return Err(format!("is {} bytes long; at most {URL_MAX_BYTES} are allowed", url.len()));
        }
        if let Some(bad) = url.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(format!("holds {bad:?}; write it percent-encoded"));
        }
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("begins with http:// or https://".to_owned()),
        };
        if rest.contains('#') {
            return Err("holds a fragment (#…), which no server sees; leave it out".to_owned());
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.contains('@') {
            return Err("holds a user name or password; use an exec check that reads them on the host".to_owned());
        }
        let place = HostPort::parse(authority, Some(if tls { 443 } else { 80 }))?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(HttpTarget { tls, place, path })
    }
}

impl HealthChecks {
    /// Notes everything an operator can get wrong.
    pub(crate) fn check(&self, at: &str, problems: &mut Problems) {
        if self.checks.is_empty() {
            problems.add(format!("{at}.checks"), "is empty; name a check, or leave healthChecks out");
        }
        problems.count(&format!("{at}.checks"), self.checks.len(), CHECKS_MAX);
        for (i, check) in self.checks.iter().enumerate().take(CHECKS_MAX) {
            check.check(&format!("{at}.checks[{i}]"), problems);
        }
        if self.settle_secs > SETTLE_MAX_SECS {
            problems.add(format!("{at}.settleSecs"), format!("must be between 0 and {SETTLE_MAX_SECS} seconds"));
        }
        if !(1..=WITHIN_MAX_SECS).contains(&self.within_secs) {
            problems.add(format!("{at}.withinSecs"), format!("must be between 1 and {WITHIN_MAX_SECS} seconds"));
        }
    }

    /// One of them needs to know which units were failed before.
    pub fn compares_units(&self) -> bool {
        self.checks.iter().any(|check| matches!(check, HealthCheck::NoNewFailedUnits(_)))
    }

    /// The checks with their names for people, in order.
    pub fn labelled(&self) -> impl Iterator<Item = (String, &HealthCheck)> {
        self.checks.iter().enumerate().map(|(i, check)| (check.label(i), check))
    }
}

impl HealthCheck {
    fn check(&self, at: &str, problems: &mut Problems) {
        match self {
            HealthCheck::Exec(config) => {
                let at = format!("{at}.exec");
                config.check(&at, problems);
                if config.interpreter == Interpreter::Powershell {
                    problems.add(format!("{at}.interpreter"), "POWERSHELL is for Windows hosts; use SHELL or NONE");
                }
            }
            HealthCheck::UnitActive(UnitCheck { unit }) => {
                let fine = |b: u8| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b);
                if unit.is_empty() || unit.len() > UNIT_MAX_BYTES || unit.starts_with('-') || !unit.bytes().all(fine) {
                    problems.add(format!("{at}.unitActive.unit"), format!("{unit:?} is no name of a unit such as nginx.service"));
                }
            }
            HealthCheck::Tcp(TcpCheck { address }) => {
                if let Err(why) = HostPort::parse(address, None) {
                    problems.add(format!("{at}.tcp.address"), why);
                }
            }
            HealthCheck::Http(http) => {
                if let Err(why) = HttpTarget::parse(&http.url) {
                    problems.add(format!("{at}.http.url"), why);
                }
                let (min, max) = (http.status_min, http.status_max);
                if min > max || !STATUSES.contains(&min) || !STATUSES.contains(&max) {
                    let message = "is above statusMax, or one of them is not between 100 and 599";
                    problems.add(format!("{at}.http.statusMin"), message);
                }
            }
            HealthCheck::NoNewFailedUnits(NoNewFailedUnits {}) => {}
        }
    }

    /// The name for people; `index` tells scripts apart.
    pub fn label(&self, index: usize) -> String {
        match self {
            HealthCheck::Exec(ExecStepConfig { local_path: Some(path), .. }) => format!("exec {path}"),
            HealthCheck::Exec(_) => format!("exec script (check {})", index + 1),
            HealthCheck::UnitActive(UnitCheck { unit }) => format!("unit {unit}"),
            HealthCheck::Tcp(TcpCheck { address }) => format!("tcp {address}"),
            HealthCheck::Http(HttpCheck { url, .. }) => format!("http {url}"),
            HealthCheck::NoNewFailedUnits(_) => "no new failed units".to_owned(),
        }
    }
}

/// Checks what a host tells of its health: hostile input.
pub(crate) fn check_results(results: &[HealthResult], problems: &mut Problems) {
    problems.count("health", results.len(), CHECKS_MAX);
    for (i, result) in results.iter().enumerate().take(CHECKS_MAX) {
        // A local path has at most 4096 bytes where an operator writes it; the agent cuts the name.
        if result.check.len() > LABEL_MAX_BYTES || result.detail.len() > DETAIL_MAX_BYTES {
            let message = format!("has more than {LABEL_MAX_BYTES} bytes of name or {DETAIL_MAX_BYTES} bytes of detail");
            problems.add(format!("health[{i}]"), message);
        }
    }
}

impl HealthResult {
    /// A result within its bounds.
    pub fn new(check: &str, healthy: bool, detail: &str, at: Timestamp) -> Self {
        let cut = |text: &str, max: usize| text[..text.floor_char_boundary(max)].to_owned();
        HealthResult { check: cut(check, LABEL_MAX_BYTES), healthy, detail: cut(detail, DETAIL_MAX_BYTES), at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let checks: HealthChecks = serde_json::from_str(json).expect("checks");
        let mut problems = Problems::default();
        checks.check("h", &mut problems);
        problems.finish().map_or_else(|e| e.errors.into_iter().map(|e| e.field).collect(), |()| Vec::new())
    }

    #[test]
    fn every_kind_of_check_is_written_and_named() {
        let json = r#"{"checks":[
            {"exec":{"localPath":"/usr/local/bin/ready"}}, {"exec":{"script":"true","interpreter":"SHELL"}},
            {"unitActive":{"unit":"nginx.service"}}, {"tcp":{"address":"[::1]:22"}},
            {"http":{"url":"https://localhost/ready?x=1","insecure":true}}, {"noNewFailedUnits":{}}],"settleSecs":60}"#;
        assert!(problems(json).is_empty());
        let checks: HealthChecks = serde_json::from_str(json).expect("checks");
        let names: Vec<String> = checks.labelled().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "exec /usr/local/bin/ready",
                "exec script (check 2)",
                "unit nginx.service",
                "tcp [::1]:22",
                "http https://localhost/ready?x=1",
                "no new failed units"
            ]
        );
        assert!(checks.compares_units());
        assert_eq!((checks.settle_secs, checks.within_secs), (60, WITHIN_DEFAULT_SECS));
        let again: HealthChecks = serde_json::from_str(&serde_json::to_string(&checks).expect("JSON")).expect("read");
        assert_eq!(again, checks);
    }

    #[test]
    fn what_an_operator_gets_wrong_is_refused_by_its_field() {
        assert_eq!(problems(r#"{"checks":[],"settleSecs":3601,"withinSecs":0}"#), ["h.checks", "h.settleSecs", "h.withinSecs"]);
        let bad = r#"{"checks":[{"exec":{}},{"unitActive":{"unit":"-x"}},{"unitActive":{"unit":"a b"}},{"tcp":{"address":"x"}},
            {"http":{"url":"ftp://x"}},{"http":{"url":"http://x","statusMin":500}},{"exec":{"script":"x","interpreter":"POWERSHELL"}}]}"#;
        assert_eq!(
            problems(bad),
            [
                "h.checks[0].exec",
                "h.checks[1].unitActive.unit",
                "h.checks[2].unitActive.unit",
                "h.checks[3].tcp.address",
                "h.checks[4].http.url",
                "h.checks[5].http.statusMin",
                "h.checks[6].exec.interpreter"
            ]
        );
        let many = vec![r#"{"noNewFailedUnits":{}}"#; CHECKS_MAX + 1].join(",");
        assert_eq!(problems(&format!(r#"{{"checks":[{many}]}}"#)), ["h.checks"]);
        assert!(serde_json::from_str::<HealthChecks>(r#"{"checks":[{"ping":{}}]}"#).is_err());
    }

    #[test]
    fn addresses_and_urls_are_read() {
        let place = |text: &str| HostPort::parse(text, None).map(|p| (p.host.clone(), p.port, p.authority()));
        assert_eq!(place("db:5432"), Ok(("db".into(), 5432, "db:5432".into())));
        assert_eq!(place("[::1]:22"), Ok(("::1".into(), 22, "[::1]:22".into())));
        for bad in ["", ":22", "db", "db:0", "db:70000", "::1:22", "[::1", "[x]:1", "a b:1", "-x:1"] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
        let target = |url: &str| HttpTarget::parse(url).map(|t| (t.tls, t.place.authority(), t.path));
        assert_eq!(target("http://localhost:8080/ready"), Ok((false, "localhost:8080".into(), "/ready".into())));
        assert_eq!(target("https://[::1]?q=1"), Ok((true, "[::1]:443".into(), "/?q=1".into())));
        assert_eq!(target("http://x"), Ok((false, "x:80".into(), "/".into())));
        for bad in ["x", "http://", "http://a:b@c/", "http://c/#d", "http://c/ü", "http://c/a b", "http://c\r\nX: y/"] {
            assert!(target(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn results_of_a_host_are_bounded() {
        let result = HealthResult::new(&"ä".repeat(5000), false, &"ö".repeat(5000), Timestamp::UNIX_EPOCH);
        let mut problems = Problems::default();
        check_results(std::slice::from_ref(&result), &mut problems);
        assert!(problems.finish().is_ok(), "what the agent makes is within the bounds");
        let long = HealthResult { detail: "x".repeat(DETAIL_MAX_BYTES + 1), ..result };
        let mut problems = Problems::default();
        check_results(&vec![long; CHECKS_MAX + 1], &mut problems);
        assert_eq!(problems.finish().expect_err("refused").errors.len(), CHECKS_MAX + 1);
    }
}

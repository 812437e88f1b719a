//! Where the server is and whether a proxy stands between. Absent: name resolution, connections.

use std::net::IpAddr;

use base64::Engine;

/// The server's TLS port when the URL names none.
const PORT_DEFAULT: u16 = 8443;

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// An HTTP proxy that is asked to CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub address: ServerAddress,
    /// `Basic …`, when the URL carries a user and password.
    pub authorization: Option<String>,
}

fn host_port(uri: &http::Uri, default: u16) -> Option<ServerAddress> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    (!host.is_empty()).then(|| ServerAddress { host, port: uri.port_u16().unwrap_or(default) })
}

impl ServerAddress {
    /// Reads `https://host[:port]` or `host[:port]`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let text = if url.contains("://") { url.trim().to_owned() } else { format!("https://{}", url.trim()) };
        let bad = || format!("{url:?} is not a server URL; write https://HOST[:PORT]");
        let uri: http::Uri = text.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") {
            return Err(format!("{url:?}: the agent speaks TLS only; write https://HOST[:PORT]"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad());
        }
        host_port(&uri, PORT_DEFAULT).ok_or_else(bad)
    }

    /// `host:port` as it stands in a URL.
    pub fn authority(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    pub fn parse(url: &str) -> Result<Self, String> {
        let text = if url.contains("://") { url.trim().to_owned() } else { format!("http://{}", url.trim()) };
        let bad = || "the proxy is not of the form http://[USER:PASSWORD@]HOST:PORT".to_owned();
        let uri: http::Uri = text.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") {
            return Err(bad());
        }
        let authorization = uri
            .authority()
            .and_then(|a| a.as_str().rsplit_once('@'))
            .map(|(user, _)| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(percent_decoded(user))));
        Ok(Proxy { address: host_port(&uri, 3128).ok_or_else(bad)?, authorization })
    }

    /// User and password, when the URL carried them as text.
    pub fn credentials(&self) -> Option<(String, String)> {
        let encoded = self.authorization.as_deref()?.strip_prefix("Basic ")?;
        let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = text.split_once(':').unwrap_or((&text, ""));
        Some((user.to_owned(), password.to_owned()))
    }

    /// `user:password` as it stands in a URL.
    pub fn url_user(&self) -> Option<String> {
        let (user, password) = self.credentials()?;
        Some(format!("{}:{}", percent_encoded(&user), percent_encoded(&password)))
    }

    /// The proxy for `server`: the configured one, else the environment's; `no_proxy` is honoured for the latter.
    pub fn choose(
        configured: Option<&str>,
        server: &ServerAddress,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        let first = |names: [&str; 2]| names.into_iter().find_map(|n| env(n).filter(|v| !v.is_empty()));
        match configured {
            Some("") => Ok(None),
            Some(url) => Proxy::parse(url).map(Some),
            None => {
                let excepted = first(["no_proxy", "NO_PROXY"]).is_some_and(|list| is_excepted(&list, &server.host));
                match first(["https_proxy", "HTTPS_PROXY"]) {
                    Some(url) if !excepted => Proxy::parse(&url).map(Some),
                    _ => Ok(None),
                }
            }
        }
    }
}

/// Is `host` in a `no_proxy` list: `*`, names with their sub-domains (`.example.org`, `example.org`), addresses,
/// IPv4 networks (`10.0.0.0/8`)?
fn is_excepted(list: &str, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split([',', ' ']).map(|e| e.trim().to_ascii_lowercase()).filter(|e| !e.is_empty()).any(|entry| {
        let name = entry.trim_start_matches("*.").trim_start_matches('.');
        // A port in an entry narrows nothing here: the agent knows one server.
        let name =
            name.rsplit_once(':').filter(|(_, p)| p.parse::<u16>().is_ok() && !entry.contains("::")).map_or(name, |(n, _)| n);
        entry == "*" || host == name || host.ends_with(&format!(".{name}")) || in_network(name, &host)
    })
}

fn in_network(network: &str, host: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(IpAddr::V4(base)), Ok(bits), Ok(IpAddr::V4(host))) = (base.parse(), bits.parse::<u32>(), host.parse()) else {
        return false;
    };
    let mask = if bits == 0 { 0 } else { u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(u32::MAX) };
    bits <= 32 && u32::from(base) & mask == u32::from(host) & mask
}

/// Everything but letters, digits and `._-~` as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> ServerAddress {
        ServerAddress { host: host.into(), port: 8443 }
    }

    #[test]
    fn server_urls() {
        assert_eq!(ServerAddress::parse("https://a.example"), Ok(server("a.example")));
        assert_eq!(ServerAddress::parse("a:1"), Ok(ServerAddress { host: "a".into(), port: 1 }));
        assert_eq!(ServerAddress::parse("https://[::1]:9/").map(|a| a.authority()), Ok("[::1]:9".into()));
        for wrong in ["http://a", "https://a/x", "https://", ""] {
            assert!(ServerAddress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_configured_proxy_wins_and_exceptions_hold_for_the_environment() {
        let env = |name: &str| match name {
            "https_proxy" => Some("http://me:a%40b@proxy:1".to_owned()),
            "NO_PROXY" => Some("localhost, .inner.example,10.0.0.0/8".to_owned()),
            _ => None,
        };
        let choose =
            |configured, host: &str| Proxy::choose(configured, &server(host), env).expect("valid").map(|p| p.address.host);
        assert_eq!(choose(Some("http://own:2"), "x.inner.example"), Some("own".into()));
        assert_eq!(choose(Some(""), "outer.example"), None);
        assert_eq!(choose(None, "outer.example"), Some("proxy".into()));
        for host in ["localhost", "x.inner.example", "inner.example", "10.1.2.3"] {
            assert_eq!(choose(None, host), None, "{host}");
        }
        assert_eq!(choose(None, "11.1.2.3"), Some("proxy".into()));
        let with_user = Proxy::choose(None, &server("o"), env).expect("valid").expect("a proxy");
        assert_eq!(with_user.authorization.as_deref(), Some("Basic bWU6YUBi"));
        assert_eq!(with_user.url_user().as_deref(), Some("me:a%40b"));
        assert!(Proxy::parse("socks5://x:1").is_err());
    }
}

//! A connection to process 1: its own socket, which needs no bus daemon, else the system bus. Absent: what is asked there.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::direct::Direct;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, MessageStream};
use zbus::{ObjectPath, OwnedObjectPath, OwnedVariant};

/// systemd's own socket: for root, also before and after there is a bus.
const PRIVATE_SOCKET: &str = "run/systemd/private";
/// The bus.
const SYSTEM_SOCKET: &str = "run/dbus/system_bus_socket";
const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// Of every kind of unit.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// What tells of changed properties.
pub const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Below it is one object for each unit.
pub const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/";
/// An answer of process 1. A reload of thousands of units takes some ten seconds.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// Connecting: process 1 may be executing itself anew.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A connection, with everything it tells unasked.
pub struct Bus {
    connection: Connection,
    /// Signals and answers as they come; must be read or the connection stands still.
    pub stream: Option<MessageStream>,
    /// Through the bus, which passes on only what was subscribed to.
    by_bus: bool,
}

impl Bus {
    /// Connects. `listen`: signals are wanted.
    pub async fn open(root: &Path, listen: bool) -> zbus::Result<Self> {
        let opening = async {
            let (builder, by_bus) = match UnixStream::connect(root.join(PRIVATE_SOCKET)) {
                Ok(socket) => (Builder::socket(Direct::new(socket)?).p2p(), false),
                Err(_) => (Builder::unix_stream(UnixStream::connect(root.join(SYSTEM_SOCKET))?), true),
            };
            let connection = builder.method_timeout(ANSWER_LIMIT).build().await?;
            let stream = listen.then(|| MessageStream::from(&connection));
            let bus = Bus { connection, stream, by_bus };
            if listen && by_bus {
                bus.subscribe().await?;
            }
            Ok(bus)
        };
        tokio::time::timeout(CONNECT_LIMIT, opening).await.unwrap_or_else(|_| {
            Err(zbus::Error::from(std::io::Error::new(std::io::ErrorKind::TimedOut, "systemd does not answer")))
        })
    }

    /// The bus passes on what its clients named; systemd sends what somebody subscribed to.
    async fn subscribe(&self) -> zbus::Result<()> {
        let rules = [
            format!("type='signal',sender='{SERVICE}',path='{MANAGER_PATH}'"),
            format!("type='signal',sender='{SERVICE}',interface='{PROPERTIES}',path_namespace='/org/freedesktop/systemd1/unit'"),
        ];
        for rule in rules {
            let bus = Some("org.freedesktop.DBus");
            self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule.as_str()).await?;
        }
        self.manager("Subscribe", &()).await.map(drop)
    }

    /// Calls the manager.
    pub async fn manager<B: serde::Serialize + DynamicType>(&self, method: &'static str, body: &B) -> zbus::Result<Message> {
        self.call(MANAGER_PATH.try_into()?, MANAGER, method, body).await
    }

    async fn call<B: serde::Serialize + DynamicType>(
        &self,
        path: ObjectPath<'_>,
        interface: &'static str,
        method: &'static str,
        body: &B,
    ) -> zbus::Result<Message> {
        let to = self.by_bus.then_some(SERVICE);
        self.connection.call_method(to, path, Some(interface), method, body).await
    }

    /// The object of a unit; systemd reads its file if need be.
    pub async fn load(&self, unit: &str) -> zbus::Result<OwnedObjectPath> {
        self.manager("LoadUnit", &unit).await?.body().deserialize()
    }

    /// All properties that every kind of unit has.
    pub async fn properties(&self, unit: &OwnedObjectPath) -> zbus::Result<HashMap<String, OwnedVariant>> {
        let path = ObjectPath::from(unit.clone());
        self.call(path, PROPERTIES, "GetAll", &UNIT).await?.body().deserialize()
    }
}

/// `httpd.service` of `/org/freedesktop/systemd1/unit/httpd_2eservice`: `_` and two hex digits stand for any other byte.
pub fn unit_of(path: &str) -> Option<String> {
    let escaped = path.strip_prefix(UNIT_PATH)?.as_bytes();
    let mut out = Vec::with_capacity(escaped.len());
    let mut at = 0;
    while at < escaped.len() {
        let hex = (escaped[at] == b'_').then(|| escaped.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(escaped[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_units_object_names_it() {
        assert_eq!(unit_of("/org/freedesktop/systemd1/unit/httpd_2eservice").as_deref(), Some("httpd.service"));
        assert_eq!(unit_of("/org/freedesktop/systemd1/unit/a_40b_5cx2d_2emount").as_deref(), Some("a@b\\x2d.mount"));
        assert_eq!(unit_of("/org/freedesktop/systemd1/job/4"), None);
    }
}

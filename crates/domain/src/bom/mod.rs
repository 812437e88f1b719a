//! Bills of materials of hosts in CycloneDX 1.6, as JSON: what is installed ([`sbom`]), and how vulnerabilities stand there
//! ([`vex`]). Same host, same time, same bytes. Absent on purpose: other formats, licences and hashes of files (package
//! managers tell neither in an inventory).

pub mod purl;
mod vex;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub use vex::vex;

use crate::ids::InstanceId;
use crate::inventory::{ManagerKind, OsFacts, PackageSet, fingerprint};
use crate::version::Scheme;
use purl::purl;

/// Edition of CycloneDX that is written.
pub const SPEC_VERSION: &str = "1.6";
/// Media type of the documents.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json; version=1.6";

/// A host and what is installed on it.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    id: InstanceId,
    name: &'a str,
    os: &'a OsFacts,
    packages: &'a PackageSet,
    changed_at: Timestamp,
    /// Of its bill of materials: the same as long as the same is installed.
    serial: Uuid,
}

impl<'a> Host<'a> {
    /// An instance; `packages` are what is installed since `changed_at`.
    pub fn new(id: InstanceId, name: &'a str, os: &'a OsFacts, packages: &'a PackageSet, changed_at: Timestamp) -> Self {
        let digest = |bytes: Vec<u8>| fingerprint(&bytes);
        let installed = digest(serde_json::to_vec(packages).unwrap_or_default());
        let system = digest(serde_json::to_vec(os).unwrap_or_default());
        let serial = serial(&format!("sbom {id} {name} {changed_at} {installed} {system}"));
        Host { id, name, os, packages, changed_at, serial }
    }

    /// Whose version rules it follows: those of the manager that owns it.
    fn scheme(&self) -> Scheme {
        match self.os.managers.first() {
            Some(ManagerKind::Apt) => Scheme::Deb,
            _ => Scheme::Rpm,
        }
    }
}

/// A UUID that follows from a text.
fn serial(text: &str) -> Uuid {
    let digest = fingerprint(text.as_bytes());
    let mut bytes = [0u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(digest.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(pair).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or_default();
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What both documents begin with.
fn head(serial: Uuid, at: Timestamp, tool_version: &str, host: &Host<'_>) -> Value {
    let mut properties = vec![json!({"name": "drydock:instance", "value": host.id.to_string()})];
    for (name, value) in [("architecture", &host.os.architecture), ("kernel", &host.os.kernel_release)] {
        if !value.is_empty() {
            properties.push(json!({"name": format!("drydock:{name}"), "value": value}));
        }
    }
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": format!("urn:uuid:{serial}"),
        "version": 1,
        "metadata": {
            "timestamp": seconds(at),
            "lifecycles": [{"phase": "operations"}],
            "tools": {"components": [{"type": "application", "name": "drydock", "version": tool_version}]},
            "component": {"type": "device", "bom-ref": host_ref(host.id), "name": host.name, "properties": properties},
        },
    })
}

/// Whole seconds: not every reader takes more.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn host_ref(id: InstanceId) -> String {
    format!("host:{id}")
}

/// What is installed on a host, sorted by package URL. The time is the one since when that is so.
pub fn sbom(host: &Host<'_>, tool_version: &str) -> Value {
    let scheme = host.scheme();
    let mut components: BTreeMap<String, Value> = BTreeMap::new();
    for package in host.packages.as_slice() {
        let purl = purl(host.os, scheme, package);
        let mut component = json!({
            "type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl,
        });
        if !package.vendor.is_empty() {
            component["supplier"] = json!({"name": package.vendor});
        }
        components.insert(purl, component);
    }
    let mut depends: Vec<String> = components.keys().cloned().collect();
    let mut all: Vec<Value> = Vec::with_capacity(components.len() + 1);
    if !host.os.short_name.is_empty() {
        let mut os = json!({"type": "operating-system", "bom-ref": OS_REF, "name": host.os.short_name});
        for (key, value) in [("version", &host.os.version), ("description", &host.os.long_name)] {
            if !value.is_empty() {
                os[key] = json!(value);
            }
        }
        all.push(os);
        depends.insert(0, OS_REF.to_owned());
    }
    all.extend(components.into_values());
    let mut document = head(host.serial, host.changed_at, tool_version, host);
    document["components"] = json!(all);
    document["dependencies"] = json!([{"ref": host_ref(host.id), "dependsOn": depends}]);
    document
}

/// What the operating system is called inside a document.
const OS_REF: &str = "operating-system";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::inventory::Package;

    pub(crate) fn os() -> OsFacts {
        OsFacts {
            short_name: "almalinux".into(),
            version: "8.10".into(),
            long_name: "AlmaLinux 8.10 (Cerulean Leopard)".into(),
            architecture: "x86_64".into(),
            kernel_release: "4.18.0-553.el8_10.x86_64".into(),
            managers: vec![ManagerKind::Dnf],
            ..OsFacts::default()
        }
    }

    pub(crate) fn packages() -> PackageSet {
        let package = |name: &str, version: &str, vendor: &str| Package {
            name: name.into(),
            arch: "x86_64".into(),
            version: version.into(),
            vendor: vendor.into(),
            ..Package::default()
        };
        PackageSet::new(vec![
            package("zlib", "1.2.11-25.el8", "AlmaLinux"),
            package("bash", "4.4.20-4.el8", ""),
            package("kernel", "4.18.0-553.el8_10", ""),
            package("kernel", "4.18.0-552.el8_10", ""),
            // The same package URL twice: another build with the same version.
            package("bash", "4.4.20-4.el8", "somebody else"),
        ])
    }

    pub(crate) fn host<'a>(os: &'a OsFacts, packages: &'a PackageSet) -> Host<'a> {
        let changed_at = "2026-11-20T10:00:00.123456Z".parse().expect("a time");
        Host::new(InstanceId(Uuid::from_u128(1)), "web-1", os, packages, changed_at)
    }

    /// Leaves a document for a validator with the official schema, where somebody asks for it.
    pub(crate) fn leave(name: &str, document: &Value) {
        if let Some(folder) = std::env::var_os("DRYDOCK_BOM_DIR") {
            std::fs::write(std::path::Path::new(&folder).join(name), document.to_string()).expect("written");
        }
    }

    /// Every reference inside a document is to something in it, and nothing is named twice.
    pub(crate) fn check_refs(document: &Value) {
        let mut seen = std::collections::BTreeSet::new();
        let own = document["metadata"]["component"]["bom-ref"].as_str().expect("the host");
        for name in document["components"].as_array().into_iter().flatten().filter_map(|c| c["bom-ref"].as_str()).chain([own]) {
            assert!(seen.insert(name.to_owned()), "{name} twice");
        }
        for one in document["dependencies"].as_array().into_iter().flatten() {
            assert!(seen.contains(one["ref"].as_str().expect("a ref")), "{one}");
            for on in one["dependsOn"].as_array().expect("a list") {
                assert!(seen.contains(on.as_str().expect("a ref")), "{on}");
            }
        }
    }

    #[test]
    fn an_inventory_becomes_a_bill_of_materials() {
        let (os, packages) = (os(), packages());
        let document = sbom(&host(&os, &packages), "0.1.0");
        check_refs(&document);
        leave("sbom.json", &document);
        let head = ["bomFormat", "specVersion", "version"].map(|k| document[k].clone());
        assert_eq!(head, [json!("CycloneDX"), json!("1.6"), json!(1)]);
        assert!(document["serialNumber"].as_str().is_some_and(|s| s.starts_with("urn:uuid:") && s.len() == 45));
        assert_eq!(document["metadata"]["timestamp"], "2026-11-20T10:00:00Z");
        let own = &document["metadata"]["component"];
        assert_eq!((&own["type"], &own["name"]), (&json!("device"), &json!("web-1")));
        assert_eq!(document["metadata"]["tools"]["components"][0]["name"], "drydock");
        let named: Vec<&str> =
            document["components"].as_array().expect("a list").iter().filter_map(|c| c["bom-ref"].as_str()).collect();
        let url = |package: &str| format!("pkg:rpm/almalinux/{package}?arch=x86_64&distro=almalinux-8.10");
        assert_eq!(
            named,
            [
                "operating-system",
                &url("bash@4.4.20-4.el8"),
                &url("kernel@4.18.0-552.el8_10"),
                &url("kernel@4.18.0-553.el8_10"),
                &url("zlib@1.2.11-25.el8"),
            ]
        );
        let zlib = &document["components"][4];
        assert_eq!((&zlib["type"], &zlib["supplier"]["name"]), (&json!("library"), &json!("AlmaLinux")));
        assert_eq!(sbom(&host(&os, &packages), "0.1.0").to_string(), document.to_string(), "the same bytes");
        let other = Host::new(InstanceId(Uuid::from_u128(2)), "web-1", &os, &packages, host(&os, &packages).changed_at);
        assert_ne!(sbom(&other, "0.1.0")["serialNumber"], document["serialNumber"]);
    }

    #[test]
    fn a_host_of_which_little_is_known_has_one_too() {
        let (os, packages) = (OsFacts::default(), PackageSet::default());
        let document = sbom(&host(&os, &packages), "0.1.0");
        check_refs(&document);
        leave("sbom-empty.json", &document);
        assert_eq!((&document["components"], &document["metadata"]["component"]["name"]), (&json!([]), &json!("web-1")));
    }
}

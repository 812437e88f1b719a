//! Managed instance groups: hosts of one kind that take the same sources and are patched together. What "one kind" means
//! is decided here; absent on purpose: who is in which group (the store knows).

use serde::{Deserialize, Serialize};

use crate::inventory::OsFacts;
use crate::limits::DESCRIPTION_MAX_BYTES;
use crate::source::name::check_name;
use crate::validate::{Invalid, Problems};

/// A group as made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// Unique; part of URLs. Never changes.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Name of the lifecycle environment its members look through, unless they have one of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Path of its compartment, for example `/A/web`; members lie in it or below. Absent when made: the one in which the
    /// caller may make groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compartment: Option<String>,
}

impl GroupSpec {
    /// Checks the specification by itself.
    pub fn validate(&self) -> Result<(), Invalid> {
        let mut problems = Problems::default();
        check_name("name", &self.name, &mut problems);
        problems.text("description", &self.description, DESCRIPTION_MAX_BYTES);
        problems.finish()
    }
}

/// What all members of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OsFamily {
    /// `ID` of os-release(5), for example `ol`.
    pub os: String,
    /// The major version, for example `8`; for Ubuntu the whole one (`22.04` and `22.10` are two releases). Empty when
    /// the system has none.
    pub release: String,
    /// For example `x86_64`.
    pub architecture: String,
}

impl OsFamily {
    /// What a host is. `None`: it has not said so.
    pub fn of(facts: &OsFacts) -> Option<OsFamily> {
        if facts.short_name.is_empty() || facts.architecture.is_empty() {
            return None;
        }
        let release = match facts.short_name.as_str() {
            "ubuntu" => facts.version.as_str(),
            _ => facts.version.split('.').next().unwrap_or_default(),
        };
        let (os, architecture) = (facts.short_name.clone(), facts.architecture.clone());
        Some(OsFamily { os, release: release.to_owned(), architecture })
    }

    /// What is different, for people: `self` as the newcomer, `there` as those in the group. `None`: nothing.
    pub fn difference(&self, there: &OsFamily) -> Option<String> {
        if self.os != there.os {
            Some(format!("it runs {}, not {}", self.system(), there.system()))
        } else if self.release != there.release {
            Some(format!("it runs release {} of {}, not {}", self.release, self.os, there.release))
        } else if self.architecture != there.architecture {
            Some(format!("its architecture is {}, not {}", self.architecture, there.architecture))
        } else {
            None
        }
    }

    fn system(&self) -> String {
        format!("{} {}", self.os, self.release).trim_end().to_owned()
    }
}

impl std::fmt::Display for OsFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.system(), self.architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(os: &str, version: &str, architecture: &str) -> Option<OsFamily> {
        let (short_name, version, architecture) = (os.into(), version.into(), architecture.into());
        OsFamily::of(&OsFacts { short_name, version, architecture, ..OsFacts::default() })
    }

    fn difference(new: (&str, &str, &str), there: (&str, &str, &str)) -> Option<String> {
        let known = |(os, version, architecture)| family(os, version, architecture).expect("known");
        known(new).difference(&known(there))
    }

    #[test]
    fn a_family_is_system_major_version_and_architecture() {
        let ol8 = ("ol", "8.10", "x86_64");
        assert_eq!(difference(("ol", "8.4", "x86_64"), ol8), None);
        assert_eq!(difference(("ol", "9.4", "x86_64"), ol8).as_deref(), Some("it runs release 9 of ol, not 8"));
        assert_eq!(difference(("rhel", "8.10", "x86_64"), ol8).as_deref(), Some("it runs rhel 8, not ol 8"));
        assert_eq!(difference(("ol", "8", "aarch64"), ol8).as_deref(), Some("its architecture is aarch64, not x86_64"));
        assert!(difference(("ubuntu", "22.10", "x86_64"), ("ubuntu", "22.04", "x86_64")).is_some());
        assert_eq!(difference(("debian", "", "x86_64"), ("debian", "", "x86_64")), None, "sid has no version");
        assert_eq!(family("", "8", "x86_64"), None);
        assert_eq!(family("ol", "8", ""), None);
    }

    #[test]
    fn names_and_texts_are_bounded() {
        let spec =
            |name: &str, description: String| GroupSpec { name: name.into(), description, environment: None, compartment: None };
        assert!(spec("web", String::new()).validate().is_ok());
        assert!(spec("Web", String::new()).validate().is_err());
        assert!(spec("web", "x".repeat(DESCRIPTION_MAX_BYTES + 1)).validate().is_err());
    }
}

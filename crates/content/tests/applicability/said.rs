//! What the tools printed, as sets.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use drydock_domain::version::{Scheme, compare};

use crate::Said;

/// `dnf check-update`: updates (`name.arch evr`), and what obsoletes what (`new.arch evr > old`).
pub fn check_update(text: &str) -> (Said, Said) {
    let (mut updates, mut obsoletes) = (BTreeSet::new(), BTreeSet::new());
    let (mut is_obsoletes, mut last) = (false, String::new());
    for line in text.lines() {
        if line.to_ascii_lowercase().starts_with("obsoleting packages") {
            is_obsoletes = true;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, evr, _repository] = words[..] else { continue };
        let entry = format!("{name} {evr}");
        if !is_obsoletes {
            updates.insert(entry);
        } else if line.starts_with(' ') {
            let old = name.rsplit_once('.').map_or(name, |(name, _)| name);
            obsoletes.insert(format!("{last} > {old}"));
        } else {
            last = entry;
        }
    }
    (updates, newest(obsoletes))
}

/// dnf lists every version of a package that obsoletes another; only the newest would be installed.
fn newest(said: Said) -> Said {
    let mut kept: BTreeMap<(String, String), String> = BTreeMap::new();
    for entry in said {
        let Some((new, old)) = entry.split_once(" > ") else { continue };
        let Some((name, version)) = new.split_once(' ') else { continue };
        let held = kept.entry((name.to_owned(), old.to_owned())).or_insert_with(|| version.to_owned());
        if compare(Scheme::Rpm, held, version) == Ok(Ordering::Less) {
            *held = version.to_owned();
        }
    }
    kept.into_iter().map(|((name, old), version)| format!("{name} {version} > {old}")).collect()
}

/// `dnf updateinfo list`: `ID name-evr.arch`.
pub fn updateinfo(text: &str) -> Said {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(format!("{} {}", words.first()?, words.last()?))
    };
    text.lines().filter_map(entry).collect()
}

/// `dnf5 advisory list --json`.
pub fn advisory_list(text: &str) -> Said {
    let list: Vec<serde_json::Value> = serde_json::from_str(text.trim()).unwrap_or_default();
    list.iter().map(|a| format!("{} {}", a["name"].as_str().unwrap_or("?"), a["nevra"].as_str().unwrap_or("?"))).collect()
}

/// The `<update>` elements of `zypper --xmlout`, by their attributes.
pub fn zypper(text: &str, entry: impl Fn(&dyn Fn(&str) -> String) -> String) -> Said {
    let elements = text.split("<update ").skip(1);
    elements
        .map(|element| {
            let head = element.split('>').next().unwrap_or_default();
            entry(&|name: &str| {
                let found = head.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
                found.unwrap_or_default().to_owned()
            })
        })
        .collect()
}

/// `apt list --upgradable`: `name:arch version`.
pub fn upgradable(text: &str) -> Said {
    let entry = |line: &str| {
        let (name, rest) = line.split_once('/')?;
        let mut words = rest.split_whitespace().skip(1);
        let (version, arch) = (words.next()?, words.next()?);
        Some(format!("{name}:{arch} {version}"))
    };
    text.lines().filter_map(entry).collect()
}

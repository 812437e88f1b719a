//! Module streams as people choose them: the newest build of each, with its profiles. Of a document only the two pieces
//! that say something of that are given to the YAML reader.

use std::collections::BTreeMap;

use drydock_domain::patch::modules::ModuleStream;
use serde::Deserialize;

use super::module::{Block, block, yaml};
use crate::error::ContentResult;
use crate::objects::ObjectStore;
use crate::snapshot::{ModuleRecord, SnapshotRoot, load, read_record};
use crate::tree::map_part;

/// Profiles of one stream, count; published ones have some ten.
const PROFILES_MAX: usize = 200;
/// A summary is cut here, bytes.
const SUMMARY_MAX_BYTES: usize = 512;

/// The newest build of each stream for one architecture, by module and stream. `repository` is left empty. Blocking.
///
/// # Errors
/// When the snapshot is not here or damaged.
pub fn snapshot_streams(store: &ObjectStore, root: &SnapshotRoot, arch: &str) -> ContentResult<Vec<ModuleStream>> {
    let Some(tree) = load(store, root)?.modules else { return Ok(Vec::new()) };
    let documents = map_part(store, &tree, 0, |head, yaml| Ok(read(read_record(&head.record)?, yaml, arch)))?;
    let mut newest: BTreeMap<(String, String), (u64, ModuleStream)> = BTreeMap::new();
    let mut defaults: BTreeMap<String, Defaults> = BTreeMap::new();
    for document in documents {
        match document {
            Document::Build(version, stream) => {
                let key = (stream.module.clone(), stream.stream.clone());
                if newest.get(&key).is_none_or(|(known, _)| *known < version) {
                    newest.insert(key, (version, stream));
                }
            }
            Document::Defaults(module, found) => {
                defaults.insert(module, found);
            }
            Document::Other => {}
        }
    }
    let complete = |(_, mut stream): (u64, ModuleStream)| {
        if let Some(found) = defaults.get(&stream.module) {
            stream.is_default = found.stream == stream.stream;
            stream.default_profiles = found.profiles.get(&stream.stream).cloned().unwrap_or_default();
            stream.default_profiles.truncate(PROFILES_MAX);
            stream.default_profiles.sort_unstable();
        }
        stream
    };
    Ok(newest.into_values().map(complete).collect())
}

enum Document {
    Build(u64, ModuleStream),
    Defaults(String, Defaults),
    Other,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Defaults {
    stream: String,
    profiles: BTreeMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DefaultsDocument {
    data: Defaults,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Words {
    summary: String,
    profiles: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Whole {
    data: Words,
}

fn read(record: ModuleRecord, text: &[u8], arch: &str) -> Document {
    let text = String::from_utf8_lossy(text);
    match record.kind.as_str() {
        "modulemd" if record.arch == arch || record.arch.is_empty() || record.arch == "noarch" => {
            let words = words(&text);
            let mut profiles: Vec<String> = words.profiles.into_keys().collect();
            profiles.truncate(PROFILES_MAX);
            let mut summary = words.summary.split_whitespace().collect::<Vec<_>>().join(" ");
            summary.truncate(summary.floor_char_boundary(SUMMARY_MAX_BYTES));
            let stream = ModuleStream {
                module: record.name,
                stream: record.stream,
                context: record.context,
                arch: record.arch,
                summary,
                profiles,
                ..ModuleStream::default()
            };
            // Upstreams write numbers; anything else is older than all of them.
            let number = record.version.parse().unwrap_or(0);
            Document::Build(number, ModuleStream { version: record.version, ..stream })
        }
        "modulemd-defaults" => Document::Defaults(record.name, yaml::<DefaultsDocument>(&text).unwrap_or_default().data),
        _ => Document::Other,
    }
}

/// Summary and profiles; a document that cannot be read has none.
fn words(text: &str) -> Words {
    let mut found = Words::default();
    for key in ["summary", "profiles"] {
        match block(text, key) {
            Block::Absent => {}
            Block::Found(block) => {
                let piece = yaml::<Words>(&block).unwrap_or_default();
                found.summary.push_str(&piece.summary);
                found.profiles.extend(piece.profiles);
            }
            Block::Unknown => return yaml::<Whole>(text).unwrap_or_default().data,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_and_profiles_are_read_in_every_form() {
        let shown = |text: &str| {
            let words = words(text);
            format!("{}: {}", words.summary.trim(), words.profiles.into_keys().collect::<Vec<_>>().join(","))
        };
        let head = "---\ndocument: modulemd\ndata:\n  name: a\n  description: >-\n    summary: none\n";
        let block =
            "  summary: >-\n    Two\n    lines\n  profiles:\n    common:\n      rpms: [a, b]\n    \"1.0\": {rpms: []}\n  x: y\n";
        assert_eq!(shown(&format!("{head}{block}...\n")), "Two lines: 1.0,common");
        assert_eq!(shown("---\ndata: {summary: One, profiles: {s2i: {rpms: [a]}}}\n"), "One: s2i");
        assert_eq!(shown(&format!("{head}  profiles: [\n")), ": ");
        assert_eq!(shown(head), ": ");
    }
}

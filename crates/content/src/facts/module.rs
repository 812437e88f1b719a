//! Module builds and default streams. Nearly everything is in the record; of a build's document only what it needs of
//! other modules is read, and only that piece of it is given to the YAML reader: documents of some thousand packages
//! would take a hundred times as long.

use std::collections::BTreeMap;
use std::fmt;

use drydock_domain::applicability::facts::{DefaultStream, ModuleFacts};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::snapshot::ModuleRecord;

/// Streams or modules a build needs, count; published ones need some ten.
const REQUIRES_MAX: usize = 1000;

/// A document of modules.yaml.
pub(super) enum Document {
    /// A build of a stream.
    Build(ModuleFacts),
    /// The default stream of a module.
    Default(DefaultStream),
    /// Says nothing about updates.
    Other,
}

/// Reads a document.
pub(super) fn read(record: ModuleRecord, yaml: &[u8]) -> Document {
    match record.kind.as_str() {
        "modulemd" => Document::Build(ModuleFacts {
            requires: requires(&String::from_utf8_lossy(yaml)),
            // Upstreams write numbers; anything else is older than all of them.
            version: record.version.parse().unwrap_or(0),
            name: record.name,
            stream: record.stream,
            context: record.context,
            arch: record.arch,
            artifacts: record.artifacts,
        }),
        "modulemd-defaults" if !record.stream.is_empty() => Document::Default(DefaultStream {
            modified: modified(&String::from_utf8_lossy(yaml)),
            module: record.name,
            stream: record.stream,
        }),
        _ => Document::Other,
    }
}

/// When a document of default streams was written; 0 where it does not say.
fn modified(text: &str) -> u64 {
    let said = text.lines().find_map(|line| line.trim_start().strip_prefix("modified:"));
    said.and_then(|word| word.trim().trim_matches(['"', '\'']).parse().ok()).unwrap_or(0)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Whole {
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    dependencies: Option<Dependencies>,
}

/// What a build needs: (module, streams). Version 2 lists alternatives, of which a build has one; version 1 has one stream a
/// module. Read by hand: serde's untagged enums would take the stream 5.30 for the number 5.3.
#[derive(Default)]
struct Dependencies(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for Dependencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfEitherVersion)
    }
}

struct OfEitherVersion;

impl<'de> Visitor<'de> for OfEitherVersion {
    type Value = Dependencies;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alternatives, or one")
    }

    fn visit_unit<E>(self) -> Result<Dependencies, E> {
        Ok(Dependencies::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Dependencies, A::Error> {
        let first: Option<Alternative> = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Dependencies(first.and_then(|first| first.requires).unwrap_or_default().into_iter().collect()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dependencies, A::Error> {
        let mut found = Dependencies::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "requires" {
                let requires: BTreeMap<String, String> = map.next_value()?;
                found.0 = requires.into_iter().map(|(module, stream)| (module, vec![stream])).collect();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Alternative {
    requires: Option<BTreeMap<String, Vec<String>>>,
}

/// What a build needs: (module, streams). A document that cannot be read needs nothing; its names were read when it was
/// stored.
fn requires(text: &str) -> Vec<(String, Vec<String>)> {
    let dependencies = match block(text, "dependencies") {
        Block::Absent => None,
        Block::Found(block) => yaml::<Data>(&block).and_then(|data| data.dependencies),
        Block::Unknown => yaml::<Whole>(text).and_then(|whole| whole.data.dependencies),
    };
    let mut found = dependencies.unwrap_or_default().0;
    found.truncate(REQUIRES_MAX);
    found.iter_mut().for_each(|(_, streams)| streams.truncate(REQUIRES_MAX));
    found
}

pub(super) fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_saphyr::from_str_with_options(text, crate::rpm::module_yaml_options()).ok()
}

/// Where a key below `data` stands in a document in block form.
pub(super) enum Block {
    Absent,
    /// Its lines, moved to the left.
    Found(String),
    /// `data` is not in block form.
    Unknown,
}

pub(super) fn block(text: &str, key: &str) -> Block {
    let mut lines = text.lines().skip_while(|line| line.trim_end() != "data:").skip(1).peekable();
    let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let says_nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    while lines.next_if(|line| says_nothing(line)).is_some() {}
    let Some(indent) = lines.peek().map(|line| indent_of(line)).filter(|indent| *indent > 0) else { return Block::Unknown };
    let mut found: Option<String> = None;
    for line in lines {
        let at = indent_of(line);
        if let Some(block) = &mut found {
            // A list may stand as far left as the key it belongs to.
            let goes_on = says_nothing(line) || at > indent || at == indent && line.trim_start().starts_with('-');
            if !goes_on {
                break;
            }
            block.push_str(line.get(indent.min(line.len())..).unwrap_or_default());
            block.push('\n');
        } else if at < indent && !says_nothing(line) {
            break;
        } else if at == indent && line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) {
            found = Some(format!("{}\n", line.trim_start()));
        }
    }
    found.map_or(Block::Absent, Block::Found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: a\n  description: >-\n    dependencies: none\n";

    fn shown(text: &str) -> String {
        requires(text).iter().map(|(module, streams)| format!("{module}:{} ", streams.join(","))).collect()
    }

    #[test]
    fn what_a_build_needs_is_read_in_every_form() {
        let list = "  dependencies:\n  - buildrequires:\n      x: [y]\n    requires:\n      platform: [el8]\n      perl: []\n  profiles: {}\n";
        assert_eq!(shown(&format!("{HEAD}{list}...\n")), "perl: platform:el8 ");
        let deeper = "  dependencies:\n    - requires:\n        platform: [el8]\n        perl: []\n  profiles: {}\n";
        assert_eq!(shown(&format!("{HEAD}{deeper}")), "perl: platform:el8 ");
        assert_eq!(shown(&format!("{HEAD}  dependencies:\n    requires:\n      platform: el8\n")), "platform:el8 ");
        assert_eq!(shown(&format!("{HEAD}  license: x\n")), "");
        assert_eq!(shown("---\ndata: {name: a, dependencies: [{requires: {platform: [\"1.10\"]}}]}\n"), "platform:1.10 ");
        assert_eq!(shown("---\ndata:\n  dependencies: [\n"), "");
        assert_eq!(shown(&format!("{HEAD}  dependencies:\n  - requires:\n      perl: [5.30]\nother:\n  x: y\n")), "perl:5.30 ");
    }
}

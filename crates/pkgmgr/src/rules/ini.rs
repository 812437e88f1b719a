//! Configuration files of dnf, yum and zypper: `[section]`, `key = value`, further lines of a value begin with a blank.
//! Of two equal keys in a section the last one counts, as for all of them.

/// One section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    /// Between the brackets.
    pub name: String,
    /// In the order of their first appearance.
    pub options: Vec<(String, String)>,
}

impl Section {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// A value that is yes or no.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.get(key)?.trim().to_ascii_lowercase().as_str() {
            "1" | "yes" | "true" | "on" => Some(true),
            "0" | "no" | "false" | "off" => Some(false),
            _ => None,
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        match self.options.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.options.push((key.to_owned(), value.to_owned())),
        }
    }

    fn extend(&mut self, key: &str, more: &str) {
        if let Some((_, value)) = self.options.iter_mut().find(|(k, _)| k == key) {
            value.push('\n');
            value.push_str(more);
        }
    }
}

/// The sections of a file, in order.
pub(super) fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut key = None;
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            key = None;
        } else if line.starts_with([' ', '\t']) {
            if let (Some(key), Some(section)) = (key, sections.last_mut()) {
                section.extend(key, line.trim());
            }
        } else if let Some(name) = line.trim_end().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            sections.push(Section { name: name.0.to_owned(), ..Section::default() });
            key = None;
        } else if let (Some((name, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            section.set(name.trim(), value.trim());
            key = Some(name.trim());
        }
    }
    sections
}

/// The words of a list: separated by blanks, commas and line ends.
pub(super) fn words(value: &str) -> impl Iterator<Item = String> {
    value.split([' ', '\t', ',', '\n']).filter(|word| !word.is_empty()).map(str::to_owned)
}

/// Adds the words of an option to what is there, as dnf does for lists: an empty value, or one that begins with a comma,
/// puts away what was there.
pub(super) fn append(list: &mut Vec<String>, value: &str) {
    if value.trim().is_empty() || value.trim_start().starts_with(',') {
        list.clear();
    }
    list.extend(words(value));
}

//! Values of secrets: put in the place of their marks when a resource is brought about, and never told.

use std::collections::BTreeMap;
use std::fmt;

use drydock_domain::policy::host::SECRET_MARKS;

use super::kind::{Failure, Secrets};

/// Lines of a value this short are no secret by themselves, and taking them out would tear every text, bytes.
const LINE_MIN_BYTES: usize = 6;

/// Values by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values {
    by_name: BTreeMap<String, String>,
    /// What is taken out of texts, longest first, each with what stands there instead.
    hidden: Vec<(String, String)>,
}

impl Values {
    /// These.
    pub fn new(by_name: BTreeMap<String, String>) -> Self {
        let mut hidden: Vec<(String, String)> = Vec::new();
        for (name, value) in &by_name {
            let shown = format!("[secret {name}]");
            // A diff shows single lines of a key.
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE_MIN_BYTES);
            hidden.extend(std::iter::once(value.as_str()).chain(lines).map(|text| (text.to_owned(), shown.clone())));
        }
        hidden.retain(|(text, _)| !text.trim().is_empty());
        hidden.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        hidden.dedup_by(|a, b| a.0 == b.0);
        Values { by_name, hidden }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Secrets for Values {
    fn reveal(&self, text: &str) -> Result<String, Failure> {
        let (open, close) = SECRET_MARKS;
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(open) {
            out.push_str(before);
            let (name, after) = after.split_once(close).ok_or_else(|| Failure::of("a secret's mark has no end"))?;
            let value = self.by_name.get(name).ok_or_else(|| {
                Failure::of(format!("the server sent no value of secret {name:?}; set it with `drydock secret set {name}`"))
            })?;
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn redact(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (value, shown) in &self.hidden {
            if out.contains(value.as_str()) {
                out = out.replace(value.as_str(), shown);
            }
        }
        let (open, close) = SECRET_MARKS;
        if out.contains([open, close]) {
            out = out.replace(open, "[secret ").replace(close, "]");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        let pairs = [("db", "hunter22"), ("key", "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----"), ("empty", "")];
        Values::new(pairs.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn marks_become_values_and_an_unknown_one_is_named() {
        let (open, close) = SECRET_MARKS;
        let text = |name: &str| format!("password={open}{name}{close};");
        assert_eq!(values().reveal(&text("db")), Ok("password=hunter22;".to_owned()));
        assert_eq!(values().reveal("plain"), Ok("plain".to_owned()));
        assert!(values().reveal(&text("nobody")).expect_err("missing").message.contains("\"nobody\""));
        assert!(values().reveal(&format!("{open}db")).is_err());
    }

    #[test]
    fn no_value_and_no_line_of_one_is_told() {
        let (open, close) = SECRET_MARKS;
        assert_eq!(values().redact("-password=hunter22;"), "-password=[secret db];");
        assert_eq!(values().redact("+MIIEvQIBADANBg\n same"), "+[secret key]\n same");
        assert_eq!(values().redact(&format!("{open}db{close}")), "[secret db]");
        assert_eq!(values().redact("nothing"), "nothing");
    }
}

//! A submitted form: names with values, some repeated (check boxes). Bounded by the router's body limit. Absent on
//! purpose: what the values mean.

/// Decoded `application/x-www-form-urlencoded` pairs in the order they came.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of `name`, empty when it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v.as_str())
    }

    /// The first value of `name` without blanks around it.
    pub fn text(&self, name: &str) -> String {
        self.get(name).trim().to_owned()
    }

    /// Every value of `name` that is not blank.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, v)| k == name && !v.trim().is_empty()).map(|(_, v)| v.trim().to_owned()).collect()
    }

    /// A check box: present means ticked.
    pub fn ticked(&self, name: &str) -> bool {
        self.0.iter().any(|(k, _)| k == name)
    }

    /// A text area as its author wrote it: browsers send CRLF, scripts and lists want LF.
    pub fn area(&self, name: &str) -> String {
        self.get(name).replace("\r\n", "\n")
    }
}

/// Entries of a list as people type it: separated by lines or commas, without blanks and empty ones.
pub fn entries(text: &str) -> Vec<String> {
    text.split(['\n', ',']).map(str::trim).filter(|e| !e.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_areas_are_read_as_people_type_them() {
        let pairs = [("x", "a"), ("x", " "), ("x", " b "), ("script", "#!/bin/sh\r\necho\r\n"), ("list", "a, b\r\n\r\nc,")];
        let fields = Fields(pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        assert_eq!(fields.all("x"), ["a", "b"]);
        assert_eq!(fields.area("script"), "#!/bin/sh\necho\n");
        assert_eq!(entries(fields.get("list")), ["a", "b", "c"]);
        assert!(fields.ticked("x") && !fields.ticked("y"));
        assert_eq!(fields.get("y"), "");
    }
}

//! The routes as the sources have them: every `.route("…", get(…).post(…))` of the server, read from its text. What
//! cannot be read this way is refused, so a route cannot hide from the tests by being written differently.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a route's text may call, with the method it answers.
const METHODS: [(&str, &str); 5] = [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];
/// Other ways of adding what answers, each with how often it may occur: the agent service, and the console's page for
/// addresses that lead nowhere.
const OTHERWISE: [(&str, usize); 9] = [
    (".route_service(", 1),
    (".fallback(", 1),
    (".fallback_service(", 0),
    (".nest(", 0),
    (".nest_service(", 0),
    (".method_not_allowed_fallback(", 0),
    (".add_route(", 0),
    (" any(", 0),
    (" on(", 0),
];

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Where it is written, for messages.
    pub file: String,
    /// Its path with `{parameters}`.
    pub path: String,
    /// Method and handler, as written.
    pub handlers: Vec<(&'static str, String)>,
}

impl Route {
    /// Does it answer this method?
    pub fn answers(&self, method: &str) -> bool {
        self.handlers.iter().any(|(own, _)| *own == method)
    }

    /// Is it part of the REST interface?
    pub fn is_rest(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

/// `/a/{name}/b` and `/a/{id}/b` are the same place.
pub fn shape(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

/// A room's sources: path and text without its tests.
pub fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room).join("src");
    let mut left = vec![root];
    let mut found = Vec::new();
    while let Some(at) = left.pop() {
        if at.is_dir() {
            left.extend(std::fs::read_dir(&at).expect("a directory").map(|e| e.expect("an entry").path()));
        } else if at.extension().is_some_and(|e| e == "rs") && !at.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&at).expect("text");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            found.push((at, text));
        }
    }
    found.sort();
    found
}

/// Every route of the server.
pub fn routes() -> Vec<Route> {
    let sources = sources("server");
    for (way, allowed) in OTHERWISE {
        let found: usize = sources.iter().map(|(_, text)| code(text).matches(way).count()).sum();
        assert_eq!(found, allowed, "{way}…) adds what these tests do not see; use .route(\"…\", get(…))");
    }
    sources.iter().flat_map(|(path, text)| in_text(&path.display().to_string(), text)).collect()
}

/// Lines without comments.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The routes of one file.
pub fn in_text(file: &str, text: &str) -> Vec<Route> {
    let text = code(text);
    let mut pieces = text.split(".route(");
    pieces.next();
    pieces.map(|piece| read(file, piece)).collect()
}

/// What stands between the brackets of one `.route(`.
fn read(file: &str, piece: &str) -> Route {
    let unreadable = |what: &str| -> ! {
        let start: String = piece.chars().take(80).collect();
        panic!("{file}: a route is not written .route(\"/path\", get(module::handler).post(…)) ({what}): {start}")
    };
    let inner = inside(piece).unwrap_or_else(|| unreadable("no closing bracket"));
    let Some((path, rest)) = inner.trim().strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
        unreadable("the path is no text");
    };
    let Some(mut rest) = rest.trim().strip_prefix(',') else { unreadable("no handlers") };
    let mut handlers = Vec::new();
    loop {
        rest = rest.trim().trim_start_matches('.');
        if rest.is_empty() || rest == "," {
            break;
        }
        let Some((name, after)) = rest.split_once('(') else { unreadable("a handler without its method") };
        let called = name.trim().rsplit("::").next().unwrap_or_default();
        let Some((_, method)) = METHODS.into_iter().find(|(own, _)| *own == called) else {
            unreadable(&format!("{name} is no method"));
        };
        let handler = inside(after).unwrap_or_else(|| unreadable("no closing bracket"));
        handlers.push((method, handler.trim().to_owned()));
        rest = &after[handler.len() + 1..];
    }
    if handlers.is_empty() {
        unreadable("no handlers");
    }
    Route { file: file.to_owned(), path: path.to_owned(), handlers }
}

/// The text up to the bracket that closes one opened before it.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

/// The verbs that the handler of `POST …/{id}` takes after a colon, from its text.
pub fn verbs(handler: &str) -> BTreeSet<String> {
    let (module, name) = handler.split_once("::").unwrap_or_else(|| panic!("{handler} is not module::handler"));
    // Short names of modules, as `use` in the tables has them.
    let module = match (module, name) {
        ("c", "slot_verb") => "calendars",
        ("p", "verb") => "policies",
        ("feeds", "verb") => "advisory_feeds",
        ("s", "session_verb") => "sign_in",
        ("u", "verb") => "users",
        (module, _) => module,
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/rest/{module}.rs"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{handler}: {}: {e}", file.display()));
    let (_, body) =
        text.split_once(&format!("pub async fn {name}(")).unwrap_or_else(|| panic!("{handler} is not in {module}.rs"));
    let body = body.split("\n}\n").next().unwrap_or_default();
    // What several handlers of one file share stands in a function of its own.
    let shared = text.split_once("\nasync fn only(").filter(|_| body.contains("only(")).map_or("", |(_, rest)| rest);
    let body = &format!("{body}{}", shared.split("\n}\n").next().unwrap_or_default());
    let listed = text.split_once("const VERBS").filter(|_| body.contains("VERBS")).and_then(|(_, rest)| rest.split('=').nth(1));
    let listed = listed.unwrap_or_default().split(']').next().unwrap_or_default().to_owned();
    let is_verb = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut found: BTreeSet<String> = listed.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let quoted: Vec<&str> = body.split('"').collect();
    for (i, text) in quoted.iter().enumerate().skip(1).step_by(2) {
        let (before, after) = (quoted[i - 1].trim_end(), quoted.get(i + 1).map_or("", |t| t.trim_start()));
        let compared = before.ends_with("verb !=") || before.ends_with("verb ==");
        if is_verb(text) && (compared || after.starts_with("=>") || (after.starts_with('|') || before.ends_with('|'))) {
            found.insert((*text).to_owned());
        }
    }
    found
}

//! The names of operations in `control` and those in the table of permissions are the same.

use std::collections::BTreeSet;

use drydock_domain::access::operations::OPERATIONS;

use super::routes::sources;

/// Operations of the table that `control` does not have yet. This list may only shrink.
const NOT_YET: [&str; 0] = [];
/// What asks for a permission in `control`.
const ASKS: [&str; 12] = [
    ".act(",
    ".act_on(",
    ".act_in(",
    ".begin_act(",
    ".may_read(",
    ".may_see(",
    ".scope(",
    ".scope_of(",
    ".sight(",
    ".instance(",
    ".seen_instance(",
    ".user_act(",
];

/// `noun.verb`, as operations are called.
fn is_name(text: &str) -> bool {
    let good = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    text.split_once('.').is_some_and(|(noun, verb)| good(noun) && good(verb))
}

#[test]
fn every_operation_that_asks_is_in_the_table_and_every_one_of_the_table_asks() {
    let table: BTreeSet<&str> = OPERATIONS.iter().map(|o| o.name).collect();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for (_, text) in sources("control") {
        named.extend(text.split('"').filter(|t| is_name(t)).map(str::to_owned));
        for ask in ASKS {
            // The name stands in the call itself, or is handed through; then it is among those named.
            let calls = text.split(ask).skip(1).filter_map(|rest| rest.split(';').next());
            asked.extend(calls.flat_map(|call| call.split('"')).filter(|t| is_name(t)).map(str::to_owned));
        }
    }
    let unknown: Vec<&String> = asked.iter().filter(|name| !table.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "operations that ask for a permission and are not in domain::access::operations: {unknown:?}");
    let silent: Vec<&&str> = table.iter().filter(|name| !named.contains(**name) && !NOT_YET.contains(name)).collect();
    assert!(silent.is_empty(), "operations of domain::access::operations that nothing in control asks for: {silent:?}");
    assert!(asked.len() >= 100, "the scan lost operations: {}", asked.len());
}

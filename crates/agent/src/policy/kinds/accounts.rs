//! The host's users and groups: names and numbers of its own files, and what its name service knows besides.
//!
//! Absent: changing them.

use std::path::Path;
use std::time::Duration;

use drydock_pkgmgr::run::CommandSpec;

use crate::policy::kind::{Cx, Failure};

/// Asking the name service: a directory server may be slow.
const GETENT_LIMIT: Duration = Duration::from_secs(20);
/// Lines of one file, count.
const LINES_MAX: usize = 200_000;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of its first group.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Shell.
    pub shell: String,
}

/// A line of /etc/group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Number.
    pub gid: u32,
    /// Users that have it besides their first group.
    pub members: Vec<String>,
}

/// The local users.
pub fn users(root: &Path) -> Result<Vec<User>, Failure> {
    Ok(lines(root, "etc/passwd")?.iter().filter_map(|l| user(l)).collect())
}

/// The local groups.
pub fn groups(root: &Path) -> Result<Vec<Group>, Failure> {
    Ok(lines(root, "etc/group")?.iter().filter_map(|l| group(l)).collect())
}

fn lines(root: &Path, file: &str) -> Result<Vec<String>, Failure> {
    let read = std::fs::read(root.join(file));
    let bytes = read.map_err(|e| Failure::of(format!("/{file} cannot be read: {e}")))?;
    Ok(String::from_utf8_lossy(&bytes).lines().take(LINES_MAX).map(str::to_owned).collect())
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
    Some(User {
        name: (*name).to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: (*home).to_owned(),
        shell: (*shell).to_owned(),
    })
}

fn group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields.as_slice() else { return None };
    let members = members.split(',').filter(|m| !m.is_empty()).map(str::to_owned).collect();
    Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
}

/// The number of an owner given by name or number.
pub fn uid(cx: &Cx<'_>, owner: &str) -> Result<u32, Failure> {
    if let Ok(number) = owner.parse() {
        return Ok(number);
    }
    if let Some(found) = users(cx.root)?.iter().find(|u| u.name == owner) {
        return Ok(found.uid);
    }
    match getent(cx, "passwd", owner).as_deref().and_then(user) {
        Some(found) => Ok(found.uid),
        None => Err(Failure::of(format!("the user {owner} does not exist on this host; put a user resource before this one"))),
    }
}

/// The number of a group given by name or number.
pub fn gid(cx: &Cx<'_>, name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    if let Some(found) = groups(cx.root)?.iter().find(|g| g.name == name) {
        return Ok(found.gid);
    }
    match getent(cx, "group", name).as_deref().and_then(group) {
        Some(found) => Ok(found.gid),
        None => Err(Failure::of(format!("the group {name} does not exist on this host; put a group resource before this one"))),
    }
}

/// The name service of this host; a root in tests has none.
fn getent(cx: &Cx<'_>, table: &str, name: &str) -> Option<String> {
    if cx.root != Path::new("/") {
        return None;
    }
    let command = CommandSpec::new("getent", format!("getent {table}"), GETENT_LIMIT).args(["--", table, name]);
    let finished = cx.runner.run(&command).ok()?;
    finished.success().then(|| finished.stdout.text().lines().next().unwrap_or_default().to_owned())
}

/// `root`, or the number where nobody has it.
pub fn user_name(root: &Path, uid: u32) -> String {
    let all = users(root).unwrap_or_default();
    all.into_iter().find(|u| u.uid == uid).map_or_else(|| uid.to_string(), |u| u.name)
}

/// `root`, or the number where nobody has it.
pub fn group_name(root: &Path, gid: u32) -> String {
    let all = groups(root).unwrap_or_default();
    all.into_iter().find(|g| g.gid == gid).map_or_else(|| gid.to_string(), |g| g.name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[test]
    fn names_and_numbers_are_found_and_strangers_are_named() {
        let bench = Bench::new();
        bench.put("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nweb:x:33:34::/srv:/bin/false\n+::::::\n");
        bench.put("/etc/group", "root:x:0:\nwww:x:34:web,root\n");
        let cx = bench.cx();
        assert_eq!((uid(&cx, "web"), uid(&cx, "77"), gid(&cx, "www")), (Ok(33), Ok(77), Ok(34)));
        assert_eq!(groups(cx.root).expect("read")[1].members, ["web", "root"]);
        assert!(uid(&cx, "nobody").expect_err("unknown").message.contains("the user nobody does not exist"));
        assert_eq!((user_name(cx.root, 33), group_name(cx.root, 99)), ("web".to_owned(), "99".to_owned()));
    }
}

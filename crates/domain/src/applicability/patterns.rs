//! Patterns of a host's rules as dnf, zypper and apt read them: globs with classes over the written forms of a package.

use crate::host_rules::{PackageExclude, PackageLock};

/// Matches a shell glob: `*`, `?`, `[abc]`, `[!a-z]`. Linear in text times stars: no backtracking beyond the last star.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match p.get(i) {
            None if j == t.len() => return true,
            Some(b'*') => {
                star = Some((i + 1, j));
                i += 1;
                continue;
            }
            Some(_) if j < t.len() => one(&p[i..], t[j]),
            _ => None,
        };
        match (step, &mut star) {
            (Some(len), _) => (i, j) = (i + len, j + 1),
            (None, Some((after, from))) if *from < t.len() => {
                *from += 1;
                (i, j) = (*after, *from);
            }
            _ => return false,
        }
    }
}

/// How many bytes of the pattern match this byte.
fn one(p: &[u8], byte: u8) -> Option<usize> {
    match p.first()? {
        b'?' => Some(1),
        b'[' => {
            let negated = matches!(p.get(1), Some(b'!' | b'^'));
            let start = if negated { 2 } else { 1 };
            let Some(end) = p.iter().skip(start + 1).position(|b| *b == b']').map(|n| n + start + 1) else {
                return (byte == b'[').then_some(1);
            };
            let set = &p[start..end];
            let mut inside = false;
            let mut k = 0;
            while k < set.len() {
                if k + 2 < set.len() && set[k + 1] == b'-' {
                    inside |= (set[k]..=set[k + 2]).contains(&byte);
                    k += 3;
                } else {
                    inside |= set[k] == byte;
                    k += 1;
                }
            }
            (inside != negated).then_some(end + 1)
        }
        b'\\' if p.len() > 1 => (p[1] == byte).then_some(2),
        b => (*b == byte).then_some(1),
    }
}

/// A package as it is written: name, `[epoch:]version-release`, architecture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub arch: &'a str,
}

/// Does an rpm pattern mean this package, in any of the forms that dnf tries?
pub(super) fn means(pattern: &str, package: Written<'_>) -> bool {
    let Written { name, version, arch } = package;
    // Every form begins with the name or, seldom, the epoch; most patterns end here.
    let literal = pattern.find(['*', '?', '[', '\\']).unwrap_or(pattern.len());
    let head = &pattern.as_bytes()[..literal];
    let common = head.len().min(name.len());
    if head[..common] != name.as_bytes()[..common] {
        return false;
    }
    let (epoch, evr) = version.split_once(':').unwrap_or(("0", version));
    let short = evr.rsplit_once('-').map_or(evr, |(v, _)| v);
    if literal == pattern.len() {
        // Without a star or the like, only a form of the same length can be equal.
        return pattern == name || forms(name, arch, epoch, evr, short).any(|form| form == pattern);
    }
    glob(pattern, name) || forms(name, arch, epoch, evr, short).any(|form| glob(pattern, &form))
}

fn forms(name: &str, arch: &str, epoch: &str, evr: &str, short: &str) -> impl Iterator<Item = String> {
    [
        format!("{name}.{arch}"),
        format!("{name}-{evr}.{arch}"),
        format!("{name}-{epoch}:{evr}.{arch}"),
        format!("{name}-{evr}"),
        format!("{name}-{epoch}:{evr}"),
        format!("{name}-{short}"),
        format!("{name}-{epoch}:{short}"),
    ]
    .into_iter()
}

/// Is the package left out (or, for includes, named) by a list?
pub(super) fn listed(list: &[PackageExclude], repository: &str, package: Written<'_>) -> bool {
    list.iter().any(|e| (e.repository.is_empty() || e.repository == repository) && means(&e.pattern, package))
}

/// dnf's versionlock: may this available package be taken?
pub(super) fn lock_allows(locks: &[PackageLock], package: Written<'_>) -> bool {
    if locks.is_empty() {
        return true;
    }
    if locks.iter().any(|l| l.exclude && means(&l.pattern, package)) {
        return false;
    }
    let mut locked = false;
    for lock in locks.iter().filter(|l| !l.exclude) {
        if means(&lock.pattern, package) {
            return true;
        }
        locked |= names_of(&lock.pattern).any(|name| glob(name, package.name));
    }
    !locked
}

/// Every name that a pattern may lock, read in the forms NEVRA, NEVR, NEV, NA and NAME.
fn names_of(pattern: &str) -> impl Iterator<Item = &str> {
    let dash = |text: &str| text.rfind('-');
    let mut out: Vec<&str> = Vec::with_capacity(6);
    if let Some(colon) = pattern.find(':') {
        // With an epoch there is one reading: the name ends before it.
        out.extend(dash(&pattern[..colon]).map(|at| &pattern[..at]));
    } else {
        for text in [Some(pattern), pattern.rfind('.').map(|at| &pattern[..at])].into_iter().flatten() {
            out.push(text);
            if let Some(at) = dash(text) {
                out.push(&text[..at]);
                out.extend(dash(&text[..at]).map(|at| &text[..at]));
            }
        }
    }
    out.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("[a-c]*z", "bqqz", true),
            ("a*b*c", "aXbYbZc", true),
            ("[", "[", true),
            ("kernel", "kernel-core", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn forms_of_a_package() {
        let nginx = Written { name: "nginx", version: "1:1.20-1.el8", arch: "x86_64" };
        for pattern in
            ["nginx", "ngi*", "nginx.x86_64", "nginx-1.20", "nginx-1.20-1.el8", "nginx-1:1.20-1.el8.x86_64", "nginx-1.20-1.el8.*"]
        {
            assert!(means(pattern, nginx), "{pattern}");
        }
        for pattern in ["nginx-core", "nginx-0:1.20-1.el8.*", "nginx.i686", "ng", "nginx-1.2"] {
            assert!(!means(pattern, nginx), "{pattern}");
        }
    }

    #[test]
    fn a_lock_lets_its_version_through_and_no_other() {
        let lock = |pattern: &str, exclude| PackageLock { pattern: pattern.into(), exclude, ..PackageLock::default() };
        let nginx = |version| Written { name: "nginx", version, arch: "x86_64" };
        let locks = [lock("nginx-0:1.20-1.el8.*", false)];
        assert!(lock_allows(&locks, nginx("1.20-1.el8")));
        assert!(!lock_allows(&locks, nginx("1.21-1.el8")));
        assert!(lock_allows(&locks, Written { name: "nginx-core", version: "9-1", arch: "x86_64" }));
        let not = [lock("nginx-0:1.21-1.el8.*", true)];
        assert!(lock_allows(&not, nginx("1.22-1.el8")) && !lock_allows(&not, nginx("1.21-1.el8")));
        assert!(!lock_allows(&[lock("nginx-1.20*", false)], nginx("1.21-1.el8")));
    }
}

//! In which order the resources of a policy run: as listed, but each after what it depends on. Pure; cycles, which the
//! server refuses, are cut where they are met.

use std::collections::BTreeMap;

use drydock_domain::policy::Resource;

/// Places of `resources` in the order in which they run.
pub fn order(resources: &[Resource]) -> Vec<usize> {
    let places: BTreeMap<&str, usize> = resources.iter().enumerate().map(|(at, r)| (r.id.as_str(), at)).collect();
    let mut out = Vec::with_capacity(resources.len());
    let mut seen = vec![false; resources.len()];
    // Depth first without recursion: each place is entered once, so this ends whatever the dependencies are.
    for start in 0..resources.len() {
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match resources[at].depends_on.get(next) {
                Some(id) => {
                    stack.push((at, next + 1));
                    if let Some(&needed) = places.get(id.as_str())
                        && !seen[needed]
                    {
                        stack.push((needed, 0));
                    }
                }
                None => out.push(at),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(id: &str, needs: &[&str]) -> Resource {
        Resource { id: id.into(), depends_on: needs.iter().map(|n| (*n).to_owned()).collect(), ..Resource::default() }
    }

    #[test]
    fn as_listed_but_after_what_is_needed_and_cycles_end() {
        type Case = (&'static [(&'static str, &'static [&'static str])], &'static str);
        let table: &[Case] = &[
            (&[("a", &[]), ("b", &[]), ("c", &[])], "abc"),
            (&[("a", &["c"]), ("b", &[]), ("c", &[])], "cab"),
            (&[("a", &["b"]), ("b", &["c"]), ("c", &[])], "cba"),
            (&[("a", &["b"]), ("b", &["a"]), ("c", &[])], "bac"),
            (&[("a", &["a"]), ("b", &["nobody"])], "ab"),
            (&[("a", &["c", "b"]), ("b", &["c"]), ("c", &[]), ("d", &["a"])], "cbad"),
            (&[], ""),
        ];
        for (given, expected) in table {
            let resources: Vec<Resource> = given.iter().map(|(id, needs)| resource(id, needs)).collect();
            let got: String = order(&resources).into_iter().map(|at| resources[at].id.clone()).collect();
            assert_eq!(got, *expected, "{given:?}");
        }
        let chain: Vec<Resource> = (0..1000).map(|n| resource(&n.to_string(), &[&(n + 1).to_string()])).collect();
        assert_eq!(order(&chain).first(), Some(&999), "a thousand deep");
    }
}

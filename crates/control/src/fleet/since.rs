//! Since when which CVE is open on which host, in memory: hosts of which the same is true share one list of numbers, so
//! 10,000 hosts with 300 CVEs each stay below 50 MB.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use drydock_domain::ids::InstanceId;
use drydock_store::advisory_records::OpenCves;
use drydock_store::open_cves::Seen;
use jiff::Timestamp;

use super::sight::Sight;

/// (number of the CVE, seconds since 1970), by number.
type List = Arc<[(u32, i64)]>;

/// What is known of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Since {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    hosts: HashMap<InstanceId, List>,
}

impl Since {
    /// As stored.
    pub(crate) fn of(seen: Seen) -> Since {
        let mut since = Since::default();
        let lists: HashMap<String, List> = seen.sets.into_iter().map(|(digest, open)| (digest, since.list(&open))).collect();
        since.hosts = seen.hosts.into_iter().filter_map(|(host, digest)| Some((host, Arc::clone(lists.get(&digest)?)))).collect();
        since
    }

    fn number(&mut self, cve: &str) -> u32 {
        if let Some(number) = self.numbers.get(cve) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(cve.to_owned());
        self.numbers.insert(cve.to_owned(), number);
        number
    }

    fn list(&mut self, open: &OpenCves) -> List {
        let mut list: Vec<(u32, i64)> = open.iter().map(|(cve, at)| (self.number(cve), at.as_second())).collect();
        list.sort_unstable();
        list.into()
    }

    /// When a CVE was first seen open on a host.
    pub(crate) fn of_host(&self, host: InstanceId, cve: &str) -> Option<Timestamp> {
        let number = self.numbers.get(cve)?;
        let list = self.hosts.get(&host)?;
        let at = list.binary_search_by_key(number, |(n, _)| *n).ok().and_then(|i| list.get(i))?;
        Timestamp::from_second(at.1).ok()
    }

    /// Since when each CVE is open on the host of `sight` that had it first: one pass over all hosts.
    pub(crate) fn oldest(&self, sight: &Sight) -> Oldest<'_> {
        let mut first = vec![i64::MAX; self.names.len()];
        let mut looked_at = HashSet::new();
        for list in self.seen(sight).filter(|list| looked_at.insert(Arc::as_ptr(list))) {
            for (number, at) in list.iter() {
                if let Some(known) = first.get_mut(*number as usize) {
                    *known = (*known).min(*at);
                }
            }
        }
        Oldest { numbers: &self.numbers, first }
    }

    fn seen(&self, sight: &Sight) -> impl Iterator<Item = &List> {
        self.hosts.iter().filter(|(host, _)| sight.sees(**host)).map(|(_, list)| list)
    }

    /// On how many hosts of `sight` each CVE was first seen at its second since 1970 or before; `cut` says which second,
    /// `None`: it does not matter. One pass over all hosts.
    pub(crate) fn late(&self, sight: &Sight, cut: impl Fn(&str) -> Option<i64>) -> Late<'_> {
        let cuts: Vec<i64> = self.names.iter().map(|cve| cut(cve).unwrap_or(i64::MIN)).collect();
        let mut lists: HashMap<*const (u32, i64), (&List, u32)> = HashMap::new();
        for list in self.seen(sight) {
            lists.entry(list.as_ptr()).or_insert((list, 0)).1 += 1;
        }
        let mut hosts = vec![0u32; self.names.len()];
        for (list, count) in lists.into_values() {
            for (number, at) in list.iter() {
                let n = *number as usize;
                if cuts.get(n).is_some_and(|cut| at <= cut)
                    && let Some(sum) = hosts.get_mut(n)
                {
                    *sum += count;
                }
            }
        }
        Late { numbers: &self.numbers, hosts }
    }

    /// Notes what is open on a host now; what was open before keeps its time. Returns what to store when it changed.
    pub(crate) fn note<'a>(&mut self, host: InstanceId, open: impl Iterator<Item = &'a str>, now: Timestamp) -> Option<OpenCves> {
        // Whole seconds, as they are kept: what is stored and read again is the same.
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let next: OpenCves = open.map(|cve| (cve.to_owned(), self.of_host(host, cve).unwrap_or(now))).collect();
        let list = self.list(&next);
        match self.hosts.get(&host) {
            Some(before) if *before == list => return None,
            None if list.is_empty() => return None,
            _ => {}
        }
        self.hosts.insert(host, list);
        Some(next)
    }

    /// A host is gone.
    pub(crate) fn forget(&mut self, host: InstanceId) {
        self.hosts.remove(&host);
    }
}

/// See [`Since::oldest`].
pub(crate) struct Oldest<'a> {
    numbers: &'a HashMap<String, u32>,
    first: Vec<i64>,
}

impl Oldest<'_> {
    /// Of one CVE; `None`: it is open nowhere.
    pub(crate) fn of(&self, cve: &str) -> Option<Timestamp> {
        let at = self.first.get(*self.numbers.get(cve)? as usize)?;
        Timestamp::from_second(*at).ok().filter(|_| *at != i64::MAX)
    }
}

/// See [`Since::late`].
pub(crate) struct Late<'a> {
    numbers: &'a HashMap<String, u32>,
    hosts: Vec<u32>,
}

impl Late<'_> {
    /// Of one CVE, hosts.
    pub(crate) fn of(&self, cve: &str) -> u32 {
        self.numbers.get(cve).and_then(|n| self.hosts.get(*n as usize)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_open_keeps_its_time_and_what_comes_back_begins_anew() {
        let at = |s: i64| Timestamp::from_second(s).expect("in range");
        let host = InstanceId(uuid::Uuid::from_u128(1));
        let mut since = Since::default();
        assert_eq!(since.note(host, [].into_iter(), at(1)), None, "nothing is open, nothing was");
        let first = since.note(host, ["CVE-2", "CVE-1"].into_iter(), at(10)).expect("changed");
        assert_eq!(since.note(host, ["CVE-1", "CVE-2"].into_iter(), at(20)), None);
        let next = since.note(host, ["CVE-1", "CVE-3"].into_iter(), at(30)).expect("changed");
        assert_eq!(next, OpenCves::from([("CVE-1".to_owned(), at(10)), ("CVE-3".to_owned(), at(30))]));
        since.note(host, ["CVE-2"].into_iter(), at(40)).expect("changed");
        assert_eq!(since.of_host(host, "CVE-2"), Some(at(40)));
        assert_eq!(since.of_host(host, "CVE-1"), None);
        let other = InstanceId(uuid::Uuid::from_u128(2));
        since.note(other, ["CVE-2"].into_iter(), at(50)).expect("changed");
        let all = Sight::default();
        assert_eq!((since.oldest(&all).of("CVE-2"), since.oldest(&all).of("CVE-1")), (Some(at(40)), None));
        let one = Sight { hosts: Some(HashSet::from([other])), ..Sight::default() };
        assert_eq!(since.oldest(&one).of("CVE-2"), Some(at(50)), "hosts that may not be seen say nothing");
        assert_eq!(since.late(&one, |_| Some(49)).of("CVE-2"), 0);

        let late = |cve: &str, cut: i64| since.late(&all, |c| (c == cve).then_some(cut)).of(cve);
        assert_eq!([39, 40, 49, 50].map(|cut| late("CVE-2", cut)), [0, 1, 1, 2], "each host by its own time");
        assert_eq!(late("CVE-1", 1000), 0, "it is closed");
        assert_eq!(since.late(&all, |_| None).of("CVE-2"), 0, "no clock");

        let sets = [("d".to_owned(), first)].into();
        let again = Since::of(Seen { hosts: [(host, "d".to_owned())].into(), sets });
        assert_eq!(again.of_host(host, "CVE-1"), Some(at(10)));
    }
}

//! What a host had from when to when, as bytes: the second each class began, as gaps. A year of weekly changes is about
//! 300 bytes. Times are whole seconds; of several changes within one second the last stays.

use std::collections::BTreeMap;

use super::{ClassId, Damaged, PackageId, varint};

/// Spans kept of one host, count: a host that changes every hour for half a year. The oldest go first.
pub const SPANS_MAX: usize = 4096;

/// A stretch of time in which a host had one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What it had.
    pub class: ClassId,
    /// From this second on (since 1970 UTC).
    pub from: i64,
    /// Until this second, itself excluded; `None`: still.
    pub until: Option<i64>,
}

/// A stretch of time in which a host had one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The package.
    pub package: PackageId,
    /// From this second on; where the host's history begins, it may have had it before.
    pub from: i64,
    /// Until this second, itself excluded; `None`: still.
    pub until: Option<i64>,
}

/// What a question asks about: `from <= second < until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub from: i64,
    /// The second after the last one.
    pub until: i64,
}

impl Window {
    fn meets(&self, span: &Span) -> bool {
        span.from < self.until && span.until.is_none_or(|until| until > self.from)
    }
}

/// A host's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    starts: Vec<(i64, ClassId)>,
}

impl Timeline {
    /// A history that begins.
    pub fn starting(at: i64, class: ClassId) -> Self {
        Timeline { starts: vec![(at, class)] }
    }

    /// Reads a stored one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let starts = Starts::of(bytes).collect::<Result<Vec<_>, _>>()?;
        if starts.len() > SPANS_MAX {
            return Err(damaged("it has too many spans"));
        }
        Ok(Timeline { starts })
    }

    /// As it is stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 * self.starts.len());
        let (mut time, mut class) = (0i64, 0i64);
        for (since, id) in &self.starts {
            varint::put(&mut out, varint::zigzag(since - time));
            varint::put(&mut out, varint::zigzag(i64::from(id.0) - class));
            (time, class) = (*since, i64::from(id.0));
        }
        out
    }

    /// Notes that the host has `class` since `at`. `false`: it had it already. A time before the last change (a clock
    /// that went back) counts as that moment.
    pub fn record(&mut self, at: i64, class: ClassId) -> bool {
        let at = match self.starts.last() {
            Some((_, last)) if *last == class => return false,
            Some((since, _)) => at.max(*since),
            None => at,
        };
        if self.starts.last().is_some_and(|(since, _)| *since == at) {
            self.starts.pop();
        }
        // What was for no whole second may leave equal neighbours.
        if self.starts.last().is_none_or(|(_, last)| *last != class) {
            self.starts.push((at, class));
        }
        if self.starts.len() > SPANS_MAX {
            self.starts.remove(0);
        }
        true
    }

    /// What the host had at a second; `None`: before its history begins.
    pub fn at(&self, second: i64) -> Option<ClassId> {
        let after = self.starts.partition_point(|(since, _)| *since <= second);
        Some(self.starts.get(after.checked_sub(1)?)?.1)
    }

    /// The class it has now.
    pub fn present(&self) -> Option<ClassId> {
        self.starts.last().map(|(_, class)| *class)
    }

    /// The second its history begins.
    pub fn begins(&self) -> Option<i64> {
        self.starts.first().map(|(since, _)| *since)
    }

    /// When the oldest span ended, which is when it can be forgotten first; `None`: there is only the present one.
    pub fn first_end(&self) -> Option<i64> {
        self.starts.get(1).map(|(since, _)| *since)
    }

    /// Every span, oldest first.
    pub fn spans(&self) -> impl Iterator<Item = Span> {
        let ends = self.starts.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        self.starts.iter().zip(ends).map(|((from, class), until)| Span { class: *class, from: *from, until })
    }

    /// The classes had in a window.
    pub fn classes(&self, window: Window) -> impl Iterator<Item = ClassId> {
        self.spans().filter(move |span| window.meets(span)).map(|span| span.class)
    }

    /// Forgets spans that ended at or before `before`. `false`: there was none.
    pub fn cut(&mut self, before: i64) -> bool {
        let gone = self.starts.iter().skip(1).take_while(|(since, _)| *since <= before).count();
        self.starts.drain(..gone);
        gone > 0
    }

    /// When the host had which of the packages that `held` names by class, in a window; a package that stayed over
    /// several classes is one holding. By begin, then by package.
    pub fn holdings(&self, window: Window, held: &BTreeMap<ClassId, Vec<PackageId>>) -> Vec<Holding> {
        let mut out: Vec<Holding> = Vec::new();
        let mut open: BTreeMap<PackageId, Holding> = BTreeMap::new();
        for span in self.spans() {
            let has = held.get(&span.class).map(Vec::as_slice).unwrap_or_default();
            let (kept, ended): (BTreeMap<_, _>, BTreeMap<_, _>) = open.into_iter().partition(|(id, _)| has.contains(id));
            open = kept;
            out.extend(ended.into_values());
            for id in has {
                let holding = open.entry(*id).or_insert(Holding { package: *id, from: span.from, until: None });
                holding.until = span.until;
            }
        }
        out.extend(open.into_values());
        out.retain(|h| h.from < window.until && h.until.is_none_or(|until| until > window.from));
        out.sort_unstable_by_key(|h| (h.from, h.package));
        out
    }
}

/// The class at a second, read off stored bytes without a [`Timeline`]: what the whole fleet is asked with.
pub fn class_at(bytes: &[u8], second: i64) -> Result<Option<ClassId>, Damaged> {
    let mut class = None;
    for start in Starts::of(bytes) {
        let (since, id) = start?;
        if since > second {
            break;
        }
        class = Some(id);
    }
    Ok(class)
}

/// Walks stored bytes.
struct Starts<'a> {
    rest: &'a [u8],
    last: Option<(i64, i64)>,
}

impl<'a> Starts<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Starts { rest: bytes, last: None }
    }

    fn step(&mut self) -> Result<(i64, ClassId), Damaged> {
        let mut number = || varint::take(&mut self.rest).map(varint::unzigzag).ok_or(damaged("it ends too early"));
        let (gap, difference) = (number()?, number()?);
        let (time, class) = self.last.unwrap_or_default();
        if self.last.is_some() && gap <= 0 {
            return Err(damaged("its times do not go forward"));
        }
        let time = time.checked_add(gap).ok_or(damaged("a time is too large"))?;
        let class = class.checked_add(difference).ok_or(damaged("a class id is too large"))?;
        let id = u32::try_from(class).map_err(|_| damaged("a class id is too large"))?;
        self.last = Some((time, class));
        Ok((time, ClassId(id)))
    }
}

impl Iterator for Starts<'_> {
    type Item = Result<(i64, ClassId), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.rest = &[];
        }
        Some(step)
    }
}

fn damaged(why: &'static str) -> Damaged {
    Damaged { what: "timeline", why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(classes: &[u32]) -> Timeline {
        let mut line = Timeline::default();
        for (n, class) in classes.iter().enumerate() {
            line.record(100 * i64::try_from(n).expect("small"), ClassId(*class));
        }
        line
    }

    #[test]
    fn changes_within_a_second_and_clocks_that_go_back() {
        let mut line = Timeline::starting(100, ClassId(1));
        assert!(!line.record(150, ClassId(1)), "nothing new");
        assert!(line.record(200, ClassId(2)) && line.record(200, ClassId(3)));
        assert_eq!((line.at(99), line.at(199), line.at(200)), (None, Some(ClassId(1)), Some(ClassId(3))));
        assert!(line.record(50, ClassId(4)), "counts as the last moment");
        assert_eq!(line.spans().map(|s| (s.from, s.class.0)).collect::<Vec<_>>(), [(100, 1), (200, 4)]);
        assert!(line.record(200, ClassId(1)), "back to what it was before");
        assert_eq!(line, Timeline::starting(100, ClassId(1)));
    }

    #[test]
    fn old_spans_are_cut_and_the_spanning_one_stays() {
        let mut line = ids(&[1, 2, 3]);
        assert_eq!(line.first_end(), Some(100));
        assert!(!line.cut(99));
        assert!(line.cut(150));
        assert_eq!(
            (line.at(50), line.at(150), line.at(250), line.first_end()),
            (None, Some(ClassId(2)), Some(ClassId(3)), Some(200))
        );
        assert!(line.cut(i64::MAX));
        assert_eq!((line.present(), line.begins(), line.first_end()), (Some(ClassId(3)), Some(200), None));
    }

    #[test]
    fn a_host_that_never_rests_keeps_its_newest_spans() {
        let mut line = Timeline::default();
        for n in 0..=SPANS_MAX {
            line.record(i64::try_from(n).expect("small"), ClassId(u32::try_from(n).expect("small")));
        }
        assert_eq!((line.begins(), line.spans().count()), (Some(1), SPANS_MAX));
        assert_eq!(Timeline::decode(&line.encode()), Ok(line));
    }

    #[test]
    fn a_year_of_weekly_changes_is_small() {
        let mut line = Timeline::default();
        for week in 0..52 {
            line.record(1_800_000_000 + i64::from(week) * 604_800, ClassId(20_000 + week * 300));
        }
        assert!(line.encode().len() <= 330, "{}", line.encode().len());
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_or_read_as_a_history(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(line) = Timeline::decode(&bytes) {
                prop_assert!(line.starts.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }
}

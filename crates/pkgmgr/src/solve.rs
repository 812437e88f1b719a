//! Which of many wished updates can be had together under rules that the tool itself does not know (excluded, held).
//!
//! The tool is asked for all of them; when its answer is not acceptable, the wish that spoils it is found by bisection,
//! dropped with its reason, and the rest asked again.

use std::ops::Range;

use crate::error::PkgError;

/// Dry runs one plan may take: at about 0.3 s each, a minute. A host that needs more has excludes that fight its
/// dependencies everywhere.
const ATTEMPTS_MAX: u32 = 200;

/// One thing to ask the tool for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The word on its command line.
    pub word: String,
    pub name: String,
    pub arch: String,
    /// Wishes of one source stay together: they often need each other in the same version.
    pub source: String,
}

/// One dry run: the tool's transaction, or why it is not acceptable.
pub(crate) type Attempt<'a, T> = dyn FnMut(&[Wanted]) -> Result<Result<T, String>, PkgError> + 'a;

/// The transaction for as much as possible (`None`: nothing is left) and what was dropped, each with its reason.
pub(crate) struct Solved<T> {
    pub transaction: Option<T>,
    pub dropped: Vec<(Wanted, String)>,
}

/// Solves.
pub(crate) fn solve<T>(mut wanted: Vec<Wanted>, label: &str, attempt: &mut Attempt<'_, T>) -> Result<Solved<T>, PkgError> {
    wanted.sort_by(|a, b| (&a.source, &a.word).cmp(&(&b.source, &b.word)));
    let mut attempts = 0;
    let mut bounded = |wanted: &[Wanted]| {
        attempts += 1;
        if attempts > ATTEMPTS_MAX {
            return Err(PkgError::Failed {
                label: label.to_owned(),
                end: format!("{ATTEMPTS_MAX} tries"),
                message: "no consistent set of updates was found beside the excluded and held packages; change the excludes"
                    .to_owned(),
            });
        }
        attempt(wanted)
    };
    let mut gone: Vec<Wanted> = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    let mut transaction = None;
    while !wanted.is_empty() {
        match bounded(&wanted)? {
            Ok(found) => {
                transaction = Some(found);
                break;
            }
            Err(why) => {
                let (range, why) = culprit(&wanted, why, &mut bounded)?;
                reasons.extend(range.clone().map(|_| why.clone()));
                gone.extend(wanted.drain(range));
            }
        }
    }
    // A source's wishes were dropped together: those that are fine alone come back.
    let mut dropped = Vec::new();
    for (one, why) in gone.into_iter().zip(reasons) {
        wanted.push(one.clone());
        match bounded(&wanted)? {
            Ok(found) => transaction = Some(found),
            Err(now) => {
                wanted.pop();
                dropped.push((one, if now.is_empty() { why } else { now }));
            }
        }
    }
    Ok(Solved { transaction, dropped })
}

/// Finds the shortest unacceptable prefix; its last source group is what has to go.
fn culprit<T>(wanted: &[Wanted], whole: String, attempt: &mut Attempt<'_, T>) -> Result<(Range<usize>, String), PkgError> {
    let mut ends: Vec<usize> = (1..wanted.len()).filter(|i| wanted[*i].source != wanted[i - 1].source).collect();
    ends.push(wanted.len());
    let (mut low, mut high, mut why) = (0, ends.len() - 1, whole);
    while low < high {
        let middle = (low + high) / 2;
        match attempt(&wanted[..ends[middle]])? {
            Ok(_) => low = middle + 1,
            Err(reason) => {
                why = reason;
                high = middle;
            }
        }
    }
    let start = if low == 0 { 0 } else { ends[low - 1] };
    Ok((start..ends[low], why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[(&str, &str)]) -> Vec<Wanted> {
        let one = |(w, s): &(&str, &str)| Wanted { word: (*w).into(), name: (*w).into(), arch: "x".into(), source: (*s).into() };
        words.iter().map(one).collect()
    }

    fn names(list: &[Wanted]) -> Vec<String> {
        list.iter().map(|w| w.name.clone()).collect()
    }

    #[test]
    fn what_spoils_the_rest_is_dropped_and_named_and_its_siblings_come_back() {
        let all = wanted(&[("a", "1"), ("b", "2"), ("bad", "3"), ("good", "3"), ("z", "4")]);
        let mut tries = 0;
        let solved = solve(all, "test", &mut |list: &[Wanted]| {
            tries += 1;
            Ok(if list.iter().any(|w| w.name == "bad") { Err("needs x".to_owned()) } else { Ok(names(list)) })
        })
        .expect("solved");
        assert_eq!(solved.transaction, Some(vec!["a".into(), "b".into(), "z".into(), "good".into()]));
        assert_eq!(solved.dropped.len(), 1);
        assert_eq!((solved.dropped[0].0.name.as_str(), solved.dropped[0].1.as_str()), ("bad", "needs x"));
        assert!(tries < 10, "{tries} tries");
    }

    #[test]
    fn a_fight_without_end_is_an_error_and_nothing_wanted_is_nothing() {
        let many: Vec<(String, String)> = (0..300).map(|i| (format!("p{i:03}"), format!("s{i:03}"))).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert!(solve::<()>(wanted(&many), "test", &mut |_| Ok(Err("no".into()))).is_err());
        let nothing = solve::<()>(Vec::new(), "test", &mut |_| Ok(Err("no".into()))).expect("solved");
        assert!(nothing.transaction.is_none() && nothing.dropped.is_empty());
    }
}

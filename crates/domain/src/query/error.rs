//! Why a filter cannot be read, with the place. Absent on purpose: several problems at once; the first one decides what
//! the rest could mean.

/// Longest piece of the filter shown in a refusal, characters.
const SHOWN_MAX_CHARS: usize = 40;
/// Misspelt words are compared with known ones of at most this length, characters.
const COMPARED_MAX_CHARS: usize = 64;

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct BadQuery {
    /// Where, in characters from 1.
    pub column: usize,
    /// What was expected and what is there.
    pub message: String,
}

impl BadQuery {
    pub(super) fn new(column: usize, message: impl Into<String>) -> Self {
        BadQuery { column, message: message.into() }
    }
}

/// A piece of the filter in quotes, cut.
pub(crate) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_MAX_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

/// The known word that `text` is probably meant to be: at most two letters away, and not another word altogether.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text: Vec<char> = text.to_lowercase().chars().take(COMPARED_MAX_CHARS + 1).collect();
    if text.len() > COMPARED_MAX_CHARS {
        return None;
    }
    let allowed = if text.len() <= 3 { 1 } else { 2 };
    let near = known.into_iter().map(|word| (distance(&text, word), word)).filter(|(n, _)| *n <= allowed);
    near.min_by_key(|(n, _)| *n).map(|(_, word)| word)
}

/// Letters to add, remove, change or swap with their neighbour.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_not() {
        let known = ["package", "os.version", "zone", "name"];
        assert_eq!(nearest("os.verison", known), Some("os.version"));
        assert_eq!(nearest("Pacakge", known), Some("package"));
        assert_eq!(nearest("zoen", known), Some("zone"));
        assert_eq!(nearest("openssl", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }

    #[test]
    fn long_pieces_are_cut() {
        assert_eq!(shown("ab"), "\"ab\"");
        assert!(shown(&"é".repeat(100)).chars().count() < 50);
    }
}

//! Geometry of the SVG charts: numbers in, attributes out. Drawing is the templates'; colours are the style sheet's.

/// One part of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// `ok`, `run`, `warn`, `bad`, `idle`: the CSS class.
    pub tone: &'static str,
    /// What it counts.
    pub label: &'static str,
    /// The count.
    pub value: u32,
    /// Where it leads; empty = nowhere.
    pub href: &'static str,
    /// Where the part begins, percent of the whole.
    pub start: f64,
    /// How much it takes, percent of the whole.
    pub share: f64,
}

impl Slice {
    /// `stroke-dasharray` of a circle with `pathLength="100"`.
    pub fn dash(&self) -> String {
        format!("{:.2} {:.2}", self.share, 100.0 - self.share)
    }

    /// `stroke-dashoffset` of such a circle: parts go clockwise from the top.
    pub fn dash_offset(&self) -> String {
        format!("{:.2}", 25.0 - self.start)
    }

    /// `x` of a bar 100 wide.
    pub fn x(&self) -> String {
        format!("{:.2}", self.start)
    }

    /// `width` of a bar 100 wide.
    pub fn width(&self) -> String {
        format!("{:.2}", self.share)
    }
}

/// One part of a chart, before its place is known: tone, label, count, link.
pub type Part = (&'static str, &'static str, u32, &'static str);

/// Lays the parts side by side over `whole` (their sum when it is smaller); parts of nothing are left out.
pub fn slices(parts: &[Part], whole: u32) -> Vec<Slice> {
    let sum: u32 = parts.iter().map(|p| p.2).sum();
    let whole = f64::from(whole.max(sum).max(1));
    let mut start = 0.0;
    let mut out = Vec::new();
    for (tone, label, value, href) in parts.iter().copied().filter(|p| p.2 > 0) {
        let share = f64::from(value) * 100.0 / whole;
        out.push(Slice { tone, label, value, href, start, share });
        start += share;
    }
    out
}

/// Percent of a whole as an SVG length, for single bars.
pub fn percent(value: u32, whole: u32) -> String {
    if whole == 0 { "0".to_owned() } else { format!("{:.2}", f64::from(value.min(whole)) * 100.0 / f64::from(whole)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_side_by_side_and_fill_the_whole() {
        let got = slices(&[("ok", "a", 3, ""), ("warn", "b", 0, ""), ("bad", "c", 1, "")], 0);
        assert_eq!(got.len(), 2, "a part of nothing is not drawn");
        assert_eq!((got[0].x(), got[0].width()), ("0.00".into(), "75.00".into()));
        assert_eq!((got[1].x(), got[1].width()), ("75.00".into(), "25.00".into()));
        assert_eq!(got[1].dash(), "25.00 75.00");
        assert_eq!(got[1].dash_offset(), "-50.00");
    }

    #[test]
    fn nothing_of_nothing_is_nothing() {
        assert!(slices(&[("ok", "a", 0, "")], 0).is_empty());
        assert_eq!(percent(3, 0), "0");
        assert_eq!(percent(5, 4), "100.00");
    }
}

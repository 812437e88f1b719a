//! Base scores from vectors of CVSS 2.0, 3.0, 3.1 and 4.0. The arithmetic is the `cvss` crate's; it is given the base
//! metrics alone, all of them and each once, because feeds append temporal ones and the base score is what is compared.
//!
//! Absent: temporal, threat, environmental and supplemental metrics.

use drydock_domain::advisory::{Cvss, CvssVersion};

use super::text;

/// Longest vector, bytes. A full one of version 4.0 has about 250.
const VECTOR_MAX_BYTES: usize = 512;

const METRICS_V2: [&str; 6] = ["AV", "AC", "Au", "C", "I", "A"];
const METRICS_V3: [&str; 8] = ["AV", "AC", "PR", "UI", "S", "C", "I", "A"];
const METRICS_V4: [&str; 11] = ["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"];

/// Reads a vector; `None` when it is none.
pub(super) fn of_vector(vector: &str, by: &str) -> Option<Cvss> {
    let vector = vector.trim();
    if vector.len() > VECTOR_MAX_BYTES || !vector.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    // NVD writes vectors of version 2 in brackets.
    let inner = vector.trim_start_matches('(').trim_end_matches(')');
    let (version, prefix, metrics): (_, _, &[&str]) = match inner.split_once('/') {
        Some((prefix @ ("CVSS:3.0" | "CVSS:3.1"), _)) => (CvssVersion::V3, Some(prefix), &METRICS_V3),
        Some((prefix @ "CVSS:4.0", _)) => (CvssVersion::V4, Some(prefix), &METRICS_V4),
        Some((prefix, _)) if prefix.starts_with("CVSS:") => return None,
        _ => (CvssVersion::V2, None, &METRICS_V2),
    };
    let mut base: Vec<String> = prefix.map(str::to_owned).into_iter().collect();
    for metric in metrics {
        let mut given = inner.split('/').filter_map(|part| part.split_once(':')).filter(|(name, _)| name == metric);
        let (_, value) = given.next()?;
        if given.next().is_some() {
            return None;
        }
        base.push(format!("{metric}:{value}"));
    }
    let score = base.join("/").parse::<cvss::Cvss>().ok()?.score();
    Some(Cvss { version, tenths: tenths(score)?, vector: inner.to_owned(), by: text::short(by).unwrap_or_default() })
}

/// A score as a feed writes it, for example `9.8`, in tenths.
pub(super) fn tenths(score: f64) -> Option<u16> {
    // NaN is not contained.
    if !(0.0..=10.0).contains(&score) {
        return None;
    }
    let tenths = (score * 10.0).round();
    (0..=100_u16).find(|t| f64::from(*t) == tenths)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIRST's published examples (the guides and example documents of each version).
    #[test]
    fn scores_of_the_published_examples() {
        for (vector, version, want) in [
            // CVSS 2.0 guide, section 3.3: CVE-2002-0392, CVE-2003-0818, CVE-2003-0062.
            ("AV:N/AC:L/Au:N/C:N/I:N/A:C", CvssVersion::V2, 78),
            ("AV:N/AC:L/Au:N/C:C/I:C/A:C", CvssVersion::V2, 100),
            ("AV:L/AC:H/Au:N/C:C/I:C/A:C", CvssVersion::V2, 62),
            // CVSS 3.1 examples: CVE-2013-1937, CVE-2013-0375, CVE-2014-3566, CVE-2012-1516, CVE-2009-0783, CVE-2012-0384,
            // CVE-2014-0160, CVE-2014-6271.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", CvssVersion::V3, 61),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", CvssVersion::V3, 64),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", CvssVersion::V3, 31),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", CvssVersion::V3, 99),
            ("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", CvssVersion::V3, 42),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", CvssVersion::V3, 88),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", CvssVersion::V3, 75),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", CvssVersion::V3, 98),
            // CVSS 4.0 examples: CVE-2022-41741, CVE-2020-3549, CVE-2023-3089, CVE-2022-22186.
            ("CVSS:4.0/AV:L/AC:L/AT:P/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", CvssVersion::V4, 73),
            ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:P/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", CvssVersion::V4, 77),
            ("CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:H/VI:L/VA:L/SC:N/SI:N/SA:N", CvssVersion::V4, 83),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:L/VI:L/VA:N/SC:N/SI:N/SA:N", CvssVersion::V4, 69),
            // CVE-2014-0160, CVE-2014-6271, CVE-2021-44228.
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:N/SA:N", CvssVersion::V4, 87),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", CvssVersion::V4, 93),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H", CvssVersion::V4, 100),
        ] {
            let read = of_vector(vector, "x").unwrap();
            assert_eq!((read.version, read.tenths, read.vector.as_str()), (version, want, vector), "{vector}");
        }
    }

    #[test]
    fn only_base_metrics_count_and_all_are_needed() {
        let base = of_vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "").unwrap();
        let more = of_vector("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N/E:U/RL:O/RC:C/MAV:P", "").unwrap();
        assert_eq!(more.tenths, base.tenths);
        assert_eq!(of_vector("(AV:N/AC:L/Au:N/C:N/I:N/A:C/E:F/RL:OF/RC:C)", "").unwrap().tenths, 78);
        let v4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N";
        assert_eq!(of_vector(&format!("{v4}/E:U"), "").unwrap().tenths, 93);
        for bad in [
            "",
            "9.8",
            "high",
            "CVSS:5.0/AV:N",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N",
            "CVSS:3.1/AV:N/AV:L/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
            "CVSS:3.1/AV:Q/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
            "CVSS:4.0/AV:N",
        ] {
            assert_eq!(of_vector(bad, ""), None, "{bad}");
        }
        assert_eq!((tenths(9.8), tenths(f64::NAN), tenths(10.1), tenths(-0.1)), (Some(98), None, None, None));
    }
}

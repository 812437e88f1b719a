//! Reading and printing by example: refusals name the place, what is there and what was expected.

use super::super::parse::statements;
use super::super::statement::Statement;
use super::super::{
    COMPARISONS_MAX, CONDITION_NESTING_MAX, NAME_MAX_BYTES, NAMES_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX, VALUES_MAX,
};

const A: &str = "allow group G to read drydock-instances in tenancy";

/// A text, the line and column of the refusal, what it says.
#[rustfmt::skip]
const REFUSALS: &[(&str, usize, usize, &[&str])] = &[
    ("", 1, 1, &["there is no statement", "allow group"]),
    ("// nothing\n ; ;\n", 3, 1, &["there is no statement"]),
    ("permit group G", 1, 1, &["expected allow or deny", "found \"permit\""]),
    ("alow group G to", 1, 1, &["found \"alow\"", "did you mean allow?"]),
    ("'allow' group G", 1, 1, &["expected allow or deny", "found the text \"allow\""]),
    ("endorse group G to read all-resources in tenancy X", 1, 1, &["endorse reaches into another tenancy", "leave the statement out"]),
    ("Admit group G of tenancy X to read all-resources in tenancy", 1, 1, &["admit reaches into another tenancy"]),
    ("define tenancy X as ocid1.tenancy.oc1..a", 1, 1, &["define is not supported", "write the id"]),
    ("allow groop G to", 1, 7, &["found \"groop\"", "did you mean group?"]),
    ("allow to read", 1, 7, &["expected group, dynamic-group, any-user"]),
    ("allow group to read all-resources in tenancy", 1, 13, &["expected the name of a group", "found \"to\""]),
    ("allow group G, to read", 1, 16, &["expected the name of a group", "found \"to\""]),
    ("allow group G read all-resources in tenancy", 1, 15, &["expected to", "found \"read\""]),
    ("allow group G to reed all-resources in tenancy", 1, 18, &["found \"reed\"", "did you mean read?"]),
    ("allow group G to administer all-resources in tenancy", 1, 18, &["expected inspect, read, use, manage"]),
    ("allow group G to read osmh-profils in tenancy", 1, 23, &["found \"osmh-profils\"", "did you mean osmh-profiles?"]),
    ("allow group G to read drydock-famly in tenancy", 1, 23, &["did you mean drydock-family?"]),
    ("allow group G to read bananas in tenancy", 1, 23, &["expected a resource type", "found \"bananas\""]),
    ("allow group G to {OSMH_PROFILE_REED} in tenancy", 1, 19, &["did you mean OSMH_PROFILE_READ?"]),
    ("allow group G to {} in tenancy", 1, 19, &["expected a permission", "found }"]),
    ("allow group G to {OSMH_PROFILE_READ in tenancy", 1, 37, &["expected , or the }", "found \"in\""]),
    ("allow group G to read all-resources", 1, 36, &["expected in tenancy", "found the end"]),
    ("allow group G to read all-resources in", 1, 39, &["expected tenancy or compartment", "found the end"]),
    ("allow group G to read all-resources in compartment", 1, 51, &["expected the name of a compartment", "found the end"]),
    ("allow group G to read all-resources in compartment a:", 1, 54, &["expected the name of a compartment"]),
    ("allow group G to read all-resources in compartment a:b:c:d:e:f:g", 1, 64, &["at most 6 deep"]),
    ("allow group G to read all-resources in compartment a b", 1, 54, &["expected where, the next statement (allow, deny) or the end", "found \"b\""]),
    ("allow group G to read all-resources in tenancy where", 1, 53, &["expected a variable such as request.operation", "found the end"]),
    ("allow group G to read all-resources in tenancy\n  where request.regoin = 'x'", 2, 9, &["found \"request.regoin\"", "did you mean request.region?"]),
    ("allow group G to read all-resources in tenancy where request.region 'x'", 1, 69, &["expected =, !=, in or not in after request.region"]),
    ("allow group G to read all-resources in tenancy where request.region = x", 1, 71, &["expected a 'text', a /pattern*/ or a variable", "found \"x\""]),
    ("allow group G to read all-resources in tenancy where request.region = request.utc-timestamp", 1, 71, &["is no text"]),
    ("allow group G to read all-resources in tenancy where request.region == 'x'", 1, 69, &["there is no ==; write ="]),
    ("allow group G to read all-resources in tenancy where request.region < 'x'", 1, 69, &["before or between"]),
    ("allow group G to read all-resources in tenancy where request.region in 'x'", 1, 72, &["expected ( before the values"]),
    ("allow group G to read all-resources in tenancy where request.region in ()", 1, 73, &["found )"]),
    ("allow group G to read all-resources in tenancy where request.region in ('x' 'y')", 1, 77, &["a comma, or the )"]),
    ("allow group G to read all-resources in tenancy where request.region = 'x", 1, 71, &["this text is never closed"]),
    ("allow group G to read all-resources in tenancy where request.region = 'x\n'", 1, 71, &["this text is never closed"]),
    ("allow group G to read all-resources in tenancy where request.region = /x", 1, 71, &["this pattern is never closed"]),
    ("allow group G to read all-resources in tenancy where request.region = /x*y/", 1, 71, &["only at the beginning or end"]),
    ("allow group G to read all-resources in tenancy where request.region = \"x\"", 1, 71, &["single quotes"]),
    ("allow group G to read all-resources in tenancy where request.region = ‘x’", 1, 71, &["single quotes"]),
    ("allow group G to read all-resources in tenancy where request.region = 'x' and request.ad = 'y'", 1, 75, &["all {…, …}", "found \"and\""]),
    ("allow group G to read all-resources in tenancy where request.region = 'x' && request.ad = 'y'", 1, 75, &["all {…, …}"]),
    ("allow group G to read all-resources in tenancy where request.region = 'x', request.ad = 'y'", 1, 74, &["join comparisons"]),
    ("allow group G to read all-resources in tenancy where all request.region = 'x'", 1, 58, &["expected { after any or all"]),
    ("allow group G to read all-resources in tenancy where all {}", 1, 59, &["found }"]),
    ("allow group G to read all-resources in tenancy where all {request.region = 'x'", 1, 79, &["the } that closes line 1, column 54", "found the end"]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp = 'x'", 1, 76, &["expected before or between after request.utc-timestamp"]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp before 'soon'", 1, 83, &["expected a time such as", "found the text \"soon\""]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp.time-of-day between '07:00Z' '08:00Z'", 1, 105, &["expected and"]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp between '2027-01-01T00:00Z' and '2026-01-01T00:00Z'", 1, 108, &["exchange them"]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp.day-of-week = 'mon'", 1, 90, &["from 'Monday' to 'Sunday'", "found the text \"mon\""]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp.month-of-year = '13'", 1, 92, &["from '1' to '12'"]),
    ("allow group G to read all-resources in tenancy where request.utc-timestamp.day-of-month = /1*/", 1, 91, &["from '1' to '31'", "the pattern /1*/"]),
    ("allow group G to read all-resources in tenancy where request.user.mfaTotpVerified = 'yes'", 1, 85, &["'true' or 'false'"]),
    ("deny group G to read all-resources in tenancy where request.permission = 'OSMH_PROFILE_DELET'", 1, 74, &["did you mean OSMH_PROFILE_DELETE?"]),
    ("# comment\nallow", 1, 1, &["write //"]),
    ("allow group G\u{7} to", 1, 14, &["control character"]),
];

#[test]
fn refusals() {
    for (text, line, column, parts) in REFUSALS {
        let bad = statements(text).expect_err(text);
        assert_eq!((bad.line, bad.column), (*line, *column), "{text}\n{bad}");
        for part in *parts {
            assert!(bad.message.contains(part), "{text}\n{bad}\nlacks {part}");
        }
    }
    let bad = statements(&format!("{A}\n\n  {A} wehre")).expect_err("refused");
    assert_eq!((bad.line, bad.column), (3, A.len() + 4), "{bad}");
    let two = format!("{A} {A}").parse::<Statement>().expect_err("one only");
    assert_eq!((two.line, two.column), (1, A.len() + 2), "{two}");
}

#[test]
#[rustfmt::skip]
fn printed_forms() {
    let rows = [
        ("Allow GROUP 'A b', id X, 'D'/'E' TO Manage OSMH-Profile IN Compartment a : 'b c'", "allow group 'A b', id X, 'D'/'E' to manage osmh-profiles in compartment a:'b c'"),
        ("DENY any-user to {osmh_profile_read,OSMH_PROFILE_MOVE} in tenancy;", "deny any-user to {OSMH_PROFILE_READ, OSMH_PROFILE_MOVE} in tenancy"),
        ("allow group 'to', 'ID' to use all-resources in compartment id 'where'", "allow group 'to', 'ID' to use all-resources in compartment id 'where'"),
        ("allow group id to use all-resources in tenancy", "allow group 'id' to use all-resources in tenancy"),
        ("allow groups a, b to use all-resources in tenancy where Request.Region = /EU*/", "allow group a, b to use all-resources in tenancy where request.region = /EU*/"),
        ("allow any-group to use all-resources in tenancy where any{request.region!='a',all{request.ad not in('b',/*c/)}}", "allow any-group to use all-resources in tenancy where any {request.region != 'a', all {request.ad not in ('b', /*c/)}}"),
        ("allow resource Sets to use all-resources in tenancy where request.principal.id = target.managedInstance.id", "allow resource Sets to use all-resources in tenancy where request.principal.id = target.managed-instance.id"),
        ("allow service a,b to use metric in tenancy where request.utc-timestamp between '2026-01-01T00:00Z' and '2026-02-01T00:00Z'", "allow service a, b to use metrics in tenancy where request.utc-timestamp between '2026-01-01T00:00Z' and '2026-02-01T00:00Z'"),
    ];
    for (text, printed) in rows {
        let statement: Statement = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(statement.to_string(), printed);
        assert_eq!(printed.parse::<Statement>().expect("readable"), statement);
    }
}

#[test]
fn several_statements_with_their_lines() {
    let text = "\u{feff}// who patches\nallow group A to use drydock-instances\n  in compartment web // the web\n\
                deny group B to use drydock-instances in tenancy ; allow group Allow to read all-resources in compartment deny";
    let found = statements(text).expect("valid");
    assert_eq!(found.iter().map(|w| w.line).collect::<Vec<_>>(), [2, 4, 4]);
    assert_eq!(found[2].statement.to_string(), "allow group 'Allow' to read all-resources in compartment 'deny'");
}

#[test]
fn everything_is_bounded() {
    let statement = |condition: &str| format!("allow any-user to read all-resources in tenancy where {condition}");
    let refused = |text: &str, part: &str| {
        let bad = statements(text).expect_err(part);
        assert!(bad.message.contains(part), "{bad}");
    };
    let nested = |depth: usize| format!("{}request.region = 'x'{}", "all {".repeat(depth), "}".repeat(depth));
    assert!(statements(&statement(&nested(CONDITION_NESTING_MAX))).is_ok());
    refused(&statement(&nested(CONDITION_NESTING_MAX + 1)), "inside each other");
    refused(&statement(&"all {".repeat(50_000)), "inside each other");
    let many = |n: usize| format!("all {{{}}}", vec!["request.region = 'x'"; n].join(", "));
    assert!(statements(&statement(&many(COMPARISONS_MAX))).is_ok());
    refused(&statement(&many(COMPARISONS_MAX + 1)), "comparisons");
    let values = |n: usize| format!("request.region in ({})", vec!["'x'"; n].join(","));
    assert!(statements(&statement(&values(VALUES_MAX))).is_ok());
    refused(&statement(&values(VALUES_MAX + 1)), "values in one list");
    refused(&format!("allow group {} to read all-resources in tenancy", vec!["g"; NAMES_MAX + 1].join(",")), "names in one list");
    refused(&format!("allow group {} to read", "g".repeat(NAME_MAX_BYTES + 1)), "has at most");
    refused(&statement(&format!("request.region = '{}'", "x".repeat(NAME_MAX_BYTES + 1))), "has at most");
    refused(&"allow any-user to read all-resources in tenancy\n".repeat(STATEMENTS_MAX + 1), "statements");
    refused(&" ".repeat(POLICY_MAX_BYTES + 1), "bytes");
    // What is printed is longer than what was written, and has to stay readable.
    let dense = format!(
        "allow any-user to read all-resources in tenancy where request.region in({}'x')\n",
        "'x',".repeat(VALUES_MAX - 1)
    );
    refused(&dense.repeat(POLICY_MAX_BYTES / dense.len()), "with its spaces and quotes");
}

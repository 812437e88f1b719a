//! The language as people meet it: a table of filters over one host, a table of refusals, and what holds for all trees.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::instance::Labels;
use crate::inventory::{ManagerKind, OsFacts, Package, PackageSet};
use crate::version::Scheme;

const NOW: i64 = 1_800_000_000;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(secs).expect("in range")
}

fn parse(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn os() -> OsFacts {
    OsFacts {
        short_name: "ol".into(),
        version: "8.10".into(),
        architecture: "x86_64".into(),
        kernel_release: "5.15.0-206.153.7.el8uek.x86_64".into(),
        managers: vec![ManagerKind::Dnf],
        ..OsFacts::default()
    }
}

fn installed() -> PackageSet {
    let package = |(name, version): (&str, &str)| Package {
        name: name.into(),
        arch: "x86_64".into(),
        version: version.into(),
        ..Package::default()
    };
    let packages = [
        ("openssl", "1:3.0.7-27.el9"),
        ("bash", "5.1.8-9.el9"),
        ("kernel", "5.14.0-427.el9"),
        ("kernel", "5.14.0-503.el9"),
        ("python3.11", "3.11.7-1.el9"),
        ("odd", "a:b"),
    ];
    PackageSet::new(packages.into_iter().map(package).collect())
}

fn answers(term: &SectionTerm, scheme: Option<Scheme>) -> bool {
    match term {
        SectionTerm::Package(term) => installed().as_slice().iter().any(|p| term.matches(&p.name, &p.version, scheme)),
        SectionTerm::Update(name) => name.matches("openssl"),
        SectionTerm::Advisory(id) => id.matches("ELSA-2026-1"),
        SectionTerm::Cve(id) => id.matches("CVE-2026-1"),
    }
}

fn matches(query: &Query) -> bool {
    let labels = Labels::from([("env".into(), "prod".into()), ("role".into(), "web front".into())]);
    let os = os();
    let host = HostFacts {
        name: "web-1",
        state: InstanceState::Active,
        zone: "eu-1",
        group: "",
        environment: "prod",
        compartment: "/A/web",
        labels: &labels,
        os: Some(&os),
        last_seen: Some(at(NOW - 3600)),
        inventory: true,
        packages: 6,
        updates: 3,
        security_updates: 1,
        held_updates: 0,
        reboot: true,
    };
    query.judge(&host, at(NOW), &mut |term| Some(answers(term, host.scheme()))).expect("every term is answered")
}

/// Filters over the host of [`matches`].
const FILTERS: &[(&str, bool)] = &[
    // Packages: any installed version; epoch and release only where the filter names them.
    ("package openssl", true),
    ("package nginx", false),
    ("package open*", true),
    ("package openssl < 3.0.14", true),
    ("package openssl < 1:3.0.14", true),
    ("package openssl < 0:3.0.14", false),
    ("package openssl = 3.0.7", true),
    ("package openssl <= 3.0.7", true),
    ("package openssl = 3.0.7-27.el9", true),
    ("package openssl = 3.0.7-28.el9", false),
    ("package openssl < 3.0.7-28.el9", true),
    ("package openssl > 3.0.7", false),
    ("package openssl = 3.0.*", true),
    ("package openssl = \"1:3*\"", true),
    ("package openssl != 3.0.*", false),
    ("package openssl != 3.0.8", true),
    ("package kernel >= 5.14.0-503", true),
    ("package kernel < 5.14.0-503", true),
    ("package kernel > 5.14.0-503.el9", false),
    ("package python3.1? >= 3.11", true),
    ("package odd < 9", false),
    ("package odd", true),
    ("not package nginx", true),
    // The others that take more than the row.
    ("update openssl", true),
    ("update bash", false),
    ("advisory ELSA-*", true),
    ("cve CVE-2026-1 or cve CVE-2026-2", true),
    ("cve CVE-2026-2", false),
    ("cve cve-2026-1", true),
    ("cve Cve-2026-?", true),
    // Facts.
    ("os.id = ol and os.version = \"8*\" and os.arch = x86_64", true),
    ("os.version = 8", false),
    ("os.version < 9", true),
    ("os.version > 8.9", true),
    ("os.version >= 8.10", true),
    ("os.version != 8.*", false),
    ("kernel < 5.15.0-300", true),
    ("kernel = *uek*", true),
    ("manager = dnf", true),
    ("manager = dnf*", true),
    ("manager != apt", true),
    ("manager != dnf", false),
    ("label env=prod", true),
    ("label env = pr?d", true),
    ("label env!=prod", false),
    ("label tier != gold", true),
    ("label role", true),
    ("label tier", false),
    ("label role = 'web front'", true),
    ("group = \"\"", true),
    ("group != web", true),
    ("environment = prod and zone = eu-*", true),
    ("compartment = /A/web and compartment = \"/A*\" and compartment != /A", true),
    ("compartment = /A", false),
    ("name = web-*", true),
    ("name = WEB-1", false),
    ("state = active", true),
    ("state != ACTIVE", false),
    ("reboot and inventory", true),
    ("updates.security > 0", true),
    ("updates > 3", false),
    ("updates.held = 0 and packages >= 6", true),
    ("lastSeen < 2d", true),
    ("lastSeen > 1h", false),
    ("lastSeen >= 1h", true),
    ("lastSeen <= 59m59s", false),
    ("LASTSEEN < 1w AND Label env", true),
    // `and` binds closer than `or`, `not` closest.
    ("package nginx and package bash or reboot", true),
    ("package nginx and (package bash or reboot)", false),
    ("not package nginx and reboot", true),
    ("not (reboot and package nginx)", true),
    ("not not reboot", true),
    ("package openssl < 3.0.14 and os.version = \"8*\" and label env=prod", true),
];

#[test]
fn filters_over_one_host() {
    for (text, want) in FILTERS {
        assert_eq!(matches(&parse(text)), *want, "{text}");
    }
}

#[test]
fn a_host_without_facts_matches_only_what_needs_none() {
    let labels = Labels::new();
    let host = HostFacts {
        name: "new",
        state: InstanceState::Pending,
        zone: "",
        group: "",
        environment: "",
        compartment: "/",
        labels: &labels,
        os: None,
        last_seen: None,
        inventory: false,
        packages: 0,
        updates: 0,
        security_updates: 0,
        held_updates: 0,
        reboot: false,
    };
    let judge = |text: &str| parse(text).judge(&host, at(NOW), &mut |_| Some(false));
    for (text, want) in [
        ("lastSeen > 520w", true),
        ("lastSeen < 520w", false),
        ("os.version < 9", false),
        ("os.version != 9", true),
        ("manager = apt", false),
        ("not inventory and updates = 0", true),
    ] {
        assert_eq!(judge(text), Some(want), "{text}");
    }
}

#[test]
fn versions_follow_the_rules_of_the_host() {
    let term = |text: &str| match parse(text).expr() {
        Expr::Term(Term::Section(SectionTerm::Package(term))) => term.clone(),
        other => panic!("{other:?}"),
    };
    // deb: `~` before the end; a revision counts only when the filter names one.
    let openssl = term("package openssl < 3.0.14");
    assert!(openssl.matches("openssl", "3.0.14~rc1-1", Some(Scheme::Deb)));
    assert!(!openssl.matches("openssl", "3.0.14-1~deb12u2", Some(Scheme::Deb)));
    assert!(term("package openssl < 3.0.14-1").matches("openssl", "3.0.14-1~deb12u2", Some(Scheme::Deb)));
    assert!(term("package a = 1.0+b2").matches("a", "1.0+b2-3", Some(Scheme::Deb)));
    // Letters: dpkg sorts them before other characters, rpm before digits.
    assert!(term("package a < 1.a").matches("a", "1.0", Some(Scheme::Deb)));
    assert!(!term("package a < 1.a").matches("a", "1.0", Some(Scheme::Rpm)));
    assert!(!openssl.matches("openssl", "1", None), "no package manager, no rules");
}

#[test]
fn refusals_name_the_place_and_what_was_expected() {
    let table = [
        ("", 1, "the filter is empty"),
        ("  ", 1, "the filter is empty"),
        ("package", 8, "expected the name of a package, found the end"),
        ("package openssl <", 18, "expected a version, found the end"),
        ("package openssl 3.0", 17, "expected a comparison (< <= = != >= >), and, or, or the end, found \"3.0\""),
        ("package openssl < 3.*", 19, "wildcards go with = and != only"),
        ("package openssl < \"\"", 19, "expected a version after <"),
        ("package openssl = \"\"", 19, "found an empty text"),
        ("package openssl < \"a b\"", 19, "is not a version"),
        ("package \"\"", 9, "found an empty text"),
        ("os.verison = 8", 1, "there is no field \"os.verison\"; did you mean os.version?"),
        ("hostname = a", 1, "did you mean name?"),
        ("os = ol", 1, "did you mean os.id?"),
        ("openssl < 3", 1, "there is no field \"openssl\"; the fields are package, update"),
        ("reboot os.id = ol", 8, "expected and, or, or the end, found \"os.id\""),
        ("reboot = yes", 8, "reboot takes no comparison; write reboot or not reboot"),
        ("reboot and", 11, "expected a field such as package, os.version or label, found the end"),
        ("and reboot", 1, "expected a field such as package, os.version or label, found \"and\""),
        ("(reboot", 8, "expected and, or, or the ) that closes the ( of column 1, found the end"),
        ("reboot)", 7, "this ) closes nothing"),
        ("()", 2, "expected a field such as package, os.version or label, found )"),
        ("label env < prod", 11, "expected = or != after label, found <"),
        ("label Env=prod", 7, "Env is no key of a label"),
        ("label e*=prod", 7, "e* is no key of a label"),
        ("zone eu-1", 6, "expected = or != after zone, found \"eu-1\""),
        ("zone = and", 8, "write \"and\" in quotes"),
        ("zone == a", 6, "there is no ==; write ="),
        ("zone <> a", 6, "write !="),
        ("reboot && inventory", 8, "write and"),
        ("reboot || inventory", 8, "write or"),
        ("!reboot", 1, "write not before a term"),
        ("zone = a, b", 9, "there is no comma"),
        ("zone = \"a", 8, "this quote is never closed"),
        ("zone = \"a\\n\"", 10, "a backslash stands before"),
        ("zone = a;b", 9, "';' cannot stand here"),
        ("zone = a\u{0}b", 9, "a control character"),
        ("updates > many", 11, "expected a number up to 999999999, found \"many\""),
        ("updates > 99999999999", 11, "expected a number"),
        ("updates 5", 9, "expected a comparison (< <= = != >= >) after updates, found \"5\""),
        ("lastSeen = 2d", 10, "lastSeen takes < <= >= or >"),
        ("lastSeen < 2 days", 12, "expected a duration such as"),
        ("lastSeen < 99999999999999999999d", 12, "expected a duration such as"),
        ("lastSeen < 521w5d", 12, "ten years at most"),
        ("state = live", 9, "expected PENDING, ACTIVE, REJECTED or REVOKED, found \"live\""),
        ("manager = brew", 11, "expected one of apt, dnf, dnf5, yum, zypper, found \"brew\""),
        ("os.version < 8*", 14, "wildcards go with = and != only"),
        ("name = ünï;", 11, "';' cannot stand here"),
    ];
    for (text, column, message) in table {
        let refused = Query::parse(text).expect_err(text);
        assert!(refused.message.contains(message), "{text:?}: {refused}");
        assert_eq!(refused.column, column, "{text:?}: {refused}");
    }
}

#[test]
fn queries_are_bounded() {
    let refused = |text: &str| Query::parse(text).expect_err("too much").to_string();
    assert!(refused(&"x".repeat(QUERY_MAX_BYTES + 1)).contains("at most 4096"));
    assert!(refused(&format!("zone = {}", "x".repeat(VALUE_MAX_BYTES + 1))).contains("at most 255"));
    assert!(refused(&format!("zone = '{}'", "x".repeat(VALUE_MAX_BYTES + 1))).contains("at most 255"));
    let terms = |n: usize| vec!["reboot"; n].join(" or ");
    Query::parse(&terms(QUERY_TERMS_MAX)).expect("as many as may be");
    assert!(refused(&terms(QUERY_TERMS_MAX + 1)).contains("more than 100 terms"));
    let nested = |n: usize| format!("{}reboot{}", "(".repeat(n), ")".repeat(n));
    Query::parse(&nested(QUERY_NESTING_MAX)).expect("as deep as may be");
    assert!(refused(&nested(QUERY_NESTING_MAX + 1)).starts_with("column 21: more than 20 ("));
    assert!(refused(&format!("{}reboot", "not ".repeat(QUERY_NESTING_MAX + 1))).contains("more than 20"));
    assert!(refused(&"(".repeat(4000)).contains("more than 20"));
    // Its canonical form has spaces that this one saves.
    let dense = vec!["(updates<1)"; 99].join("or");
    assert!(parse(&dense).to_string().len() <= QUERY_MAX_BYTES);
    let full = format!("zone=a{}", format!(" or zone='{};'", "x".repeat(28)).repeat(99));
    assert!(full.len() <= QUERY_MAX_BYTES && refused(&full).contains("with its spaces and quotes"), "{}", full.len());
}

#[test]
fn printing_is_canonical() {
    for (text, want) in [
        ("PACKAGE  openssl<3.0.14 AND label env=prod", "package openssl < 3.0.14 and label env=prod"),
        ("(reboot and (inventory and reboot))", "reboot and inventory and reboot"),
        ("(reboot or inventory) and not(state=active)", "(reboot or inventory) and not state = ACTIVE"),
        ("reboot or (inventory and reboot)", "reboot or inventory and reboot"),
        ("not (reboot or inventory)", "not (reboot or inventory)"),
        ("lastseen<48h", "lastSeen < 2d"),
        ("lastSeen < 1d12h", "lastSeen < 36h"),
        ("lastSeen > 0m", "lastSeen > 0s"),
        ("os.version='8*'", "os.version = 8*"),
        ("zone = 'a b'", "zone = \"a b\""),
        ("label \"and\" = 'or'", "label \"and\"=\"or\""),
    ] {
        assert_eq!(parse(text).to_string(), want, "{text}");
    }
}

#[test]
fn what_matches_must_have_is_known() {
    let required = parse("label env=prod and state = active and (zone = a or zone = b) and label x=y* and zone = c").required();
    assert_eq!(required.labels, [("env".to_owned(), "prod".to_owned())]);
    assert_eq!((required.state, required.zone.as_deref()), (Some(InstanceState::Active), Some("c")));
    assert_eq!(parse("label env=prod or reboot").required(), Required::default());
    assert_eq!(parse("not label env=prod").required(), Required::default());
    assert_eq!(parse("zone != a").required(), Required::default());
    assert_eq!(parse("zone = a").required().zone.as_deref(), Some("a"));
}

#[test]
fn a_row_that_decides_asks_for_no_section() {
    let labels = Labels::new();
    let os = os();
    let host = HostFacts {
        name: "a",
        state: InstanceState::Active,
        zone: "",
        group: "",
        environment: "",
        compartment: "/",
        labels: &labels,
        os: Some(&os),
        last_seen: None,
        inventory: true,
        packages: 1,
        updates: 0,
        security_updates: 0,
        held_updates: 0,
        reboot: false,
    };
    let open = |text: &str| parse(text).judge(&host, at(NOW), &mut |_| None);
    assert_eq!(open("package a and reboot"), Some(false));
    assert_eq!(open("package a or state = ACTIVE"), Some(true));
    assert_eq!(open("not package a"), None);
    assert_eq!(open("package a and state = ACTIVE"), None);
    assert_eq!(parse("package a or (update b and package a)").section_terms().len(), 2);
}

fn values() -> impl Strategy<Value = Glob> {
    prop_oneof![
        "[a-z0-9.*?_-]{1,8}".prop_map(|t| Glob::word(&t)),
        "\\PC{0,8}".prop_map(Glob::literal),
        Just(Glob::literal("and")),
    ]
}

fn names() -> impl Strategy<Value = Glob> {
    values().prop_filter("not empty", |v| v.exact() != Some(""))
}

fn equalities() -> impl Strategy<Value = Equality> {
    prop_oneof![Just(Equality::Is), Just(Equality::IsNot)]
}

fn comparisons() -> impl Strategy<Value = Comparison> {
    (0..Comparison::ALL.len()).prop_map(|n| Comparison::ALL[n])
}

fn terms() -> impl Strategy<Value = Term> {
    let text = prop_oneof![Just(TextField::Name), Just(TextField::Zone), Just(TextField::Group), Just(TextField::OsId)];
    let state = prop_oneof![Just(InstanceState::Active), Just(InstanceState::Pending)];
    let flag = prop_oneof![Just(Flag::Reboot), Just(Flag::Inventory)];
    let order = comparisons().prop_filter("an order", |c| c.equality().is_none());
    let package = (names(), proptest::option::of((comparisons(), "[0-9]{1,3}(\\.[0-9a-z~]{1,3}){0,2}")));
    prop_oneof![
        (text, equalities(), values()).prop_map(|(f, op, v)| Term::Text(f, op, v)),
        (comparisons(), "[0-9]{1,2}").prop_map(|(op, v)| Term::Version(VersionField::OsVersion, op, Glob::literal(v))),
        (comparisons(), 0..5u64).prop_map(|(op, n)| Term::Count(CountField::Updates, op, n)),
        (order, 0..8000u64).prop_map(|(op, n)| Term::LastSeen(op, n)),
        (equalities(), state).prop_map(|(op, s)| Term::State(op, s)),
        ("[a-z][a-z0-9_-]{0,3}", proptest::option::of((equalities(), values()))).prop_map(|(k, v)| Term::Label(k, v)),
        flag.prop_map(Term::Flag),
        package.prop_map(|(name, version)| {
            let version = version.map(|(op, v)| (op, Glob::literal(v)));
            Term::Section(SectionTerm::Package(PackageTerm { name, version }))
        }),
        names().prop_map(|v| Term::Section(SectionTerm::Update(v))),
        names().prop_map(|v| Term::Section(SectionTerm::Cve(v))),
    ]
}

fn exprs() -> impl Strategy<Value = Expr> {
    terms().prop_map(Expr::Term).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_filter_map("parts", Expr::all),
            proptest::collection::vec(inner.clone(), 1..4).prop_filter_map("parts", Expr::any),
            inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

fn yes(expr: Expr) -> bool {
    matches(&Query { expr })
}

fn not(expr: &Expr) -> Expr {
    Expr::Not(Box::new(expr.clone()))
}

proptest! {
    #[test]
    fn a_printed_query_reads_back_as_itself(expr in exprs()) {
        let printed = expr.to_string();
        prop_assume!(printed.len() <= QUERY_MAX_BYTES);
        let read = Query::parse(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
        prop_assert_eq!(&read.to_string(), &printed);
        prop_assert_eq!(read.expr, expr);
    }

    #[test]
    fn de_morgan(a in exprs(), b in exprs()) {
        let both = |x: Expr, y: Expr| Expr::all(vec![x, y]).expect("two");
        let either = |x: Expr, y: Expr| Expr::any(vec![x, y]).expect("two");
        prop_assert_eq!(yes(not(&both(a.clone(), b.clone()))), yes(either(not(&a), not(&b))));
        prop_assert_eq!(yes(not(&either(a.clone(), b.clone()))), yes(both(not(&a), not(&b))));
        prop_assert_eq!(yes(both(a.clone(), b.clone())), yes(a.clone()) && yes(b.clone()));
        prop_assert_eq!(yes(either(a.clone(), b.clone())), yes(a) || yes(b));
    }

    #[test]
    fn what_the_row_decides_is_right(expr in exprs()) {
        let query = Query { expr };
        let labels = Labels::from([("a".into(), "b".into())]);
        let os = os();
        let host = HostFacts {
            name: "a", state: InstanceState::Active, zone: "a", group: "", environment: "", compartment: "/", labels: &labels, os: Some(&os),
            last_seen: Some(at(NOW - 4000)), inventory: true, packages: 3, updates: 2, security_updates: 1, held_updates: 0,
            reboot: false,
        };
        let asked = |known: bool| query.judge(&host, at(NOW), &mut |term| known.then(|| answers(term, host.scheme())));
        let whole = asked(true);
        prop_assert!(whole.is_some());
        prop_assert!(asked(false).is_none_or(|early| Some(early) == whole));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _either = Query::parse(&text);
    }

    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(
        prop_oneof!["package", "label", "os.version", "lastSeen", "and", "or", "not", "[()]", "[<>=!]{1,2}", "[a-z0-9*.\"'\\\\]{1,4}"], 0..20)
    ) {
        if let Ok(query) = Query::parse(&words.join(" ")) {
            prop_assert_eq!(Query::parse(&query.to_string()), Ok(query));
        }
    }
}

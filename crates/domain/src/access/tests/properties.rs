//! What holds for all policies and requests.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::compartment::Tree;
use super::super::compile::{Compiled, Policy, compile};
use super::super::decide::{decide, explain, who_of};
use super::super::parse::{Written, statements};
use super::super::permissions::{ResourceType, Right, Target, Verb};
use super::super::request::{Facts, Membership, Principal, Resource};
use super::super::statement::{
    Action, Comparison, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value,
};
use super::super::variable::{Kind, Known, Variable};
use super::compartments;
use super::oracle::{self, Ask, Who};

/// Few names, so that statements and requests meet.
const NAMES: [&str; 5] = ["Patchers", "web", "Straße", "a b", "to"];
const IDS: [&str; 3] = ["g-1", "g-2", "u-1"];
const TEXTS: [&str; 6] = ["eu", "EU-west", "web", "g-1", "u-1", "b"];
const PERMISSIONS: [&str; 6] = [
    "DRYDOCK_INSTANCE_INSPECT",
    "DRYDOCK_INSTANCE_READ",
    "DRYDOCK_INSTANCE_UPDATE",
    "DRYDOCK_INSTANCE_DELETE",
    "OSMH_PROFILE_READ",
    "OSMH_MANAGED_INSTANCE_ACCESS",
];
const VARIABLES: [&str; 14] = [
    "request.region",
    "request.operation",
    "request.user.id",
    "request.groups.id",
    "request.principal.id",
    "request.principal.type",
    "request.user.mfaTotpVerified",
    "request.permission",
    "target.compartment.id",
    "target.managed-instance.id",
    "target.resource.tag.ops.tier",
    "request.principal.group.tag.ops.team",
    "request.utc-timestamp.day-of-week",
    "request.utc-timestamp.time-of-day",
];

fn text(from: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(from).prop_map(str::to_owned)
}

fn names() -> impl Strategy<Value = Vec<PrincipalName>> {
    let one = prop_oneof![
        (proptest::option::of(text(&["Default", "Partner"])), text(&NAMES))
            .prop_map(|(domain, name)| PrincipalName::Named { domain, name }),
        text(&IDS).prop_map(PrincipalName::Id),
    ];
    proptest::collection::vec(one, 1..3)
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        3 => Just(Subject::AnyUser),
        1 => Just(Subject::AnyGroup),
        4 => names().prop_map(Subject::Groups),
        2 => names().prop_map(Subject::DynamicGroups),
        1 => proptest::collection::vec(text(&NAMES), 1..3).prop_map(Subject::Services),
        1 => (text(&["instance", "sets"]), proptest::option::of(text(&NAMES)))
            .prop_map(|(kind, name)| Subject::Resource { kind, name }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let types = ["drydock-instances", "osmh-profiles", "drydock-family", "osmh-family", "all-resources", "drydock-patch-jobs"];
    let target = select(types.to_vec()).prop_map(|name| Target::find(name).expect("known")).boxed();
    let rights = proptest::collection::vec(select(&PERMISSIONS[..]).prop_map(super::right), 1..4);
    prop_oneof![
        3 => (select(&Verb::ALL[..]), target).prop_map(|(verb, target)| Action::Verb(verb, target)),
        1 => rights.prop_map(Action::Permissions),
    ]
}

fn location() -> impl Strategy<Value = Location> {
    let path = select(vec!["A", "a:B", "A:b:C", "X", "B", "B:C", "C", "nowhere"]);
    prop_oneof![
        5 => Just(Location::Tenancy),
        3 => path.prop_map(|path| Location::Path(path.split(':').map(str::to_owned).collect())),
        2 => text(&["a", "B", "c", "x", "t", "gone"]).prop_map(Location::Id),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let other = select(vec!["request.principal.id", "target.managed-instance.id", "request.groups.id", "request.region"]);
    prop_oneof![
        4 => text(&TEXTS).prop_map(Value::Text),
        2 => (text(&["eu", "E", "b", "", "west"]), any::<bool>(), any::<bool>()).prop_map(|(text, open_start, open_end)| {
            // Nothing between two slashes begins a comment.
            let open_start = open_start || (text.is_empty() && !open_end);
            // One star alone is read as the first one.
            let (open_start, open_end) = if text.is_empty() && open_start != open_end { (true, false) } else { (open_start, open_end) };
            Value::Pattern(Pattern { text, open_start, open_end })
        }),
        1 => other.prop_map(|name| Value::Variable(Variable::find(name).expect("known"))),
    ]
}

fn comparison() -> impl Strategy<Value = Comparison> {
    let variable = select(&VARIABLES[..]).prop_map(|name| Variable::find(name).expect("known"));
    let times = select(vec!["06:00:00Z", "07:30:00Z", "22:00:00Z"]);
    let parts = (variable, proptest::collection::vec(value(), 1..3), 0..4_u8, times.clone(), times);
    parts.prop_map(|(variable, mut values, test, from, to)| {
        let fixed = match variable.kind() {
            Kind::Flag => Some("TRUE"),
            Kind::Weekday => Some("Monday"),
            Kind::Permission => Some("drydock_instance_read"),
            _ => None,
        };
        if let Some(fixed) = fixed {
            values = vec![Value::Text(fixed.to_owned())];
        }
        let first = values[0].clone();
        let test = match (variable.kind(), test) {
            (Kind::TimeOfDay, 0) => Test::Before(to.to_owned()),
            (Kind::TimeOfDay, _) => Test::Between(from.to_owned(), to.to_owned()),
            (_, 0) => Test::Is(first),
            (_, 1) => Test::IsNot(first),
            (_, 2) => Test::In(values),
            _ => Test::NotIn(values),
        };
        Comparison { variable, test }
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    comparison().prop_map(Condition::Comparison).prop_recursive(3, 8, 3, |inner| {
        let parts = proptest::collection::vec(inner, 1..4);
        prop_oneof![parts.clone().prop_map(Condition::All), parts.prop_map(Condition::Any)]
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    (effect, subject(), action(), location(), proptest::option::weighted(0.4, condition()))
        .prop_map(|(effect, subject, action, location, condition)| Statement { effect, subject, action, location, condition })
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let attached = select(vec!["t", "t", "t", "a", "b"]);
    let one = (attached, proptest::collection::vec(statement(), 1..5)).prop_map(|(compartment, all)| policy(compartment, all));
    proptest::collection::vec(one, 0..5)
}

fn policy(compartment: &str, all: Vec<Statement>) -> Policy {
    let statements = all.into_iter().enumerate().map(|(i, statement)| Written { line: i + 1, statement }).collect();
    Policy { name: "p".into(), compartment: compartment.into(), statements }
}

fn ask() -> impl Strategy<Value = Ask> {
    let group = (text(&IDS), proptest::option::of(text(&["default", "Partner"])), text(&NAMES));
    let groups = proptest::collection::vec(group, 0..3);
    let who = (
        text(&["user", "serviceaccount", "service", "instance", "sets"]),
        text(&["u-1", "g-1"]),
        text(&NAMES),
        any::<bool>(),
        groups,
    )
        .prop_map(|(kind, id, name, second_factor, all)| {
            let person = kind == "user" || kind == "serviceaccount";
            let (groups, dynamic_groups) = if person { (all, Vec::new()) } else { (Vec::new(), all) };
            let id = if kind == "service" { name.clone() } else { id };
            Who { kind, id, name, second_factor, groups, dynamic_groups }
        });
    let given = select(vec![
        "request.region",
        "request.operation",
        "target.managed-instance.id",
        "target.resource.tag.ops.tier",
        "request.principal.group.tag.ops.team",
    ]);
    let given = proptest::collection::vec((given.prop_map(str::to_owned), text(&TEXTS)), 0..5);
    let now = select(vec![None, Some("2026-11-23T07:30:00Z"), Some("2026-11-22T23:00:00Z"), Some("2026-11-24T05:00:00Z")]);
    (who, text(&PERMISSIONS), text(&["t", "a", "B", "c", "x", "gone"]), now, given).prop_map(
        |(who, permission, compartment, now, given)| {
            let now = now.map(|t| t.parse().expect("a time"));
            Ask { who, permission, compartment, now, given }
        },
    )
}

/// The same request in the product's types.
struct Asked {
    principal: Principal,
    right: Right,
    resource: Resource,
    facts: Facts,
}

fn asked(ask: &Ask) -> Asked {
    let who = &ask.who;
    let start = match who.kind.as_str() {
        "user" => Principal::user(&who.id, &who.name, who.second_factor),
        "serviceaccount" => Principal::service_account(&who.id, &who.name),
        "service" => Principal::service(&who.name),
        "instance" => Principal::instance(&who.id, &who.name),
        kind => Principal::resource(kind, &who.id, &who.name),
    };
    let member = |(id, domain, name): &(String, Option<String>, String)| Membership::new(id, domain.as_deref(), name);
    let principal = who.groups.iter().fold(start, |p, g| p.in_group(&member(g)));
    let principal = who.dynamic_groups.iter().fold(principal, |p, g| p.in_dynamic_group(&member(g)));
    let facts = ask.now.map_or_else(Facts::default, Facts::at);
    let facts = ask.given.iter().fold(facts, |facts, (name, value)| facts.with(name, value).expect("may be given"));
    Asked { principal, right: super::right(&ask.permission), resource: Resource::in_compartment(&ask.compartment), facts }
}

impl Asked {
    fn of(&self, compiled: &Compiled) -> bool {
        decide(compiled, &self.principal, self.right, &self.resource, &self.facts).is_allowed()
    }
}

fn put_together(policies: &[Policy]) -> Compiled {
    compile(policies, Tree::build(&compartments()).expect("a tree"))
}

proptest! {
    #[test]
    fn the_slow_evaluator_agrees(policies in policies(), asks in proptest::collection::vec(ask(), 24)) {
        let compiled = put_together(&policies);
        for ask in asks {
            let own = asked(&ask);
            prop_assert_eq!(own.of(&compiled), oracle::allowed(&policies, &compartments(), &ask), "{:?}", ask);
        }
    }

    #[test]
    fn the_slow_evaluator_agrees_about_conditions(condition in condition(), asks in proptest::collection::vec(ask(), 24)) {
        let statement = Statement {
            effect: Effect::Allow,
            subject: Subject::AnyUser,
            action: Action::Permissions(PERMISSIONS.map(super::right).to_vec()),
            location: Location::Tenancy,
            condition: Some(condition),
        };
        let policies = [policy("t", vec![statement])];
        let compiled = put_together(&policies);
        for ask in asks {
            prop_assert_eq!(asked(&ask).of(&compiled), oracle::allowed(&policies, &compartments(), &ask), "{:?}", ask);
        }
    }

    #[test]
    fn an_allow_never_removes_and_a_deny_never_adds(before in policies(), added in statement(), ask in ask()) {
        let own = asked(&ask);
        let (was, effect) = (own.of(&put_together(&before)), added.effect);
        let mut after = before;
        after.push(policy("t", vec![added]));
        let is = own.of(&put_together(&after));
        match effect {
            Effect::Allow => prop_assert!(is || !was),
            Effect::Deny => prop_assert!(was || !is),
        }
    }

    #[test]
    fn deny_wins(before in policies(), words in statement(), ask in ask(), first in any::<bool>(), broad in any::<bool>()) {
        let own = asked(&ask);
        let broadly = || (Subject::AnyUser, Action::Permissions(vec![own.right]), Location::Tenancy);
        let (subject, action, location) =
            if broad { broadly() } else { (words.subject.clone(), words.action.clone(), words.location.clone()) };
        let words = Statement { subject, action, location, ..words };
        let alone = put_together(&[policy("t", vec![Statement { effect: Effect::Allow, ..words.clone() }])]);
        if !own.of(&alone) {
            return Ok(());
        }
        let mut after = before;
        let deny = policy("t", vec![Statement { effect: Effect::Deny, ..words }]);
        after.insert(if first { 0 } else { after.len() }, deny);
        prop_assert!(!own.of(&put_together(&after)));
    }

    #[test]
    fn each_verb_gives_what_the_one_before_gives(number in 0..ResourceType::all().count(), words in statement(), ask in ask()) {
        let own = asked(&ask);
        let types = ResourceType::all().nth(number).map(Target::Type);
        for target in [types, Some(Target::AllResources), Target::find("osmh-family")].into_iter().flatten() {
            let given = Verb::ALL.map(|verb| {
                let action = Action::Verb(verb, target);
                own.of(&put_together(&[policy("t", vec![Statement { effect: Effect::Allow, action, ..words.clone() }])]))
            });
            prop_assert!(given.windows(2).all(|pair| pair[1] || !pair[0]), "{:?}", given);
        }
    }

    #[test]
    fn explanations_agree_with_decisions(policies in policies(), ask in ask()) {
        let (own, compiled) = (asked(&ask), put_together(&policies));
        let allowed = own.of(&compiled);
        let told = explain(&compiled, &own.principal, own.right, &own.resource, &own.facts);
        use super::super::decide::Bearing;
        let holding: Vec<Effect> =
            told.considered.iter().filter(|(_, b)| *b == Bearing::Holds).map(|(p, _)| p.statement.effect).collect();
        prop_assert_eq!(told.decision.is_allowed(), allowed);
        prop_assert_eq!(holding.contains(&Effect::Allow) && !holding.contains(&Effect::Deny), allowed);
        let who = who_of(&compiled, [&own.principal], own.right, &own.resource, &own.facts);
        prop_assert_eq!(who.len() == 1, allowed);
    }

    #[test]
    fn what_is_printed_is_read_back(all in proptest::collection::vec(statement(), 1..6)) {
        let printed: Vec<String> = all.iter().map(ToString::to_string).collect();
        for between in ["\n", " ; ", " "] {
            let found = statements(&printed.join(between)).map_err(|e| TestCaseError::fail(format!("{e}\n{printed:?}")))?;
            let found: Vec<Statement> = found.into_iter().map(|w| w.statement).collect();
            prop_assert_eq!(&found, &all);
        }
    }

    #[test]
    fn strange_names_and_values_are_read_back(name in "[^'\\p{Cc}]{1,40}", text in "[^'\\p{Cc}]{0,40}", pattern in "[^/*\\p{Cc}]{1,40}") {
        let statement = Statement {
            effect: Effect::Deny,
            subject: Subject::Groups(vec![PrincipalName::Id(name.clone()), PrincipalName::Named { domain: Some(name.clone()), name: name.clone() }]),
            action: Action::Verb(Verb::Read, Target::AllResources),
            location: Location::Path(vec![name.clone(), name]),
            condition: Some(Condition::Comparison(Comparison {
                variable: Variable::Known(Known::Region),
                test: Test::NotIn(vec![Value::Text(text), Value::Pattern(Pattern { text: pattern, open_start: false, open_end: true })]),
            })),
        };
        let printed = statement.to_string();
        let read = printed.parse::<Statement>().map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
        prop_assert_eq!(read, statement);
    }

    #[test]
    fn no_text_upsets_the_parser(text in "\\PC{0,200}|[ -~\\n]{0,200}") {
        check_any(&text)?;
    }

    #[test]
    fn no_heap_of_words_upsets_the_parser(words in proptest::collection::vec(select(WORDS), 0..40), glue in select(vec![" ", "\n", ""])) {
        check_any(&words.join(glue))?;
    }

    #[test]
    fn no_cut_or_changed_statement_upsets_the_parser(statement in statement(), at in any::<prop::sample::Index>(), with in "\\PC{0,3}") {
        let mut chars: Vec<char> = statement.to_string().chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..=at, with.chars());
        check_any(&chars.into_iter().collect::<String>())?;
    }
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "allow", "deny", "group", "dynamic-group", "any-user", "any-group", "service", "resource", "id", "to", "in", "where", "tenancy",
    "compartment", "read", "manage", "all-resources", "drydock-family", "request.region", "request.utc-timestamp", "=", "!=", "not",
    "in", "before", "between", "and", "'x'", "''", "/x*/", "//", "/", "{", "}", "(", ")", ",", ":", ";", "any", "all", "Grp",
    "OSMH_PROFILE_READ", "'2027-01-01T00:00:00Z'", "'07:00Z'", "endorse", "define",
];

/// Either refused with a place inside the text, or read, printed and read again as the same.
fn check_any(text: &str) -> Result<(), TestCaseError> {
    match statements(text) {
        Ok(found) => {
            let printed: Vec<String> = found.iter().map(|w| w.statement.to_string()).collect();
            let again = statements(&printed.join("\n")).map_err(|e| TestCaseError::fail(format!("{e}\n{printed:?}")))?;
            prop_assert!(found.iter().map(|w| &w.statement).eq(again.iter().map(|w| &w.statement)));
        }
        Err(bad) => {
            let lines: Vec<&str> = text.split('\n').collect();
            prop_assert!((1..=lines.len()).contains(&bad.line), "{}", bad);
            prop_assert!((1..=lines[bad.line - 1].chars().count() + 1).contains(&bad.column), "{}", bad);
            prop_assert!(!bad.message.is_empty());
        }
    }
    use super::super::dynamic_group::{Join, MatchingRules};
    if let Ok(rules) = MatchingRules::parse(text, Join::All) {
        prop_assert_eq!(MatchingRules::parse(&rules.to_string(), Join::All).ok(), Some(rules));
    }
    Ok(())
}

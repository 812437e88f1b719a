//! What holds for all policies and requests.

use proptest::prelude::*;
use proptest::sample::select;

use super::super::compartment::Tree;
use super::super::compile::{Compiled, Policy, compile};
use super::super::decide::{decide, explain, who_of};
use super::super::parse::statements;
use super::super::permissions::{ResourceType, Target, Verb};
use super::super::statement::{
    Action, Comparison, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value,
};
use super::super::testing::{Asked, PERMISSIONS, ask, asked, compartments, condition, policies, policy, right, statement};
use super::super::variable::{Known, Variable};
use super::oracle;

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
            action: Action::Permissions(PERMISSIONS.map(right).to_vec()),
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

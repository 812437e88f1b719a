//! Dynamic groups: instances and other resources that belong together by what they are.
//!
//! ```text
//! rules := rule { rule }
//! rule  := cond | ("any" | "all") "{" cond { "," cond } "}"
//! cond  := var [("=" | "!=") 'VALUE']
//! var   := "instance.id" | "instance.compartment.id" | "resource.id" | "resource.compartment.id" | "resource.type"
//!        | "tag." NAMESPACE "." KEY ".value" | "label." KEY          (labels are ours)
//! ```
//!
//! Whether any or all of several rules have to match is said beside them. A compartment means itself and not what lies in
//! it. A tag or label without comparison asks whether it is there; what is not there is neither equal nor unequal to
//! anything. Values are compared in any case.

use std::fmt;

use super::error::BadStatement;
use super::request::Membership;
use super::scan::{Token, Tokens};
use super::{MATCHING_RULES_MAX, fold};
use crate::query::{nearest, shown};

type Result<T> = std::result::Result<T, BadStatement>;

/// How several conditions or rules go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// One is enough.
    Any,
    /// Every one.
    All,
}

impl Join {
    fn of(self, mut each: impl Iterator<Item = bool>) -> bool {
        match self {
            Join::Any => each.any(|b| b),
            Join::All => each.all(|b| b),
        }
    }
}

/// Who is in a dynamic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchingRules {
    join: Join,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    One(Cond),
    Several(Join, Vec<Cond>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cond {
    var: Var,
    /// `true`: equal; absent: is there.
    test: Option<(bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Var {
    InstanceId,
    InstanceCompartment,
    ResourceId,
    ResourceCompartment,
    ResourceType,
    Tag(String, String),
    Label(String),
}

const FIXED: [(&str, Var); 5] = [
    ("instance.id", Var::InstanceId),
    ("instance.compartment.id", Var::InstanceCompartment),
    ("resource.id", Var::ResourceId),
    ("resource.compartment.id", Var::ResourceCompartment),
    ("resource.type", Var::ResourceType),
];

/// What is known of a resource that may be in dynamic groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFacts {
    kind: String,
    id: String,
    compartment: String,
    /// Namespace, key, value.
    tags: Vec<(String, String, String)>,
    labels: Vec<(String, String)>,
}

/// The type of instances.
pub(super) const INSTANCE: &str = "instance";

impl MemberFacts {
    /// An instance: a host with an enrolled agent.
    pub fn instance(id: &str, compartment: &str) -> MemberFacts {
        MemberFacts::resource(INSTANCE, id, compartment)
    }

    /// Another resource, for example of type `managementagent`.
    pub fn resource(kind: &str, id: &str, compartment: &str) -> MemberFacts {
        let (tags, labels) = (Vec::new(), Vec::new());
        MemberFacts { kind: fold(kind), id: fold(id), compartment: fold(compartment), tags, labels }
    }

    /// It has this tag.
    pub fn tag(mut self, namespace: &str, key: &str, value: &str) -> MemberFacts {
        self.tags.push((fold(namespace), fold(key), fold(value)));
        self
    }

    /// It has this label.
    pub fn label(mut self, key: &str, value: &str) -> MemberFacts {
        self.labels.push((fold(key), fold(value)));
        self
    }

    fn value(&self, var: &Var) -> Option<&str> {
        let is_instance = self.kind == INSTANCE;
        match var {
            Var::InstanceId => is_instance.then_some(self.id.as_str()),
            Var::InstanceCompartment => is_instance.then_some(self.compartment.as_str()),
            Var::ResourceId => Some(&self.id),
            Var::ResourceCompartment => Some(&self.compartment),
            Var::ResourceType => Some(&self.kind),
            Var::Tag(namespace, key) => {
                self.tags.iter().find(|(n, k, _)| n == namespace && k == key).map(|(_, _, value)| value.as_str())
            }
            Var::Label(key) => self.labels.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str()),
        }
    }
}

/// The type in an Oracle id: the second part of `ocid1.managementagent.oc1..x`.
pub fn type_of_ocid(id: &str) -> Option<&str> {
    let mut parts = id.split('.');
    let first = parts.next()?;
    let kind = parts.next().filter(|k| !k.is_empty())?;
    (first.starts_with("ocid") && parts.next().is_some()).then_some(kind)
}

/// A dynamic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicGroup {
    /// Its id and name.
    pub membership: Membership,
    /// Who is in it.
    pub rules: MatchingRules,
}

/// The dynamic groups a resource is in.
pub fn groups_of<'a>(groups: &'a [DynamicGroup], facts: &MemberFacts) -> Vec<&'a Membership> {
    groups.iter().filter(|g| g.rules.matches(facts)).map(|g| &g.membership).collect()
}

impl MatchingRules {
    /// Reads rules; the refusal names the place and what was expected there.
    pub fn parse(text: &str, join: Join) -> Result<MatchingRules> {
        let mut parser = Parser { tokens: Tokens::read(text)?, conds: 0 };
        let mut rules = vec![parser.rule()?];
        while *parser.tokens.peek() != Token::End {
            rules.push(parser.rule()?);
        }
        Ok(MatchingRules { join, rules })
    }

    /// Is a resource with these facts in the group?
    pub fn matches(&self, facts: &MemberFacts) -> bool {
        self.join.of(self.rules.iter().map(|rule| match rule {
            Rule::One(cond) => cond.holds(facts),
            Rule::Several(join, conds) => join.of(conds.iter().map(|c| c.holds(facts))),
        }))
    }
}

impl Cond {
    fn holds(&self, facts: &MemberFacts) -> bool {
        match (facts.value(&self.var), &self.test) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some((equal, wanted))) => (value == fold(wanted)) == *equal,
        }
    }
}

struct Parser {
    tokens: Tokens,
    conds: usize,
}

impl Parser {
    fn rule(&mut self) -> Result<Rule> {
        let join = match (self.tokens.is_word(0, "any"), self.tokens.is_word(0, "all")) {
            (true, _) => Join::Any,
            (_, true) => Join::All,
            _ => return self.cond().map(Rule::One),
        };
        self.tokens.step();
        if !self.tokens.take_sign('{') {
            return Err(self.tokens.expected("{ after any or all"));
        }
        let mut conds = vec![self.cond()?];
        while self.tokens.take_sign(',') {
            conds.push(self.cond()?);
        }
        if !self.tokens.take_sign('}') {
            return Err(self.tokens.expected("a comma, or the } after the conditions"));
        }
        Ok(Rule::Several(join, conds))
    }

    fn cond(&mut self) -> Result<Cond> {
        self.conds += 1;
        if self.conds > MATCHING_RULES_MAX {
            return Err(self.tokens.error(format!("more than {MATCHING_RULES_MAX} conditions; use a compartment or a tag")));
        }
        let var = self.var()?;
        let equal = match self.tokens.peek() {
            Token::Sign('=') => true,
            Token::Unequal => false,
            _ if matches!(var, Var::Tag(..) | Var::Label(_)) => return Ok(Cond { var, test: None }),
            _ => return Err(self.tokens.expected("= or !=")),
        };
        self.tokens.step();
        let value = match self.tokens.peek() {
            Token::Quoted(text) => text.clone(),
            _ => return Err(self.tokens.expected("a 'value' in single quotes")),
        };
        self.tokens.step();
        Ok(Cond { var, test: Some((equal, value)) })
    }

    fn var(&mut self) -> Result<Var> {
        let what = "instance.id, instance.compartment.id, resource.id, resource.compartment.id, resource.type, \
                    tag.NAMESPACE.KEY.value or label.KEY";
        let word = match self.tokens.peek() {
            Token::Word(word) => fold(word),
            _ => return Err(self.tokens.expected(what)),
        };
        if self.tokens.is_word(0, "any") || self.tokens.is_word(0, "all") {
            return Err(self.tokens.error("any and all cannot stand inside each other; write several rules"));
        }
        let fixed = FIXED.iter().find(|(name, _)| *name == word).map(|(_, var)| var.clone());
        let Some(var) = fixed.or_else(|| tag(&word)).or_else(|| label(&word)) else {
            let message = match nearest(&word, FIXED.iter().map(|(name, _)| *name)) {
                Some(meant) => format!("expected {what}, found {}; did you mean {meant}?", shown(&word)),
                None => format!("expected {what}, found {}", shown(&word)),
            };
            return Err(self.tokens.error(message));
        };
        self.tokens.step();
        Ok(var)
    }
}

fn tag(word: &str) -> Option<Var> {
    let (namespace, key) = word.strip_prefix("tag.")?.strip_suffix(".value")?.split_once('.')?;
    (!namespace.is_empty() && !key.is_empty()).then(|| Var::Tag(namespace.to_owned(), key.to_owned()))
}

fn label(word: &str) -> Option<Var> {
    word.strip_prefix("label.").filter(|key| !key.is_empty()).map(|key| Var::Label(key.to_owned()))
}

impl fmt::Display for MatchingRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rule) in self.rules.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match rule {
                Rule::One(cond) => cond.fmt(f)?,
                Rule::Several(join, conds) => {
                    let conds: Vec<String> = conds.iter().map(ToString::to_string).collect();
                    write!(f, "{} {{{}}}", if *join == Join::Any { "any" } else { "all" }, conds.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Cond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.var {
            Var::Tag(namespace, key) => write!(f, "tag.{namespace}.{key}.value")?,
            Var::Label(key) => write!(f, "label.{key}")?,
            fixed => f.write_str(FIXED.iter().find(|(_, var)| var == fixed).map_or("", |(name, _)| name))?,
        }
        match &self.test {
            None => Ok(()),
            Some((equal, value)) => write!(f, " {} '{value}'", if *equal { "=" } else { "!=" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> MemberFacts {
        MemberFacts::instance("i-1", "C1").tag("Ops", "Tier", "Web").label("env", "prod")
    }

    fn agent() -> MemberFacts {
        MemberFacts::resource("managementagent", "ocid1.managementagent.oc1..x", "c2")
    }

    #[test]
    fn rules_say_who_is_in() {
        // Rules, joined by any; is the host in; is the agent in.
        let rows = [
            ("instance.id = 'i-1'", true, false),
            ("INSTANCE.ID = 'I-1'", true, false),
            ("instance.id != 'i-1'", false, false),
            ("instance.id != 'i-2'", true, false),
            ("ANY {instance.compartment.id = 'c1', instance.compartment.id = 'c2'}", true, false),
            ("All {instance.compartment.id = 'c1', instance.id = 'i-2'}", false, false),
            ("ALL {resource.type='managementagent', resource.compartment.id='c2'}", false, true),
            ("resource.compartment.id != 'c2'", true, false),
            ("resource.id = 'i-1'", true, false),
            ("resource.type = 'Instance'", true, false),
            ("tag.ops.tier.value", true, false),
            ("tag.ops.tier.value = 'web'", true, false),
            ("tag.ops.tier.value != 'db'", true, false),
            ("tag.ops.tier.value != 'web'", false, false),
            ("tag.ops.other.value != 'web'", false, false),
            ("label.env = 'PROD'", true, false),
            ("all {label.env, tag.ops.tier.value}", true, false),
            ("label.role", false, false),
            ("instance.id = 'i-2' // not this one\nresource.type = 'managementagent'", false, true),
        ];
        for (text, of_host, of_agent) in rows {
            let rules = MatchingRules::parse(text, Join::Any).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(rules.matches(&host()), of_host, "{text}");
            assert_eq!(rules.matches(&agent()), of_agent, "{text}");
            let again = MatchingRules::parse(&rules.to_string(), Join::Any).expect("what is printed can be read");
            assert_eq!(again, rules, "{text}");
        }
        let two = "instance.id = 'i-1' instance.compartment.id = 'c2'";
        assert!(MatchingRules::parse(two, Join::Any).expect("valid").matches(&host()));
        assert!(!MatchingRules::parse(two, Join::All).expect("valid").matches(&host()));
    }

    #[test]
    fn a_compartment_is_not_what_lies_in_it() {
        // The child's id differs from its parent's: there is no tree here to climb.
        let rules = MatchingRules::parse("instance.compartment.id = 'parent'", Join::Any).expect("valid");
        assert!(!rules.matches(&MemberFacts::instance("i", "child")));
    }

    #[test]
    fn the_groups_of_a_host() {
        let group = |name: &str, text: &str| DynamicGroup {
            membership: Membership::new(&format!("id-{name}"), None, name),
            rules: MatchingRules::parse(text, Join::Any).expect("valid"),
        };
        let groups =
            [group("web", "tag.ops.tier.value = 'web'"), group("db", "tag.ops.tier.value = 'db'"), group("prod", "label.env")];
        let names: Vec<&str> = groups_of(&groups, &host()).into_iter().map(|m| m.name()).collect();
        assert_eq!(names, ["web", "prod"]);
    }

    #[test]
    fn refusals_name_the_place() {
        let rows = [
            ("", 1, 1, "expected instance.id"),
            ("instance.id", 1, 12, "expected = or !=, found the end"),
            ("instance.id = i-1", 1, 15, "expected a 'value' in single quotes, found \"i-1\""),
            ("any {instance.id = 'a',\n  instance.idd = 'b'}", 2, 3, "did you mean instance.id?"),
            ("any {instance.id = 'a'", 1, 23, "expected a comma, or the }"),
            ("any {all {instance.id = 'a'}}", 1, 6, "cannot stand inside each other"),
            ("any {}", 1, 6, "found }"),
            ("tag.ops.value = 'x'", 1, 1, "tag.NAMESPACE.KEY.value"),
        ];
        for (text, line, column, message) in rows {
            let bad = MatchingRules::parse(text, Join::Any).expect_err(text);
            assert_eq!((bad.line, bad.column), (line, column), "{text}: {bad}");
            assert!(bad.message.contains(message), "{text}: {bad}");
        }
        let many = vec!["instance.id = 'a'"; MATCHING_RULES_MAX + 1].join(" ");
        assert!(MatchingRules::parse(&many, Join::Any).is_err());
    }

    #[test]
    fn the_type_is_in_the_id() {
        assert_eq!(type_of_ocid("ocid1.managementagent.oc1..x"), Some("managementagent"));
        assert_eq!(type_of_ocid("0198c0de-0000-7000-8000-000000000001"), None);
        assert_eq!(type_of_ocid("ocid1"), None);
    }
}

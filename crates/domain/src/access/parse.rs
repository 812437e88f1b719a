//! From pieces to statements, by recursive descent; the refusal names the place, what was expected and what is there.
//!
//! ```text
//! policy     := statement { [";"] statement }
//! statement  := ("allow" | "deny") subject "to" action "in" location [ "where" condition ]
//! subject    := "any-user" | "any-group" | ("group" | "dynamic-group") name { "," name }
//!             | "service" NAME { "," NAME } | "resource" TYPE [ NAME ]
//! name       := NAME | 'DOMAIN' "/" 'NAME' | "id" ID
//! action     := VERB (TYPE | FAMILY | "all-resources") | "{" PERMISSION { "," PERMISSION } "}"
//! location   := "tenancy" | "compartment" (NAME { ":" NAME } | "id" ID)
//! condition  := ("any" | "all") "{" condition { "," condition } "}" | VARIABLE test
//! test       := ("=" | "!=") value | ["not"] "in" "(" value { "," value } ")" | "before" TIME | "between" TIME "and" TIME
//! ```
//!
//! Words of the language, types, verbs and variables are read in any case; a statement may span lines; `//` begins a
//! comment. Recursion is bounded by [`CONDITION_NESTING_MAX`](super::CONDITION_NESTING_MAX).

use super::error::BadStatement;
use super::permissions::{Right, Target, Verb};
use super::scan::{Token, Tokens};
use super::statement::{Action, Comparison, Condition, Effect, Location, PrincipalName, Statement, Subject, Test, Value};
use super::time::{is_day, is_month, is_weekday, time_of_day, timestamp};
use super::variable::{Kind, Variable};
use super::{
    COMPARISONS_MAX, COMPARTMENT_DEPTH_MAX, CONDITION_NESTING_MAX, NAMES_MAX, POLICY_MAX_BYTES, STATEMENTS_MAX, VALUES_MAX, fold,
};
use crate::query::{nearest, shown};

/// A statement that shows how one looks, for refusals of nothing.
const EXAMPLE: &str = "allow group Patchers to use drydock-instances in compartment web";

type Result<T> = std::result::Result<T, BadStatement>;

/// A statement and the line it begins in, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The line.
    pub line: usize,
    /// What stands there.
    pub statement: Statement,
}

/// Reads a policy: one statement or several.
pub fn statements(text: &str) -> Result<Vec<Written>> {
    let mut parser = Parser { tokens: Tokens::read(text)?, comparisons: 0 };
    let mut found = Vec::new();
    let mut printed = 0;
    loop {
        while parser.tokens.take_sign(';') {}
        if *parser.tokens.peek() == Token::End {
            break;
        }
        if found.len() == STATEMENTS_MAX {
            return Err(parser.tokens.error(format!("more than {STATEMENTS_MAX} statements; make several policies of them")));
        }
        let place = parser.tokens.place();
        let statement = parser.statement()?;
        printed += statement.to_string().len() + 1;
        if printed > POLICY_MAX_BYTES {
            let message = format!("the policy has more than {POLICY_MAX_BYTES} bytes with its spaces and quotes; make several");
            return Err(BadStatement::new(place, message));
        }
        found.push(Written { line: place.line, statement });
    }
    if found.is_empty() {
        return Err(parser.tokens.error(format!("there is no statement; write for example {EXAMPLE}")));
    }
    Ok(found)
}

impl std::str::FromStr for Statement {
    type Err = BadStatement;

    /// Reads exactly one statement.
    fn from_str(text: &str) -> Result<Statement> {
        let mut parser = Parser { tokens: Tokens::read(text)?, comparisons: 0 };
        let statement = parser.statement()?;
        while parser.tokens.take_sign(';') {}
        match parser.tokens.peek() {
            Token::End => Ok(statement),
            _ => Err(parser.tokens.error("one statement only; a second one begins here")),
        }
    }
}

struct Parser {
    tokens: Tokens,
    /// Comparisons of the statement so far.
    comparisons: usize,
}

impl Parser {
    fn statement(&mut self) -> Result<Statement> {
        self.comparisons = 0;
        let effect = self.effect()?;
        let subject = self.subject()?;
        self.keyword("to", "to, and then a verb or {PERMISSION}")?;
        let action = self.action()?;
        self.keyword("in", "in tenancy or in compartment")?;
        let location = self.location()?;
        let condition = if self.tokens.take_word("where") { Some(self.condition(0)?) } else { None };
        self.check_end(condition.is_some())?;
        Ok(Statement { effect, subject, action, location, condition })
    }

    /// A statement ends where nothing, a `;` or the next one follows.
    fn check_end(&self, conditional: bool) -> Result<()> {
        let ends = match self.tokens.peek() {
            Token::End | Token::Sign(';') => true,
            Token::Word(word) => ["allow", "deny", "define", "endorse", "admit"].iter().any(|w| w.eq_ignore_ascii_case(word)),
            _ => false,
        };
        if ends {
            return Ok(());
        }
        let joins = ["and", "or"].iter().any(|w| self.tokens.is_word(0, w)) || *self.tokens.peek() == Token::Sign(',');
        Err(match (conditional, joins) {
            (true, true) => self.tokens.expected("the next statement or the end; join comparisons with all {…, …} or any {…, …}"),
            (true, false) => self.tokens.expected("the next statement (allow, deny) or the end"),
            (false, _) => self.tokens.expected("where, the next statement (allow, deny) or the end"),
        })
    }

    fn keyword(&mut self, word: &str, what: &str) -> Result<()> {
        if self.tokens.take_word(word) { Ok(()) } else { Err(self.tokens.expected(what)) }
    }

    fn effect(&mut self) -> Result<Effect> {
        let word = match self.tokens.peek() {
            Token::Word(word) => fold(word),
            _ => return Err(self.tokens.expected("allow or deny")),
        };
        let effect = match word.as_str() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            "endorse" | "admit" => {
                let message = format!(
                    "{word} reaches into another tenancy and is not supported: this server is one tenancy; \
                     write allow or deny for its own groups, or leave the statement out"
                );
                return Err(self.tokens.error(message));
            }
            "define" => {
                let message = "define is not supported: it names ids for endorse and admit; \
                               write the id in the statement, allow group id … to …, or leave the statement out";
                return Err(self.tokens.error(message));
            }
            other => return Err(self.unknown("allow or deny", other, ["allow", "deny"])),
        };
        self.tokens.step();
        Ok(effect)
    }

    /// The refusal of a word, with the one that is probably meant.
    fn unknown<'a>(&self, what: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> BadStatement {
        match nearest(word, known) {
            Some(meant) => self.tokens.error(format!("expected {what}, found {}; did you mean {meant}?", shown(word))),
            None => self.tokens.expected(what),
        }
    }

    fn subject(&mut self) -> Result<Subject> {
        const WHAT: &str = "group, dynamic-group, any-user, any-group, service or resource";
        const WORDS: [&str; 6] = ["group", "dynamic-group", "any-user", "any-group", "service", "resource"];
        let word = match self.tokens.peek() {
            Token::Word(word) => fold(word),
            _ => return Err(self.tokens.expected(WHAT)),
        };
        if !WORDS.contains(&word.strip_suffix('s').unwrap_or(&word)) {
            return Err(self.unknown(WHAT, &word, WORDS));
        }
        self.tokens.step();
        Ok(match word.strip_suffix('s').unwrap_or(&word) {
            "any-user" => Subject::AnyUser,
            "any-group" => Subject::AnyGroup,
            "group" => Subject::Groups(self.list(|p| p.principal("the name of a group"))?),
            "dynamic-group" => Subject::DynamicGroups(self.list(|p| p.principal("the name of a dynamic group"))?),
            "service" => Subject::Services(self.list(|p| p.name("the name of a service"))?),
            _ => {
                let kind = self.name("the type of a resource")?;
                let name = if self.tokens.is_word(0, "to") { None } else { Some(self.name("to, or the name of a resource")?) };
                Subject::Resource { kind, name }
            }
        })
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut all = vec![one(self)?];
        while self.tokens.take_sign(',') {
            if all.len() == NAMES_MAX {
                return Err(self.tokens.error(format!("more than {NAMES_MAX} names in one list; make several statements")));
            }
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn principal(&mut self, what: &str) -> Result<PrincipalName> {
        let id_follows = match self.tokens.ahead(1) {
            Token::Word(word) => !word.eq_ignore_ascii_case("to"),
            Token::Quoted(_) => true,
            _ => false,
        };
        if self.tokens.is_word(0, "id") && id_follows {
            self.tokens.step();
            return self.name("an id").map(PrincipalName::Id);
        }
        let first = self.name(what)?;
        if !self.tokens.take_sign('/') {
            return Ok(PrincipalName::Named { domain: None, name: first });
        }
        let name = self.name(what)?;
        Ok(PrincipalName::Named { domain: Some(first), name })
    }

    /// A name with or without quotes; a bare `to` or `in` is the language's.
    fn name(&mut self, what: &str) -> Result<String> {
        let name = match self.tokens.peek() {
            Token::Word(word) if !word.eq_ignore_ascii_case("to") && !word.eq_ignore_ascii_case("in") => word.clone(),
            Token::Quoted(text) if !text.is_empty() => text.clone(),
            _ => return Err(self.tokens.expected(what)),
        };
        self.tokens.step();
        Ok(name)
    }

    fn action(&mut self) -> Result<Action> {
        if *self.tokens.peek() == Token::Sign('{') {
            return self.permissions();
        }
        let verb = match self.tokens.peek() {
            Token::Word(word) => Verb::find(word).ok_or_else(|| {
                let known = Verb::ALL.map(Verb::as_str);
                self.unknown("inspect, read, use, manage or {PERMISSION}", word, known)
            })?,
            _ => return Err(self.tokens.expected("inspect, read, use, manage or {PERMISSION}")),
        };
        self.tokens.step();
        let what = "a resource type, a family such as osmh-family or drydock-family, or all-resources";
        let target = match self.tokens.peek() {
            Token::Word(word) => Target::find(word).ok_or_else(|| self.unknown(what, word, Target::names()))?,
            _ => return Err(self.tokens.expected(what)),
        };
        self.tokens.step();
        Ok(Action::Verb(verb, target))
    }

    fn permissions(&mut self) -> Result<Action> {
        self.tokens.step();
        let rights = self.list(|p| {
            let what = "a permission such as DRYDOCK_INSTANCE_READ";
            let right = match p.tokens.peek() {
                Token::Word(word) => Right::find(word).ok_or_else(|| p.unknown(what, word, Right::names()))?,
                _ => return Err(p.tokens.expected(what)),
            };
            p.tokens.step();
            Ok(right)
        })?;
        if !self.tokens.take_sign('}') {
            return Err(self.tokens.expected(", or the } after the permissions"));
        }
        Ok(Action::Permissions(rights))
    }

    fn location(&mut self) -> Result<Location> {
        if self.tokens.take_word("tenancy") {
            return Ok(Location::Tenancy);
        }
        if !self.tokens.take_word("compartment") {
            return Err(self.tokens.expected("tenancy or compartment"));
        }
        if self.tokens.is_word(0, "id") && matches!(self.tokens.ahead(1), Token::Word(_) | Token::Quoted(_)) {
            self.tokens.step();
            return self.name("the id of a compartment").map(Location::Id);
        }
        let mut path = vec![self.name("the name of a compartment")?];
        while self.tokens.take_sign(':') {
            if path.len() == COMPARTMENT_DEPTH_MAX {
                return Err(self.tokens.error(format!("compartments lie at most {COMPARTMENT_DEPTH_MAX} deep")));
            }
            path.push(self.name("the name of a compartment")?);
        }
        Ok(Location::Path(path))
    }

    fn condition(&mut self, depth: usize) -> Result<Condition> {
        let (any, all) = (self.tokens.is_word(0, "any"), self.tokens.is_word(0, "all"));
        if !any && !all {
            return self.comparison().map(Condition::Comparison);
        }
        if depth == CONDITION_NESTING_MAX {
            let message = format!("more than {CONDITION_NESTING_MAX} any and all inside each other; write it flatter");
            return Err(self.tokens.error(message));
        }
        let opened = self.tokens.place();
        self.tokens.step();
        if !self.tokens.take_sign('{') {
            return Err(self.tokens.expected("{ after any or all"));
        }
        let mut parts = vec![self.condition(depth + 1)?];
        while self.tokens.take_sign(',') {
            parts.push(self.condition(depth + 1)?);
        }
        if !self.tokens.take_sign('}') {
            let what = format!("a comma, or the }} that closes line {}, column {}", opened.line, opened.column);
            return Err(self.tokens.expected(&what));
        }
        Ok(if any { Condition::Any(parts) } else { Condition::All(parts) })
    }

    fn comparison(&mut self) -> Result<Comparison> {
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            return Err(self.tokens.error(format!("more than {COMPARISONS_MAX} comparisons in one statement; make several")));
        }
        let variable = self.variable("a variable such as request.operation, any {…} or all {…}")?;
        let test = match variable.kind() {
            Kind::Moment | Kind::TimeOfDay => self.time_test(&variable)?,
            _ => self.text_test(&variable)?,
        };
        Ok(Comparison { variable, test })
    }

    fn variable(&mut self, what: &str) -> Result<Variable> {
        let variable = match self.tokens.peek() {
            Token::Word(word) => Variable::find(word).ok_or_else(|| self.unknown(what, word, Variable::names()))?,
            _ => return Err(self.tokens.expected(what)),
        };
        self.tokens.step();
        Ok(variable)
    }

    fn time_test(&mut self, variable: &Variable) -> Result<Test> {
        if self.tokens.take_word("before") {
            return self.time(variable).map(Test::Before);
        }
        if !self.tokens.take_word("between") {
            return Err(self.tokens.expected(&format!("before or between after {variable}")));
        }
        let from = self.time(variable)?;
        self.keyword("and", "and, and then the second time")?;
        let place = self.tokens.place();
        let to = self.time(variable)?;
        if variable.kind() == Kind::Moment && timestamp(&from) > timestamp(&to) {
            return Err(BadStatement::new(place, "the second time is before the first; exchange them"));
        }
        Ok(Test::Between(from, to))
    }

    fn time(&mut self, variable: &Variable) -> Result<String> {
        let (example, good): (_, fn(&str) -> bool) = match variable.kind() {
            Kind::TimeOfDay => ("a time of day in UTC such as '07:30:00Z'", |t| time_of_day(t).is_some()),
            _ => ("a time such as '2027-01-31T07:30:00Z'", |t| timestamp(t).is_some()),
        };
        let time = match self.tokens.peek() {
            Token::Quoted(text) if good(text) => text.clone(),
            _ => return Err(self.tokens.expected(example)),
        };
        self.tokens.step();
        Ok(time)
    }

    fn text_test(&mut self, variable: &Variable) -> Result<Test> {
        let not = self.tokens.is_word(0, "not") && self.tokens.is_word(1, "in");
        if not {
            self.tokens.step();
        }
        if self.tokens.take_word("in") {
            let values = self.values(variable)?;
            return Ok(if not { Test::NotIn(values) } else { Test::In(values) });
        }
        let unequal = *self.tokens.peek() == Token::Unequal;
        if !unequal && *self.tokens.peek() != Token::Sign('=') {
            return Err(self.tokens.expected(&format!("=, !=, in or not in after {variable}")));
        }
        self.tokens.step();
        if *self.tokens.peek() == Token::Sign('(') {
            let values = self.values(variable)?;
            return Ok(if unequal { Test::NotIn(values) } else { Test::In(values) });
        }
        let value = self.value(variable)?;
        Ok(if unequal { Test::IsNot(value) } else { Test::Is(value) })
    }

    fn values(&mut self, variable: &Variable) -> Result<Vec<Value>> {
        if !self.tokens.take_sign('(') {
            return Err(self.tokens.expected("( before the values"));
        }
        let mut values = vec![self.value(variable)?];
        while self.tokens.take_sign(',') {
            if values.len() == VALUES_MAX {
                return Err(self.tokens.error(format!("more than {VALUES_MAX} values in one list; use a pattern or a tag")));
            }
            values.push(self.value(variable)?);
        }
        if !self.tokens.take_sign(')') {
            return Err(self.tokens.expected("a comma, or the ) after the values"));
        }
        Ok(values)
    }

    fn value(&mut self, variable: &Variable) -> Result<Value> {
        let kind = variable.kind();
        let free = matches!(kind, Kind::Text | Kind::Permission);
        let what = match kind {
            Kind::Flag => "'true' or 'false'",
            Kind::Month => "a month from '1' to '12'",
            Kind::Day => "a day from '1' to '31'",
            Kind::Weekday => "a day from 'Monday' to 'Sunday'",
            _ => "a 'text', a /pattern*/ or a variable",
        };
        let value = match self.tokens.peek() {
            Token::Quoted(text) => {
                self.check_value(kind, text, what)?;
                Value::Text(text.clone())
            }
            Token::Pattern(pattern) if free => Value::Pattern(pattern.clone()),
            Token::Word(_) if free => {
                let place = self.tokens.place();
                let other = self.variable(what)?;
                return match other.kind() {
                    Kind::Text | Kind::Permission => Ok(Value::Variable(other)),
                    _ => Err(BadStatement::new(place, format!("{other} is no text; compare it with a value of its own"))),
                };
            }
            _ => return Err(self.tokens.expected(what)),
        };
        self.tokens.step();
        Ok(value)
    }

    /// A text that its variable can never have is a slip of the pen, and in a `deny` a dangerous one.
    fn check_value(&self, kind: Kind, text: &str, what: &str) -> Result<()> {
        let good = match kind {
            Kind::Flag => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
            Kind::Month => is_month(text),
            Kind::Day => is_day(text),
            Kind::Weekday => is_weekday(text),
            Kind::Permission if Right::find(text).is_none() => {
                return Err(self.unknown("the name of a permission", text, Right::names()));
            }
            _ => true,
        };
        if good { Ok(()) } else { Err(self.tokens.expected(what)) }
    }
}

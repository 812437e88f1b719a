//! Statements and requests for tests, here and of the oracle beside the workspace: generated from few names, so that they
//! meet. Only with the feature `testing`.

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use super::compartment::Compartment;
use super::compile::Policy;
use super::parse::Written;
use super::permissions::{Family, Right, Target, Verb};
use super::request::{Facts, Membership, Principal, Resource};
use super::statement::{
    Action, Comparison, Condition, Effect, Location, Pattern, PrincipalName, Statement, Subject, Test, Value,
};
use super::table::ROWS;
use super::variable::{Kind, Variable};

/// One row of the table of permissions.
#[derive(Debug, Clone, Copy)]
pub struct TypeRow {
    /// The type.
    pub name: &'static str,
    /// Its family.
    pub family: Option<&'static str>,
    /// What its permissions begin with.
    pub stem: &'static str,
    /// What each verb adds to the one before.
    pub steps: [(Verb, &'static [&'static str]); 4],
    /// What no verb gives.
    pub by_name_only: &'static [&'static str],
}

/// The table of permissions.
pub fn rows() -> impl Iterator<Item = TypeRow> {
    ROWS.iter().map(|row| TypeRow {
        name: row.name,
        family: row.family.map(Family::as_str),
        stem: row.stem,
        steps: [(Verb::Inspect, row.inspect), (Verb::Read, row.read), (Verb::Use, row.r#use), (Verb::Manage, row.manage)],
        by_name_only: row.by_name_only,
    })
}

/// The permission with this name.
pub fn right(name: &str) -> Right {
    Right::find(name).unwrap_or_else(|| panic!("{name} is not known"))
}

/// `acme` (t) with A (a) > B (b) > C (c), and X (x).
pub fn compartments() -> Vec<Compartment> {
    let own = |id: &str, name: &str, parent: Option<&str>| Compartment {
        id: id.to_owned(),
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
    };
    vec![
        own("t", "acme", None),
        own("a", "A", Some("t")),
        own("b", "B", Some("a")),
        own("c", "C", Some("b")),
        own("x", "X", Some("t")),
    ]
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Who {
    /// `user`, `serviceaccount`, `service`, or the type of a resource.
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Did a user show a second factor?
    pub second_factor: bool,
    /// Id, domain, name.
    pub groups: Vec<(String, Option<String>, String)>,
    /// The same of dynamic groups.
    pub dynamic_groups: Vec<(String, Option<String>, String)>,
}

/// A whole request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub who: Who,
    /// For what.
    pub permission: String,
    /// Id of the compartment, in any case.
    pub compartment: String,
    /// When.
    pub now: Option<Timestamp>,
    /// Variable and value; tags several times.
    pub given: Vec<(String, String)>,
}

/// Few names, so that statements and requests meet.
const NAMES: [&str; 5] = ["Patchers", "web", "Straße", "a b", "to"];
const IDS: [&str; 3] = ["g-1", "g-2", "u-1"];
const TEXTS: [&str; 6] = ["eu", "EU-west", "web", "g-1", "u-1", "b"];
/// Permissions that requests ask for.
pub const PERMISSIONS: [&str; 6] = [
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
    let rights = proptest::collection::vec(select(&PERMISSIONS[..]).prop_map(right), 1..4);
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

/// Any condition.
pub fn condition() -> impl Strategy<Value = Condition> {
    comparison().prop_map(Condition::Comparison).prop_recursive(3, 8, 3, |inner| {
        let parts = proptest::collection::vec(inner, 1..4);
        prop_oneof![parts.clone().prop_map(Condition::All), parts.prop_map(Condition::Any)]
    })
}

/// Any statement.
pub fn statement() -> impl Strategy<Value = Statement> {
    let effect = prop_oneof![3 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    (effect, subject(), action(), location(), proptest::option::weighted(0.4, condition()))
        .prop_map(|(effect, subject, action, location, condition)| Statement { effect, subject, action, location, condition })
}

/// Any policies, attached to compartments of [`compartments`].
pub fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let attached = select(vec!["t", "t", "t", "a", "b"]);
    let one = (attached, proptest::collection::vec(statement(), 1..5)).prop_map(|(compartment, all)| policy(compartment, all));
    proptest::collection::vec(one, 0..5)
}

/// A policy of these statements.
pub fn policy(compartment: &str, all: Vec<Statement>) -> Policy {
    let statements = all.into_iter().enumerate().map(|(i, statement)| Written { line: i + 1, statement }).collect();
    Policy { name: "p".into(), compartment: compartment.into(), statements }
}

/// Any request.
pub fn ask() -> impl Strategy<Value = Ask> {
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
pub struct Asked {
    /// Who asks.
    pub principal: Principal,
    /// For what.
    pub right: Right,
    /// Where.
    pub resource: Resource,
    /// Under which circumstances.
    pub facts: Facts,
}

/// The request in the product's types.
pub fn asked(ask: &Ask) -> Asked {
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
    Asked { principal, right: right(&ask.permission), resource: Resource::in_compartment(&ask.compartment), facts }
}

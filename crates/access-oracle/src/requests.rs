//! Requests become requests of Cedar: entities for who asks, for permissions, compartments and what is asked for, and a
//! context of the variables that apply.

use std::collections::{BTreeMap, HashSet};

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use drydock_domain::access::compartment::Compartment;
use drydock_domain::access::testing::{Ask, rows};
use jiff::tz::TimeZone;

use crate::{Flaw, lower};

/// Values of one variable, count.
pub(crate) const VALUES_MAX: usize = 8;

/// Has this variable a set of values?
pub(crate) fn is_many(name: &str) -> bool {
    name == "request.groups.id" || name.contains(".tag.") || name.contains(".label.")
}

/// The attribute with one of several values.
pub(crate) fn element(name: &str, number: usize) -> String {
    format!("{name}#{number}")
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = kind.parse::<EntityTypeName>().map_err(|e| format!("{kind}: {e}"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn own(kind: &str, id: &str, parents: Vec<EntityUid>) -> Result<Entity, String> {
    Ok(Entity::new_no_attrs(uid(kind, id)?, parents.into_iter().collect::<HashSet<_>>()))
}

/// The request and the entities it is decided among.
pub(crate) fn request(ask: &Ask, compartments: &[Compartment], flaw: Flaw) -> Result<(Request, Entities), String> {
    let found = compartments.iter().find(|c| lower(&c.id, Flaw::None) == lower(&ask.compartment, Flaw::None));
    let mut all = vec![action(&ask.permission)?];
    for compartment in compartments {
        let parent = compartment.parent.as_deref().map(|parent| uid("Compartment", parent)).transpose()?;
        all.push(own("Compartment", &compartment.id, parent.into_iter().collect())?);
    }
    let place = found.map(|c| uid("Compartment", &c.id)).transpose()?;
    all.push(own("Thing", "it", place.into_iter().collect())?);
    all.push(own("Principal", "who", memberships(ask, flaw)?)?);
    let entities = Entities::from_entities(all, None).map_err(|e| e.to_string())?;
    let context = Context::from_pairs(context(ask, found, flaw)).map_err(|e| e.to_string())?;
    let (who, action, it) = (uid("Principal", "who")?, uid("Action", &ask.permission)?, uid("Thing", "it")?);
    let request = Request::new(who, action, it, context, None).map_err(|e| e.to_string())?;
    Ok((request, entities))
}

/// A permission in the groups of its verbs: `read drydock-instances`, `read drydock-family`, `read all-resources`.
fn action(permission: &str) -> Result<Entity, String> {
    let mut groups = Vec::new();
    for row in rows() {
        let Some(suffix) = permission.strip_prefix(row.stem).and_then(|rest| rest.strip_prefix('_')) else { continue };
        let targets: Vec<&str> = [Some(row.name), row.family, Some("all-resources")].into_iter().flatten().collect();
        // What a verb gives, the stronger ones give too.
        for (i, (_, suffixes)) in row.steps.iter().enumerate() {
            let stronger = row.steps[i..].iter().filter(|_| suffixes.contains(&suffix));
            groups.extend(stronger.flat_map(|(verb, _)| targets.iter().map(move |t| format!("{} {t}", verb.as_str()))));
        }
    }
    let groups = groups.iter().map(|n| uid("Action", n)).collect::<Result<Vec<_>, _>>()?;
    own("Action", permission, groups)
}

/// What the principal lies in.
fn memberships(ask: &Ask, flaw: Flaw) -> Result<Vec<EntityUid>, String> {
    let who = &ask.who;
    let mut all = vec![uid("Any", "user")?];
    if !who.groups.is_empty() {
        all.push(uid("Any", "group")?);
    }
    for (kind, groups) in [("Group", &who.groups), ("DynamicGroup", &who.dynamic_groups)] {
        for (id, domain, name) in groups {
            let domain = lower(domain.as_deref().unwrap_or("Default"), Flaw::None);
            all.push(uid(kind, &format!("{domain}\n{}", lower(name, flaw)))?);
            all.push(uid(&format!("{kind}Id"), &lower(id, flaw))?);
        }
    }
    match who.kind.as_str() {
        "user" | "serviceaccount" => {}
        "service" => all.push(uid("Service", &lower(&who.name, flaw))?),
        kind => {
            all.push(uid("Kind", &lower(kind, flaw))?);
            for called in [&who.id, &who.name] {
                all.push(uid("Named", &format!("{}\n{}", lower(kind, flaw), lower(called, flaw)))?);
            }
        }
    }
    Ok(all)
}

/// The variables that apply.
fn context(ask: &Ask, place: Option<&Compartment>, flaw: Flaw) -> Vec<(String, RestrictedExpression)> {
    let mut one: BTreeMap<String, String> = BTreeMap::new();
    let mut many: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &ask.given {
        let name = lower(name, Flaw::None);
        if is_many(&name) {
            many.entry(name).or_default().push(lower(value, flaw));
        } else {
            // Said twice: the last one counts.
            one.insert(name, lower(value, flaw));
        }
    }
    let who = &ask.who;
    let mut set = |name: &str, value: &str| one.insert(name.to_owned(), lower(value, flaw));
    set("request.permission", &ask.permission);
    set("request.principal.id", &who.id);
    set("request.principal.type", &who.kind);
    if who.kind == "user" || who.kind == "serviceaccount" {
        set("request.user.id", &who.id);
        set("request.user.name", &who.name);
        let ids = who.groups.iter().map(|(id, ..)| lower(id, flaw)).collect();
        many.insert("request.groups.id".to_owned(), ids);
    }
    if who.kind == "user" {
        set("request.user.mfatotpverified", if who.second_factor { "true" } else { "false" });
    }
    if who.kind == "instance" {
        set("request.instance.id", &who.id);
    }
    if let Some(place) = place {
        set("target.compartment.id", &place.id);
        set("target.compartment.name", &place.name);
    }
    let mut all = Vec::new();
    // Only a translation with a flaw looks at it.
    all.push(("compartment".to_owned(), RestrictedExpression::new_string(place.map_or_else(String::new, |p| p.id.clone()))));
    if let Some(now) = ask.now {
        let zoned = now.to_zoned(TimeZone::UTC);
        set("request.utc-timestamp.month-of-year", &zoned.month().to_string());
        set("request.utc-timestamp.day-of-month", &zoned.day().to_string());
        set("request.utc-timestamp.day-of-week", &zoned.strftime("%A").to_string());
        let second = now.as_second().rem_euclid(24 * 3600);
        all.push(("now".to_owned(), RestrictedExpression::new_long(now.as_millisecond())));
        all.push(("second".to_owned(), RestrictedExpression::new_long(second)));
    }
    all.extend(one.into_iter().map(|(name, value)| (name, RestrictedExpression::new_string(value))));
    for (name, values) in many {
        assert!(values.len() <= VALUES_MAX, "{name} has more values than patterns look at");
        for (i, value) in values.iter().enumerate() {
            all.push((element(&name, i), RestrictedExpression::new_string(value.clone())));
        }
        all.push((name, RestrictedExpression::new_set(values.into_iter().map(RestrictedExpression::new_string))));
    }
    all
}

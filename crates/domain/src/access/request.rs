//! Who asks, for what, and under which circumstances: what a decision is made from. All texts are kept in the form in
//! which they are compared. Absent on purpose: where they come from (sign-in, the store, the request).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::compile::Slot;
use super::dynamic_group::INSTANCE;
use super::fold;
use super::time::Moment;
use super::variable::{Kind, Known, Tag, Variable};
use crate::query::{nearest, shown};

/// The identity domain of names without one.
const DEFAULT_DOMAIN: &str = "default";

/// Keys of [`Subject`](super::Subject): what statements are looked up by and what principals have.
pub(super) mod key {
    use super::DEFAULT_DOMAIN;
    use crate::access::fold;

    pub(in crate::access) const ANY_USER: &str = "any-user";
    pub(in crate::access) const ANY_GROUP: &str = "any-group";

    pub(in crate::access) fn group(domain: Option<&str>, name: &str) -> String {
        // Names may hold any printable sign when quoted; the sign between them is none of those.
        format!("group {}\n{}", domain.map_or_else(|| DEFAULT_DOMAIN.to_owned(), fold), fold(name))
    }

    pub(in crate::access) fn group_id(id: &str) -> String {
        format!("group id {}", fold(id))
    }

    pub(in crate::access) fn dynamic_group(domain: Option<&str>, name: &str) -> String {
        format!("dynamic-{}", group(domain, name))
    }

    pub(in crate::access) fn dynamic_group_id(id: &str) -> String {
        format!("dynamic-{}", group_id(id))
    }

    pub(in crate::access) fn service(name: &str) -> String {
        format!("service {}", fold(name))
    }

    pub(in crate::access) fn resource(kind: &str, name: Option<&str>) -> String {
        format!("resource {}\n{}", fold(kind), name.map(fold).unwrap_or_default())
    }
}

/// A group that somebody is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    id: String,
    domain: Option<String>,
    name: String,
}

impl Membership {
    /// The group with this id and name; without a domain: of the domain `Default`.
    pub fn new(id: &str, domain: Option<&str>, name: &str) -> Membership {
        Membership { id: id.to_owned(), domain: domain.map(str::to_owned), name: name.to_owned() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What sort of principal asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    User,
    ServiceAccount,
    Service,
    Resource,
}

/// Whoever asks, having shown who it is.
#[derive(Debug, Clone)]
pub struct Principal {
    sort: Sort,
    kind: String,
    id: String,
    name: String,
    second_factor: Option<&'static str>,
    group_ids: Vec<String>,
    keys: Vec<String>,
}

impl Principal {
    fn new(sort: Sort, kind: &str, id: &str, name: &str) -> Principal {
        let (kind, id, name) = (fold(kind), fold(id), fold(name));
        let mut keys = vec![key::ANY_USER.to_owned()];
        match sort {
            Sort::User | Sort::ServiceAccount => {}
            Sort::Service => keys.push(key::service(&name)),
            Sort::Resource => {
                keys.push(key::resource(&kind, None));
                keys.push(key::resource(&kind, Some(&id)));
                if name != id && !name.is_empty() {
                    keys.push(key::resource(&kind, Some(&name)));
                }
            }
        }
        Principal { sort, kind, id, name, second_factor: None, group_ids: Vec::new(), keys }
    }

    /// A person; did they show a second factor?
    pub fn user(id: &str, name: &str, second_factor: bool) -> Principal {
        let shown = if second_factor { "true" } else { "false" };
        Principal { second_factor: Some(shown), ..Principal::new(Sort::User, "user", id, name) }
    }

    /// A program with an account of its own.
    pub fn service_account(id: &str, name: &str) -> Principal {
        Principal::new(Sort::ServiceAccount, "serviceaccount", id, name)
    }

    /// A service, for example `osms`.
    pub fn service(name: &str) -> Principal {
        Principal::new(Sort::Service, "service", name, name)
    }

    /// An instance, known by its agent's certificate.
    pub fn instance(id: &str, name: &str) -> Principal {
        Principal::new(Sort::Resource, INSTANCE, id, name)
    }

    /// Another resource that acts for itself, for example of type `osmh-dynamic-sets`.
    pub fn resource(kind: &str, id: &str, name: &str) -> Principal {
        Principal::new(Sort::Resource, kind, id, name)
    }

    /// It is in this group.
    pub fn in_group(mut self, group: &Membership) -> Principal {
        if self.group_ids.is_empty() {
            self.keys.push(key::ANY_GROUP.to_owned());
        }
        self.group_ids.push(fold(&group.id));
        self.keys.push(key::group(group.domain.as_deref(), &group.name));
        self.keys.push(key::group_id(&group.id));
        self
    }

    /// It is in this dynamic group.
    pub fn in_dynamic_group(mut self, group: &Membership) -> Principal {
        self.keys.push(key::dynamic_group(group.domain.as_deref(), &group.name));
        self.keys.push(key::dynamic_group_id(&group.id));
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What statements about it are looked up by.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Resource {
    compartment: String,
    kind: Option<String>,
    id: Option<String>,
    name: Option<String>,
}

impl Resource {
    /// Something in this compartment; for lists, the compartment that is listed.
    pub fn in_compartment(compartment: &str) -> Resource {
        Resource { compartment: fold(compartment), kind: None, id: None, name: None }
    }

    /// Exactly one, of this type.
    pub fn one(mut self, kind: &str, id: &str, name: &str) -> Resource {
        (self.kind, self.id, self.name) = (Some(fold(kind)), Some(fold(id)), Some(fold(name)));
        self
    }

    /// Id of its compartment.
    pub fn compartment(&self) -> &str {
        &self.compartment
    }
}

/// A circumstance that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFact {
    /// No such variable.
    #[error("there is no variable {name}{}", .meant.map(|m| format!("; did you mean {m}?")).unwrap_or_default())]
    Unknown {
        /// What was given.
        name: String,
        /// What is probably meant.
        meant: Option<&'static str>,
    },
    /// It follows from who asks, for what and when.
    #[error("{0} follows from who asks, for what and when; say those instead")]
    Derived(&'static str),
}

/// Circumstances of a request beyond who asks and for what. What is not given does not apply.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    now: Option<Moment>,
    known: Vec<(Known, String)>,
    tags: BTreeMap<Tag, Vec<String>>,
}

impl Facts {
    /// A request that came now.
    pub fn at(now: Timestamp) -> Facts {
        Facts { now: Some(Moment::of(now)), ..Facts::default() }
    }

    /// With the value of a variable; a tag may have several.
    pub fn with(mut self, name: &str, value: &str) -> Result<Facts, BadFact> {
        match Variable::find(name) {
            None => {
                let meant = nearest(name, Variable::names());
                return Err(BadFact::Unknown { name: shown(name), meant });
            }
            Some(Variable::Known(known)) if known.is_derived() => return Err(BadFact::Derived(known.as_str())),
            Some(Variable::Known(known)) => {
                self.known.retain(|(k, _)| *k != known);
                self.known.push((known, fold(value)));
            }
            Some(Variable::Tag(tag)) => self.tags.entry(tag).or_default().push(fold(value)),
        }
        Ok(self)
    }

    fn tag(&self, tag: &Tag) -> Values<'_> {
        self.tags.get(tag).map_or(Values::Inapplicable, |values| Values::Many(values))
    }

    pub(super) fn now(&self) -> Option<&Moment> {
        self.now.as_ref()
    }
}

/// The values of one variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values<'a> {
    /// The variable does not apply.
    Inapplicable,
    One(&'a str),
    /// Possibly none.
    Many(&'a [String]),
}

/// All variables of one request.
pub(super) struct View<'a> {
    known: [Values<'a>; Known::ALL.len()],
    tags: Vec<Values<'a>>,
    facts: &'a Facts,
}

impl<'a> View<'a> {
    /// `right` and the compartment's id and name in the form in which texts are compared; `tags`: those that are asked about.
    pub(super) fn of(
        principal: &'a Principal,
        right: &'a str,
        resource: &'a Resource,
        compartment: (&'a str, &'a str),
        facts: &'a Facts,
        tags: &[Tag],
    ) -> View<'a> {
        let tags = tags.iter().map(|tag| facts.tag(tag)).collect();
        let mut view = View { known: [Values::Inapplicable; Known::ALL.len()], tags, facts };
        for (known, value) in &facts.known {
            view.set(*known, value);
        }
        view.set(Known::Permission, right);
        view.set(Known::PrincipalId, &principal.id);
        view.set(Known::PrincipalType, &principal.kind);
        if matches!(principal.sort, Sort::User | Sort::ServiceAccount) {
            view.set(Known::UserId, &principal.id);
            view.set(Known::UserName, &principal.name);
            view.known[Known::GroupsId as usize] = Values::Many(&principal.group_ids);
        }
        if let Some(shown) = principal.second_factor {
            view.set(Known::UserMfa, shown);
        }
        if principal.kind == INSTANCE && principal.sort == Sort::Resource {
            view.set(Known::InstanceId, &principal.id);
        }
        view.set(Known::TargetCompartmentId, compartment.0);
        view.set(Known::TargetCompartmentName, compartment.1);
        for (known, value) in
            [(Known::TargetId, &resource.id), (Known::TargetName, &resource.name), (Known::TargetType, &resource.kind)]
        {
            if let Some(value) = value {
                view.set(known, value);
            }
        }
        if let Some(now) = &facts.now {
            view.set(Known::Month, now.month);
            view.set(Known::Day, now.day);
            view.set(Known::Weekday, now.weekday);
        }
        view
    }

    fn set(&mut self, known: Known, value: &'a str) {
        if let Some(place) = self.known.get_mut(known as usize) {
            *place = Values::One(value);
        }
    }

    /// Text values; moments and times of day are asked of [`View::moment`].
    pub(super) fn values(&self, variable: &Variable) -> Values<'a> {
        match variable {
            Variable::Known(known) => self.known.get(*known as usize).copied().unwrap_or(Values::Inapplicable),
            Variable::Tag(tag) => self.facts.tag(tag),
        }
    }

    /// The same by its place.
    pub(super) fn at(&self, slot: Slot) -> Values<'a> {
        let found = match slot {
            Slot::Known(known) => self.known.get(known as usize),
            Slot::Tag(place) => self.tags.get(place),
        };
        found.copied().unwrap_or(Values::Inapplicable)
    }

    pub(super) fn moment(&self) -> Option<&'a Moment> {
        self.facts.now()
    }

    /// Does a variable apply to the request?
    pub(super) fn applies(&self, variable: &Variable) -> bool {
        match variable.kind() {
            Kind::Moment | Kind::TimeOfDay => self.moment().is_some(),
            _ => self.values(variable) != Values::Inapplicable,
        }
    }
}

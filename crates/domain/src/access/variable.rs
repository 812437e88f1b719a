//! What a condition may ask about: one table of variables and what kind of value each has.

use std::fmt;

use super::fold;

/// What values a variable has, and so what it may be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text: `=`, `!=`, `in`, `not in`, with texts, patterns and other variables.
    Text,
    /// A permission's name: as text, but a text that is not a pattern has to be a known permission.
    Permission,
    /// `'true'` or `'false'`.
    Flag,
    /// A moment: `before`, `between`.
    Moment,
    /// A time of day in UTC: `before`, `between`.
    TimeOfDay,
    /// `'1'` to `'12'`.
    Month,
    /// `'1'` to `'31'`.
    Day,
    /// `'Monday'` to `'Sunday'`.
    Weekday,
}

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $text:literal $kind:ident;)+) => {
        /// A variable with a fixed name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Known {
            $($(#[$doc])* $name,)+
        }

        impl Known {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Known] = &[$(Known::$name),+];

            /// The name, as it is printed.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Known::$name => $text,)+
                }
            }

            /// What its values are.
            pub fn kind(self) -> Kind {
                match self {
                    $(Known::$name => Kind::$kind,)+
                }
            }
        }
    };
}

known! {
    /// Id of the user who asks.
    UserId = "request.user.id" Text;
    /// Name of the user who asks.
    UserName = "request.user.name" Text;
    /// Did the user show a second factor?
    UserMfa = "request.user.mfaTotpVerified" Flag;
    /// Ids of all groups of the user; several values.
    GroupsId = "request.groups.id" Text;
    /// The permission that is asked for.
    Permission = "request.permission" Permission;
    /// The operation, for example `GetErratum` or `patch-job.create`.
    Operation = "request.operation" Text;
    /// The named network the request came from.
    NetworkSource = "request.networkSource.name" Text;
    /// When the request came.
    Timestamp = "request.utc-timestamp" Moment;
    /// Its month.
    Month = "request.utc-timestamp.month-of-year" Month;
    /// Its day of the month.
    Day = "request.utc-timestamp.day-of-month" Day;
    /// Its day of the week.
    Weekday = "request.utc-timestamp.day-of-week" Weekday;
    /// Its time of day.
    TimeOfDay = "request.utc-timestamp.time-of-day" TimeOfDay;
    /// The region that was asked.
    Region = "request.region" Text;
    /// The availability domain.
    Ad = "request.ad" Text;
    /// Id of whoever asks.
    PrincipalId = "request.principal.id" Text;
    /// `user`, `serviceaccount`, `service`, `instance` or the type of another resource.
    PrincipalType = "request.principal.type" Text;
    /// Id of the instance that asks.
    InstanceId = "request.instance.id" Text;
    /// Compartment of what is asked for.
    TargetCompartmentId = "target.compartment.id" Text;
    /// Its name.
    TargetCompartmentName = "target.compartment.name" Text;
    /// The group of users that is looked at or changed.
    TargetGroup = "target.group.name" Text;
    /// The user who is looked at or changed.
    TargetUser = "target.user.name" Text;
    /// The one instance an operation is about. Also written `target.managedInstance.id`.
    TargetInstance = "target.managed-instance.id" Text;
    /// The one managed instance group an operation is about.
    TargetInstanceGroup = "target.managedInstanceGroup.id" Text;
    /// The one lifecycle environment an operation is about.
    TargetEnvironment = "target.lifecycleEnvironment.id" Text;
    /// The one lifecycle stage an operation is about.
    TargetStage = "target.lifecycleStage.id" Text;
    /// The one management station an operation is about.
    TargetStation = "target.managementStation.id" Text;
    /// Compartment whose profiles are listed.
    TargetProfileCompartment = "target.profile.compartment.id" Text;
    /// Compartment whose software sources are listed.
    TargetSourceCompartment = "target.softwareSource.compartment.id" Text;
    /// Applies to nothing of ours; statements about agents name it.
    MetricsNamespace = "target.metrics.namespace" Text;
    /// Id of the one resource an operation is about (ours).
    TargetId = "target.resource.id" Text;
    /// Its name (ours).
    TargetName = "target.resource.name" Text;
    /// Its type, for example `drydock-patch-jobs` (ours).
    TargetType = "target.resource.type" Text;
}

impl Known {
    /// Where the decision finds it out itself, so that a caller cannot say something else.
    pub fn is_derived(self) -> bool {
        match self {
            Known::UserId
            | Known::UserName
            | Known::UserMfa
            | Known::GroupsId
            | Known::Permission
            | Known::Timestamp
            | Known::Month
            | Known::Day
            | Known::Weekday
            | Known::TimeOfDay
            | Known::PrincipalId
            | Known::PrincipalType
            | Known::InstanceId
            | Known::TargetCompartmentId
            | Known::TargetCompartmentName
            | Known::TargetId
            | Known::TargetName
            | Known::TargetType => true,
            Known::Operation
            | Known::NetworkSource
            | Known::Region
            | Known::Ad
            | Known::TargetGroup
            | Known::TargetUser
            | Known::TargetInstance
            | Known::TargetInstanceGroup
            | Known::TargetEnvironment
            | Known::TargetStage
            | Known::TargetStation
            | Known::TargetProfileCompartment
            | Known::TargetSourceCompartment
            | Known::MetricsNamespace => false,
        }
    }
}

/// Whose tags a variable asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagOf {
    /// `target.resource.tag.NAMESPACE.KEY`
    Resource,
    /// `target.resource.compartment.tag.NAMESPACE.KEY`
    ResourceCompartment,
    /// `request.principal.compartment.tag.NAMESPACE.KEY`
    PrincipalCompartment,
    /// `request.principal.group.tag.NAMESPACE.KEY`; several values.
    PrincipalGroup,
    /// `target.resource.label.KEY` (ours): labels have no namespace.
    ResourceLabel,
}

impl TagOf {
    const ALL: [TagOf; 5] =
        [TagOf::Resource, TagOf::ResourceCompartment, TagOf::PrincipalCompartment, TagOf::PrincipalGroup, TagOf::ResourceLabel];

    fn prefix(self) -> &'static str {
        match self {
            TagOf::Resource => "target.resource.tag.",
            TagOf::ResourceCompartment => "target.resource.compartment.tag.",
            TagOf::PrincipalCompartment => "request.principal.compartment.tag.",
            TagOf::PrincipalGroup => "request.principal.group.tag.",
            TagOf::ResourceLabel => "target.resource.label.",
        }
    }
}

/// A tag or label; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// Whose.
    pub of: TagOf,
    /// `NAMESPACE.KEY`, or the key of a label.
    pub name: String,
}

/// What a comparison asks about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// One of the table.
    Known(Known),
    /// A tag or label.
    Tag(Tag),
}

impl Variable {
    /// Reads a name, in any case.
    pub fn find(name: &str) -> Option<Variable> {
        let name = fold(name);
        if name == "target.managedinstance.id" {
            return Some(Variable::Known(Known::TargetInstance));
        }
        if let Some(known) = Known::ALL.iter().find(|k| k.as_str().eq_ignore_ascii_case(&name)) {
            return Some(Variable::Known(*known));
        }
        TagOf::ALL.into_iter().find_map(|of| {
            let rest = name.strip_prefix(of.prefix())?;
            let good = match of {
                TagOf::ResourceLabel => !rest.is_empty(),
                _ => rest.split_once('.').is_some_and(|(namespace, key)| !namespace.is_empty() && !key.is_empty()),
            };
            good.then(|| Variable::Tag(Tag { of, name: rest.to_owned() }))
        })
    }

    /// What its values are.
    pub fn kind(&self) -> Kind {
        match self {
            Variable::Known(known) => known.kind(),
            Variable::Tag(_) => Kind::Text,
        }
    }

    /// The names and forms to choose from, for refusals.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        Known::ALL.iter().map(|k| k.as_str())
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::Known(known) => f.write_str(known.as_str()),
            Variable::Tag(tag) => write!(f, "{}{}", tag.of.prefix(), tag.name),
        }
    }
}

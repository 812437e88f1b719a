//! Groups of users: made, filled, emptied, deleted. The three that come with the program are always there; only
//! administrators change who is in that of administrators.

use drydock_domain::access::Permission;
use drydock_domain::access::builtin::{self, BUILTIN_GROUPS, BuiltinGroup};
use drydock_domain::access::user::UserGroupSpec;
use drydock_domain::ids::UserGroupId;
use drydock_domain::limits::DESCRIPTION_MAX_BYTES;
use drydock_domain::validate::Problems;
use drydock_store::records::{PageQuery, Paged};
use drydock_store::user_groups::{MemberRecord, UserGroupRecord};
use drydock_store::{Connection, commit, user_groups};

use super::RACE_RETRIES;
use super::accounts::{find_user, is_administrator};
use super::act::About;
use super::cut;
use super::users::still_administered;
use crate::Control;
use crate::access_part::ROOT;
use crate::context::OpCtx;
use crate::error::{Error, Result};

/// Groups of users of one server, count: lists of them are not paged.
const USER_GROUPS_MAX: usize = 1000;
/// Members added and removed at once, count.
const MEMBERS_AT_ONCE_MAX: usize = 1000;
/// Longest name repeated in a refusal, bytes.
const SHOWN_MAX_BYTES: usize = 255;

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserGroupView {
    /// A UUID, or the id of one that comes with the program.
    pub id: String,
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// It comes with the program.
    pub built_in: bool,
    /// Members, count.
    pub members: u64,
    /// The row; absent: it comes with the program.
    pub record: Option<UserGroupRecord>,
}

/// A group that was looked up.
enum Found {
    BuiltIn(BuiltinGroup),
    Stored(UserGroupRecord),
}

impl Found {
    fn id(&self) -> String {
        match self {
            Found::BuiltIn(own) => own.id.to_owned(),
            Found::Stored(own) => own.id.to_string(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Found::BuiltIn(own) => own.name,
            Found::Stored(own) => &own.name,
        }
    }

    fn view(self, counts: &[(String, i64)]) -> UserGroupView {
        let id = self.id();
        let members = counts.iter().find(|(own, _)| *own == id).map_or(0, |(_, n)| u64::try_from(*n).unwrap_or(0));
        match self {
            Found::BuiltIn(own) => UserGroupView {
                id,
                name: own.name.to_owned(),
                description: own.description.to_owned(),
                built_in: true,
                members,
                record: None,
            },
            Found::Stored(own) => UserGroupView {
                id,
                name: own.name.clone(),
                description: own.description.clone(),
                built_in: false,
                members,
                record: Some(own),
            },
        }
    }
}

impl Control {
    /// Makes a group; nobody is in it, and no statement names it by itself.
    pub async fn create_user_group(&self, ctx: &OpCtx, spec: UserGroupSpec) -> Result<UserGroupView> {
        let text = format!("user-group {}", spec.name);
        let act = self.act(ctx, "user-group.create", text, Permission::AccessManage).await?.asking(&spec);
        let made = async {
            spec.validate()?;
            let record = UserGroupRecord {
                id: UserGroupId(self.mint(ctx.now)),
                name: spec.name,
                description: spec.description,
                created_by: ctx.who.name(),
                created_at: ctx.now,
                version: 1,
            };
            let mut tx = self.begin().await?;
            if user_groups::list(&mut tx).await?.len() >= USER_GROUPS_MAX {
                return Err(Error::conflict(format!("there are {USER_GROUPS_MAX} user groups already; delete some")));
            }
            match user_groups::insert(&mut tx, &record).await {
                Err(e) if e.is_duplicate() => {
                    return Err(Error::conflict(format!("there is a user group {} already", record.name)));
                }
                other => other?,
            }
            act.allowed(&mut tx).await?;
            commit(tx).await?;
            Ok(Found::Stored(record).view(&[]))
        }
        .await;
        act.settle(made).await
    }

    /// All groups: those that come with the program first, then the others by name.
    pub async fn list_user_groups(&self, ctx: &OpCtx) -> Result<Vec<UserGroupView>> {
        self.may_read(ctx, "user-group.list", Permission::AccessManage).await?;
        let mut c = self.read().await?;
        let counts = user_groups::counts(&mut c).await?;
        let stored = user_groups::list(&mut c).await?;
        let all = BUILTIN_GROUPS.map(Found::BuiltIn).into_iter().chain(stored.into_iter().map(Found::Stored));
        Ok(all.map(|group| group.view(&counts)).collect())
    }

    /// One group.
    pub async fn get_user_group(&self, ctx: &OpCtx, name: &str) -> Result<UserGroupView> {
        let found = self.seen_user_group(ctx, name).await?;
        Ok(found.view(&user_groups::counts(&mut *self.read().await?).await?))
    }

    /// Members of a group by name.
    pub async fn user_group_members(&self, ctx: &OpCtx, name: &str, page: &PageQuery) -> Result<Paged<MemberRecord>> {
        let found = self.seen_user_group(ctx, name).await?;
        Ok(user_groups::members(&mut *self.read().await?, &found.id(), page).await?)
    }

    async fn seen_user_group(&self, ctx: &OpCtx, name: &str) -> Result<Found> {
        let found = find(&mut *self.read().await?, name).await?;
        self.may_see(ctx, "user-group.show", about(found.as_ref(), name)).await?;
        found.ok_or_else(|| no_group(name))
    }

    /// Edits the description of a group.
    pub async fn edit_user_group(&self, ctx: &OpCtx, name: &str, description: &str) -> Result<UserGroupView> {
        let found = find(&mut *self.read().await?, name).await?;
        let act = self.act_on(ctx, "user-group.edit", about(found.as_ref(), name)).await?;
        let edited = async {
            let mut problems = Problems::default();
            problems.text("description", description, DESCRIPTION_MAX_BYTES);
            problems.finish()?;
            for _ in 0..RACE_RETRIES {
                let mut tx = self.begin().await?;
                let group = stored(find(&mut tx, name).await?, name)?;
                if !user_groups::describe(&mut tx, group.id, description, group.version).await? {
                    continue;
                }
                act.allowed(&mut tx).await?;
                let counts = user_groups::counts(&mut tx).await?;
                commit(tx).await?;
                let (description, version) = (description.to_owned(), group.version + 1);
                return Ok(Found::Stored(UserGroupRecord { description, version, ..group }).view(&counts));
            }
            Err(Error::conflict(format!("somebody else changes the user group {name} all the time; try again")))
        }
        .await;
        act.settle(edited).await
    }

    /// Deletes a group. Statements that name it stay and give nobody anything.
    pub async fn delete_user_group(&self, ctx: &OpCtx, name: &str) -> Result<()> {
        let found = find(&mut *self.read().await?, name).await?;
        let act = self.act_on(ctx, "user-group.delete", about(found.as_ref(), name)).await?;
        let deleted = async {
            let group = stored(found, name)?;
            let mut tx = self.begin().await?;
            if !user_groups::delete(&mut tx, group.id).await? {
                return Err(no_group(name));
            }
            act.allowed(&mut tx).await?;
            Ok(commit(tx).await?)
        }
        .await;
        act.settle(deleted).await
    }

    /// Puts users into a group and takes others out; all of it or nothing.
    pub async fn change_user_group_members(
        &self,
        ctx: &OpCtx,
        name: &str,
        add: &[String],
        remove: &[String],
    ) -> Result<UserGroupView> {
        let found = find(&mut *self.read().await?, name).await?;
        let act = self.act_on(ctx, "user-group.members", about(found.as_ref(), name)).await?;
        let changed = async {
            let group = found.ok_or_else(|| no_group(name))?;
            let administrators = group.id() == BUILTIN_GROUPS[0].id;
            if administrators && !is_administrator(&ctx.who) {
                let why = format!("only administrators change who is in {}", group.name());
                return Err(Error::Forbidden(why));
            }
            let mut problems = Problems::default();
            problems.count("add", add.len(), MEMBERS_AT_ONCE_MAX);
            problems.count("remove", remove.len(), MEMBERS_AT_ONCE_MAX);
            problems.finish()?;
            let mut tx = self.begin().await?;
            let mut told = Vec::new();
            for (field, names) in [("add", add), ("remove", remove)] {
                for (n, wanted) in names.iter().enumerate() {
                    let user = find_user(&mut tx, wanted).await?;
                    let missing =
                        || Error::invalid(&format!("{field}[{n}]"), format!("there is no user {}", cut(wanted, SHOWN_MAX_BYTES)));
                    let user = user.ok_or_else(missing)?;
                    let (sign, done) = match field {
                        "add" => ('+', user_groups::join(&mut tx, &group.id(), user.id, &ctx.who.name(), ctx.now).await?),
                        _ => ('-', user_groups::leave(&mut tx, &group.id(), user.id).await?),
                    };
                    // What was so already is no error: the outcome is what was asked for.
                    if done {
                        told.push(format!("{sign}{}", user.name));
                    }
                }
            }
            if administrators {
                still_administered(&mut tx, ctx.now).await?;
            }
            act.allowed_on(&mut tx, &format!("user-group {}: {}", group.name(), told.join(" "))).await?;
            let counts = user_groups::counts(&mut tx).await?;
            commit(tx).await?;
            Ok(group.view(&counts))
        }
        .await;
        act.settle(changed).await
    }
}

async fn find(c: &mut Connection, name: &str) -> Result<Option<Found>> {
    match builtin::find_group(name) {
        Some(own) => Ok(Some(Found::BuiltIn(own))),
        None => Ok(user_groups::find_by_name(c, name).await?.map(Found::Stored)),
    }
}

fn about(found: Option<&Found>, asked: &str) -> About {
    let named = |id: &str, name: &str| About::named("user group", "drydock-user-group", ROOT, id, name).asked(asked);
    match found {
        Some(group) => named(&group.id(), group.name()),
        None => named("", "").absent(),
    }
}

fn stored(found: Option<Found>, asked: &str) -> Result<UserGroupRecord> {
    match found {
        Some(Found::Stored(group)) => Ok(group),
        Some(Found::BuiltIn(own)) => {
            Err(Error::conflict(format!("the group {} comes with the program; only its members can be changed", own.name)))
        }
        None => Err(no_group(asked)),
    }
}

fn no_group(asked: &str) -> Error {
    Error::NotFound(format!("user group {}", cut(asked, SHOWN_MAX_BYTES)))
}

//! Users and groups of users: lists, making, disabling, one-time passwords, members.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use drydock_control::records::PageQuery;
use drydock_control::store::sessions::SessionRecord;
use drydock_control::store::user_groups::MemberRecord;
use drydock_control::{UserEdit, UserGroupView, UserView, WhoseSessions};
use drydock_domain::access::user::{UserGroupSpec, UserKind, UserSpec};
use drydock_domain::ids::SessionId;
use jiff::Timestamp;

use super::CursorQuery;
use super::jobs::read_id;
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

/// Sessions shown on a user's page, count.
const SESSIONS_SHOWN: u32 = 50;

struct UserRow {
    name: String,
    description: String,
    email: String,
    program: bool,
    groups: Vec<String>,
    badge: Badge,
    disabled: bool,
    signs_in: String,
    second_factor: bool,
    last: Option<When>,
    made: When,
    by: String,
}

impl UserRow {
    fn new(view: &UserView, now: Timestamp) -> Self {
        let user = &view.user;
        let badge = match user {
            _ if user.disabled => Badge { tone: "bad", label: "DISABLED" },
            _ if user.locked_until.is_some_and(|until| until > now) => Badge { tone: "warn", label: "LOCKED" },
            _ => Badge { tone: "ok", label: "ACTIVE" },
        };
        let password = match (user.has_password, user.password_expired) {
            (true, true) => Some("one-time password"),
            (true, false) => Some("password"),
            (false, _) => None,
        };
        let oidc = user.oidc.as_ref().map(|_| "provider");
        let signs_in = [password, user.second_factor.then_some("code"), oidc];
        UserRow {
            name: user.name.clone(),
            description: user.description.clone(),
            email: user.email.clone(),
            program: user.kind == UserKind::ServiceAccount,
            groups: view.groups.clone(),
            badge,
            disabled: user.disabled,
            signs_in: signs_in.into_iter().flatten().collect::<Vec<_>>().join(" + "),
            second_factor: user.second_factor,
            last: view::when_opt(user.last_sign_in_at, now),
            made: view::when(user.created_at, now),
            by: user.created_by.clone(),
        }
    }
}

/// A session in a list.
pub struct SessionRow {
    pub(super) id: SessionId,
    pub(super) own: bool,
    pub(super) way: String,
    pub(super) address: String,
    pub(super) user_agent: String,
    pub(super) began: When,
    pub(super) used: When,
}

impl SessionRow {
    pub(super) fn new(session: &SessionRecord, own: Option<SessionId>, now: Timestamp) -> Self {
        let code = if session.second_factor { " + code" } else { "" };
        SessionRow {
            id: session.id,
            own: Some(session.id) == own,
            way: format!("{}{code}", session.way),
            address: session.address.clone(),
            user_agent: session.user_agent.clone(),
            began: view::when(session.created_at, now),
            used: view::when(session.used_at, now),
        }
    }
}

#[derive(Template)]
#[template(path = "users.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<UserRow>,
    pager: Pager,
}

/// `GET /users`
pub async fn list(who: Signed, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_users(&who.ctx, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(ListPage {
        c: who.chrome("Users", "/users"),
        rows: found.items.iter().map(|user| UserRow::new(user, who.ctx.now)).collect(),
        pager: Pager::new("/users", cursor.cursor.as_deref(), found.next_cursor.as_deref()),
    }))
}

/// `POST /users`
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let kind = if f.ticked("program") { UserKind::ServiceAccount } else { UserKind::User };
    let spec = UserSpec { name: f.text("name"), kind, description: f.text("description"), email: f.text("email") };
    match who.control().create_user(&who.ctx, spec).await {
        Ok(made) => {
            Ok(who.done(&path_of(&made.user.name), "The user is made. Put it into a group and give it a password or a token."))
        }
        Err(e) => who.refused("/users", e),
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct ShowPage {
    c: Chrome,
    u: UserRow,
    /// A password that was made up; shown this once.
    password: Option<String>,
    sessions: Vec<SessionRow>,
}

async fn page(who: &Signed, view: &UserView, password: Option<String>) -> Result<ShowPage, Fail> {
    let page = PageQuery { cursor: None, limit: Some(SESSIONS_SHOWN) };
    let whose = WhoseSessions::User(&view.user.name);
    // Whoever may see the user but not the sessions sees none.
    let sessions = who.control().list_sessions(&who.ctx, whose, &page).await.map(|found| found.items).unwrap_or_default();
    let own = who.ctx.who.account().and_then(|own| own.session);
    Ok(ShowPage {
        c: who.chrome(format!("User {}", view.user.name), "/users"),
        u: UserRow::new(view, who.ctx.now),
        password,
        sessions: sessions.iter().map(|session| SessionRow::new(session, own, who.ctx.now)).collect(),
    })
}

/// `GET /users/{name}`
pub async fn show(who: Signed, Path(name): Path<String>) -> Result<Html<impl Template>, Fail> {
    let view = who.control().get_user(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    Ok(Html(page(&who, &view, None).await?))
}

fn path_of(name: &str) -> String {
    format!("/users/{}", form_encode(name))
}

/// `POST /users/{name}/edit`
pub async fn edit(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let edit = UserEdit { description: Some(f.text("description")), email: Some(f.text("email")), disabled: None };
    match who.control().edit_user(&who.ctx, &name, &edit).await {
        Ok(_) => Ok(who.done(&path_of(&name), "Saved.")),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /users/{name}/disable`
pub async fn disable(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    set_disabled(&form.who, &name, true, "The user is disabled: nothing of theirs lets anybody in.").await
}

/// `POST /users/{name}/enable`
pub async fn enable(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    set_disabled(&form.who, &name, false, "The user is let in again.").await
}

async fn set_disabled(who: &Signed, name: &str, disabled: bool, done: &str) -> Result<Response, Fail> {
    let edit = UserEdit { disabled: Some(disabled), ..UserEdit::default() };
    match who.control().edit_user(&who.ctx, name, &edit).await {
        Ok(_) => Ok(who.done(&path_of(name), done)),
        Err(e) => who.refused(&path_of(name), e),
    }
}

/// `POST /users/{name}/password`: answers with the page itself, because the password may be shown this once only.
pub async fn password(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().set_password(&who.ctx, &name, None, false).await {
        Ok((view, made_up)) => {
            let shown = made_up.map(|secret| secret.expose().to_owned());
            Ok(Html(page(&who, &view, shown).await?).into_response())
        }
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /users/{name}/reset-second-factor`
pub async fn reset_second_factor(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().reset_second_factor(&who.ctx, &name).await {
        Ok(_) => Ok(who.done(&path_of(&name), "The user has no second factor any more.")),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /users/{name}/delete`
pub async fn delete(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_user(&who.ctx, &name).await {
        Ok(()) => Ok(who.done("/users", format!("The user {name} is deleted."))),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

/// `POST /users/{name}/sessions/{id}/end`
pub async fn end_session(Path((name, id)): Path<(String, String)>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    let id: SessionId = match read_id(&who, &id) {
        Ok(id) => id,
        Err(page) => return Ok(*page),
    };
    match who.control().revoke_session(&who.ctx, id).await {
        Ok(()) => Ok(who.done(&path_of(&name), "The session has ended.")),
        Err(e) => who.refused(&path_of(&name), e),
    }
}

struct GroupRow {
    name: String,
    description: String,
    built_in: bool,
    members: u64,
}

impl GroupRow {
    fn new(view: UserGroupView) -> Self {
        GroupRow { name: view.name, description: view.description, built_in: view.built_in, members: view.members }
    }
}

#[derive(Template)]
#[template(path = "user_groups.html")]
struct GroupsPage {
    c: Chrome,
    rows: Vec<GroupRow>,
}

/// `GET /user-groups`
pub async fn groups(who: Signed) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_user_groups(&who.ctx).await.map_err(|e| who.fail(e))?;
    let rows = found.into_iter().map(GroupRow::new).collect();
    Ok(Html(GroupsPage { c: who.chrome("User groups", "/user-groups"), rows }))
}

/// `POST /user-groups`
pub async fn create_group(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let spec = UserGroupSpec { name: f.text("name"), description: f.text("description") };
    match who.control().create_user_group(&who.ctx, spec).await {
        Ok(made) => Ok(who.done(&group_path(&made.name), "The group is made. Put users into it; access statements can name it.")),
        Err(e) => who.refused("/user-groups", e),
    }
}

struct MemberRow {
    name: String,
    disabled: bool,
    added: When,
    by: String,
}

impl MemberRow {
    fn new(member: &MemberRecord, now: Timestamp) -> Self {
        MemberRow {
            name: member.name.clone(),
            disabled: member.disabled,
            added: view::when(member.added_at, now),
            by: member.added_by.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "user_group.html")]
struct GroupPage {
    c: Chrome,
    g: GroupRow,
    members: Vec<MemberRow>,
    pager: Pager,
}

/// `GET /user-groups/{name}`
pub async fn show_group(
    who: Signed,
    Path(name): Path<String>,
    Query(cursor): Query<CursorQuery>,
) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let group = control.get_user_group(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    let found = control.user_group_members(&who.ctx, &name, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(GroupPage {
        c: who.chrome(format!("User group {}", group.name), "/user-groups"),
        pager: Pager::new(&group_path(&group.name), cursor.cursor.as_deref(), found.next_cursor.as_deref()),
        members: found.items.iter().map(|member| MemberRow::new(member, who.ctx.now)).collect(),
        g: GroupRow::new(group),
    }))
}

fn group_path(name: &str) -> String {
    format!("/user-groups/{}", form_encode(name))
}

/// Names in a text field, apart by commas, spaces or lines.
fn names(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\r', '\t']).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// `POST /user-groups/{name}/members`
pub async fn change_members(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let (add, remove) = (names(&f.area("add")), names(&f.area("remove")));
    match who.control().change_user_group_members(&who.ctx, &name, &add, &remove).await {
        Ok(group) => {
            let words = view::plural(group.members, "member", "members");
            Ok(who.done(&group_path(&name), format!("The group has {words}.")))
        }
        Err(e) => who.refused(&group_path(&name), e),
    }
}

/// `POST /user-groups/{name}/delete`
pub async fn delete_group(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_user_group(&who.ctx, &name).await {
        Ok(()) => Ok(who.done("/user-groups", format!("The group {name} is deleted."))),
        Err(e) => who.refused(&group_path(&name), e),
    }
}

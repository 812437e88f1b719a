//! Managed instance groups: the list, making one, its members and sources.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use drydock_control::{AttachTarget, GroupEdit, GroupMemberView, GroupView};
use drydock_domain::group::GroupSpec;
use drydock_domain::ids::InstanceId;

use super::CursorQuery;
use crate::console::auth::{Chrome, Signed, SignedForm, form_encode};
use crate::console::error::{Fail, Html};
use crate::console::rows::Pager;
use crate::console::view::{self, Badge, When};

struct GroupRow {
    name: String,
    description: String,
    family: String,
    environment: String,
    compartment: String,
    attached: Vec<String>,
    instances: u64,
    made: When,
    by: String,
}

impl GroupRow {
    fn new(g: &GroupView, who: &Signed) -> Self {
        GroupRow {
            name: g.spec.name.clone(),
            description: g.spec.description.clone(),
            family: g.family.as_ref().map_or_else(
                || "decided by the first member".to_owned(),
                |f| format!("{} {} {}", f.os, f.release, f.architecture),
            ),
            environment: g.spec.environment.clone().unwrap_or_default(),
            compartment: g.spec.compartment.clone().unwrap_or_default(),
            attached: g.attached.clone(),
            instances: g.instances,
            made: view::when(g.created_at, who.ctx.now),
            by: g.created_by.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "groups.html")]
struct ListPage {
    c: Chrome,
    rows: Vec<GroupRow>,
}

/// `GET /groups`
pub async fn list(who: Signed) -> Result<Html<impl Template>, Fail> {
    let found = who.control().list_groups(&who.ctx).await.map_err(|e| who.fail(e))?;
    let rows = found.iter().map(|g| GroupRow::new(g, &who)).collect();
    Ok(Html(ListPage { c: who.chrome("Groups", "/groups"), rows }))
}

/// `POST /groups`
pub async fn create(form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let environment = Some(f.text("environment")).filter(|e| !e.is_empty());
    let compartment = Some(f.text("compartment")).filter(|path| !path.is_empty());
    let spec = GroupSpec { name: f.text("name"), description: f.text("description"), environment, compartment };
    match who.control().create_group(&who.ctx, spec).await {
        Ok(made) => Ok(who.done(&path_of(&made.spec.name), "The group is made; add its first member.")),
        Err(e) => who.refused_name("/groups", e),
    }
}

struct MemberRow {
    id: InstanceId,
    name: String,
    badge: Badge,
    os: String,
    differs: Option<String>,
}

impl MemberRow {
    fn new(m: GroupMemberView) -> Self {
        MemberRow { id: m.id, name: m.name, badge: view::instance_badge(m.state), os: m.os, differs: m.differs }
    }
}

#[derive(Template)]
#[template(path = "group.html")]
struct ShowPage {
    c: Chrome,
    g: GroupRow,
    members: Vec<MemberRow>,
    pager: Pager,
}

/// `GET /groups/{name}`
pub async fn show(who: Signed, Path(name): Path<String>, Query(cursor): Query<CursorQuery>) -> Result<Html<impl Template>, Fail> {
    let control = who.control();
    let group = control.get_group(&who.ctx, &name).await.map_err(|e| who.fail(e))?;
    let members = control.group_members(&who.ctx, &name, &cursor.page()).await.map_err(|e| who.fail(e))?;
    Ok(Html(ShowPage {
        c: who.chrome(format!("Group {name}"), "/groups"),
        g: GroupRow::new(&group, &who),
        members: members.items.into_iter().map(MemberRow::new).collect(),
        pager: Pager::new(&path_of(&name), cursor.cursor.as_deref(), members.next_cursor.as_deref()),
    }))
}

fn path_of(name: &str) -> String {
    format!("/groups/{}", form_encode(name))
}

/// Names in a text field, apart by commas, spaces or lines.
fn names(text: &str) -> Vec<String> {
    text.split([',', ' ', '\n', '\r', '\t']).filter(|n| !n.is_empty()).map(str::to_owned).collect()
}

/// `POST /groups/{name}/members`
pub async fn members(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let (add, remove) = (names(&f.area("add")), names(&f.area("remove")));
    match who.control().change_members(&who.ctx, &name, &add, &remove).await {
        Ok(group) => {
            Ok(who.done(&path_of(&name), format!("The group has {}.", view::plural(group.instances, "member", "members"))))
        }
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

/// `POST /groups/{name}/sources`
pub async fn sources(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let target = AttachTarget::Group(name.clone());
    let (attach, detach) = (names(&f.area("attach")), names(&f.area("detach")));
    match who.control().change_attachments(&who.ctx, &target, &attach, &detach).await {
        Ok(_) => Ok(who.done(&path_of(&name), "Hosts take the change when they look next.")),
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

/// `POST /groups/{name}/edit`
pub async fn edit(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let (who, f) = (form.who, form.fields);
    let edit = GroupEdit { description: Some(f.text("description")), environment: Some(f.text("environment")) };
    match who.control().edit_group(&who.ctx, &name, &edit).await {
        Ok(_) => Ok(who.done(&path_of(&name), "The group is saved.")),
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

/// `POST /groups/{name}/delete`
pub async fn delete(Path(name): Path<String>, form: SignedForm) -> Result<Response, Fail> {
    let who = form.who;
    match who.control().delete_group(&who.ctx, &name).await {
        Ok(()) => Ok(who.done("/groups", "The group is deleted; its members stay.")),
        Err(e) => who.refused_name(&path_of(&name), e),
    }
}

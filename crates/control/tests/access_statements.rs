//! Compartments, policies of access statements and dynamic groups: what is made, what is refused, and that none of it takes
//! the ground from under a statement.
#![allow(missing_docs)]

mod common;

use common::World;
use drydock_control::{CompartmentEdit, DynamicGroupSpec, ErrorKind, OpCtx};
use drydock_domain::access::Role;

async fn paths(w: &World, who: &OpCtx) -> Vec<String> {
    w.control.list_compartments(who).await.expect("listed").into_iter().map(|c| c.path).collect()
}

fn renamed(name: &str) -> CompartmentEdit {
    CompartmentEdit { name: Some(name.to_owned()), ..CompartmentEdit::default() }
}

fn moved(parent: &str) -> CompartmentEdit {
    CompartmentEdit { parent: Some(parent.to_owned()), ..CompartmentEdit::default() }
}

#[tokio::test]
async fn compartments_are_a_tree_that_is_renamed_moved_and_deleted_when_empty() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    for (parent, name) in [("/", "A"), ("/A", "web"), ("/a/WEB", "eu"), ("/", "B")] {
        w.control.create_compartment(&admin, parent, name, "").await.expect("made");
    }
    assert_eq!(paths(&w, &admin).await, ["/", "/A", "/A/web", "/A/web/eu", "/B"]);
    let twin = w.control.create_compartment(&admin, "/", "a", "").await.expect_err("siblings differ in any case");
    assert_eq!(twin.fields()[0].field, "name", "{twin}");
    for bad in ["", "a b", "a/b", "ä", &"x".repeat(101)] {
        let refused = w.control.create_compartment(&admin, "/", bad, "").await.expect_err("no name");
        assert_eq!((refused.kind(), refused.fields()[0].field.as_str()), (ErrorKind::Invalid, "name"), "{bad:?}");
    }
    let nowhere = w.control.create_compartment(&admin, "/C", "x", "").await.expect_err("no such parent");
    assert_eq!(nowhere.to_string(), "there is no compartment /C");

    let inside = w.control.edit_compartment(&admin, "/A", &moved("/A/web"), None).await.expect_err("into itself");
    assert_eq!(inside.fields()[0].field, "parent", "{inside}");
    w.control.edit_compartment(&admin, "/A/web", &moved("/B"), None).await.expect("moved");
    w.control.edit_compartment(&admin, "/B", &renamed("C"), None).await.expect("renamed");
    assert_eq!(paths(&w, &admin).await, ["/", "/A", "/C", "/C/web", "/C/web/eu"]);

    let full = w.control.delete_compartment(&admin, "/C").await.expect_err("it is not empty");
    assert!(full.to_string().contains("2 things lie in /C"), "{full}");
    let deep = ["/C/web/eu", "/C/web", "/C", "/A"];
    for path in deep {
        w.control.delete_compartment(&admin, path).await.expect("empty now");
    }
    assert_eq!(paths(&w, &admin).await, ["/"]);
    assert_eq!(w.control.delete_compartment(&admin, "/").await.expect_err("never").kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn the_depth_is_bounded_and_an_old_etag_changes_nothing() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let mut path = String::new();
    for level in 0..6 {
        let parent = if path.is_empty() { "/" } else { &path };
        path = w.control.create_compartment(&admin, parent, &format!("l{level}"), "").await.expect("made").path;
    }
    let deep = w.control.create_compartment(&admin, &path, "l6", "").await.expect_err("too deep");
    assert!(deep.to_string().contains("6 levels"), "{deep}");
    let edit = CompartmentEdit { description: Some("first".to_owned()), ..CompartmentEdit::default() };
    let now = w.control.edit_compartment(&admin, "/l0", &edit, Some("1")).await.expect("described");
    assert_eq!((now.description.as_str(), now.version), ("first", 2));
    assert!(w.control.edit_compartment(&admin, "/l0", &edit, Some("1")).await.expect_err("an old etag").is_stale());
}

#[tokio::test]
async fn a_policy_that_cannot_hold_is_refused_with_its_place() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    w.control.create_compartment(&admin, "/", "A", "").await.expect("made");
    let cases = [
        ("", "there is no statement"),
        ("allow group Viewers to reed drydock-family in tenancy", "line 1, column 24"),
        ("allow group Viewers to read drydock-instnces in tenancy", "did you mean drydock-instances"),
        ("allow group Viewers to read drydock-family in compartment X", "line 1"),
        ("\nallow group TeamZ to read drydock-family in tenancy", "line 2: there is no group TeamZ"),
        ("allow dynamic-group D to read drydock-family in tenancy", "there is no dynamic group D"),
        ("define tenancy X as ocid1", "line 1"),
    ];
    for (text, wanted) in cases {
        let bad = w.control.create_access_policy(&admin, "p", "/", "", text).await.expect_err(text);
        assert_eq!((bad.kind(), bad.fields()[0].field.as_str()), (ErrorKind::Invalid, "statements"), "{text}: {bad}");
        assert!(bad.fields()[0].message.contains(wanted), "{text}: {bad}");
    }
    let outside = "allow group Viewers to read drydock-family in tenancy";
    let bad = w.control.create_access_policy(&admin, "p", "/A", "", outside).await.expect_err("its own compartment only");
    assert_eq!(bad.fields()[0].field, "statements", "{bad}");
    for name in ["", "a b", "drydock-roles", "Drydock-Administrators", "drydock-AGENTS"] {
        let refused = w.control.create_access_policy(&admin, name, "/", "", outside).await.expect_err(name);
        assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::Conflict), "{refused}");
    }
    let fixed = w.control.edit_access_policy(&admin, "drydock-roles", Some("mine"), None, None).await.expect_err("built in");
    assert_eq!(fixed.kind(), ErrorKind::Conflict);
    assert!(w.control.delete_access_policy(&admin, "drydock-administrators").await.is_err());
}

#[tokio::test]
async fn what_would_leave_a_statement_without_effect_is_refused() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    w.control.create_compartment(&admin, "/", "A", "").await.expect("made");
    w.control.create_compartment(&admin, "/", "B", "").await.expect("made");
    let text = "deny group Operators to manage drydock-instances in compartment A";
    w.control.create_access_policy(&admin, "closed", "/", "", text).await.expect("made");
    for (edit, what) in [(renamed("Z"), "renamed"), (moved("/B"), "moved")] {
        let refused = w.control.edit_compartment(&admin, "/A", &edit, None).await.expect_err(what);
        assert!(refused.to_string().contains("policy closed, line 1"), "{what}: {refused}");
    }
    assert!(w.control.delete_compartment(&admin, "/A").await.expect_err("named").to_string().contains("policy closed"));
    w.control.edit_compartment(&admin, "/B", &renamed("C"), None).await.expect("nobody speaks of it");
    w.control.delete_access_policy(&admin, "closed").await.expect("deleted");
    w.control.edit_compartment(&admin, "/A", &moved("/C"), None).await.expect("now it goes");

    // A policy goes along with the compartment it is attached to, and speaks of it by its own name.
    let inner = "deny group Operators to manage drydock-instances in compartment A";
    w.control.create_access_policy(&admin, "inner", "/C/A", "", inner).await.expect("made");
    w.control.edit_compartment(&admin, "/C/A", &moved("/"), None).await.expect("goes along");
    let policy = w.control.get_access_policy(&admin, "inner").await.expect("there");
    assert_eq!(policy.record.compartment, "/A");
    let full = w.control.delete_compartment(&admin, "/A").await.expect_err("a policy lies in it");
    assert!(full.to_string().contains("1 thing lies in /A"), "{full}");
}

#[tokio::test]
async fn a_statement_holds_from_the_next_request_on_and_deny_wins() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let operator = w.person(Role::Operator).await;
    let forbidden = |result: Result<Vec<_>, drydock_control::Error>| result.expect_err("forbidden").kind();
    assert_eq!(forbidden(w.control.list_access_policies(&operator).await), ErrorKind::Forbidden);
    let text = "allow group Operators to read drydock-access-policies in tenancy";
    w.control.create_access_policy(&admin, "see", "/", "", text).await.expect("made");
    let seen = w.control.list_access_policies(&operator).await.expect("allowed now");
    let names: Vec<&str> = seen.iter().map(|p| p.record.name.as_str()).collect();
    assert_eq!(names, ["drydock-administrators", "drydock-roles", "drydock-agents", "see"]);
    w.control.list_groups(&operator).await.expect("operators see groups");
    let denied = "deny any-user to inspect drydock-groups in tenancy";
    w.control.create_access_policy(&admin, "no-groups", "/", "", denied).await.expect("made");
    assert_eq!(w.control.list_groups(&operator).await.expect_err("denied").kind(), ErrorKind::Forbidden);
    assert_eq!(w.control.list_groups(&admin).await.expect_err("deny binds administrators").kind(), ErrorKind::Forbidden);
    // But nobody shuts everybody out for ever.
    let everything = "deny any-user to manage all-resources in tenancy";
    w.control.create_access_policy(&admin, "shut", "/", "", everything).await.expect("made");
    assert_eq!(w.control.list_access_policies(&operator).await.expect_err("shut").kind(), ErrorKind::Forbidden);
    w.control.get_access_policy(&admin, "shut").await.expect("administrators reach policies");
    w.control.delete_access_policy(&admin, "shut").await.expect("and take them away");
    w.control.delete_access_policy(&admin, "no-groups").await.expect("deleted");
    w.control.list_groups(&admin).await.expect("open again");
}

#[tokio::test]
async fn a_question_is_answered_as_a_request_would_be() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let viewer = w.person(Role::Viewer).await;
    w.control.create_compartment(&admin, "/", "A", "").await.expect("made");
    let asked = ["DRYDOCK_INSTANCE_READ".to_owned(), "DRYDOCK_INSTANCE_PATCH".to_owned()];
    let answers = w.control.test_access(&viewer, None, &asked, "/A").await.expect("about oneself");
    assert_eq!(answers.iter().map(|a| a.allowed).collect::<Vec<_>>(), [true, false]);
    assert!(answers[0].decision.contains("policy drydock-roles"), "{}", answers[0].decision);
    let who = w.control.who_can(&admin, "DRYDOCK_INSTANCE_PATCH", "/A").await.expect("answered");
    assert!(who.accounts.iter().all(|(_, name, _)| !name.contains("viewer")), "{:?}", who.accounts);
    assert!(who.accounts.iter().any(|(kind, _, by)| *kind == "token" && by.contains("drydock-administrators")));
    assert_eq!(
        w.control.who_can(&viewer, "DRYDOCK_INSTANCE_PATCH", "/A").await.expect_err("not his").kind(),
        ErrorKind::Forbidden
    );
    for (permission, resource, field) in [
        ("DRYDOCK_NO", "/", "permissions"),
        ("DRYDOCK_INSTANCE_READ", "web-1", "resource"),
        ("DRYDOCK_INSTANCE_READ", "x/y", "resource"),
    ] {
        let bad = w.control.who_can(&admin, permission, resource).await.expect_err("refused");
        assert_eq!(bad.fields()[0].field, field, "{bad}");
    }
}

#[tokio::test]
async fn a_dynamic_group_has_rules_that_can_be_read() {
    let w = World::new().await;
    let admin = w.person(Role::Administrator).await;
    let spec = |rules: &str| DynamicGroupSpec {
        name: "prod".to_owned(),
        description: String::new(),
        rules: rules.to_owned(),
        match_all: false,
    };
    let bad = w.control.create_dynamic_group(&admin, &spec("ANY {label.env = prod}")).await.expect_err("quotes are missing");
    assert_eq!(bad.fields()[0].field, "rules", "{bad}");
    w.control.create_dynamic_group(&admin, &spec("ANY {label.env = 'prod'}")).await.expect("made");
    let text = "allow dynamic-group PROD to read drydock-family in tenancy";
    w.control.create_access_policy(&admin, "hosts", "/", "", text).await.expect("it is there, in any case");
    let edited = w.control.edit_dynamic_group(&admin, &spec("ALL {label.env = 'prod', label.role = 'web'}"), Some("1")).await;
    assert_eq!(edited.expect("edited").version, 2);
    assert!(w.control.edit_dynamic_group(&admin, &spec("label.env"), Some("1")).await.expect_err("old").is_stale());
    w.control.delete_dynamic_group(&admin, "prod").await.expect("deleted");
    assert_eq!(w.control.get_dynamic_group(&admin, "prod").await.expect_err("gone").kind(), ErrorKind::NotFound);
}

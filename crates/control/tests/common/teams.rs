//! Two teams with a compartment each, one with a compartment inside it: /A, /A/web, /B. Everything has its twin on the other
//! side.

use drydock_control::{OpCtx, TokenAsk};
use drydock_domain::access::Role;
use drydock_domain::access::user::{UserGroupSpec, UserSpec};
use drydock_domain::ids::AccessTokenId;

use super::{Host, World};

/// A world with teams.
pub struct Teams {
    pub w: World,
    /// Everywhere, everything.
    pub admin: OpCtx,
    /// h1 in /A, h2 in /A/web, h3 in /B, h4 in the tenancy.
    pub hosts: Vec<Host>,
}

impl Teams {
    pub async fn new() -> Self {
        let w = World::new().await;
        let admin = w.person(Role::Administrator).await;
        for (parent, name) in [("/", "A"), ("/A", "web"), ("/", "B")] {
            w.control.create_compartment(&admin, parent, name, "").await.expect("a compartment");
        }
        let hosts = w.hosts(4).await;
        for (host, path) in hosts.iter().zip(["/A", "/A/web", "/B"]) {
            w.control.move_instance(&w.server(), &host.name, path).await.expect("moved");
        }
        let teams = Teams { w, admin, hosts };
        teams.user("ann", "TeamA").await;
        teams.user("bob", "TeamB").await;
        teams.user("eve", "WatchA").await;
        teams.statements("team-a", "allow group TeamA to manage drydock-family in compartment A").await;
        teams.statements("team-b", "allow group TeamB to manage drydock-family in compartment B").await;
        teams.statements("watch-a", "allow group WatchA to inspect drydock-family in compartment A").await;
        teams
    }

    /// Makes a user in a group, which is made when it is not there.
    pub async fn user(&self, name: &str, group: &str) {
        let spec = UserSpec { name: name.into(), ..serde_json::from_str(r#"{"name":"x"}"#).expect("a spec") };
        self.w.control.create_user(&self.admin, spec).await.expect("a user");
        let spec: UserGroupSpec = serde_json::from_str(&format!(r#"{{"name":"{group}"}}"#)).expect("a spec");
        // There already: fine.
        let _ = self.w.control.create_user_group(&self.admin, spec).await;
        self.w.control.change_user_group_members(&self.admin, group, &[name.to_owned()], &[]).await.expect("a member");
    }

    /// Makes a policy of the tenancy.
    pub async fn statements(&self, name: &str, text: &str) {
        self.w.control.create_access_policy(&self.w.server(), name, "/", "", text).await.expect("a policy");
    }

    /// Somebody at work, by a token of theirs.
    pub async fn as_user(&self, name: &str) -> OpCtx {
        self.as_user_by(name).await.0
    }

    pub async fn as_user_by(&self, name: &str) -> (OpCtx, AccessTokenId) {
        let ask = TokenAsk { name: format!("{name}'s"), role: None, user: Some(name.into()), scope: vec![], expires_at: None };
        let (token, secret) = self.w.control.create_access_token(&self.w.server(), ask).await.expect("a token");
        self.w.tick();
        let who = self.w.control.authenticate(secret.expose()).await.expect("known");
        (self.w.control.ctx(who, "req"), token.id)
    }
}

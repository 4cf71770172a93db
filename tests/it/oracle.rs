//! Who may do what to whom: every role, at every scope, against every role of those it is done to, compared with an oracle
//! that is written here from the documents and knows nothing of the server's own tables.

use std::collections::HashMap;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::Client,
    server::Env,
    world::{World, account_token, bind, create_account, create_key, create_user, create_workspace, unique},
};

both!(every_role_may_do_to_every_other_what_the_oracle_says_and_nothing_else);

/// The rows give, take and act for; the columns are the roles that are given, taken and acted for. Who gives must hold all
/// that they give: an admin has no billing, so neither the owner's role nor the billing manager's is theirs to give.
const GIVES: &str = "
    .               owner admin developer member analyst reader billing_manager sidecar operator
    owner           yes   yes   yes       yes    yes     yes    yes             yes     -
    admin           -     yes   yes       yes    yes     yes    -               yes     -
    developer       -     -     -         -      -       -      -               -       -
    member          -     -     -         -      -       -      -               -       -
    analyst         -     -     -         -      -       -      -               -       -
    reader          -     -     -         -      -       -      -               -       -
    billing_manager -     -     -         -      -       -      -               -       -
    sidecar         -     -     -         -      -       -      -               -       -
    operator        yes   yes   yes       yes    yes     yes    yes             yes     yes
";

/// Those who manage people, programs and keys. Suspending somebody, and switching their keys off, gives nothing to anybody:
/// it takes no more than this.
const MANAGERS: [&str; 3] = ["owner", "admin", "operator"];

/// Those who make keys of their own.
const MAKERS: [&str; 5] = ["owner", "admin", "developer", "member", "operator"];

/// Where roles are held and given; `sibling` is another workspace.
const SCOPES: [&str; 4] = ["tenant", "workspace", "project", "sibling"];

/// Whether a role at one scope reaches another.
fn reaches(from: &str, to: &str) -> bool {
    from == to || from == "tenant" || (from == "workspace" && to == "project")
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Act {
    /// Give the role at the scope.
    Bind,
    /// Take the role at the scope away.
    Unbind,
    /// Make a person with the role.
    NewUser,
    /// Make a person in a team that holds the role.
    NewTeammate,
    /// Issue a token for a program that holds the role at the scope.
    Token,
    /// Make a key for somebody who holds the role at the scope.
    NewKey,
    /// As that, but the key is good for calling models and nothing else.
    NewModelKey,
    /// Make a key of one's own.
    OwnKey,
    SuspendUser,
    ReactivateUser,
    SuspendAccount,
    ReactivateAccount,
    DisableKey,
    EnableKey,
    RevokeKey,
}

impl Act {
    /// Everything, and at which scopes the role is held by whom it is done to.
    const ALL: [(Self, &'static [&'static str]); 15] = [
        (Self::Bind, &SCOPES),
        (Self::Unbind, &SCOPES),
        (Self::NewUser, &["tenant"]),
        (Self::NewTeammate, &["tenant"]),
        (Self::Token, &SCOPES),
        (Self::NewKey, &SCOPES),
        (Self::NewModelKey, &["tenant"]),
        (Self::OwnKey, &["tenant"]),
        (Self::SuspendUser, &["tenant"]),
        (Self::ReactivateUser, &["tenant"]),
        (Self::SuspendAccount, &["tenant"]),
        (Self::ReactivateAccount, &["tenant"]),
        (Self::DisableKey, &["tenant"]),
        (Self::EnableKey, &["tenant"]),
        (Self::RevokeKey, &["tenant"]),
    ];
}

/// The table as roles and what they give.
fn table() -> HashMap<(&'static str, &'static str), bool> {
    let mut lines = GIVES.trim().lines();
    let columns: Vec<&str> = lines.next().expect("a head").split_whitespace().skip(1).collect();
    let mut table = HashMap::new();
    for line in lines {
        let mut cells = line.split_whitespace();
        let row = cells.next().expect("a role");
        table.extend(columns.iter().zip(cells).map(|(column, cell)| ((row, *column), cell == "yes")));
    }
    table
}

/// The oracle: whether somebody with a role at a scope may do it to somebody with a role at a scope.
fn may(gives: &HashMap<(&str, &str), bool>, (actor, from): (&str, &str), act: Act, (role, at): (&str, &str)) -> bool {
    let manages = |scope| MANAGERS.contains(&actor) && reaches(from, scope);
    let gives = gives[&(actor, role)];
    match act {
        Act::Bind | Act::Unbind => manages(at) && gives,
        Act::NewUser | Act::NewTeammate => manages("tenant") && gives,
        Act::Token => manages("tenant") && gives,
        // Keys lie in the workspace. What is held elsewhere is no use with them.
        Act::NewKey => manages("workspace") && (gives || at == "sibling"),
        Act::NewModelKey => manages("workspace"),
        Act::OwnKey => MAKERS.contains(&actor) && reaches(from, "workspace"),
        Act::SuspendUser | Act::ReactivateUser | Act::SuspendAccount | Act::ReactivateAccount => manages("tenant"),
        Act::DisableKey | Act::EnableKey | Act::RevokeKey => manages("workspace"),
    }
}

/// Those to whom it is done, each with one role.
struct Stage {
    world: World,
    sibling: String,
    /// Holds nothing: roles are given to it.
    blank: String,
    bindings: HashMap<(String, String), String>,
    accounts: HashMap<(String, String), String>,
    users: HashMap<String, String>,
    teams: HashMap<String, String>,
    keys: HashMap<String, String>,
}

impl Stage {
    async fn new(env: &Env, roles: &[&str]) -> Self {
        let world = World::new(env).await;
        let (operator, tenant) = (&env.operator, world.tenant.clone());
        // What is asked here is who may give a role, not how many may hold it.
        let limit = |role: &&str| pb::SeatLimit { role: format!("roles/{role}"), seats: 1000 };
        let limits = roles.iter().filter(|role| **role != "operator").map(limit).collect();
        let request = pb::UpdateSeatsRequest { name: tenant.clone(), limits, ..Default::default() };
        operator.access().update_seats(request).await.expect("seats");
        let sibling = create_workspace(operator, &tenant, "sibling", "staging").await;
        let blank = create_account(operator, &tenant, "blank", None).await;
        let puppet = create_account(operator, &tenant, "puppet", None).await;
        let mut stage = Self {
            world,
            sibling,
            blank,
            bindings: HashMap::new(),
            accounts: HashMap::new(),
            users: HashMap::new(),
            teams: HashMap::new(),
            keys: HashMap::new(),
        };
        for role in roles {
            let name = format!("roles/{role}");
            for at in SCOPES {
                let scope = stage.scope(at);
                let account = create_account(operator, &tenant, &unique("does"), None).await;
                bind(operator, &tenant, &name, &account, &scope).await;
                let key = ((*role).to_owned(), at.to_owned());
                stage.accounts.insert(key.clone(), account);
                stage.bindings.insert(key, bind(operator, &tenant, &name, &puppet, &scope).await);
            }
            let user = create_user(operator, &tenant, &format!("{role}@example.com"), &name, &[]).await;
            let team = unique("team");
            let request =
                pb::CreateTeamRequest { parent: tenant.clone(), team_id: team.clone(), team: Some(Default::default()) };
            operator.identity().create_team(request).await.expect("a team");
            let team = format!("{tenant}/teams/{team}");
            bind(operator, &tenant, &name, &team, &tenant).await;
            let key = pb::Key { owner: user.clone(), ..pb::Key::default() };
            let key = create_key(operator, &stage.world.workspace, key).await.name;
            stage.users.insert((*role).to_owned(), user);
            stage.teams.insert((*role).to_owned(), team);
            stage.keys.insert((*role).to_owned(), key);
        }
        stage
    }

    fn scope(&self, at: &str) -> String {
        match at {
            "tenant" => self.world.tenant.clone(),
            "workspace" => self.world.workspace.clone(),
            "project" => self.world.project.clone(),
            _ => self.sibling.clone(),
        }
    }

    async fn new_key(&self, caller: &Client, owner: &str, permissions: &[&str]) -> Result<(), Status> {
        let permissions = permissions.iter().map(|permission| (*permission).to_owned()).collect();
        let allowlist = Some(pb::Allowlist { permissions, ..pb::Allowlist::default() });
        let key = pb::Key { owner: owner.to_owned(), allowlist, ..pb::Key::default() };
        let request =
            pb::CreateKeyRequest { parent: self.world.workspace.clone(), key: Some(key), ..Default::default() };
        caller.keys().create_key(request).await.map(drop)
    }

    async fn new_user(&self, caller: &Client, role: &str, teams: Vec<String>) -> Result<(), Status> {
        let user = pb::User { email: format!("{}@example.com", unique("new")), teams, ..pb::User::default() };
        let request = pb::CreateUserRequest {
            parent: self.world.tenant.clone(),
            user: Some(user),
            role: role.to_owned(),
            template: String::new(),
        };
        caller.identity().create_user(request).await.map(drop)
    }

    /// Does it, and undoes it when it was done.
    async fn attempt(&mut self, caller: &Client, me: &str, act: Act, (role, at): (&str, &str)) -> Result<(), Status> {
        let place = (role.to_owned(), at.to_owned());
        let name = format!("roles/{role}");
        let (user, account) = (self.users[role].clone(), self.accounts[&place].clone());
        let operator = self.world.operator.clone();
        match act {
            Act::Bind => {
                let (parent, scope) = (self.world.tenant.clone(), self.scope(at));
                let binding = pb::Binding { role: name, member: self.blank.clone(), scope, ..pb::Binding::default() };
                let request = pb::CreateBindingRequest { parent, binding: Some(binding) };
                let made = caller.access().create_binding(request).await?.into_inner().binding.expect("a binding");
                let request = pb::DeleteBindingRequest { name: made.name };
                operator.access().delete_binding(request).await.expect("undone");
            }
            Act::Unbind => {
                let request = pb::DeleteBindingRequest { name: self.bindings[&place].clone() };
                caller.access().delete_binding(request).await?;
                let puppet = format!("{}/serviceAccounts/puppet", self.world.tenant);
                let again = bind(&operator, &self.world.tenant, &name, &puppet, &self.scope(at)).await;
                self.bindings.insert(place, again);
            }
            Act::NewUser => self.new_user(caller, &name, Vec::new()).await?,
            Act::NewTeammate => self.new_user(caller, "roles/reader", vec![self.teams[role].clone()]).await?,
            Act::Token => {
                let request = pb::CreateServiceAccountTokenRequest { name: account, ttl_seconds: 60 };
                caller.identity().create_service_account_token(request).await?;
            }
            Act::NewKey => self.new_key(caller, &account, &[]).await?,
            Act::NewModelKey => self.new_key(caller, &account, &["models:invoke"]).await?,
            Act::OwnKey => self.new_key(caller, me, &[]).await?,
            Act::SuspendUser => {
                caller.identity().suspend_user(pb::SuspendUserRequest { name: user.clone() }).await?;
                operator.identity().reactivate_user(pb::ReactivateUserRequest { name: user }).await.expect("undone");
            }
            Act::ReactivateUser => {
                caller.identity().reactivate_user(pb::ReactivateUserRequest { name: user }).await?;
            }
            Act::SuspendAccount => {
                let request = pb::SuspendServiceAccountRequest { name: account.clone() };
                caller.identity().suspend_service_account(request).await?;
                let request = pb::ReactivateServiceAccountRequest { name: account };
                operator.identity().reactivate_service_account(request).await.expect("undone");
            }
            Act::ReactivateAccount => {
                let request = pb::ReactivateServiceAccountRequest { name: account };
                caller.identity().reactivate_service_account(request).await?;
            }
            Act::DisableKey => {
                let name = self.keys[role].clone();
                caller.keys().disable_key(pb::DisableKeyRequest { name: name.clone() }).await?;
                operator.keys().enable_key(pb::EnableKeyRequest { name }).await.expect("undone");
            }
            Act::EnableKey => {
                caller.keys().enable_key(pb::EnableKeyRequest { name: self.keys[role].clone() }).await?;
            }
            Act::RevokeKey => {
                let request = pb::RevokeKeyRequest { name: self.keys[role].clone(), ..Default::default() };
                caller.keys().revoke_key(request).await?;
                let key = pb::Key { owner: user, ..pb::Key::default() };
                self.keys.insert(role.to_owned(), create_key(&operator, &self.world.workspace, key).await.name);
            }
        }
        Ok(())
    }
}

async fn every_role_may_do_to_every_other_what_the_oracle_says_and_nothing_else(env: &mut Env) {
    let gives = table();
    let roles: Vec<&str> = GIVES.trim().lines().next().expect("a head").split_whitespace().skip(1).collect();
    let known =
        env.operator.access().list_roles(pb::ListRolesRequest::default()).await.expect("roles").into_inner().roles;
    for role in &known {
        let known = role.name.strip_prefix("roles/").is_some_and(|id| roles.contains(&id));
        assert!(known, "the oracle does not know {}", role.name);
    }
    let mut stage = Stage::new(env, &roles).await;
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for actor in &roles {
        for from in &SCOPES[..3] {
            let scope = stage.scope(from);
            let me = create_account(&env.operator, &stage.world.tenant, &unique("acts"), None).await;
            bind(&env.operator, &stage.world.tenant, &format!("roles/{actor}"), &me, &scope).await;
            let caller = env.operator.with_token(Some(&account_token(&env.operator, &me).await));
            for (act, scopes) in Act::ALL {
                for (role, at) in roles.iter().flat_map(|role| scopes.iter().map(move |at| (*role, *at))) {
                    let expected = may(&gives, (actor, from), act, (role, at));
                    let done = stage.attempt(&caller, &me, act, (role, at)).await;
                    let code = done.as_ref().err().map_or(Code::Ok, Status::code);
                    let right = if expected { Code::Ok } else { Code::PermissionDenied };
                    if code != right {
                        wrong
                            .push(format!("{actor:15} on {from:9} {act:?} of {role} on {at}: {code:?}, not {right:?}"));
                    }
                    asked += 1;
                }
            }
        }
    }
    assert_eq!(asked, 9 * 3 * 9 * (4 * 4 + 11));
    assert!(wrong.is_empty(), "{} of {asked} are not as the oracle says:\n{}", wrong.len(), wrong.join("\n"));
}

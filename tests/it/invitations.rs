//! Invitations: who may ask whom to join, what the link is good for, and that it is good once.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::{Code, Status};

use crate::harness::{
    both,
    client::{Client, assert_refused},
    once,
    server::Env,
    world::{World, bind, create_account, create_template, create_user, create_workspace, invite, token_of},
};

both!(
    whoever_accepts_has_exactly_what_they_were_invited_to,
    until_they_accept_they_can_do_nothing,
    of_a_hundred_who_accept_at_once_one_does,
    of_accepting_cancelling_and_sending_again_at_once_one_wins,
    a_link_that_is_good_for_nothing_answers_always_the_same,
    an_invitation_is_void_when_its_sender_could_not_give_it_any_more,
    what_was_cancelled_can_be_invited_again,
    whoever_was_put_into_a_team_meanwhile_is_in_it_everywhere,
);

once!(a_template_gives_what_it_says_when_it_is_accepted, a_suspended_tenant_lets_nobody_in_and_keeps_its_invitations);

pub fn to(email: &str) -> pb::Invitation {
    pb::Invitation { email: email.into(), ..pb::Invitation::default() }
}

pub async fn create(client: &Client, tenant: &str, invitation: pb::Invitation) -> Result<pb::Invitation, Status> {
    let invitation = Some(invitation);
    let request = pb::CreateInvitationRequest { parent: tenant.into(), invitation, ..Default::default() };
    Ok(client.identity().create_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

pub async fn accept(client: &Client, token: &str) -> Result<pb::User, Status> {
    let request = pb::AcceptInvitationRequest { token: token.into(), ..Default::default() };
    Ok(client.with_token(None).identity().accept_invitation(request).await?.into_inner().user.expect("a user"))
}

pub async fn resend(client: &Client, name: &str) -> Result<pb::Invitation, Status> {
    let request = pb::ResendInvitationRequest { name: name.into(), ..Default::default() };
    Ok(client.identity().resend_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

pub async fn cancel(client: &Client, name: &str) -> Result<pb::Invitation, Status> {
    let request = pb::CancelInvitationRequest { name: name.into(), ..Default::default() };
    Ok(client.identity().cancel_invitation(request).await?.into_inner().invitation.expect("an invitation"))
}

async fn state(client: &Client, name: &str) -> pb::InvitationState {
    let request = pb::GetInvitationRequest { name: name.into() };
    let answer = client.identity().get_invitation(request).await.expect("the invitation").into_inner();
    answer.invitation.expect("an invitation").state()
}

async fn user(client: &Client, name: &str) -> Result<pb::User, Status> {
    let request = pb::GetUserRequest { name: name.into() };
    Ok(client.identity().get_user(request).await?.into_inner().user.expect("a user"))
}

/// Role and scope of every binding of a member.
async fn roles(client: &Client, tenant: &str, member: &str) -> Vec<(String, String)> {
    let request = pb::ListBindingsRequest { parent: tenant.into(), page_size: 1000, ..Default::default() };
    let all = client.access().list_bindings(request).await.expect("bindings").into_inner().bindings;
    all.into_iter().filter(|binding| binding.member == member).map(|binding| (binding.role, binding.scope)).collect()
}

/// What an error says, whole.
fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

async fn whoever_accepts_has_exactly_what_they_were_invited_to(env: &mut Env) {
    let world = World::new(env).await;
    let invitation = pb::Invitation {
        role: "roles/analyst".into(),
        teams: vec![world.team.clone(), world.team.clone()],
        workspace: world.workspace.clone(),
        ..to("Mia@Example.com")
    };
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let made = create(&owner, &world.tenant, invitation).await.expect("invited");
    assert_eq!((made.role.as_str(), made.workspace.as_str()), ("roles/analyst", world.workspace.as_str()));
    assert_eq!((made.inviter.as_str(), made.teams.as_slice()), (world.owner.as_str(), [world.team.clone()].as_slice()));
    assert_eq!(made.state(), pb::InvitationState::Pending);
    let invited = user(&owner, &made.user).await.expect("a user");
    assert_eq!((invited.state(), invited.teams.len()), (pb::UserState::Invited, 0));
    assert_eq!(roles(&owner, &world.tenant, &made.user).await, []);
    let request = pb::AcceptInvitationRequest {
        token: token_of(&made),
        display_name: "Mia M.".into(),
        ..pb::AcceptInvitationRequest::default()
    };
    let joined = env.operator.with_token(None).identity().accept_invitation(request).await.expect("accepted");
    let joined = joined.into_inner().user.expect("a user");
    assert_eq!((joined.name.as_str(), joined.display_name.as_str()), (made.user.as_str(), "Mia M."));
    assert_eq!((joined.state(), joined.teams.as_slice()), (pb::UserState::Active, [world.team.clone()].as_slice()));
    let expected = [("roles/analyst".to_owned(), world.workspace.clone())];
    assert_eq!(roles(&owner, &world.tenant, &made.user).await, expected);
    assert_eq!(state(&owner, &made.name).await, pb::InvitationState::Accepted);
    // They act, and decisions know it.
    let mia = env.operator.with_token(Some(&env.user_token(&made.user)));
    let request = pb::GetWorkspaceRequest { name: world.workspace.clone() };
    mia.identity().get_workspace(request).await.expect("they may read it");
    let request = pb::CreateInvitationRequest {
        parent: world.tenant.clone(),
        invitation: Some(to("x@example.com")),
        ..Default::default()
    };
    assert_eq!(mia.identity().create_invitation(request).await.expect_err("an analyst").code(), Code::PermissionDenied);
    // Without more said, they are members of the whole tenant, by what comes before the @.
    let made = create(&owner, &world.tenant, to("noa@example.com")).await.expect("invited");
    let joined = accept(&owner, &token_of(&made)).await.expect("accepted");
    assert_eq!(joined.display_name, "noa");
    assert_eq!(roles(&owner, &world.tenant, &made.user).await, [("roles/member".to_owned(), world.tenant.clone())]);
}

async fn until_they_accept_they_can_do_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let made =
        create(&env.operator, &world.tenant, pb::Invitation { role: "roles/owner".into(), ..to("o@example.com") });
    let made = made.await.expect("invited");
    let invited = env.operator.with_token(Some(&env.user_token(&made.user)));
    let get = || pb::GetTenantRequest { name: world.tenant.clone() };
    assert_refused(invited.identity().get_tenant(get()).await, Code::Unauthenticated, "TOKEN_INVALID");
    for answer in [
        env.operator.identity().suspend_user(pb::SuspendUserRequest { name: made.user.clone() }).await.map(drop),
        env.operator.identity().reactivate_user(pb::ReactivateUserRequest { name: made.user.clone() }).await.map(drop),
    ] {
        assert_refused(answer, Code::FailedPrecondition, "STATE_CONFLICT");
    }
    // An owner who is only invited does not let the last one go.
    let suspend = pb::SuspendUserRequest { name: world.owner.clone() };
    assert_eq!(
        env.operator.identity().suspend_user(suspend).await.expect_err("the last").code(),
        Code::FailedPrecondition
    );
    accept(&env.operator, &token_of(&made)).await.expect("accepted");
    invited.identity().get_tenant(get()).await.expect("they own it");
}

async fn of_a_hundred_who_accept_at_once_one_does(env: &mut Env) {
    let world = World::new(env).await;
    for round in 0..4 {
        let made = invite(&env.operator, &world.tenant).await;
        let token = token_of(&made);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let (client, token) = (env.operator.clone(), token.clone());
                tokio::spawn(async move { accept(&client, &token).await })
            })
            .collect();
        let (mut won, mut lost) = (0, Vec::new());
        for call in calls {
            match call.await.expect("no panic") {
                Ok(user) => won += usize::from(user.name == made.user),
                Err(status) => lost.push(told(&status)),
            }
        }
        lost.dedup();
        assert_eq!((won, lost.len()), (1, 1), "round {round}: {lost:?}");
        assert_eq!(lost[0].0, Code::NotFound);
        assert_eq!(roles(&env.operator, &world.tenant, &made.user).await.len(), 1);
    }
    let books = env.books().await;
    let accepted: Vec<(i64,)> =
        books.rows("SELECT seq FROM audit_events WHERE action = 'invitations.accept' ORDER BY seq").await;
    assert_eq!(accepted.len(), 4);
    books.close().await;
}

async fn of_accepting_cancelling_and_sending_again_at_once_one_wins(env: &mut Env) {
    let world = World::new(env).await;
    for _ in 0..12 {
        let made = invite(&env.operator, &world.tenant).await;
        let (client, token) = (env.operator.clone(), token_of(&made));
        let accepting = tokio::spawn(async move { accept(&client, &token).await.is_ok() });
        let (client, name) = (env.operator.clone(), made.name.clone());
        let cancelling = tokio::spawn(async move { cancel(&client, &name).await.is_ok() });
        let accepted = accepting.await.expect("no panic");
        assert_ne!(accepted, cancelling.await.expect("no panic"), "one of the two");
        let there = user(&env.operator, &made.user).await.map(|user| user.state()).ok();
        assert_eq!(there, accepted.then_some(pb::UserState::Active));
        let made = invite(&env.operator, &world.tenant).await;
        let (client, token) = (env.operator.clone(), token_of(&made));
        let accepting = tokio::spawn(async move { accept(&client, &token).await.is_ok() });
        let again = resend(&env.operator, &made.name).await;
        let accepted = accepting.await.expect("no panic");
        assert_ne!(accepted, again.is_ok(), "one of the two");
        if let Ok(again) = again {
            accept(&env.operator, &token_of(&again)).await.expect("the new link is good");
        }
    }
}

async fn a_link_that_is_good_for_nothing_answers_always_the_same(env: &mut Env) {
    let world = World::new(env).await;
    let operator = &env.operator;
    let [used, cancelled, replaced, old] = [
        invite(operator, &world.tenant).await,
        invite(operator, &world.tenant).await,
        invite(operator, &world.tenant).await,
        invite(operator, &world.tenant).await,
    ];
    accept(operator, &token_of(&used)).await.expect("accepted");
    cancel(operator, &cancelled.name).await.expect("cancelled");
    let again = resend(operator, &replaced.name).await.expect("sent again");
    let unknown = format!("inv_{}", "A".repeat(43));
    let mut answers = Vec::new();
    for token in [
        &token_of(&used),
        &token_of(&cancelled),
        &token_of(&replaced),
        &unknown,
        "",
        "x",
        "inv_",
        "\u{1f4a5}",
        &"y".repeat(5000),
    ] {
        answers.push(told(&accept(operator, token).await.expect_err(token)));
    }
    // Good for seven days, by the server's clock, and not a moment longer.
    env.clock.advance(Duration::from_hours(7 * 24));
    for late in [&old, &again] {
        answers.push(told(&accept(operator, &token_of(late)).await.expect_err("ended")));
        assert_eq!(state(operator, &late.name).await, pb::InvitationState::Expired);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_refused(accept(operator, "x").await, Code::NotFound, "INVITATION_INVALID");
    let again = resend(operator, &old.name).await.expect("an ended one is sent again");
    env.clock.advance(Duration::from_hours(7 * 24) - Duration::from_micros(1));
    accept(operator, &token_of(&again)).await.expect("good for seven days");
}

/// Answers as if there had never been such a link, is on record, and frees the address.
async fn assert_void(env: &Env, world: &World, made: &pb::Invitation) {
    let never = told(&accept(&env.operator, "x").await.expect_err("none"));
    let refused = accept(&env.operator, &token_of(made)).await.expect_err("void");
    assert_eq!(told(&refused), never);
    assert_eq!(state(&env.operator, &made.name).await, pb::InvitationState::Void);
    let resource = format!("resource = {} action = invitations.void", made.name);
    let request = pb::ListAuditEventsRequest { parent: world.tenant.clone(), filter: resource, ..Default::default() };
    let events = env.operator.audit().list_audit_events(request).await.expect("events").into_inner().events;
    assert_eq!(events.len(), 1);
    assert!(events[0].reason.contains("cannot give this any more"), "{:?}", events[0]);
    assert_eq!(user(&env.operator, &made.user).await.expect_err("forgotten").code(), Code::NotFound);
    create(&env.operator, &world.tenant, to(&made.email)).await.expect("the address is free");
}

async fn an_invitation_is_void_when_its_sender_could_not_give_it_any_more(env: &mut Env) {
    let world = World::new(env).await;
    let operator = &env.operator;
    // Suspended.
    let admin = create_user(operator, &world.tenant, "admin@example.com", "roles/admin", &[]).await;
    let by_admin = operator.with_token(Some(&env.user_token(&admin)));
    let made =
        create(&by_admin, &world.tenant, pb::Invitation { role: "roles/developer".into(), ..to("a@example.com") });
    let made = made.await.expect("invited");
    operator.identity().suspend_user(pb::SuspendUserRequest { name: admin }).await.expect("suspended");
    assert_void(env, &world, &made).await;
    // Demoted: they may still invite, but not to this.
    let admin = create_user(operator, &world.tenant, "other@example.com", "roles/reader", &[]).await;
    let binding = bind(operator, &world.tenant, "roles/admin", &admin, &world.tenant).await;
    let by_admin = operator.with_token(Some(&env.user_token(&admin)));
    let made = create(&by_admin, &world.tenant, to("b@example.com")).await.expect("invited");
    operator.access().delete_binding(pb::DeleteBindingRequest { name: binding }).await.expect("demoted");
    assert_void(env, &world, &made).await;
    // A service account that is gone.
    let account = create_account(operator, &world.tenant, "inviter", Some("roles/admin")).await;
    let token = crate::harness::world::account_token(operator, &account).await;
    let made = create(&operator.with_token(Some(&token)), &world.tenant, to("c@example.com")).await.expect("invited");
    let request = pb::DeleteServiceAccountRequest { name: account, ..Default::default() };
    operator.identity().delete_service_account(request).await.expect("gone");
    assert_void(env, &world, &made).await;
    // What they were invited to is gone.
    let lab = create_workspace(operator, &world.tenant, "lab", "staging").await;
    let made = create(operator, &world.tenant, pb::Invitation { workspace: lab.clone(), ..to("d@example.com") }).await;
    let made = made.expect("invited");
    let request = pb::DeleteWorkspaceRequest { name: lab, ..Default::default() };
    operator.identity().delete_workspace(request).await.expect("gone");
    assert_void(env, &world, &made).await;
    // Sent again by somebody who may, it is theirs.
    let admin = create_user(operator, &world.tenant, "third@example.com", "roles/admin", &[]).await;
    let by_admin = operator.with_token(Some(&env.user_token(&admin)));
    let made = create(&by_admin, &world.tenant, to("e@example.com")).await.expect("invited");
    let again = resend(operator, &made.name).await.expect("sent again");
    operator.identity().suspend_user(pb::SuspendUserRequest { name: admin }).await.expect("suspended");
    accept(operator, &token_of(&again)).await.expect("accepted");
}

async fn what_was_cancelled_can_be_invited_again(env: &mut Env) {
    let world = World::new(env).await;
    let made = create(&env.operator, &world.tenant, to("a@example.com")).await.expect("invited");
    bind(&env.operator, &world.tenant, "roles/reader", &made.user, &world.tenant).await;
    world.dollars(&made.user, 5).await;
    let stale = pb::CancelInvitationRequest { name: made.name.clone(), etag: "v9".into(), ..Default::default() };
    assert_refused(env.operator.identity().cancel_invitation(stale).await, Code::Aborted, "ETAG_MISMATCH");
    cancel(&env.operator, &made.name).await.expect("cancelled");
    let again = cancel(&env.operator, &made.name).await.expect("it is so already");
    assert_eq!(again.state(), pb::InvitationState::Cancelled);
    assert_refused(resend(&env.operator, &made.name).await, Code::FailedPrecondition, "STATE_CONFLICT");
    assert_eq!(user(&env.operator, &made.user).await.expect_err("forgotten").code(), Code::NotFound);
    assert_eq!(roles(&env.operator, &world.tenant, &made.user).await, []);
    let list = pb::ListUsersRequest { parent: world.tenant.clone(), ..Default::default() };
    let users = env.operator.identity().list_users(list).await.expect("users").into_inner().users;
    assert!(users.iter().all(|user| user.name != made.user && !user.email.is_empty()), "{users:?}");
    let list = pb::ListInvitationsRequest { parent: world.tenant.clone(), ..Default::default() };
    let pending =
        env.operator.identity().list_invitations(list.clone()).await.expect("a list").into_inner().invitations;
    assert_eq!(pending.len(), 0);
    let new = create(&env.operator, &world.tenant, to("a@example.com")).await.expect("invited");
    assert_ne!((&new.name, &new.user), (&made.name, &made.user));
    // Repeated under its id, a request makes nothing new, and does not show the link again.
    let request = pb::CreateInvitationRequest {
        parent: world.tenant.clone(),
        invitation: Some(to("b@example.com")),
        request_id: "once".into(),
        validate_only: false,
    };
    let first = env.operator.identity().create_invitation(request.clone()).await.expect("invited").into_inner();
    let second = env.operator.identity().create_invitation(request).await.expect("as before").into_inner();
    let (first, second) = (first.invitation.expect("one"), second.invitation.expect("one"));
    assert_eq!(second, pb::Invitation { activation_link: String::new(), ..first });
    let pending = env.operator.identity().list_invitations(list).await.expect("a list").into_inner().invitations;
    assert_eq!(pending.len(), 2);
    assert!(pending.iter().all(|one| one.activation_link.is_empty()));
    // Of who does not come an id is left, as of whoever is removed; a restart builds the same state of them.
    let books = env.books().await;
    let states: Vec<(String,)> = books.rows("SELECT DISTINCT state FROM users ORDER BY state").await;
    assert_eq!(states.iter().map(|row| row.0.as_str()).collect::<Vec<_>>(), ["active", "invited"]);
    let left: Vec<(String,)> = books.rows("SELECT id FROM former_users").await;
    assert_eq!(left.iter().map(|row| Some(row.0.as_str())).collect::<Vec<_>>(), [made.user.rsplit('/').next()]);
    books.close().await;
    let list = pb::ListBudgetsRequest { parent: world.tenant.clone(), ..Default::default() };
    let budgets = env.operator.budgets().list_budgets(list).await.expect("budgets").into_inner().budgets;
    assert!(budgets.iter().all(|one| one.scope != made.user), "what limited them ends with them: {budgets:?}");
    let beside = env.another().await;
    let old = std::mem::replace(env, beside);
    let restarted = old.restart().await;
    let token = token_of(&new);
    accept(&restarted.operator, &token).await.expect("still good");
    std::mem::replace(env, restarted).end().await;
}

async fn whoever_was_put_into_a_team_meanwhile_is_in_it_everywhere(env: &mut Env) {
    let world = World::new(env).await;
    let operator = &env.operator;
    let mut teams = Vec::new();
    for n in 0..16 {
        teams.push(
            crate::teams::create(operator, &world.tenant, &format!("team-{n}"), None).await.expect("a team").name,
        );
    }
    let invitation = pb::Invitation { teams: vec![world.team.clone(), teams[0].clone()], ..to("a@example.com") };
    let made = create(operator, &world.tenant, invitation).await.expect("invited");
    for team in &teams {
        let request =
            pb::AddTeamMembersRequest { name: team.clone(), users: vec![made.user.clone()], ..Default::default() };
        operator.identity().add_team_members(request).await.expect("put into it");
    }
    let joined = accept(operator, &token_of(&made)).await.expect("accepted");
    // First what they were invited to, then the rest, as far as there is room.
    let wanted = [&[world.team.clone()][..], &teams[..15]].concat();
    assert_eq!(joined.teams, wanted);
    for (team, is_in) in wanted.iter().map(|team| (team, true)).chain([(&teams[15], false)]) {
        let request = pb::ListTeamMembersRequest { parent: team.clone(), ..Default::default() };
        let members = operator.identity().list_team_members(request).await.expect("a list").into_inner().members;
        assert_eq!(members.iter().any(|user| user.name == made.user), is_in, "{team}");
    }
}

async fn a_template_gives_what_it_says_when_it_is_accepted(env: &mut Env) {
    let world = World::new(env).await;
    let template = create_template(&env.operator, &world.tenant, "pilot", "roles/analyst").await;
    let by = |email: &str| pb::Invitation { template: template.clone(), ..to(email) };
    let made = create(&env.operator, &world.tenant, by("a@example.com")).await.expect("invited");
    assert_eq!((made.role.as_str(), made.template.as_str()), ("roles/analyst", template.as_str()));
    accept(&env.operator, &token_of(&made)).await.expect("accepted");
    assert_eq!(
        roles(&env.operator, &world.tenant, &made.user).await,
        [("roles/analyst".to_owned(), world.tenant.clone())]
    );
    // With another role, it is not what they were invited to.
    let made = create(&env.operator, &world.tenant, by("b@example.com")).await.expect("invited");
    let role_template = pb::RoleTemplate { name: template.clone(), role: "roles/reader".into(), ..Default::default() };
    let request = pb::UpdateRoleTemplateRequest { role_template: Some(role_template), ..Default::default() };
    env.operator.access().update_role_template(request).await.expect("changed");
    assert_void(env, &world, &made).await;
}

async fn a_suspended_tenant_lets_nobody_in_and_keeps_its_invitations(env: &mut Env) {
    let world = World::new(env).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let made = create(&owner, &world.tenant, to("a@example.com")).await.expect("invited");
    let name = world.tenant.clone();
    env.operator.identity().suspend_tenant(pb::SuspendTenantRequest { name: name.clone() }).await.expect("suspended");
    assert_refused(accept(&owner, &token_of(&made)).await, Code::NotFound, "INVITATION_INVALID");
    env.operator.identity().reactivate_tenant(pb::ReactivateTenantRequest { name: name.clone() }).await.expect("back");
    let request = pb::DeleteTenantRequest { name: name.clone(), ..Default::default() };
    env.operator.identity().delete_tenant(request).await.expect("deleted");
    assert_refused(accept(&owner, &token_of(&made)).await, Code::NotFound, "INVITATION_INVALID");
    let request = pb::UndeleteTenantRequest { name: name.clone(), ..Default::default() };
    env.operator.identity().undelete_tenant(request).await.expect("back");
    accept(&owner, &token_of(&made)).await.expect("accepted");
    let left = create(&owner, &world.tenant, to("b@example.com")).await.expect("invited");
    let request = pb::DeleteTenantRequest { name: name.clone(), ..Default::default() };
    env.operator.identity().delete_tenant(request).await.expect("deleted");
    let request = pb::PurgeTenantRequest { name, ..Default::default() };
    env.operator.identity().purge_tenant(request).await.expect("purged");
    assert_refused(accept(&env.operator, &token_of(&left)).await, Code::NotFound, "INVITATION_INVALID");
}

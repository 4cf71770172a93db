//! Inviting: who may invite to what, one or many, seats that are kept, and how the link gets there.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Code;

use crate::{
    harness::{
        both,
        client::{assert_invalid, assert_refused, fields},
        once,
        server::Env,
        smtp::{Mood, Smtp},
        world::{World, bind, create_user, invite, token_of, unique},
    },
    invitations::{accept, cancel, create, resend, to},
    mail::sending,
};

both!(
    many_are_invited_all_or_none,
    a_seat_is_kept_for_who_is_invited,
    the_link_comes_by_mail_and_an_earlier_one_is_dead,
    no_secret_of_an_invitation_is_in_the_database,
    a_tenant_is_shown_as_it_wants_to_be_and_its_mails_are,
);

once!(
    nobody_invites_to_what_they_could_not_give,
    an_address_is_taken_in_its_tenant_and_unknown_in_any_other,
    invitations_that_cannot_be_are_named,
    a_thousand_are_invited_at_once,
    an_invitation_that_is_only_tried_shows_no_link_and_keeps_nothing,
);

async fn nobody_invites_to_what_they_could_not_give(env: &mut Env) {
    let world = World::new(env).await;
    let admin = create_user(&env.operator, &world.tenant, "admin@example.com", "roles/admin", &[]).await;
    let admin = env.operator.with_token(Some(&env.user_token(&admin)));
    let owner = pb::Invitation { role: "roles/owner".into(), ..to("a@example.com") };
    assert_refused(create(&admin, &world.tenant, owner.clone()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nor by a team that has it.
    bind(&env.operator, &world.tenant, "roles/owner", &world.team, &world.tenant).await;
    let team = pb::Invitation { teams: vec![world.team.clone()], ..to("a@example.com") };
    assert_refused(create(&admin, &world.tenant, team).await, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nor by sending again what somebody else has promised.
    let made = create(&env.operator, &world.tenant, owner).await.expect("invited");
    assert_refused(resend(&admin, &made.name).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let developer = create_user(&env.operator, &world.tenant, "new@example.com", "roles/developer", &[]).await;
    let developer = env.operator.with_token(Some(&env.user_token(&developer)));
    assert_refused(
        create(&developer, &world.tenant, to("b@example.com")).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
    assert_refused(cancel(&developer, &made.name).await, Code::PermissionDenied, "PERMISSION_MISSING");
}

async fn an_address_is_taken_in_its_tenant_and_unknown_in_any_other(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    create_user(&env.operator, &other.tenant, "known@example.com", "roles/member", &[]).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    for email in ["known@example.com", "unknown@example.com"] {
        let made = create(&owner, &world.tenant, to(email)).await.expect("invited");
        assert_eq!((made.email.as_str(), made.state()), (email, pb::InvitationState::Pending));
    }
    for taken in ["KNOWN@example.com", "dev@example.com"] {
        assert_refused(create(&owner, &world.tenant, to(taken)).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    }
}

async fn many_are_invited_all_or_none(env: &mut Env) {
    let world = World::new(env).await;
    let batch = async |invitations: Vec<pb::Invitation>| {
        let parent = world.tenant.clone();
        let request = pb::BatchCreateInvitationsRequest { parent, invitations, ..Default::default() };
        env.operator.identity().batch_create_invitations(request).await.map(|answer| answer.into_inner().invitations)
    };
    let good = || {
        vec![
            to("a@example.com"),
            pb::Invitation { role: "roles/reader".into(), ..to("b@example.com") },
            to("c@example.com"),
        ]
    };
    let made = batch(good()).await.expect("invited");
    let emails: Vec<&str> = made.iter().map(|one| one.email.as_str()).collect();
    assert_eq!(emails, ["a@example.com", "b@example.com", "c@example.com"]);
    assert_eq!(made[1].role, "roles/reader");
    for one in &made {
        accept(&env.operator, &token_of(one)).await.expect("each has a link of its own");
    }
    // The third is there already, or twice in it: none of them is invited.
    for third in ["dev@example.com", "D@example.com"] {
        let refused = batch(vec![to("d@example.com"), to("e@example.com"), to(third)]).await.expect_err("not all");
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert!(refused.message().starts_with("invitations[2]: "), "{refused:?}");
        assert_refused(Err::<(), _>(refused), Code::AlreadyExists, "RESOURCE_EXISTS");
    }
    let list = pb::ListInvitationsRequest { parent: world.tenant.clone(), ..Default::default() };
    let pending = env.operator.identity().list_invitations(list).await.expect("a list").into_inner().invitations;
    assert_eq!(pending.len(), 0);
    let refused = batch(vec![to("d@example.com"), to("nonsense")]).await.expect_err("no address");
    assert_eq!(fields(&refused), ["invitations[1].email"]);
    assert_eq!(fields(&batch(vec![]).await.expect_err("none")), ["invitations"]);
    assert_eq!(fields(&batch(vec![to("d@example.com"); 1001]).await.expect_err("too many")), ["invitations"]);
}

async fn an_invitation_that_is_only_tried_shows_no_link_and_keeps_nothing(env: &mut Env) {
    let world = World::new(env).await;
    let request = |validate_only| pb::CreateInvitationRequest {
        parent: world.tenant.clone(),
        invitation: Some(to("mia@example.com")),
        validate_only,
        ..Default::default()
    };
    let tried = env.operator.identity().create_invitation(request(true)).await.expect("it could be").into_inner();
    assert_eq!(tried.invitation.expect("one").activation_link, "");
    let made = env.operator.identity().create_invitation(request(false)).await.expect("invited").into_inner();
    let (name, link) = made.invitation.map(|one| (one.name, one.activation_link)).expect("one");
    assert_ne!(link, "");
    let again = pb::ResendInvitationRequest { name, validate_only: true, ..Default::default() };
    let tried = env.operator.identity().resend_invitation(again).await.expect("it could be").into_inner();
    assert_eq!(tried.invitation.expect("one").activation_link, "");
    let (_, token) = link.rsplit_once("#token=").expect("a token");
    accept(&env.operator, token).await.expect("the link is what it was");
}

async fn a_thousand_are_invited_at_once(env: &mut Env) {
    let world = World::new(env).await;
    let invitations =
        (0..1000).map(|n| pb::Invitation { teams: vec![world.team.clone()], ..to(&format!("{n}@example.com")) });
    let parent = world.tenant.clone();
    let request =
        pb::BatchCreateInvitationsRequest { parent, invitations: invitations.collect(), ..Default::default() };
    let made =
        env.operator.identity().batch_create_invitations(request).await.expect("invited").into_inner().invitations;
    assert_eq!(made.len(), 1000);
    accept(&env.operator, &token_of(&made[999])).await.expect("accepted");
}

async fn a_seat_is_kept_for_who_is_invited(env: &mut Env) {
    let world = World::new(env).await;
    let manager = |email: &str| pb::Invitation { role: "roles/billing_manager".into(), ..to(email) };
    let mut made = Vec::new();
    for n in 0..3 {
        made.push(create(&env.operator, &world.tenant, manager(&format!("{n}@example.com"))).await.expect("a seat"));
    }
    let full = create(&env.operator, &world.tenant, manager("late@example.com")).await;
    assert_refused(full, Code::FailedPrecondition, "SEATS_TAKEN");
    let binding = pb::Binding {
        role: "roles/billing_manager".into(),
        member: world.user.clone(),
        scope: world.tenant.clone(),
        ..pb::Binding::default()
    };
    let request = pb::CreateBindingRequest { parent: world.tenant.clone(), binding: Some(binding) };
    assert_refused(
        env.operator.access().create_binding(request.clone()).await,
        Code::FailedPrecondition,
        "SEATS_TAKEN",
    );
    // Whoever accepts sits where a seat was kept.
    accept(&env.operator, &token_of(&made[0])).await.expect("their own seat");
    cancel(&env.operator, &made[1].name).await.expect("cancelled");
    let last = create(&env.operator, &world.tenant, manager("late@example.com")).await.expect("the seat is free");
    // When the links end, so does the keeping.
    env.clock.advance(Duration::from_hours(7 * 24));
    env.operator.access().create_binding(request).await.expect("a seat");
    resend(&env.operator, &last.name).await.expect("the last seat");
    assert_refused(resend(&env.operator, &made[2].name).await, Code::FailedPrecondition, "SEATS_TAKEN");
}

async fn invitations_that_cannot_be_are_named(env: &mut Env) {
    let world = World::new(env).await;
    let ask = async |invitation| create(&env.operator, &world.tenant, invitation).await;
    assert_invalid(ask(to("")).await, "invitation.email");
    assert_invalid(ask(to("nobody")).await, "invitation.email");
    assert_invalid(ask(pb::Invitation { role: "boss".into(), ..to("a@example.com") }).await, "invitation.role");
    let both = pb::Invitation {
        role: "roles/member".into(),
        template: "tenants/acme/roleTemplates/x".into(),
        ..to("a@example.com")
    };
    assert_invalid(ask(both).await, "invitation.template");
    assert_invalid(
        ask(pb::Invitation { workspace: "prod".into(), ..to("a@example.com") }).await,
        "invitation.workspace",
    );
    assert_invalid(ask(pb::Invitation { teams: vec!["x".into()], ..to("a@example.com") }).await, "invitation.teams[0]");
    assert_invalid(
        ask(pb::Invitation { teams: vec![world.team.clone(); 17], ..to("a@example.com") }).await,
        "invitation.teams",
    );
    let made = invite(&env.operator, &world.tenant).await;
    let request =
        pb::AcceptInvitationRequest { token: token_of(&made), display_name: "a\nb".into(), ..Default::default() };
    assert_invalid(env.operator.identity().accept_invitation(request).await, "display_name");
}

async fn the_link_comes_by_mail_and_an_earlier_one_is_dead(env: &mut Env) {
    let smtp = Smtp::start().await;
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    let made = create(&env.operator, &world.tenant, to("mia@example.com")).await.expect("invited");
    assert_eq!(made.activation_link, "", "it goes to them alone");
    let first = smtp.to("mia@example.com").await;
    assert!(first.data.contains("https://ai.example.com/app/accept-invitation#token"), "{}", first.data);
    assert_eq!(first.header("Subject"), "You are invited to acme");
    // While the mail server takes nothing, it is sent again: the mail that waits is withdrawn with its link.
    smtp.set(Mood::Later);
    let second = resend(&env.operator, &made.name).await.expect("sent again");
    resend(&env.operator, &made.name).await.expect("and again");
    assert_eq!(second.activation_link, "");
    let gone = create(&env.operator, &world.tenant, to("gone@example.com")).await.expect("invited");
    cancel(&env.operator, &gone.name).await.expect("cancelled");
    smtp.set(Mood::Takes);
    env.clock.advance(Duration::from_mins(10));
    let mails = smtp.taken(2).await;
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert_refused(accept(&env.operator, &first.token()).await, Code::NotFound, "INVITATION_INVALID");
    let joined = accept(&env.operator, &mails[1].token()).await.expect("accepted");
    assert_eq!(joined.name, made.user);
    let books = env.books().await;
    let rows: Vec<(String, String)> = books.rows("SELECT state, sealed FROM mail WHERE sealed <> ''").await;
    assert_eq!(rows, []);
    books.close().await;
    env.end().await;
}

async fn no_secret_of_an_invitation_is_in_the_database(env: &mut Env) {
    let world = World::new(env).await;
    let made =
        create(&env.operator, &world.tenant, to(&format!("{}@example.com", unique("guest")))).await.expect("invited");
    let token = token_of(&made);
    assert_eq!(token.len(), 47);
    let books = env.books().await;
    let rows: Vec<(String,)> = books
        .rows("SELECT COALESCE(hash, '') || teams || email FROM invitations UNION ALL SELECT before || after FROM audit_events UNION ALL SELECT body FROM feed_events")
        .await;
    assert!(rows.len() > 5 && rows.iter().all(|row| !row.0.contains(&token[4..])), "{rows:?}");
    let hash: Vec<(String,)> = books.rows("SELECT hash FROM invitations").await;
    let log: Vec<(String,)> = books.rows("SELECT before || after FROM audit_events").await;
    assert!(hash.len() == 1 && log.iter().all(|row| !row.0.contains(&hash[0].0)));
    accept(&env.operator, &token).await.expect("accepted");
    let hashes: Vec<(i64,)> = books.rows("SELECT version FROM invitations WHERE hash IS NOT NULL").await;
    assert_eq!(hashes, [], "nothing is left of it");
    books.close().await;
}

async fn a_tenant_is_shown_as_it_wants_to_be_and_its_mails_are(env: &mut Env) {
    let smtp = Smtp::start().await;
    let env = sending(env, &smtp).await;
    let world = World::new(&env).await;
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    let update = async |branding: pb::Branding, paths: &[&str]| {
        let tenant = pb::Tenant { name: world.tenant.clone(), branding: Some(branding), ..pb::Tenant::default() };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = pb::UpdateTenantRequest { tenant: Some(tenant), update_mask, ..Default::default() };
        owner.identity().update_tenant(request).await.map(|answer| answer.into_inner().tenant.expect("a tenant"))
    };
    let branding = pb::Branding {
        display_name: "Acme <AI> & Co".into(),
        logo_url: "https://cdn.example.com/logo.png".into(),
        primary_color: "#00aA55".into(),
        support_contact: "help@acme.example.com".into(),
    };
    let after = update(branding.clone(), &["branding"]).await.expect("changed");
    assert_eq!((after.branding.as_ref(), after.etag.as_str()), (Some(&branding), "v2"));
    let same = update(branding.clone(), &["branding.logo_url", "branding.display_name"]).await.expect("the same");
    assert_eq!(same.etag, "v2");
    for (field, wrong) in [
        ("logo_url", pb::Branding { logo_url: "http://cdn.example.com/x".into(), ..branding.clone() }),
        ("logo_url", pb::Branding { logo_url: "javascript:alert(1)".into(), ..branding.clone() }),
        ("primary_color", pb::Branding { primary_color: "red".into(), ..branding.clone() }),
        ("display_name", pb::Branding { display_name: "a\nb".into(), ..branding.clone() }),
        ("support_contact", pb::Branding { support_contact: "x".repeat(257), ..branding.clone() }),
    ] {
        assert_invalid(update(wrong, &["branding"]).await, &format!("tenant.branding.{field}"));
    }
    assert_invalid(update(branding.clone(), &["branding.font"]).await, "update_mask");
    create(&owner, &world.tenant, to("mia@example.com")).await.expect("invited");
    let mail = smtp.to("mia@example.com").await.data.replace("=\r\n", "").replace("=3D", "=");
    for said in [
        "help@acme.example.com",
        "Acme <AI> & Co",
        "Acme &lt;AI&gt; &amp; Co",
        "#00aA55",
        "src=\"https://cdn.example.com/logo.png\"",
    ] {
        assert!(mail.contains(said), "{said}: {mail}");
    }
    // Nothing more said, and a field taken back.
    let after = update(pb::Branding::default(), &["branding.logo_url"]).await.expect("changed");
    assert_eq!(after.branding, Some(pb::Branding { logo_url: String::new(), ..branding.clone() }));
    let env = env.restart().await;
    let request = pb::GetTenantRequest { name: world.tenant.clone() };
    let read = env.operator.identity().get_tenant(request).await.expect("the tenant").into_inner().tenant;
    assert_eq!(read, Some(after));
    env.end().await;
}

//! Programs that are known by their certificates.

use tollreeve::{config::ClientAuth, pb::tollreeve::v1 as pb};
use tonic::Code;

use crate::harness::{
    authority::Pair,
    both,
    client::{Client, assert_invalid, assert_refused},
    server::Env,
    world::{World, account_token, bind, create_account, create_role, create_user},
};
use crate::tls::{Secured, answers};

both!(
    a_certificate_makes_its_bearer_the_service_account_that_it_names,
    a_certificate_that_says_anything_else_than_one_id_of_the_trust_domain_is_refused,
    suspending_deleting_and_renaming_bite_on_open_connections_at_once,
    a_token_over_a_certified_connection_is_its_bearers_or_a_persons,
    a_spiffe_id_is_one_accounts_of_all_tenants_and_the_platform_gives_it,
    who_registers_an_id_holds_what_the_account_holds,
);

const EDGE: &str = "spiffe://prod.example/edge";

async fn set_id(operator: &Client, account: &str, id: &str) -> Result<pb::ServiceAccount, tonic::Status> {
    let record = pb::ServiceAccount { name: account.into(), spiffe_id: id.into(), ..pb::ServiceAccount::default() };
    let request = pb::UpdateServiceAccountRequest {
        service_account: Some(record),
        update_mask: Some(prost_types::FieldMask { paths: vec!["spiffe_id".into()] }),
        ..pb::UpdateServiceAccountRequest::default()
    };
    let answer = operator.identity().update_service_account(request).await?.into_inner();
    Ok(answer.service_account.expect("the account"))
}

fn bearer(secured: &Secured, own: &Pair) -> Client {
    Client::secured(secured.addr(), &secured.servers.pem, Some(own), None)
}

/// Who the caller is, as the server has them: what it says about their access to its tenant.
async fn whoami(client: &Client) -> Result<String, tonic::Status> {
    let question = pb::AccessQuestion {
        resource: "tenants/acme".into(),
        permission: "tenants:read".into(),
        ..pb::AccessQuestion::default()
    };
    let request = pb::CheckAccessRequest { question: Some(question) };
    let answer = client.access().check_access(request).await?.into_inner().answer.expect("an answer");
    Ok(answer.explanation.split(' ').next().unwrap_or_default().to_owned())
}

async fn a_certificate_makes_its_bearer_the_service_account_that_it_names(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let world = World::named(&secured.env, "acme").await;
    let edge = bearer(&secured, &secured.clients.client(&[EDGE]));
    assert_refused(edge.gate().authorize(world.ask()).await, Code::Unauthenticated, "TOKEN_INVALID");
    let named = set_id(&world.operator, &world.account, EDGE).await.expect("it is named");
    assert_eq!(named.spiffe_id, EDGE);
    let answer = edge.gate().authorize(world.ask()).await.expect("an answer").into_inner();
    assert_eq!(answer.decision(), pb::Decision::Allow, "{:?}", answer.denials);
    assert_eq!(whoami(&edge).await.as_deref().ok(), Some(world.account.as_str()));
    // A certificate without the id names nobody, whatever its common name says.
    let other = bearer(&secured, &secured.clients.client(&[]));
    assert_refused(other.gate().authorize(world.ask()).await, Code::Unauthenticated, "TOKEN_INVALID");
    let other = bearer(&secured, &secured.clients.client(&["spiffe://prod.example/edge2"]));
    assert_refused(other.gate().authorize(world.ask()).await, Code::Unauthenticated, "TOKEN_INVALID");
    // It is known after a restart, too.
    let Secured { env, servers, clients, token } = secured;
    let secured = Secured { env: env.restart().await, servers, clients, token };
    let edge = bearer(&secured, &secured.clients.client(&[EDGE]));
    assert_eq!(whoami(&edge).await.as_deref().ok(), Some(world.account.as_str()));
    secured.end().await;
}

async fn a_certificate_that_says_anything_else_than_one_id_of_the_trust_domain_is_refused(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Optional)).await;
    let world = World::named(&secured.env, "acme").await;
    set_id(&world.operator, &world.account, EDGE).await.expect("it is named");
    let bad: [&[&str]; 9] = [
        &[EDGE, "spiffe://prod.example/other"],
        &[EDGE, EDGE],
        &[EDGE, "https://prod.example/"],
        &["spiffe://dev.example/edge"],
        &["spiffe://prod.example.dev.example/edge"],
        &["spiffe://prod.example/edge/"],
        &["spiffe://PROD.example/edge"],
        &["https://prod.example/edge"],
        &["spiffe://prod.example"],
    ];
    for uris in bad {
        let own = secured.clients.client(uris);
        assert!(!answers(&secured.operator(Some(&own))).await, "{uris:?}");
    }
    secured.end().await;
}

async fn suspending_deleting_and_renaming_bite_on_open_connections_at_once(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let world = World::named(&secured.env, "acme").await;
    let mut identity = world.operator.identity();
    let edge = bearer(&secured, &secured.clients.client(&[EDGE]));
    let (first, second) =
        (&world.account, create_account(&world.operator, &world.tenant, "second", Some("roles/reader")).await);
    set_id(&world.operator, first, EDGE).await.expect("it is named");
    assert_eq!(whoami(&edge).await.expect("known"), *first);

    identity
        .suspend_service_account(pb::SuspendServiceAccountRequest { name: first.clone() })
        .await
        .expect("suspended");
    assert_refused(whoami(&edge).await, Code::Unauthenticated, "TOKEN_INVALID");
    identity
        .reactivate_service_account(pb::ReactivateServiceAccountRequest { name: first.clone() })
        .await
        .expect("back");
    assert_eq!(whoami(&edge).await.expect("known again"), *first);

    assert_refused(set_id(&world.operator, &second, EDGE).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    set_id(&world.operator, first, "").await.expect("given up");
    assert_refused(whoami(&edge).await, Code::Unauthenticated, "TOKEN_INVALID");
    set_id(&world.operator, &second, EDGE).await.expect("it is free");
    assert_eq!(whoami(&edge).await.expect("somebody else"), second);

    let delete = pb::DeleteServiceAccountRequest { name: second.clone(), ..Default::default() };
    let deleted = identity.delete_service_account(delete).await.expect("deleted").into_inner();
    let deleted = deleted.service_account.expect("the account");
    assert_eq!((deleted.state(), deleted.spiffe_id.as_str()), (pb::Lifecycle::Deleted, ""));
    assert_refused(whoami(&edge).await, Code::Unauthenticated, "TOKEN_INVALID");
    set_id(&world.operator, first, EDGE).await.expect("it is free again");
    let undelete = pb::UndeleteServiceAccountRequest { name: second.clone(), ..Default::default() };
    identity.undelete_service_account(undelete).await.expect("back");
    assert_eq!(whoami(&edge).await.expect("known"), *first);

    identity.suspend_tenant(pb::SuspendTenantRequest { name: world.tenant.clone() }).await.expect("suspended");
    assert_refused(whoami(&edge).await, Code::Unauthenticated, "TOKEN_INVALID");
    identity.reactivate_tenant(pb::ReactivateTenantRequest { name: world.tenant.clone() }).await.expect("back");
    secured.end().await;
}

async fn a_token_over_a_certified_connection_is_its_bearers_or_a_persons(env: &mut Env) {
    let secured = Secured::beside(env, Some(ClientAuth::Required)).await;
    let world = World::named(&secured.env, "acme").await;
    let other = create_account(&world.operator, &world.tenant, "other", Some("roles/reader")).await;
    set_id(&world.operator, &world.account, EDGE).await.expect("it is named");
    let edge = bearer(&secured, &secured.clients.client(&[EDGE]));
    let own = account_token(&world.operator, &world.account).await;
    let stolen = account_token(&world.operator, &other).await;
    let person = create_user(&world.operator, &world.tenant, "p@example.com", "roles/admin", &[]).await;

    assert_eq!(whoami(&edge.with_token(Some(&own))).await.expect("known"), world.account);
    assert_refused(whoami(&edge.with_token(Some(&stolen))).await, Code::Unauthenticated, "TOKEN_INVALID");
    let passed_on = edge.with_token(Some(&secured.env.user_token(&person)));
    assert_eq!(whoami(&passed_on).await.expect("known"), person);
    // A bad token is not made good by a certificate.
    assert_refused(whoami(&edge.with_token(Some("nonsense"))).await, Code::Unauthenticated, "TOKEN_INVALID");
    // Over a connection that names nobody the token is all there is.
    let channel = bearer(&secured, &secured.clients.client(&["spiffe://prod.example/proxy"]));
    assert_eq!(whoami(&channel.with_token(Some(&stolen))).await.expect("known"), other);
    secured.end().await;
}

async fn a_spiffe_id_is_one_accounts_of_all_tenants_and_the_platform_gives_it(env: &mut Env) {
    let (first, second) = (World::new(env).await, World::named(env, "second").await);
    set_id(&env.operator, &first.account, EDGE).await.expect("it is named");
    assert_refused(set_id(&env.operator, &second.account, EDGE).await, Code::AlreadyExists, "RESOURCE_EXISTS");
    set_id(&env.operator, &first.account, EDGE).await.expect("it is so already");
    for bad in ["spiffe://prod.example", "nonsense", "SPIFFE://prod.example/edge"] {
        assert_invalid(set_id(&env.operator, &first.account, bad).await, "service_account.spiffe_id");
    }
    let create = pb::CreateServiceAccountRequest {
        parent: first.tenant.clone(),
        service_account_id: "named".into(),
        service_account: Some(pb::ServiceAccount { spiffe_id: EDGE.into(), ..Default::default() }),
    };
    let created = env.operator.identity().create_service_account(create).await;
    assert_invalid(created, "service_account.spiffe_id");

    // An owner of the tenant neither learns of it nor gives one; but takes one away.
    let owner = create_user(&env.operator, &second.tenant, "o@example.com", "roles/owner", &[]).await;
    let owner = env.operator.with_token(Some(&env.user_token(&owner)));
    for id in [EDGE, "spiffe://prod.example/free"] {
        assert_refused(set_id(&owner, &second.account, id).await, Code::PermissionDenied, "PERMISSION_MISSING");
    }
    set_id(&env.operator, &second.account, "spiffe://prod.example/free").await.expect("it is named");
    set_id(&owner, &second.account, "").await.expect("taken away");

    // What is purged gives it back.
    let mut identity = env.operator.identity();
    let delete = pb::DeleteTenantRequest { name: first.tenant.clone(), ..Default::default() };
    identity.delete_tenant(delete).await.expect("deleted");
    let purge = pb::PurgeTenantRequest { name: first.tenant.clone(), ..Default::default() };
    identity.purge_tenant(purge).await.expect("purged");
    assert_eq!(set_id(&env.operator, &second.account, EDGE).await.expect("it is free").spiffe_id, EDGE);
}

async fn who_registers_an_id_holds_what_the_account_holds(env: &mut Env) {
    let world = World::new(env).await;
    // Writes service accounts everywhere, and nothing else.
    let role = create_role(&env.operator, "tenants/system", "registrar", &["serviceAccounts:write"]).await;
    let registrar = create_account(&env.operator, "tenants/system", "registrar", None).await;
    bind(&env.operator, "tenants/system", &role, &registrar, "platform").await;
    let registrar = env.operator.with_token(Some(&account_token(&env.operator, &registrar).await));
    assert_refused(set_id(&registrar, &world.account, EDGE).await, Code::PermissionDenied, "PERMISSION_MISSING");
    let empty = create_account(&env.operator, &world.tenant, "empty", None).await;
    set_id(&registrar, &empty, EDGE).await.expect("there is nothing to gain");
}

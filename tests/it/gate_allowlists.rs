//! What a key's lists allow, and what they refuse.

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode as Code};

use crate::{
    gate::{allowed, denied, from, targeting, texts},
    harness::{
        once,
        server::Env,
        world::{MODEL, NewKey, World, create_key, create_user},
    },
};

once!(
    an_address_outside_of_the_list_is_refused_and_so_is_a_missing_one,
    an_origin_outside_of_the_list_is_refused,
    a_model_or_an_endpoint_outside_of_the_list_is_refused,
    a_star_stands_for_any_text_wherever_it_stands_and_a_changed_list_is_another,
    a_permission_that_key_or_owner_lacks_is_refused,
);

async fn restricted(world: &World, allowlist: pb::Allowlist) -> NewKey {
    world.another_key(pb::Key { allowlist: Some(allowlist), ..pb::Key::default() }).await
}

async fn an_address_outside_of_the_list_is_refused_and_so_is_a_missing_one(env: &mut Env) {
    let world = World::new(env).await;
    let cidrs = texts(&["10.1.0.0/16", "203.0.113.7", "2001:db8::/32"]);
    let key = restricted(&world, pb::Allowlist { cidrs, ..pb::Allowlist::default() }).await;
    let ask = |ip: &str| from(world.ask_with(&key.secret), ip, "");
    for good in ["10.1.2.3", "203.0.113.7", "2001:db8::1", "::ffff:10.1.255.255"] {
        allowed(&world, ask(good)).await;
    }
    for bad in ["10.2.0.0", "203.0.113.8", "2001:db9::1", ""] {
        assert_eq!(denied(&world, ask(bad)).await, [Code::IpBlocked], "{bad}");
    }
    assert_eq!(denied(&world, world.ask_with(&key.secret)).await, [Code::IpBlocked], "no source at all");
}

async fn an_origin_outside_of_the_list_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let origins = texts(&["app.example.com", "*.acme.test"]);
    let key = restricted(&world, pb::Allowlist { origins, ..pb::Allowlist::default() }).await;
    let ask = |origin: &str| from(world.ask_with(&key.secret), "", origin);
    for good in ["https://app.example.com", "APP.example.com:8443", "http://a.b.acme.test/path"] {
        allowed(&world, ask(good)).await;
    }
    for bad in ["https://example.com", "acme.test", "evilacme.test", "https://app.example.com.evil.test", ""] {
        assert_eq!(denied(&world, ask(bad)).await, [Code::OriginBlocked], "{bad}");
    }
}

async fn a_model_or_an_endpoint_outside_of_the_list_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let list = pb::Allowlist {
        models: texts(&["gpt-4*"]),
        endpoints: texts(&["/v1/chat/*", "/v1/embeddings"]),
        ..pb::Allowlist::default()
    };
    let key = restricted(&world, list).await;
    let ask = |model: &str, endpoint: &str| {
        targeting(world.ask_with(&key.secret), |target| {
            (target.model, target.endpoint) = (model.to_owned(), endpoint.to_owned());
        })
    };
    allowed(&world, ask(MODEL, "/v1/chat/completions")).await;
    allowed(&world, ask("gpt-4", "/v1/embeddings")).await;
    assert_eq!(denied(&world, ask("gpt-3", "/v1/embeddings")).await, [Code::ModelNotAllowed]);
    assert_eq!(denied(&world, ask(MODEL, "/v1/embeddings/x")).await, [Code::EndpointNotAllowed]);
    assert_eq!(denied(&world, ask(MODEL, "")).await, [Code::EndpointNotAllowed]);
    assert_eq!(denied(&world, ask("o1", "/v2")).await, [Code::ModelNotAllowed, Code::EndpointNotAllowed]);
}

async fn a_star_stands_for_any_text_wherever_it_stands_and_a_changed_list_is_another(env: &mut Env) {
    let world = World::new(env).await;
    let list = || pb::Allowlist {
        cidrs: texts(&["::ffff:203.0.113.0/120"]),
        models: texts(&["gpt-*-mini"]),
        endpoints: texts(&["/v1/*/completions"]),
        ..pb::Allowlist::default()
    };
    let (one, other) = (restricted(&world, list()).await, restricted(&world, list()).await);
    let ask = |key: &NewKey, model: &str, endpoint: &str, ip: &str| {
        let asked = targeting(world.ask_with(&key.secret), |target| {
            (target.model, target.endpoint) = (model.to_owned(), endpoint.to_owned());
        });
        from(asked, ip, "")
    };
    for ip in ["203.0.113.7", "::ffff:203.0.113.7"] {
        allowed(&world, ask(&one, "gpt-4o-mini", "/v1/chat/completions", ip)).await;
    }
    let none = ask(&one, "gpt-4o-mini-2", "/v1/completions", "203.0.114.7");
    assert_eq!(denied(&world, none).await, [Code::IpBlocked, Code::ModelNotAllowed, Code::EndpointNotAllowed]);
    // What two keys have in common is each one's own.
    let key = pb::Key { name: one.name.clone(), allowlist: Some(pb::Allowlist::default()), ..pb::Key::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["allowlist".to_owned()] });
    let update = pb::UpdateKeyRequest { key: Some(key), update_mask, ..pb::UpdateKeyRequest::default() };
    env.operator.keys().update_key(update).await.expect("changed");
    allowed(&world, ask(&one, MODEL, "", "")).await;
    assert_eq!(
        denied(&world, ask(&other, MODEL, "/v1/chat/completions", "203.0.113.7")).await,
        [Code::ModelNotAllowed]
    );
}

async fn a_permission_that_key_or_owner_lacks_is_refused(env: &mut Env) {
    let world = World::new(env).await;
    let ask = |key: &NewKey, permission: &str| pb::AuthorizeRequest {
        permission: permission.into(),
        ..world.ask_with(&key.secret)
    };
    assert_eq!(denied(&world, ask(&world.key, "billing:write")).await, [Code::PermissionDenied], "a developer");
    allowed(&world, ask(&world.key, "prompts:read")).await;
    let list = pb::Allowlist { permissions: texts(&["models:invoke"]), ..pb::Allowlist::default() };
    let key = restricted(&world, list).await;
    allowed(&world, ask(&key, "")).await;
    assert_eq!(denied(&world, ask(&key, "prompts:read")).await, [Code::PermissionDenied], "not with this key");
    let reader = create_user(&env.operator, &world.tenant, "r@example.com", "roles/reader", &[]).await;
    let key = pb::Key { owner: reader, ..pb::Key::default() };
    let key = create_key(&env.operator, &world.workspace, key).await;
    assert_eq!(denied(&world, ask(&key, "")).await, [Code::PermissionDenied], "readers call no models");
}

//! Public keys of service accounts: who may add them, what they may be, and what goes with them.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tollreeve::{domain::time::Clock as _, pb::tollreeve::v1 as pb};
use tonic::Code;

use crate::harness::{
    assertions::{ED25519_HEAD, P256_HEAD, Program, Signer, add_key, exchange, pem},
    both,
    client::{Client, assert_invalid, assert_refused},
    once,
    server::Env,
    world::{World, account_token, bind, create_account, create_role},
};

both!(
    a_key_is_added_listed_and_deleted_and_its_tokens_go_with_it,
    nobody_gives_a_key_to_an_account_that_holds_more_than_they_do,
    a_key_that_ends_takes_its_tokens_with_it,
    an_account_has_eight_keys_at_most_and_a_repeated_request_adds_none,
);

once!(only_keys_of_the_two_kinds_are_taken);

async fn enters(client: &Client) -> bool {
    let answer = client.access().list_permissions(pb::ListPermissionsRequest::default()).await;
    if answer.is_err() {
        assert_refused(answer, Code::Unauthenticated, "TOKEN_INVALID");
        return false;
    }
    true
}

async fn keys_of(client: &Client, account: &str) -> Vec<pb::ServiceAccountKey> {
    let request = pb::ListServiceAccountKeysRequest { parent: account.to_owned() };
    client.identity().list_service_account_keys(request).await.expect("keys").into_inner().service_account_keys
}

async fn delete(client: &Client, name: &str) {
    let name = name.to_owned();
    let request = pb::DeleteServiceAccountKeyRequest { name, ..pb::DeleteServiceAccountKeyRequest::default() };
    client.identity().delete_service_account_key(request).await.expect("deleted");
}

async fn a_key_is_added_listed_and_deleted_and_its_tokens_go_with_it(env: &mut Env) {
    let world = World::new(env).await;
    let account = create_account(&env.operator, &world.tenant, "program", Some("roles/reader")).await;
    let first = Program::new(Signer::ed25519(), &env.operator, &account).await;
    env.clock.advance(Duration::from_secs(1));
    let second = Program::new(Signer::p256(), &env.operator, &account).await;
    let listed = keys_of(&env.operator, &account).await;
    let seen: Vec<_> = listed.iter().map(|key| (key.name.as_str(), key.algorithm.as_str())).collect();
    assert_eq!(seen, [(first.key.as_str(), "EdDSA"), (second.key.as_str(), "ES256")]);
    assert_eq!(listed[0].public_key_pem, first.signer.pem());
    let tokens = [first.sign_in(env).await.expect("a token"), second.sign_in(env).await.expect("a token")];
    let own = account_token(&env.operator, &account).await;
    let [by_first, by_second] = tokens.map(|token| env.operator.with_token(Some(&token)));
    assert!(enters(&by_first).await && enters(&by_second).await);
    delete(&env.operator, &first.key).await;
    assert!(!enters(&by_first).await && enters(&by_second).await);
    assert!(enters(&env.operator.with_token(Some(&own))).await, "what rests on nothing stays");
    assert_refused(first.sign_in(env).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
    second.sign_in(env).await.expect("a token");
    assert_eq!(keys_of(&env.operator, &account).await.len(), 1);
    let again = pb::DeleteServiceAccountKeyRequest { name: first.key, ..Default::default() };
    let refused = env.operator.identity().delete_service_account_key(again).await;
    assert_refused(refused, Code::NotFound, "RESOURCE_NOT_FOUND");
}

async fn nobody_gives_a_key_to_an_account_that_holds_more_than_they_do(env: &mut Env) {
    let world = World::new(env).await;
    let strong = create_account(&env.operator, &world.tenant, "strong", Some("roles/owner")).await;
    let weak = create_account(&env.operator, &world.tenant, "weak", Some("roles/reader")).await;
    let helper = create_account(&env.operator, &world.tenant, "helper", Some("roles/reader")).await;
    let token = account_token(&env.operator, &helper).await;
    let helper_client = env.operator.with_token(Some(&token));
    let key = || pb::ServiceAccountKey { public_key_pem: Signer::ed25519().pem(), ..Default::default() };
    let refused = add_key(&helper_client, &weak, key()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // To write service accounts is not enough, nor is it to issue tokens for them.
    let write = create_role(&env.operator, &world.tenant, "writer", &["serviceAccounts:write"]).await;
    let issue = create_role(&env.operator, &world.tenant, "issuer", &["serviceAccounts:impersonate"]).await;
    for role in [&write, &issue] {
        let binding = bind(&env.operator, &world.tenant, role, &helper, &world.tenant).await;
        let refused = add_key(&helper_client, &weak, key()).await;
        assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
        env.operator.access().delete_binding(pb::DeleteBindingRequest { name: binding }).await.expect("gone");
    }
    for role in [&write, &issue] {
        bind(&env.operator, &world.tenant, role, &helper, &world.tenant).await;
    }
    add_key(&helper_client, &weak, key()).await.expect("they hold all of it");
    let refused = add_key(&helper_client, &strong, key()).await;
    assert_refused(refused, Code::PermissionDenied, "PERMISSION_MISSING");
    // Nor may what the account holds on the platform be passed on by an owner of a tenant.
    let operator = "tenants/system/serviceAccounts/operator";
    let owner = env.operator.with_token(Some(&env.user_token(&world.owner)));
    assert_refused(add_key(&owner, operator, key()).await, Code::NotFound, "RESOURCE_NOT_FOUND");
    assert_eq!(keys_of(&env.operator, &strong).await, []);
}

async fn a_key_that_ends_takes_its_tokens_with_it(env: &mut Env) {
    let world = World::new(env).await;
    let signer = Signer::ed25519();
    let now = env.clock.now().micros() / 1_000_000;
    let ending = |seconds| pb::ServiceAccountKey {
        public_key_pem: signer.pem(),
        expire_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..pb::ServiceAccountKey::default()
    };
    for seconds in [0, now - 1, now] {
        let refused = add_key(&env.operator, &world.account, ending(seconds)).await;
        assert_invalid(refused, "service_account_key.expire_time");
    }
    let key = add_key(&env.operator, &world.account, ending(now + 100)).await.expect("added").name;
    let program = Program { account: world.account.clone(), key, signer: Signer::ed25519() };
    let program = Program { signer, ..program };
    let answer = exchange(&env.operator, program.assertion(env, |_| ())).await.expect("a token");
    assert_eq!(answer.expire_time.map(|time| time.seconds), Some(now + 100), "no longer than the key");
    let bearer = env.operator.with_token(Some(&answer.access_token));
    env.clock.advance(Duration::from_secs(99));
    assert!(enters(&bearer).await);
    program.sign_in(env).await.expect("still good");
    env.clock.advance(Duration::from_secs(1));
    assert!(!enters(&bearer).await);
    assert_refused(program.sign_in(env).await, Code::Unauthenticated, "CREDENTIALS_INVALID");
}

async fn an_account_has_eight_keys_at_most_and_a_repeated_request_adds_none(env: &mut Env) {
    let world = World::new(env).await;
    let key = pb::ServiceAccountKey { public_key_pem: Signer::p256().pem(), ..pb::ServiceAccountKey::default() };
    let request = pb::AddServiceAccountKeyRequest {
        parent: world.account.clone(),
        service_account_key: Some(key.clone()),
        request_id: "once".into(),
        validate_only: false,
    };
    let mut identity = env.operator.identity();
    let only = pb::AddServiceAccountKeyRequest { request_id: String::new(), validate_only: true, ..request.clone() };
    identity.add_service_account_key(only).await.expect("could be");
    assert_eq!(keys_of(&env.operator, &world.account).await, []);
    let first = identity.add_service_account_key(request.clone()).await.expect("added").into_inner();
    let again = identity.add_service_account_key(request).await.expect("added before").into_inner();
    assert_eq!(first, again);
    for _ in 1..8 {
        add_key(&env.operator, &world.account, key.clone()).await.expect("added");
    }
    let refused = add_key(&env.operator, &world.account, key.clone()).await;
    assert_refused(refused, Code::FailedPrecondition, "STATE_CONFLICT");
    let keys = keys_of(&env.operator, &world.account).await;
    assert_eq!(keys.len(), 8);
    delete(&env.operator, &keys[3].name).await;
    add_key(&env.operator, &world.account, key).await.expect("there is room again");
}

async fn only_keys_of_the_two_kinds_are_taken(env: &mut Env) {
    let world = World::new(env).await;
    let good = Signer::ed25519().pem();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
    let p384_head = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22\x03\x62\0";
    let koblitz_head = b"\x30\x56\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x0a\x03\x42\0";
    let point = Signer::p256().public().to_vec();
    let mut compressed = point[..33].to_vec();
    compressed[0] = 2 + (point[64] & 1);
    let mut beside = point.clone();
    beside[64] ^= 1;
    let x25519_head = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\0";
    let bad = [
        String::new(),
        "x".into(),
        "x".repeat(10_000),
        good.replace("PUBLIC KEY", "PRIVATE KEY"),
        good.replace("PUBLIC KEY", "EC PUBLIC KEY"),
        good.replace("PUBLIC KEY", "CERTIFICATE"),
        format!("{good}{good}"),
        format!("x{good}"),
        good.replacen('M', "!", 1),
        pem(&[p384_head.as_slice(), p384.public_key().as_ref()].concat()),
        pem(&[koblitz_head.as_slice(), &point].concat()),
        pem(&[x25519_head.as_slice(), &[9; 32]].concat()),
        pem(&[P256_HEAD, &compressed].concat()),
        pem(&[P256_HEAD, &beside].concat()),
        pem(&[P256_HEAD, &[4], &[0; 64]].concat()),
        pem(&[P256_HEAD, &[0]].concat()),
        pem(&[ED25519_HEAD, &[0; 32]].concat()),
        pem(&[ED25519_HEAD, &[1], &[0; 31]].concat()),
        pem(&[ED25519_HEAD, &[9; 31]].concat()),
        pem(&[ED25519_HEAD, &[9; 33]].concat()),
        pem(&[9; 32]),
    ];
    for public_key_pem in bad {
        let key = pb::ServiceAccountKey { public_key_pem, ..pb::ServiceAccountKey::default() };
        assert_invalid(add_key(&env.operator, &world.account, key).await, "service_account_key.public_key_pem");
    }
    let key = pb::ServiceAccountKey { public_key_pem: good, display_name: "x".repeat(129), ..Default::default() };
    assert_invalid(add_key(&env.operator, &world.account, key).await, "service_account_key.display_name");
    assert_eq!(keys_of(&env.operator, &world.account).await, []);
}

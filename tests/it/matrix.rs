//! Who may call what: every RPC by every built-in role, compared with the table in `matrix.txt`.
//!
//! After a change that was meant, `TOLLREEVE_WRITE_MATRIX=1 cargo test matrix` writes the table anew; read the difference.

use std::{fmt::Write as _, fs, path::Path};

use prost::Message as _;
use tollreeve::{domain::role::Role, pb::tollreeve::v1 as pb};
use tonic::Code;

use crate::harness::{
    both,
    calls::{every_call, restore},
    client::Client,
    raw::call,
    server::Env,
    world::{World, account_token, bind, create_account, import_prices, on_key},
};

both!(every_rpc_is_open_to_the_roles_in_the_table_and_to_no_other);

/// Whether the caller may make a call; whatever else stands in its way does not count.
async fn may(client: &Client, path: &str, body: Vec<u8>) -> bool {
    match call(client, path, body).await {
        // A refusal of the gate is an answer.
        Ok(answer) if path.ends_with("/Authorize") => {
            pb::AuthorizeResponse::decode(answer).expect("an answer").decision() == pb::Decision::Allow
        }
        Ok(answer) if path.ends_with("/ChargeBatch") => {
            let answer = pb::ChargeBatchResponse::decode(answer).expect("an answer");
            answer.results.iter().all(|one| matches!(one.result, Some(pb::charge_result::Result::Response(_))))
        }
        Ok(_) => true,
        // What lies in a tenant that the caller holds nothing in does not exist for them.
        Err(status) => {
            assert_ne!(status.code(), Code::Unauthenticated, "{path}");
            ![Code::PermissionDenied, Code::NotFound].contains(&status.code())
        }
    }
}

async fn every_rpc_is_open_to_the_roles_in_the_table_and_to_no_other(env: &mut Env) {
    import_prices(&env.operator).await;
    let mut table: Vec<(String, Vec<bool>)> = Vec::new();
    for role in Role::ALL {
        let world = World::named(env, &format!("for-{}", role.id().replace('_', "-"))).await;
        let mut calls = every_call(&world).await;
        // Those of the gate first, while the key is good. A hold is settled by whom it was given to: charge the key.
        calls.sort_by_key(|(path, _)| !path.contains("GateService"));
        let charge = on_key(&world.key, 1).encode_to_vec();
        calls.iter_mut().filter(|(path, _)| path.ends_with("/Charge")).for_each(|(_, body)| body.clone_from(&charge));
        let (home, scope) = match role {
            Role::Operator => ("tenants/system", "platform"),
            _ => (world.tenant.as_str(), world.tenant.as_str()),
        };
        let account = create_account(&env.operator, home, "caller", None).await;
        bind(&env.operator, home, &role.to_string(), &account, scope).await;
        let caller = env.operator.with_token(Some(&account_token(&env.operator, &account).await));
        for (n, (path, body)) in calls.into_iter().enumerate() {
            let may = may(&caller, &path, body).await;
            if path.contains("Suspend") || path.contains("Delete") {
                restore(&world).await;
            }
            let rpc = path.trim_start_matches("/tollreeve.v1.").replace('/', ".");
            match table.get_mut(n) {
                Some((known, roles)) => {
                    assert_eq!(*known, rpc);
                    roles.push(may);
                }
                None => table.push((rpc, vec![may])),
            }
        }
    }
    table.sort();
    let mut text = format!("{:50}", "");
    text.extend(Role::ALL.iter().map(|role| format!(" {}", role.id())));
    for (rpc, roles) in table {
        let _ = write!(text, "\n{rpc:50}");
        for (role, may) in Role::ALL.iter().zip(roles) {
            let _ = write!(text, " {:width$}", if may { "yes" } else { "-" }, width = role.id().len());
        }
        text.truncate(text.trim_end().len());
    }
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/matrix.txt");
    if std::env::var_os("TOLLREEVE_WRITE_MATRIX").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    let new: Vec<&str> = text.lines().filter(|line| !known.lines().any(|old| old == *line)).collect();
    assert!(known == text, "not as in tests/it/matrix.txt:\n{}", new.join("\n"));
}

//! The commands of API keys: the real program against a real server.

use tollreeve::pb::tollreeve::v1::{self as pb, DenialCode};

use crate::harness::{
    desk::Desk,
    world::{World, codes},
};

async fn refusal(world: &World, secret: &str) -> Vec<DenialCode> {
    let asked = pb::AuthorizeRequest { mode: pb::HoldMode::CheckOnly.into(), ..world.ask_with(secret) };
    codes(&world.authorize(asked).await)
}

#[tokio::test]
async fn a_key_is_made_rotated_and_ended_by_commands() {
    let desk = Desk::new().await;
    let owner = desk.world.user.clone();
    let create = format!("keys create prod --owner {owner} --display-name Build --label team=core --project search");
    let dry = desk.run(&format!("{create} --validate-only")).await.well();
    assert!(dry.starts_with("would be created; nothing was changed\n") && !dry.contains("_tr_0"), "{dry}");
    let line = desk.run(&format!("{create} --env-file-line API_KEY")).await.well();
    let secret = line.strip_prefix("API_KEY=").expect("a line of an env file").trim_end().to_owned();
    assert_eq!((line.lines().count(), refusal(&desk.world, &secret).await), (1, vec![]));
    let listed = desk.run("keys list prod --filter build --output json").await.json();
    let key = &listed["keys"][0];
    assert_eq!((&key["labels"]["team"], &key["owner"]), (&"core".into(), &owner.as_str().into()));
    let name = key["name"].as_str().expect("a name").to_owned();
    let short = name.trim_start_matches("tenants/acme/workspaces/").replace("keys/", "");
    let table = desk.run("keys list prod").await.well();
    assert!(table.contains("LAST USED") && table.contains(&name), "{table}");

    // Once more under the same id: the same secret.
    let rotate = format!("keys rotate {short} --overlap-seconds 3600 --request-id again");
    let shown = desk.run(&rotate).await.well();
    assert!(shown.starts_with("rotated; this is shown once:\n"), "{shown}");
    let new = shown.lines().nth(1).expect("a secret").to_owned();
    assert_eq!(desk.run(&rotate).await.well().lines().nth(1), Some(new.as_str()));
    assert_eq!((refusal(&desk.world, &secret).await, refusal(&desk.world, &new).await), (vec![], vec![]));
    desk.run(&format!("keys rotate {short}")).await.badly(73, &["STATE_CONFLICT", "two secrets"]);
    desk.run(&format!("keys retire {short}")).await.well();
    assert_eq!(refusal(&desk.world, &secret).await, [DenialCode::KeyNotFound]);

    desk.run(&format!("keys update {short}")).await.badly(64, &["--display-name"]);
    let updated = desk.run(&format!("keys update {short} --no-labels --model gpt-4* --output json")).await.json();
    assert_eq!(
        (&updated["key"]["labels"], &updated["key"]["allowlist"]["models"][0]),
        (&serde_json::json!({}), &"gpt-4*".into())
    );
    desk.run(&format!("keys update {short} --display-name B --etag v1")).await.badly(75, &["ETAG_MISMATCH"]);
    desk.run(&format!("keys disable {short}")).await.well();
    assert_eq!(refusal(&desk.world, &new).await, [DenialCode::KeyDisabled]);
    desk.run(&format!("keys enable {name}")).await.well();
    desk.run(&format!("keys delete {short} --yes")).await.badly(73, &["STATE_CONFLICT", "revoke it first"]);
    desk.run(&format!("keys revoke {short}")).await.badly(64, &["--yes"]);
    desk.run(&format!("keys revoke {short} --reason leaked --yes")).await.well();
    let gone = desk.run(&format!("keys delete {short} --yes")).await.well();
    assert!(gone.starts_with(&format!("deleted {name}")), "{gone}");
    desk.run(&format!("keys get {short}")).await.badly(66, &[]);

    assert_eq!(refusal(&desk.world, &desk.world.key.secret).await, []);
    let all = "keys revoke-all prod --filter state=ACTIVE";
    let dry = desk.run(&format!("{all} --validate-only")).await.well();
    assert!(dry.starts_with("would be revoked: 1 key; nothing was changed\n"), "{dry}");
    desk.run(all).await.badly(64, &["--yes"]);
    assert!(desk.run(&format!("{all} --yes")).await.well().starts_with("revoked: 1 key\n"));
    assert_eq!(refusal(&desk.world, &desk.world.key.secret).await, [DenialCode::KeyRevoked]);
    desk.process.kill().await;
}

#[tokio::test]
async fn a_key_policy_is_laid_down_and_keys_are_reviewed_and_retired_by_commands() {
    let desk = Desk::new().await;
    let owner = desk.world.user.clone();
    let lay = "workspaces update prod --max-key-days 90 --require-allowlist models --rotate-every-days 60 \
               --rotation-grace-days 7 --output json";
    let laid = desk.run(lay).await.json();
    let keys = &laid["workspace"]["policies"]["keys"];
    assert_eq!((&keys["maxLifetimeSeconds"], &keys["rotationGraceSeconds"]), (&7_776_000.into(), &604_800.into()));
    desk.run("workspaces update prod --max-keys 5").await.well();
    let again = desk.run("workspaces get prod --output json").await.json();
    let again = &again["workspace"]["policies"]["keys"];
    assert_eq!((&again["maxKeys"], &again["maxLifetimeSeconds"]), (&5.into(), &7_776_000.into()));
    desk.run("workspaces update prod --rotate-every-days 4000").await.badly(64, &["--rotate-every-days"]);
    let refused = desk.run(&format!("keys create prod --owner {owner} --model gpt-4o")).await;
    refused.badly(65, &["key.expire_time", "7776000"]);

    let table = desk.run("keys review prod").await.well();
    assert!(table.contains("BREAKS") && table.contains("expire_time, allowlist.models, rotation_due_time"), "{table}");
    let tried = desk.run("keys review prod --max-keys 1").await.well();
    assert!(!tried.contains(&desk.world.key.name), "{tried}");
    let until = "--until 2090-01-01T00:00:00Z";
    desk.run(&format!("keys retire-breaking prod {until}")).await.badly(64, &["--yes"]);
    let dry = desk.run(&format!("keys retire-breaking prod {until} --validate-only")).await.well();
    assert!(dry.contains("nothing was changed"), "{dry}");
    let done = desk.run(&format!("keys retire-breaking prod {until} --reason stricter --yes")).await.well();
    assert!(done.starts_with("end at 2090-01-01T00:00:00Z: 1 key"), "{done}");

    let name = &desk.world.key.name;
    let shown = desk.run(&format!("keys regenerate {name}")).await.well();
    let new = shown.lines().nth(1).expect("a secret").to_owned();
    assert_eq!(refusal(&desk.world, &new).await, []);
    assert_eq!(refusal(&desk.world, &desk.world.key.secret).await, [DenialCode::KeyNotFound]);
    let shown = desk.run(&format!("keys get {name}")).await.well();
    assert!(shown.contains("rotation due time") && shown.contains("rotation deadline time"), "{shown}");
}

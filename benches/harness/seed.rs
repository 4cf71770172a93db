//! Writes a scene into a database, in bulk: not as a server would, and not measured.

use tollreeve::{
    domain::change::Change,
    store::{self, Db, Tx},
};

use crate::scene::Scene;

/// Keys in one statement.
const CHUNK: usize = 10_000;

/// Writes everything.
pub async fn write(db: &Db, scene: &Scene, keys: usize) {
    let mut tx = db.begin().await.expect("a transaction");
    for change in scene.places() {
        put(&mut tx, change).await.expect("a record");
    }
    for change in scene.budgets() {
        put(&mut tx, change).await.expect("a budget");
    }
    let numbers: Vec<usize> = (0..keys).collect();
    for chunk in numbers.chunks(CHUNK) {
        put_keys(&mut tx, scene, chunk).await;
    }
    tx.commit().await.expect("commits");
}

async fn put(tx: &mut Tx, change: Change) -> store::Result<()> {
    match change {
        Change::Tenant(tenant) => drop(store::tenants::insert(tx, &tenant).await?),
        Change::Workspace(workspace) => drop(store::workspaces::insert(tx, &workspace).await?),
        Change::Project(project) => drop(store::projects::insert(tx, &project).await?),
        Change::Team(team) => drop(store::teams::insert(tx, &team).await?),
        Change::User(user) => drop(store::users::insert(tx, &user).await?),
        Change::ServiceAccount(account) => drop(store::service_accounts::insert(tx, &account).await?),
        Change::Binding(binding) => drop(store::bindings::insert(tx, &binding).await?),
        Change::Budget(budget) => store::budgets::insert(tx, &budget).await?,
        Change::Prices(prices) => {
            for price in prices {
                store::prices::put(tx, &price).await?;
            }
        }
        other => panic!("a scene has no {other:?}"),
    }
    Ok(())
}

async fn put_keys(tx: &mut Tx, scene: &Scene, numbers: &[usize]) {
    let Tx::Sqlite(sqlite) = tx else {
        for n in numbers {
            let _ = store::keys::insert(tx, &scene.key(*n).0).await.expect("a key");
        }
        return;
    };
    let row = |n: &usize| {
        let (key, _) = scene.key(*n);
        serde_json::json!([
            key.id,
            key.tenant,
            key.workspace,
            key.owner.to_string(),
            key.project,
            key.public_id,
            key.hash.hash.to_hex(),
            key.display_name,
            "active",
            key.created,
            key.version,
            if key.allowlist.is_open() { String::new() } else { serde_json::json!(key.allowlist).to_string() },
        ])
    };
    let rows = serde_json::Value::Array(numbers.iter().map(row).collect()).to_string();
    let sql =
        "INSERT INTO api_keys (id, tenant_id, workspace_id, owner, project_id, public_id, hash, display_name, state,
             allowlist, created, version)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
             value ->> 8, value ->> 11, value ->> 9, value ->> 10
         FROM json_each($1)";
    sqlx::query(sql).bind(rows).execute(&mut **sqlite).await.expect("keys");
}

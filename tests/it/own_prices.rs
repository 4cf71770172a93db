//! Prices that a tenant has of its own, and the commands of prices.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1 as pb;
use tonic::Code;

use crate::{
    harness::{
        both,
        client::{Client, assert_invalid, assert_refused},
        desk::Desk,
        server::Env,
        world::{World, create_user, on_hold},
    },
    price_versions::{ahead, held, import, price, restarted, roll_back},
};

both!(
    a_tenants_own_price_comes_before_that_of_all_from_its_moment_on,
    a_tenants_own_prices_are_the_business_of_who_runs_its_billing,
);

async fn import_own(
    client: &Client,
    tenant: &str,
    prices: Vec<pb::Price>,
    effective_time: Option<prost_types::Timestamp>,
) -> pb::ImportPricesResponse {
    let request = pb::ImportPricesRequest { prices, effective_time, parent: tenant.into() };
    client.prices().import_prices(request).await.expect("imported").into_inner()
}

async fn a_tenants_own_price_comes_before_that_of_all_from_its_moment_on(env: &mut Env) {
    let world = World::new(env).await;
    let other = World::named(env, "globex").await;
    for world in [&world, &other] {
        world.dollars(&world.tenant, 1_000_000_000).await;
    }
    let dearer = |input: i64| pb::Price { provider: "q".into(), ..price("m", input) };
    import(&env.operator, vec![price("m", 10), dearer(50)], None).await;
    let own =
        import_own(&env.operator, &world.tenant, vec![price("m", 3), price("mine", 1)], Some(ahead(env, 60))).await;
    assert_eq!(own.version, format!("{}/priceVersions/1", world.tenant));
    assert_eq!((held(&world, "m").await, held(&world, "mine").await), (Some(10), None));
    env.clock.advance(Duration::from_mins(1));
    assert_eq!((held(&world, "m").await, held(&world, "mine").await), (Some(3), Some(1)));
    assert_eq!((held(&other, "m").await, held(&other, "mine").await), (Some(10), None), "it is nobody else's");
    let of_any = async |world: &World| {
        let target = pb::Target { model: "m".into(), ..pb::Target::default() };
        let estimate = pb::Estimate { input_tokens: 1_000_000, ..pb::Estimate::default() };
        world.hold(pb::AuthorizeRequest { target: Some(target), estimate: Some(estimate), ..world.ask() }).await
    };
    assert_eq!(of_any(&world).await.amounts[0].amount, 50, "the dearest of its own and of all");
    import_own(&env.operator, &world.tenant, vec![dearer(2)], None).await;
    let hold = of_any(&world).await;
    assert_eq!(hold.amounts[0].amount, 3);
    // What changes for all changes nothing for it; and a server that starts knows both.
    import(&env.operator, vec![price("m", 100)], None).await;
    let (old, world) = restarted(env, &world).await;
    let other = other.through(old.server.addr());
    assert_eq!((held(&world, "m").await, held(&other, "m").await), (Some(3), Some(100)));
    import_own(&old.operator, &world.tenant, vec![price("m", 4)], None).await;
    let usage = pb::Usage { input_tokens: 1_000_000, ..pb::Usage::default() };
    let charge = pb::ChargeRequest { usage: Some(usage), cost_nanos: None, ..on_hold(&hold, 0) };
    assert_eq!(world.charge(charge).await.charged_nanos, 3);
    let request = pb::ListChargesRequest { parent: world.tenant.clone(), ..Default::default() };
    let recorded = old.operator.usage().list_charges(request).await.expect("the log").into_inner().charges;
    assert_eq!(recorded[0].price_version, format!("{}/priceVersions/1", world.tenant));
    // Without any of its own, it has those of all again.
    let none = format!("{}/priceVersions/0", world.tenant);
    let back = roll_back(&old.operator, &none, None).await;
    assert_eq!((back.changed, back.version), (3, format!("{}/priceVersions/4", world.tenant)));
    assert_eq!((held(&world, "m").await, held(&world, "mine").await), (Some(100), None));
    let request =
        pb::GetPriceVersionRequest { name: format!("{}/priceVersions/4", world.tenant), ..Default::default() };
    let read = old.operator.prices().get_price_version(request).await.expect("a version").into_inner();
    assert_eq!(read.version.expect("a version").restored_version, none);
    assert!(read.changes.len() == 3 && read.changes.iter().all(|change| change.after.is_none()), "{:?}", read.changes);
    old.end().await;
}

async fn a_tenants_own_prices_are_the_business_of_who_runs_its_billing(env: &mut Env) {
    let world = World::new(env).await;
    let manager = create_user(&env.operator, &world.tenant, "bill@example.com", "roles/billing_manager", &[]).await;
    let manager = env.operator.with_token(Some(&env.user_token(&manager)));
    let first = import_own(&manager, &world.tenant, vec![price("m", 3)], None).await;
    let versions = pb::ListPriceVersionsRequest { parent: world.tenant.clone(), ..Default::default() };
    let all = manager.prices().list_price_versions(versions.clone()).await.expect("a list").into_inner().versions;
    assert!(all[0].actor.starts_with(&world.tenant) && all[0].audit_event.starts_with(&world.tenant), "{all:?}");
    let listing = pb::ListPricesRequest { parent: world.tenant.clone(), ..Default::default() };
    assert_eq!(
        manager.prices().list_prices(listing.clone()).await.expect("a list").into_inner().prices,
        [price("m", 3)]
    );
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let missing = "PERMISSION_MISSING";
    let request =
        pb::ImportPricesRequest { prices: vec![price("m", 1)], parent: world.tenant.clone(), ..Default::default() };
    assert_refused(user.prices().import_prices(request.clone()).await, Code::PermissionDenied, missing);
    assert_refused(user.prices().list_prices(listing).await, Code::PermissionDenied, missing);
    assert_refused(user.prices().list_price_versions(versions).await, Code::PermissionDenied, missing);
    let read = pb::GetPriceVersionRequest { name: first.version.clone(), ..Default::default() };
    assert_refused(user.prices().get_price_version(read).await, Code::PermissionDenied, missing);
    let back = pb::RollBackPricesRequest { name: first.version, ..Default::default() };
    assert_refused(user.prices().roll_back_prices(back).await, Code::PermissionDenied, missing);
    // Those of all are not.
    let of_all = pb::ImportPricesRequest { parent: String::new(), ..request.clone() };
    assert_refused(manager.prices().import_prices(of_all).await, Code::PermissionDenied, missing);
    let back = pb::RollBackPricesRequest { name: "priceVersions/1".into(), ..Default::default() };
    assert_refused(manager.prices().roll_back_prices(back).await, Code::PermissionDenied, missing);
    for parent in ["acme", "tenants/", "tenants/acme/workspaces/prod", "tenants/A"] {
        let request = pb::ImportPricesRequest { parent: parent.into(), ..request.clone() };
        assert_invalid(manager.prices().import_prices(request).await, "parent");
    }
}

#[tokio::test]
async fn prices_are_imported_planned_compared_and_rolled_back_by_commands() {
    let desk = Desk::new().await;
    let file = desk.folder.path().join("prices.json");
    let write = |output: &str| {
        let text = format!(
            r#"{{"m": {{"litellm_provider": "p", "input_cost_per_token": 1e-9, "output_cost_per_token": {output}}}}}"#
        );
        std::fs::write(&file, text).expect("written");
    };
    let import = format!("prices import {}", file.display());
    write("2e-9");
    let dry = desk.run(&format!("{import} --validate-only")).await.well();
    assert_eq!(dry, "1 prices would change; nothing was changed\n");
    assert_eq!(desk.run(&import).await.well(), "1 prices changed by priceVersions/1\n");
    assert_eq!(desk.run(&import).await.well(), "the prices are so already\n");
    write("3e-9");
    desk.run(&format!("{import} --effective 2001-01-01T00:00:00Z")).await.badly(65, &["effective_time"]);
    let year = jiff_year() + 1;
    let planned = desk.run(&format!("{import} --effective {year}-01-01T00:00:00Z --output json")).await.json();
    assert_eq!((&planned["version"], &planned["changed"]), (&"priceVersions/2".into(), &1.into()));
    let output = async |more: &str| {
        let list = desk.run(&format!("prices list --output json {more}")).await.json();
        list["prices"][0]["outputNanosPerMillion"].clone()
    };
    assert_eq!(
        (output("").await, output(&format!("--at {year}-01-01T00:00:00Z")).await),
        (2_000_000.into(), 3_000_000.into())
    );
    let table = desk.run("prices versions").await.well();
    assert!(table.contains("priceVersions/2") && table.contains(&format!("{year}-01-01T00:00:00Z")), "{table}");
    let diff = desk.run("prices diff 2").await.well();
    assert!(diff.contains("2000000") && diff.contains("3000000"), "{diff}");
    let back = desk.run(&format!("prices rollback 1 --effective {year}-01-01T00:00:00Z")).await.well();
    assert_eq!(back, "1 prices changed by priceVersions/3\n");
    assert_eq!(output(&format!("--at {year}-01-01T00:00:00Z")).await, 2_000_000);
    desk.run("prices rollback 9").await.badly(66, &["does not exist"]);
    let own = desk.run(&format!("{import} --own")).await.well();
    assert_eq!(own, "1 prices changed by tenants/acme/priceVersions/1\n");
    assert_eq!((output("--own").await, output("").await), (3_000_000.into(), 2_000_000.into()));
    let none = desk.run("prices rollback 0 --own").await.well();
    assert_eq!(none, "1 prices changed by tenants/acme/priceVersions/2\n");
    let workspace = "workspaces update prod --unknown-model-ceiling";
    desk.run(&format!("{workspace} 15/75 --output json")).await.well();
    let read = desk.run("workspaces get prod --output json").await.json();
    let ceiling = &read["workspace"]["policies"]["spending"]["unknownModelCeiling"];
    assert_eq!(ceiling["outputNanosPerMillion"], 75_000_000_000_i64);
    desk.run(&format!("{workspace} 15")).await.badly(64, &["15/75"]);
    desk.run(&format!("{workspace} none")).await.well();
}

/// The year by the clock of the machine, as the server of a desk has it.
fn jiff_year() -> i16 {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year()
}

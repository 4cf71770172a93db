//! What a charge costs when prices change between a call and its charge, and when a model has none.

use std::time::Duration;

use tollreeve::pb::tollreeve::v1::{self as pb, WarningCode};
use tonic::Code;

use crate::{
    harness::{
        both,
        client::{assert_invalid, assert_refused},
        server::Env,
        world::{World, bind, codes, create_role, on_hold, on_key},
    },
    price_versions::{ahead, import, price, restarted},
};

both!(
    a_charge_costs_what_its_hold_was_placed_at_whatever_was_imported_meanwhile,
    a_model_without_a_price_is_refused_or_charged_at_the_ceiling_that_the_workspace_lays_down,
    a_charge_keeps_the_ceiling_of_its_hold,
    a_ceiling_that_cannot_be_names_its_field_and_takes_the_permission_for_budgets,
);

const MILLION: i64 = 1_000_000;

fn ask(world: &World, provider: &str, model: &str) -> pb::AuthorizeRequest {
    let target = pb::Target { provider: provider.into(), model: model.into(), ..pb::Target::default() };
    let estimate = pb::Estimate { input_tokens: MILLION, max_output_tokens: MILLION, ..pb::Estimate::default() };
    pb::AuthorizeRequest { target: Some(target), estimate: Some(estimate), ..world.ask() }
}

/// A million tokens of input.
fn used(charge: pb::ChargeRequest) -> pb::ChargeRequest {
    let usage = pb::Usage { input_tokens: MILLION, ..pb::Usage::default() };
    pb::ChargeRequest { usage: Some(usage), cost_nanos: None, ..charge }
}

fn served(charge: pb::ChargeRequest, provider: &str, model: &str) -> pb::ChargeRequest {
    pb::ChargeRequest { served_provider: provider.into(), served_model: model.into(), ..charge }
}

/// What a charge costs.
async fn cost(world: &World, charge: pb::ChargeRequest) -> i64 {
    world.charge(charge).await.charged_nanos
}

/// Cost, version and whether it is the ceiling, of each charge on record, the last first.
async fn recorded(world: &World) -> Vec<(i64, String, bool)> {
    let request = pb::ListChargesRequest { parent: world.tenant.clone(), ..Default::default() };
    let charges = world.operator.usage().list_charges(request).await.expect("the log").into_inner().charges;
    charges.into_iter().map(|charge| (charge.cost_nanos, charge.price_version, charge.at_ceiling)).collect()
}

async fn a_charge_costs_what_its_hold_was_placed_at_whatever_was_imported_meanwhile(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.tenant, 1_000_000_000).await;
    let of = |provider: &str, input: i64| pb::Price { provider: provider.into(), ..price("m", input) };
    import(&env.operator, vec![of("p", 10), of("q", 7), price("other", 3)], None).await;
    let mut holds = Vec::new();
    for provider in ["p", "p", "p", "", "p", "p"] {
        holds.push(world.hold(ask(&world, provider, "m")).await);
    }
    // Once now, and once at a moment that comes before the charges.
    import(&env.operator, vec![of("p", 20), of("q", 8)], None).await;
    import(&env.operator, vec![of("p", 30), price("other", 4)], Some(ahead(env, 5))).await;
    env.clock.advance(Duration::from_secs(5));
    let charge = |at: usize| used(on_hold(&holds[at], 0));
    assert_eq!(cost(&world, charge(0)).await, 10);
    assert_eq!(cost(&world, served(charge(1), "p", "m")).await, 10, "however it is told what served it");
    assert_eq!(cost(&world, served(charge(2), "q", "m")).await, 8, "another one costs what it costs");
    // The server starts again, and has never seen the price.
    let (old, world) = restarted(env, &world).await;
    assert_eq!(cost(&world, served(charge(3), "p", "m")).await, 10, "placed at that of the dearest");
    assert_eq!(cost(&world, served(charge(4), "", "other")).await, 4);
    assert_eq!(cost(&world, charge(5)).await, 10);
    let hold = world.hold(ask(&world, "p", "m")).await;
    assert_eq!(cost(&world, used(on_hold(&hold, 0))).await, 30);
    assert_eq!(cost(&world, pb::ChargeRequest { cost_nanos: Some(5), ..used(on_key(&world.key, 0)) }).await, 5);
    let version = |cost: i64, number: i64| (cost, format!("priceVersions/{number}"), false);
    let expected = [(5, String::new(), false), version(30, 4), version(10, 2), version(4, 4), version(10, 2)];
    assert_eq!(recorded(&world).await[..5], expected);
    old.end().await;
}

async fn lay_down(world: &World, ceiling: Option<(i64, i64)>) {
    let ceiling = ceiling
        .map(|(input, output)| pb::PriceCeiling { input_nanos_per_million: input, output_nanos_per_million: output });
    let request = laying_down(world, ceiling);
    world.operator.identity().update_workspace(request).await.expect("laid down");
}

fn laying_down(world: &World, unknown_model_ceiling: Option<pb::PriceCeiling>) -> pb::UpdateWorkspaceRequest {
    let spending = Some(pb::SpendingPolicy { unknown_model_ceiling, ..Default::default() });
    let policies = Some(pb::WorkspacePolicies { spending, ..Default::default() });
    let workspace = Some(pb::Workspace { name: world.workspace.clone(), policies, ..Default::default() });
    let paths = vec!["policies.spending.unknown_model_ceiling".to_owned()];
    let update_mask = Some(prost_types::FieldMask { paths });
    pb::UpdateWorkspaceRequest { workspace, update_mask, ..Default::default() }
}

fn warned(answer: &pb::AuthorizeResponse) -> Vec<WarningCode> {
    answer.warnings.iter().map(pb::Warning::code).collect()
}

async fn a_model_without_a_price_is_refused_or_charged_at_the_ceiling_that_the_workspace_lays_down(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.tenant, 1_000_000_000).await;
    import(&env.operator, vec![price("known", 7)], None).await;
    let unknown = || ask(&world, "p", "unheard-of");
    assert_eq!(codes(&world.authorize(unknown()).await), [pb::DenialCode::PriceUnknown], "refused unless it is said");
    lay_down(&world, Some((100, 900))).await;
    let answer = world.authorize(unknown()).await;
    assert_eq!((codes(&answer), warned(&answer)), (vec![], vec![WarningCode::PriceCeiling]));
    let hold = answer.hold.expect("a hold");
    assert_eq!(hold.amounts[0].amount, 1_000);
    let charge = world.charge(used(on_hold(&hold, 0))).await;
    assert_eq!((charge.charged_nanos, charge.at_ceiling), (100, true));
    // What has a price has it, and what is told otherwise is believed.
    let answer = world.authorize(ask(&world, "p", "known")).await;
    assert_eq!(warned(&answer), []);
    let hold = answer.hold.expect("a hold");
    assert_eq!(hold.amounts[0].amount, 7);
    assert_eq!(cost(&world, served(used(on_hold(&hold, 0)), "", "unheard-of")).await, 100, "as it was served");
    let estimate = pb::Estimate { cost_nanos: Some(5), ..pb::Estimate::default() };
    let answer = world.authorize(pb::AuthorizeRequest { estimate: Some(estimate), ..unknown() }).await;
    assert_eq!(warned(&answer), []);
    assert_eq!(cost(&world, used(on_hold(&answer.hold.expect("a hold"), 0))).await, 100);
    let without = world.charge(served(used(on_key(&world.key, 0)), "p", "unheard-of")).await;
    assert_eq!((without.charged_nanos, without.at_ceiling), (100, true));
    let told = world.charge(pb::ChargeRequest { cost_nanos: Some(3), ..used(on_key(&world.key, 0)) }).await;
    assert_eq!((told.charged_nanos, told.at_ceiling), (3, false));
    let known = world.charge(served(used(on_key(&world.key, 0)), "p", "known")).await;
    assert_eq!((known.charged_nanos, known.at_ceiling), (7, false));
    let of = |(cost, version, ceiling): &(i64, String, bool)| (*cost, version.is_empty(), *ceiling);
    let log: Vec<_> = recorded(&world).await.iter().map(of).collect();
    let at_ceiling = (100, true, true);
    assert_eq!(log, [(7, false, false), (3, true, false), at_ceiling, at_ceiling, at_ceiling, at_ceiling]);
    // A call that is clamped is clamped by the ceiling.
    world.dollars(&world.workspace, 550).await;
    let clamped = world.authorize(pb::AuthorizeRequest { mode: pb::HoldMode::Clamp.into(), ..unknown() }).await;
    assert_eq!(clamped.hold.expect("a hold").granted_output_tokens, MILLION / 2);
    lay_down(&world, None).await;
    assert_eq!(codes(&world.authorize(unknown()).await)[0], pb::DenialCode::PriceUnknown);
}

async fn a_charge_keeps_the_ceiling_of_its_hold(env: &mut Env) {
    let world = World::new(env).await;
    world.dollars(&world.tenant, 1_000_000_000).await;
    lay_down(&world, Some((100, 900))).await;
    let mut holds = Vec::new();
    for provider in ["p", "", "p"] {
        holds.push(world.hold(ask(&world, provider, "new")).await);
    }
    import(&env.operator, vec![price("new", 7)], None).await;
    lay_down(&world, Some((200, 0))).await;
    let charge = |at: usize| used(on_hold(&holds[at], 0));
    assert_eq!(cost(&world, charge(0)).await, 100);
    let (old, world) = restarted(env, &world).await;
    assert_eq!(cost(&world, served(charge(1), "p", "new")).await, 100);
    lay_down(&world, None).await;
    let last = world.charge(charge(2)).await;
    assert_eq!((last.charged_nanos, last.at_ceiling), (100, true));
    let hold = world.hold(ask(&world, "p", "new")).await;
    assert_eq!(cost(&world, used(on_hold(&hold, 0))).await, 7);
    old.end().await;
}

async fn a_ceiling_that_cannot_be_names_its_field_and_takes_the_permission_for_budgets(env: &mut Env) {
    let world = World::new(env).await;
    let field = "workspace.policies.spending.unknown_model_ceiling";
    for (input, output, name) in [
        (-1, 0, "input_nanos_per_million"),
        (i64::MAX, 0, "input_nanos_per_million"),
        (0, i64::MIN, "output_nanos_per_million"),
        (0, 4_000_000_000_000_000_001, "output_nanos_per_million"),
    ] {
        let ceiling = pb::PriceCeiling { input_nanos_per_million: input, output_nanos_per_million: output };
        let refused = world.operator.identity().update_workspace(laying_down(&world, Some(ceiling))).await;
        assert_invalid(refused, &format!("{field}.{name}"));
    }
    let role = create_role(&env.operator, &world.tenant, "namer", &["workspaces:write"]).await;
    bind(&env.operator, &world.tenant, &role, &world.user, &world.tenant).await;
    let user = env.operator.with_token(Some(&env.user_token(&world.user)));
    let ceiling = Some(pb::PriceCeiling::default());
    assert_refused(
        user.identity().update_workspace(laying_down(&world, ceiling)).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
    assert_refused(
        user.identity().update_workspace(laying_down(&world, None)).await,
        Code::PermissionDenied,
        "PERMISSION_MISSING",
    );
}

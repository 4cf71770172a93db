//! Calls of the RPCs of prices and of usage, for [`super::calls`].

use tollreeve::pb::tollreeve::v1 as pb;

use super::{
    calls::{Place, to},
    world::unique,
};

/// What there is to do with a tenant's own prices.
pub fn prices(place: &Place) -> Vec<(String, Vec<u8>)> {
    let service = "PriceService";
    let (parent, name) = (place.tenant.clone(), place.price_version.clone());
    let price = pb::Price { provider: "p".into(), model: unique("model"), ..pb::Price::default() };
    let import = pb::ImportPricesRequest { prices: vec![price], parent: parent.clone(), ..Default::default() };
    let file = pb::ImportPriceFileRequest { parent: parent.clone(), ..price_file() };
    let list = pb::ListPricesRequest { parent: parent.clone(), ..Default::default() };
    let versions = pb::ListPriceVersionsRequest { parent, ..Default::default() };
    let get = pb::GetPriceVersionRequest { name: name.clone(), ..Default::default() };
    let back = pb::RollBackPricesRequest { name, ..Default::default() };
    vec![
        to(service, "ImportPrices", &import),
        to(service, "ImportPriceFile", &file),
        to(service, "ListPrices", &list),
        to(service, "ListPriceVersions", &versions),
        to(service, "GetPriceVersion", &get),
        to(service, "RollBackPrices", &back),
    ]
}

/// A price file with a new model in it.
fn price_file() -> pb::ImportPriceFileRequest {
    let name = unique("model");
    let content = format!(
        r#"{{"{name}": {{"litellm_provider": "p", "input_cost_per_token": 1e-9, "output_cost_per_token": 1e-9}}}}"#
    );
    pb::ImportPriceFileRequest { content: content.into(), ..pb::ImportPriceFileRequest::default() }
}

/// With all that usage can be asked of.
pub fn usage(place: &Place) -> Vec<(String, Vec<u8>)> {
    let query = pb::QueryUsageRequest {
        parent: place.tenant.clone(),
        workspace: place.workspace.clone(),
        project: place.project.clone(),
        team: place.team.clone(),
        owner: place.user.clone(),
        key: place.key.clone(),
        ..pb::QueryUsageRequest::default()
    };
    let list = pb::ListChargesRequest {
        parent: place.tenant.clone(),
        owner: place.user.clone(),
        key: place.key.clone(),
        project: place.project.clone(),
        ..pb::ListChargesRequest::default()
    };
    let statement = format!("{}/statements/2026-01", place.tenant);
    let (workspace, team) = (place.workspace.clone(), place.team.clone());
    let get = pb::GetStatementRequest { name: statement.clone(), workspace: workspace.clone(), team: team.clone() };
    let lines = pb::ListStatementLinesRequest { parent: statement, workspace, team, ..Default::default() };
    let statements = pb::ListStatementsRequest { parent: place.tenant.clone(), ..Default::default() };
    vec![
        to("UsageService", "QueryUsage", &query),
        to("UsageService", "ListCharges", &list),
        to("UsageService", "GetStatement", &get),
        to("UsageService", "ListStatementLines", &lines),
        to("UsageService", "ListStatements", &statements),
    ]
}

//! Sums over the charges of the ledger.

use super::{Result, Tx};
use crate::domain::{id::TenantId, time::Timestamp};

/// By what charges are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// One sum over everything.
    Nothing,
    /// By project.
    Project,
    /// By key.
    Key,
    /// By model.
    Model,
    /// By workspace.
    Workspace,
}

/// Which charges to add up.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Only charges of this end user; empty for all.
    pub end_user: String,
    /// Only charges recorded at or after this time.
    pub start: Timestamp,
    /// Only charges recorded before this time.
    pub end: Timestamp,
}

/// The sum of some charges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// Id of the record or name of the model that the sum is for; empty for charges without one.
    pub group: String,
    /// How many charges.
    pub charges: i64,
    /// Model calls.
    pub requests: i64,
    /// Input tokens of every kind.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Billionths of a US dollar.
    pub cost_nanos: i64,
}

type Row = (String, i64, i64, i64, i64, i64, i64);

/// Adds up the charges of a tenant, largest cost first, at most `limit` groups.
///
/// Dollars and billionths are added up apart, so that no sum of costs, however absurd, is more than the database can
/// count; one past the largest amount stays there.
///
/// # Errors
/// As [`super::StoreError`] says.
pub async fn sums(tx: &mut Tx, tenant: TenantId, by: Grouping, filter: &Filter, limit: i64) -> Result<Vec<Sum>> {
    let by = match by {
        Grouping::Nothing => "",
        Grouping::Project => "project",
        Grouping::Key => "key",
        Grouping::Model => "model",
        Grouping::Workspace => "workspace",
    };
    let rows = fetch_all!(
        tx,
        Row,
        "SELECT subject, charges, requests, input, output, dollars + billionths / 1000000000,
             billionths % 1000000000
         FROM (
             SELECT subject, COUNT(*) AS charges, CAST(SUM(requests) AS BIGINT) AS requests,
                 CAST(SUM(input_tokens + cached_tokens + cache_write_tokens) AS BIGINT) AS input,
                 CAST(SUM(output_tokens) AS BIGINT) AS output,
                 CAST(SUM(cost_nanos / 1000000000) AS BIGINT) AS dollars,
                 CAST(SUM(cost_nanos % 1000000000) AS BIGINT) AS billionths
             FROM (
                 SELECT charges.*, CASE $2 WHEN 'project' THEN project_id WHEN 'key' THEN key_id
                     WHEN 'model' THEN model WHEN 'workspace' THEN workspace_id ELSE '' END AS subject
                 FROM charges
                 WHERE tenant_id = $1 AND ($3 = '' OR end_user = $3) AND recorded >= $4 AND recorded < $5
             ) AS chosen
             GROUP BY subject
         ) AS sums
         ORDER BY 6 DESC, 7 DESC, 1 LIMIT $6",
        tenant.to_string(),
        by,
        &filter.end_user,
        filter.start.micros(),
        filter.end.micros(),
        limit
    )?;
    Ok(rows.into_iter().map(sum).collect())
}

fn sum((group, charges, requests, input_tokens, output_tokens, dollars, billionths): Row) -> Sum {
    let cost_nanos = dollars.saturating_mul(1_000_000_000).saturating_add(billionths);
    Sum { group, charges, requests, input_tokens, output_tokens, cost_nanos }
}

//! Use cases of sums over charges.

use std::sync::Arc;

use super::{App, AppError, caller::Caller};
use crate::{
    domain::{names::TenantName, permission::Permission},
    store::{
        self,
        summaries::{Filter, Grouping, Sum},
    },
};

/// Most groups of an answer.
const MAX_GROUPS: i64 = 1000;

/// Asks for sums over the charges of a tenant.
#[derive(Debug)]
pub struct SummarizeCharges {
    /// Of which tenant.
    pub parent: TenantName,
    /// By what.
    pub grouping: Grouping,
    /// Which charges.
    pub filter: Filter,
}

/// Adds up charges. The groups of records carry the records' names.
///
/// # Errors
/// [`AppError`].
pub async fn summarize(app: Arc<App>, caller: Caller, asked: SummarizeCharges) -> Result<Vec<Sum>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    work.require(Permission::UsageRead, work.scope())?;
    let tenant = work.tenant.id;
    let sums = store::summaries::sums(&mut work.tx, tenant, asked.grouping, &asked.filter, MAX_GROUPS).await?;
    match asked.grouping {
        // One sum over everything, even when there is nothing.
        Grouping::Nothing if sums.is_empty() => Ok(vec![Sum::default()]),
        Grouping::Nothing | Grouping::Model => Ok(sums),
        Grouping::Project | Grouping::Key | Grouping::Workspace => {
            let names = store::names::names(&mut work.tx, sums.iter().map(|sum| sum.group.clone()).collect()).await?;
            Ok(sums.into_iter().map(|sum| Sum { group: names.of(&sum.group), ..sum }).collect())
        }
    }
}

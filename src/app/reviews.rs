//! Use cases of access reviews, and of what they stand on: when somebody, or a key, was last used.

use std::{sync::Arc, time::Duration};

use super::{App, AppError, Listed, caller::Caller, listing::Paging};
use crate::{
    domain::{
        names::{BindingName, PLATFORM, TenantName},
        permission::Permission,
        reviews::Kind,
        time::Timestamp,
    },
    engine::last_use::Look,
    store::{
        self,
        listing::Listing,
        names::Names,
        reviews::{Asked, Reviewed},
    },
};

/// Asks for a review.
#[derive(Debug)]
pub struct ReviewAccess {
    /// Of which tenant.
    pub parent: TenantName,
    /// Of which kinds.
    pub kinds: Vec<Kind>,
    /// Only what has not been used for so long.
    pub unused_for: Duration,
    /// In which order, and which page.
    pub listing: Listing,
}

/// A record under review, with names.
#[derive(Debug)]
pub struct NamedReviewed {
    /// Its name.
    pub name: String,
    /// Name of the owner of a key, or of the member of a binding.
    pub member: String,
    /// Name of the workspace of a key, or of the scope of a binding.
    pub scope: String,
    /// Name of the role of a binding.
    pub role: String,
    /// When it was looked at.
    pub now: Timestamp,
    /// The record.
    pub record: Reviewed,
}

/// Reviews who has what in a tenant, and for how long it has gone unused.
///
/// # Errors
/// [`AppError`].
pub async fn review(app: Arc<App>, caller: Caller, asked: ReviewAccess) -> Result<Listed<NamedReviewed>, AppError> {
    let mut work = app.read(&caller, &asked.parent.tenant, &asked.parent).await?;
    for kind in &asked.kinds {
        let permission = match kind {
            Kind::User => Permission::UsersRead,
            Kind::ServiceAccount => Permission::ServiceAccountsRead,
            Kind::Key => Permission::KeysRead,
            Kind::Binding => Permission::BindingsRead,
        };
        work.require(permission, work.scope())?;
    }
    let (tenant, slug, now) = (work.tenant.id, work.tenant.slug.clone(), work.now);
    let paging = Paging::begin(&app, &format!("review of {tenant}"), &asked.listing)?;
    let wanted = Asked {
        tenant,
        kinds: &asked.kinds,
        before: now.before(asked.unused_for),
        by_age: asked.listing.order.field == "create_time",
        descending: asked.listing.order.descending,
        limit: asked.listing.page.limit,
    };
    let listed = paging.end(store::reviews::page(&mut work.tx, &wanted, paging.after()).await?);
    let ids = listed.records.iter().flat_map(|record| [&record.id, &record.member, &record.scope, &record.role]);
    let ids = ids.filter(|id| !id.is_empty()).cloned().collect();
    let names = store::names::names(&mut work.tx, ids).await?;
    let of_binding = |id: &str| match id.parse() {
        Ok(binding) => BindingName { tenant: slug.clone(), binding }.to_string(),
        Err(_) => String::new(),
    };
    Ok(listed.map(|record| NamedReviewed {
        name: if record.kind == Kind::Binding { of_binding(&record.id) } else { names.of(&record.id) },
        member: names.of(&record.member),
        scope: scope(&names, &record),
        role: record.role.parse().map(|role| names.role(role)).unwrap_or_default(),
        now,
        record,
    }))
}

fn scope(names: &Names, record: &Reviewed) -> String {
    if record.kind == Kind::Binding && record.scope.is_empty() { PLATFORM.to_owned() } else { names.of(&record.scope) }
}

/// Writes down what was used since the last time: some of it in each transaction, so that nothing waits long for one.
///
/// # Errors
/// Of the database; what is not written down then is kept for the next time.
pub async fn write_down_uses(app: &App) -> Result<(), AppError> {
    let mut from = Some(Look::default());
    while let Some(look) = from {
        let (uses, next) = app.gate.uses(app.clock.now(), look);
        if !uses.is_empty() {
            let mut tx = app.db.begin().await?;
            store::last_used::put(&mut tx, &uses).await?;
            tx.commit().await?;
            app.gate.written(&uses);
        }
        from = next;
    }
    Ok(())
}

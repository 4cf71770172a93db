//! The first start: the system tenant, and the operator in it.

use super::{
    AppError,
    caller::Origin,
    record::{self, Audit},
};
use crate::{
    app::context::random,
    domain::{
        bindings::{Binding, Member, Scope},
        branding::Branding,
        change::Change,
        id::Id,
        names::SlugError,
        role::Role,
        service_accounts::ServiceAccount,
        tenants::{Lifecycle, Tenant},
        time::Timestamp,
    },
    store::{self, Db, Inserted, Tx},
};

/// Id of the operator's service account in the system tenant.
pub const OPERATOR: &str = "operator";

/// The operator of a database that was started before.
///
/// # Errors
/// Of the database; [`AppError::State`] when there is none.
pub async fn operator(tx: &mut Tx) -> Result<ServiceAccount, AppError> {
    let missing = || AppError::State("the database has no operator: start a server on it first".to_owned());
    let system = store::tenants::by_slug(tx, Tenant::SYSTEM).await?.ok_or_else(missing)?;
    store::service_accounts::by_slug(tx, system.id, OPERATOR).await?.ok_or_else(missing)
}

/// Makes the system tenant and its operator, unless they are there. Gives the operator.
///
/// # Errors
/// Of the database.
pub async fn ensure_operator(db: &Db, now: Timestamp) -> Result<ServiceAccount, AppError> {
    let corrupt = |_: SlugError| AppError::State("the system's own names are not names".to_owned());
    let mut tx = db.begin().await?;
    let tenant = Tenant {
        id: Id::new(now, random()?),
        slug: Tenant::SYSTEM.parse().map_err(corrupt)?,
        display_name: "System".to_owned(),
        branding: Branding::default(),
        state: Lifecycle::Active,
        deleted: None,
        created: now,
        version: 1,
    };
    if store::tenants::insert(&mut tx, &tenant).await? == Inserted::Exists {
        return operator(&mut tx).await;
    }
    let operator = ServiceAccount {
        id: Id::new(now, random()?),
        tenant: tenant.id,
        slug: OPERATOR.parse().map_err(corrupt)?,
        display_name: "Operator".to_owned(),
        state: Lifecycle::Active,
        deleted: None,
        spiffe_id: None,
        created: now,
        version: 1,
    };
    let binding = Binding {
        id: Id::new(now, random()?),
        tenant: tenant.id,
        role: Role::Operator.into(),
        member: Member::ServiceAccount(operator.id),
        scope: Scope::Platform,
        created: now,
        expires: None,
    };
    let _ = store::service_accounts::insert(&mut tx, &operator).await?;
    let _ = store::bindings::insert(&mut tx, &binding).await?;
    let changes = [Change::Tenant(tenant.clone()), Change::ServiceAccount(operator.clone()), Change::Binding(binding)];
    let head = store::audit::lock(&mut tx, tenant.id).await?;
    let revision = store::feed::append(&mut tx, &changes).await?;
    let audit = Audit::new("system.initialize", &tenant.name(), None, Some(&tenant)).because("first start".to_owned());
    record::put(&mut tx, (tenant.id, head), &Origin::command(), (now, revision), [audit]).await?;
    tx.commit().await?;
    Ok(operator)
}

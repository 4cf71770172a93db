//! What every use case stands on: the transaction, the caller's authority in it, and the record of what was done.

use std::{fmt::Display, sync::Arc};

pub use super::record::Audit;
use super::{
    audit_tree,
    caller::Caller,
    error::AppError,
    feed::Feed,
    hasher::Hasher,
    issuers::Issuers,
    mail::Post,
    record::{self, Pending, replayed},
    sign_ins::SignIns,
};
use crate::{
    domain::{
        bindings::{Authority, Scope},
        change::Change,
        checkpoint::Signer,
        id::{Id, Kind},
        lifecycle::{Edit, IsDeleted, Living},
        names::Slug,
        peppers::Peppers,
        permission::{Permission, PermissionSet},
        projects::Project,
        tenants::Tenant,
        time::{Clock, Timestamp},
        workspaces::Workspace,
    },
    engine::{Gate, error::GateError, tokens::TokenKeys},
    store::{self, Db, Tx, audit::Head, ledger::Ledger, requests::Done},
};

/// All that use cases share.
pub struct App {
    /// The database.
    pub db: Db,
    /// Decisions and charges.
    pub gate: Arc<Gate<Ledger>>,
    /// Carries committed changes to the engine.
    pub feed: Feed,
    /// Signs and checks bearer tokens.
    pub tokens: Arc<TokenKeys>,
    /// Signs checkpoints of audit logs.
    pub audit: Signer,
    /// How mails leave.
    pub post: Post,
    /// Hashes and checks passwords.
    pub hasher: Hasher,
    /// Who may try to sign in.
    pub sign_ins: SignIns,
    /// Who else may say who somebody is.
    pub issuers: Issuers,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A changed record and the revision at which decisions see it.
#[derive(Debug)]
pub struct Changed<T> {
    /// The record after the change.
    pub record: T,
    /// The revision.
    pub revision: i64,
}

/// One use case at work within one tenant: a transaction, and what the caller may do in it.
///
/// Invariant: a change locks the tenant's audit log before it reads anything, so that two changes of one tenant never
/// overlap, and authority is read inside the transaction: whoever was demoted first loses.
pub struct Work<'a> {
    app: &'a App,
    caller: &'a Caller,
    authority: Authority,
    /// Where the tenant's audit log ends; only of a change, which has locked it.
    head: Option<Head>,
    pending: Pending,
    replayed: Option<Done>,
    /// The transaction.
    pub tx: Tx,
    /// The tenant.
    pub tenant: Tenant,
    /// The one reading of the clock.
    pub now: Timestamp,
}

impl App {
    /// Begins to read in a tenant.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked` when there is no such tenant or the caller holds nothing in it.
    pub async fn read<'a>(
        &'a self,
        caller: &'a Caller,
        tenant: &Slug,
        asked: &impl ToString,
    ) -> Result<Work<'a>, AppError> {
        let work = self.read_freely(caller, tenant, asked).await?;
        work.must_be_seen(asked)?;
        Ok(work)
    }

    /// Begins to read in a tenant, whatever the caller holds: what they may see is still to be asked.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked` when there is no such tenant.
    pub async fn read_freely<'a>(
        &'a self,
        caller: &'a Caller,
        tenant: &Slug,
        asked: &impl ToString,
    ) -> Result<Work<'a>, AppError> {
        let tx = self.db.read().await?;
        self.enter(caller, tx, tenant, asked, false).await
    }

    /// Begins to change something in a tenant, whatever the caller holds, and locks its audit log: what they may do is still
    /// to be asked.
    ///
    /// # Errors
    /// [`AppError::NotFound`] when there is no such tenant.
    pub async fn enter_freely<'a>(&'a self, caller: &'a Caller, tenant: &Slug) -> Result<Work<'a>, AppError> {
        let tx = self.db.begin().await?;
        self.enter(caller, tx, tenant, tenant, true).await
    }

    /// Begins to change what is the caller's own, in their own tenant, whatever they hold there.
    ///
    /// # Errors
    /// [`AppError::NotSignedIn`] when they may not act.
    pub async fn own<'a>(&'a self, caller: &'a Caller, tenant: &Slug) -> Result<Work<'a>, AppError> {
        let mut work = self.enter_freely(caller, tenant).await?;
        let acts = store::bindings::is_active(&mut work.tx, caller.principal).await?;
        if acts && work.tenant.id == caller.tenant { Ok(work) } else { Err(AppError::NotSignedIn) }
    }

    /// Begins to change something in a tenant, and locks its audit log.
    ///
    /// # Errors
    /// As [`App::read`]; [`AppError::State`] when the tenant is deleted.
    pub async fn change<'a>(
        &'a self,
        caller: &'a Caller,
        tenant: &Slug,
        asked: &impl ToString,
    ) -> Result<Work<'a>, AppError> {
        let work = self.lock(caller, tenant, asked).await?;
        undeleted(work.tenant.deleted, &work.tenant.name())?;
        Ok(work)
    }

    /// Begins to change something in a tenant, be it deleted, and locks its audit log.
    ///
    /// # Errors
    /// As [`App::read`]; [`GateError::IdempotencyConflict`].
    pub async fn lock<'a>(
        &'a self,
        caller: &'a Caller,
        tenant: &Slug,
        asked: &impl ToString,
    ) -> Result<Work<'a>, AppError> {
        let tx = self.db.begin().await?;
        let mut work = self.enter(caller, tx, tenant, asked, true).await?;
        work.must_be_seen(asked)?;
        work.replayed = replayed(&mut work.tx, caller).await?;
        Ok(work)
    }

    /// Begins to create a tenant: the caller's authority is that over the platform. When the request was carried out
    /// before, the tenant at work is the one that it made.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] without the permission on the platform; [`AppError::Exists`].
    pub async fn found<'a>(
        &'a self,
        caller: &'a Caller,
        tenant: Tenant,
        permission: Permission,
    ) -> Result<Work<'a>, AppError> {
        let mut tx = self.db.begin().await?;
        let authority = authority(&mut tx, caller, tenant.created).await?;
        require(&authority, permission, Scope::Platform)?;
        let now = tenant.created;
        let inserted = store::tenants::insert(&mut tx, &tenant).await?;
        // After the insert, which waits for whoever creates the same tenant.
        let replayed = replayed(&mut tx, caller).await?;
        let tenant = match (inserted, &replayed) {
            (store::Inserted::New, None) => tenant,
            (store::Inserted::New, Some(_)) => return Err(AppError::NotFound(tenant.name())),
            (store::Inserted::Exists, None) => return Err(AppError::Exists(tenant.name())),
            (store::Inserted::Exists, Some(_)) => {
                let made = store::tenants::by_slug(&mut tx, tenant.slug.as_str()).await?;
                made.ok_or_else(|| AppError::NotFound(tenant.name()))?
            }
        };
        tx.wall(&[tenant.id, caller.tenant]).await?;
        let head = if replayed.is_some() { None } else { Some(store::audit::lock(&mut tx, tenant.id).await?) };
        Ok(Work { app: self, caller, authority, head, pending: Pending::default(), replayed, tx, tenant, now })
    }

    /// The caller's authority, outside of any tenant.
    ///
    /// # Errors
    /// Of the database.
    pub async fn authority(&self, caller: &Caller) -> Result<(Tx, Authority), AppError> {
        let mut tx = self.db.read().await?;
        let authority = authority(&mut tx, caller, self.clock.now()).await?;
        Ok((tx, authority))
    }

    /// Under which secrets are hashed, and what else is derived from them.
    #[must_use]
    pub fn peppers(&self) -> Arc<Peppers> {
        self.gate.peppers()
    }

    /// A new identifier.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn new_id<K: Kind>(&self, now: Timestamp) -> Result<Id<K>, AppError> {
        Ok(Id::new(now, random()?))
    }

    /// Enters a tenant: from here on the transaction sees what is the tenant's and the caller's own tenant's, and nothing
    /// else. The two are one but for the operators of the platform.
    pub(super) async fn enter<'a>(
        &'a self,
        caller: &'a Caller,
        mut tx: Tx,
        slug: &Slug,
        asked: &impl ToString,
        lock: bool,
    ) -> Result<Work<'a>, AppError> {
        let unknown = || AppError::NotFound(asked.to_string());
        let mut tenant = store::tenants::by_slug(&mut tx, slug.as_str()).await?.ok_or_else(unknown)?;
        tx.wall(&[tenant.id, caller.tenant]).await?;
        let mut head = None;
        if lock {
            head = Some(store::audit::lock(&mut tx, tenant.id).await?);
            // Read again: the tenant may have changed while this waited for the lock.
            tenant = store::tenants::by_slug(&mut tx, slug.as_str()).await?.ok_or_else(unknown)?;
        }
        let now = self.clock.now();
        let authority = authority(&mut tx, caller, now).await?;
        Ok(Work { app: self, caller, authority, head, pending: Pending::default(), replayed: None, tx, tenant, now })
    }
}

/// Random bytes of the system.
///
/// # Errors
/// [`AppError::State`] when there are none: a system without randomness can make no secrets.
pub fn random<const N: usize>() -> Result<[u8; N], AppError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| AppError::State(format!("no randomness: {error}")))?;
    Ok(bytes)
}

async fn authority(tx: &mut Tx, caller: &Caller, now: Timestamp) -> Result<Authority, AppError> {
    let ended = match caller.basis {
        Some(basis) => store::ended_bases::has(tx, basis).await?,
        None => false,
    };
    if !ended && store::bindings::is_active(tx, caller.principal).await? {
        Ok(store::bindings::authority(tx, caller.principal, now).await?)
    } else {
        Ok(Authority::default())
    }
}

/// Insists that a record is not deleted: nothing is made in what is, nor changed of it.
///
/// # Errors
/// [`AppError::State`].
pub fn undeleted(deleted: Option<Timestamp>, name: &impl Display) -> Result<(), AppError> {
    if deleted.is_none() { Ok(()) } else { Err(AppError::State(format!("{name} {IsDeleted}"))) }
}

fn require(authority: &Authority, permission: Permission, scope: Scope) -> Result<(), AppError> {
    if authority.on(scope).has(permission) { Ok(()) } else { Err(AppError::Forbidden(permission)) }
}

impl<'a> Work<'a> {
    /// All that use cases share.
    #[must_use]
    pub const fn app(&self) -> &'a App {
        self.app
    }

    /// The scope of the whole tenant.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        Scope::Tenant(self.tenant.id)
    }

    /// The scope of one of the tenant's workspaces.
    #[must_use]
    pub const fn workspace_scope(&self, workspace: &Workspace) -> Scope {
        Scope::Workspace(self.tenant.id, workspace.id)
    }

    /// Who calls.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        self.caller
    }

    /// What the caller may do.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Insists that the caller holds something in the tenant: to anybody else it does not exist.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked`.
    pub fn must_be_seen(&self, asked: &impl ToString) -> Result<(), AppError> {
        if self.authority.touches(self.tenant.id) { Ok(()) } else { Err(AppError::NotFound(asked.to_string())) }
    }

    /// Insists on a permission.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn require(&self, permission: Permission, scope: Scope) -> Result<(), AppError> {
        require(&self.authority, permission, scope)
    }

    /// Insists on every permission of a set, until then or (`None`) for good: nobody gives away what they do not hold, nor
    /// for longer than they hold it.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] with the first that is missing.
    pub fn require_all(
        &self,
        permissions: PermissionSet,
        scope: Scope,
        until: Option<Timestamp>,
    ) -> Result<(), AppError> {
        match permissions.without(self.authority.lasting(scope, until)).iter().next() {
            Some(missing) => Err(AppError::Forbidden(missing)),
            None => Ok(()),
        }
    }

    /// Insists that a name within the request speaks of this tenant: what lies in another one does not exist here.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked`.
    pub fn own(&self, tenant: &Slug, asked: &impl ToString) -> Result<(), AppError> {
        if *tenant == self.tenant.slug { Ok(()) } else { Err(AppError::NotFound(asked.to_string())) }
    }

    /// The tenant's workspace with this slug.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked`.
    pub async fn workspace(&mut self, slug: &Slug, asked: &impl ToString) -> Result<Workspace, AppError> {
        let found = store::workspaces::by_slug(&mut self.tx, self.tenant.id, slug.as_str()).await?;
        found.ok_or_else(|| AppError::NotFound(asked.to_string()))
    }

    /// The tenant's workspace with this slug, for something to be made in it.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked`; [`AppError::State`] when it is deleted.
    pub async fn open_workspace(&mut self, slug: &Slug, asked: &impl ToString) -> Result<Workspace, AppError> {
        let workspace = self.workspace(slug, asked).await?;
        undeleted(workspace.deleted, &format_args!("{}/workspaces/{slug}", self.tenant.name()))?;
        Ok(workspace)
    }

    /// The workspace's project with this slug.
    ///
    /// # Errors
    /// [`AppError::NotFound`] with the name `asked`.
    pub async fn project(
        &mut self,
        workspace: &Workspace,
        slug: &Slug,
        asked: &impl ToString,
    ) -> Result<Project, AppError> {
        let found = store::projects::by_slug(&mut self.tx, workspace.id, slug.as_str()).await?;
        found.ok_or_else(|| AppError::NotFound(asked.to_string()))
    }

    /// The record after an edit; `None` when nothing is left to do: it is so already, or this was done before under the
    /// same request id.
    ///
    /// # Errors
    /// [`AppError::Etag`] when it is not of the version `asked`; [`AppError::State`] when it is deleted.
    pub fn edited<T: Living>(
        &self,
        name: &impl Display,
        before: &T,
        asked: Option<i64>,
        edit: &Edit,
    ) -> Result<Option<T>, AppError> {
        if self.replayed.is_some() {
            return Ok(None);
        }
        if asked.is_some_and(|version| version != *before.clone().parts().3) {
            return Err(AppError::Etag);
        }
        let after = before.edited(edit, self.now).map_err(|deleted| AppError::State(format!("{name} {deleted}")))?;
        Ok((after != *before).then_some(after))
    }

    /// Whether the same was done before under the same request id.
    #[must_use]
    pub const fn is_replay(&self) -> bool {
        self.replayed.is_some()
    }

    /// The name of what that made.
    #[must_use]
    pub fn made_before(&self) -> Option<&str> {
        self.replayed.as_ref().map(|done| done.resource.as_str())
    }

    /// Puts a change on the feed; it takes effect with the commit.
    pub fn emit(&mut self, change: Change) {
        self.pending.changes.push(change);
    }

    /// The number that the event of this change gets, when nothing else is put on record before it.
    pub(super) fn next_event(&self) -> i64 {
        self.head.as_ref().map_or(0, |head| head.size().cast_signed()) + 1
    }

    /// Puts an event of its own on record beside the one that the commit is given, before it.
    pub fn also(&mut self, audit: Audit) {
        self.pending.also.push(audit);
    }

    /// Writes the audit event and the feed event, commits, and waits until the decisions of every server see the change. When the caller
    /// only wanted to know whether it could be done, it is undone instead.
    ///
    /// # Errors
    /// Of the database; [`AppError::NotYetInForce`].
    pub async fn commit(mut self, audit: Audit) -> Result<i64, AppError> {
        let intent = &self.caller.intent;
        if intent.validate_only {
            return Ok(self.app.feed.revision());
        }
        let restricts = audit.restricts();
        let resource = audit.resource.clone();
        let revision = store::feed::append(&mut self.tx, &self.pending.changes).await?;
        let head = self.head.ok_or_else(|| AppError::State("only a change is put on record".to_owned()))?;
        let before = head.size();
        let done = self.pending.also.into_iter().chain([audit]);
        let tree = record::put(&mut self.tx, (self.tenant.id, head), self.caller, (self.now, revision), done).await?;
        if tree.size() / audit_tree::EVERY > before / audit_tree::EVERY {
            audit_tree::sign(self.app, &mut self.tx, (self.tenant.id, &tree), self.now).await?;
        }
        if !intent.once.is_empty() {
            let done = Done { fingerprint: intent.fingerprint.clone(), revision, resource };
            if store::requests::insert(&mut self.tx, self.caller.principal, &intent.once, &done).await?
                == store::Inserted::Exists
            {
                return Err(GateError::IdempotencyConflict("request_id").into());
            }
        }
        self.tx.commit().await?;
        self.app.feed.in_force(revision, restricts).await?;
        Ok(revision)
    }

    /// Ends without a change: what was asked for is so already. Gives the revision at which it is, once the decisions of every
    /// server see it: whoever asks again because that took too long is told the truth as well.
    ///
    /// # Errors
    /// Of the database; [`AppError::NotYetInForce`].
    pub async fn unchanged(mut self) -> Result<i64, AppError> {
        let head = store::feed::head(&mut self.tx).await?;
        self.tx.rollback().await?;
        self.app.feed.in_force(head, true).await?;
        Ok(self.replayed.map_or(head, |done| done.revision))
    }
}

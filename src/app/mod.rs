//! Use cases: one file per noun. Each checks the caller, makes one transaction of the change, its audit event and its
//! feed event, and answers when every decision of this server sees the change.

pub mod access;
pub mod assertions;
pub mod audit;
pub mod bindings;
pub mod bootstrap;
pub mod budgets;
pub mod caller;
pub mod context;
pub mod credits;
pub mod error;
pub mod feed;
pub mod hasher;
pub mod headcounts;
pub mod id_tokens;
pub mod identity_providers;
pub mod invitations;
pub mod issuers;
pub mod joining;
pub mod keys;
pub mod listing;
pub mod mail;
pub mod memberships;
pub mod ownership;
pub mod passwords;
pub mod prices;
pub mod projects;
pub mod record;
pub mod removals;
pub mod reviews;
pub mod role_templates;
pub mod roles;
pub mod seats;
pub mod service_account_keys;
pub mod service_accounts;
pub mod sessions;
pub mod sign_ins;
pub mod signing_keys;
pub mod summaries;
pub mod teams;
pub mod tenants;
pub mod tokens;
pub mod users;
pub mod workspaces;

pub use context::{App, Changed, Listed, Work};
pub use error::AppError;

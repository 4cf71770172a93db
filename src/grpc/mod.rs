//! The only tonic and prost: one file per service, and beside them one per noun for what its messages mean.
//!
//! A handler takes the caller that the authentication layer found, parses the message into the use case's own type (the
//! only validation of shapes; it names the field), runs the use case apart from the connection, and converts the answer.

#[macro_use]
mod macros;

pub mod codec;
pub mod gate;
pub mod gate_reply;
pub mod layers;
pub mod parse;
pub mod services;
pub mod status;

mod access;
mod access_questions;
mod allowlist;
mod audit;
mod bindings;
mod budgets;
mod credits;
mod gate_answers;
mod gate_questions;
mod headcounts;
mod identity;
mod identity_providers;
mod invitations;
mod key_batches;
mod key_changes;
mod key_policies;
mod keys;
mod leaks;
mod memberships;
mod meters;
mod ownership;
mod policies;
mod prices;
mod projects;
mod removals;
mod reviews;
mod role_templates;
mod roles;
mod seats;
mod service_account_keys;
mod service_accounts;
mod sessions;
mod sign_in;
mod statements;
mod summaries;
mod teams;
mod tenants;
mod usage;
mod users;
mod workspaces;

//! Pure values and rules: no I/O, no clock, no randomness, nothing asynchronous.

pub mod bindings;
pub mod budgets;
pub mod change;
pub mod id;
pub mod key_secret;
pub mod keys;
pub mod lifecycle;
pub mod listing;
pub mod money;
pub mod names;
pub mod permission;
pub mod policies;
pub mod price_file;
pub mod prices;
pub mod projects;
pub mod reviews;
pub mod role;
pub mod service_accounts;
pub mod teams;
pub mod tenants;
pub mod time;
pub mod trace;
pub mod users;
pub mod varint;
pub mod window;
pub mod workspaces;

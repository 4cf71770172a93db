//! Tests of the whole: a real server, real callers, real databases. One file for each promise and for each service that
//! has tests of its own; `harness` is what they stand on.

#![expect(clippy::pedantic, reason = "what pedantry gains in a library it costs in a test's plainness")]

mod harness;

mod access;
mod assertions;
mod bad_input;
mod bases;
mod commands;
mod forged_assertions;
mod forgotten;
mod gate;
mod gate_allowlists;
mod identity;
mod invitations;
mod inviting;
mod key_changes;
mod key_commands;
mod key_rotation;
mod ledger_model;
mod ledger_order;
mod list_plans;
mod listing;
mod lists;
mod mail;
mod matrix;
mod mtls;
mod oidc;
mod oracle;
mod outage;
mod ownership;
mod p1_exact;
mod p2_edges;
mod p2_expiry;
mod p2_kill;
mod p2_ledger;
mod p2_replicas;
mod p3_revoked;
mod p4_audit;
mod p5_ids;
mod p5_second_wall;
mod p5_walls;
mod people;
mod policies;
mod replicas;
mod reviews;
mod role_templates;
mod roles;
mod seats;
mod service_account_keys;
mod sessions;
mod sharing;
mod signing_keys;
mod simulator;
mod start;
mod store_suite;
mod teams;
mod tidy;
mod tls;

//! What the tests stand on: databases, a clock, servers, callers, and a small world to live in.

pub mod assertions;
pub mod authority;
pub mod books;
pub mod calls;
pub mod client;
pub mod clock;
pub mod desk;
pub mod http2;
pub mod ids;
pub mod issuer;
pub mod kill;
pub mod ledger;
pub mod model_charges;
pub mod model_journal;
pub mod model_recovery;
pub mod model_tables;
pub mod money_calls;
pub mod place;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod server;
pub mod smtp;
pub mod wire;
pub mod world;

use std::time::Duration;

/// Asks until there is an answer: the one place where a test waits for something that nobody announces.
pub async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(600, what, ask).await
}

/// As [`eventually`], for what takes a while by its nature: spans that servers wait out.
pub async fn at_last<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(2_400, what, ask).await
}

async fn within<T>(turns: u64, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for turn in 0..turns {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis((5 + turn).min(50))).await;
    }
    panic!("waited in vain: {what}");
}

/// Makes two tests of each function, one on either database: `name::sqlite` and `name::postgres`.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::harness::server::on_sqlite(super::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                crate::harness::server::on_postgres(super::$name).await;
            }
        }
    )+};
}

/// Makes a test of each function, on SQLite: for what does not touch the database.
macro_rules! once {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                crate::harness::server::on_sqlite(super::$name).await;
            }
        }
    )+};
}

pub(crate) use {both, once};

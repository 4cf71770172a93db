//! A server in this process, on a database of its own.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tollreeve::{
    config::{Config, Options},
    domain::{bindings::Principal, time::Clock as _, tokens::Basis},
    runtime::Server,
    store::connect::Settings,
};

use super::{books::Books, client::Client, clock::MockClock, postgres};

/// Longest that a token of a test is good: whatever a test does with the clock.
const TOKEN: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A server and all that belongs to it.
pub struct Env {
    pub server: Server,
    pub clock: Arc<MockClock>,
    pub config: Config,
    /// The operator.
    pub operator: Client,
    folder: TempDir,
}

/// Runs a test on SQLite, and checks the books after it.
pub async fn on_sqlite(test: impl AsyncFnOnce(&mut Env)) {
    let mut env = Env::start(None).await;
    test(&mut env).await;
    env.end().await;
}

/// Runs a test on PostgreSQL, if it is there, and checks the books after it.
pub async fn on_postgres(test: impl AsyncFnOnce(&mut Env)) {
    if let Some(cluster) = postgres::shared().await {
        let mut env = Env::start(Some(&cluster.database().await)).await;
        test(&mut env).await;
        env.end().await;
    }
}

/// The settings of a server in a folder, on SQLite or on a PostgreSQL database.
pub fn options(folder: &Path, database_url: Option<&str>) -> Options {
    Options {
        listen: Some((Ipv4Addr::LOCALHOST, 0).into()),
        data_dir: Some(folder.to_owned()),
        database_url: database_url.map(Into::into),
        threads: Some(2),
        // Nobody listens there: it can be named, and not be asked.
        oidc_issuers: Some(vec!["http://127.0.0.1:1/issuer".to_owned()]),
        ..Options::default()
    }
}

impl Env {
    /// Starts a server on a new database.
    pub async fn start(database_url: Option<&str>) -> Self {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let config = options(folder.path(), database_url).validate().expect("good settings");
        Self::start_with(folder, config).await
    }

    /// Starts a server with these settings.
    pub async fn start_with(folder: TempDir, config: Config) -> Self {
        let clock = Arc::new(MockClock::new());
        let server = Server::start(&config, clock.clone()).await.expect("the server starts");
        let token = server.operator_token(TOKEN).expect("a token");
        let operator = Client::new(server.addr(), Some(&token));
        Self { server, clock, config, operator, folder }
    }

    /// Another server, on the same database and by the same clock.
    pub async fn beside(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let (clock, config) = (Arc::clone(&self.clock), self.config.clone());
        let server = Server::start(&config, clock.clone()).await.expect("another server starts");
        let operator = Client { bearer: self.operator.bearer.clone(), ..Client::new(server.addr(), None) };
        Self { server, clock, config, operator, folder }
    }

    /// Another server, on a new database of the same kind.
    pub async fn another(&self) -> Self {
        self.another_with(|_, _| ()).await
    }

    /// Another server, on a new database of the same kind, with some other settings; they are told its folder.
    pub async fn another_with(&self, change: impl FnOnce(&Path, &mut Options)) -> Self {
        let url = match &self.config.database {
            Settings::Postgres { .. } => Some(postgres::shared().await.expect("it runs").database().await),
            Settings::Sqlite { .. } => None,
        };
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let mut options = options(folder.path(), url.as_deref());
        change(folder.path(), &mut options);
        let config = options.validate().expect("good settings");
        Self::start_with(folder, config).await
    }

    /// Stops the server in order and starts it again on the same database.
    pub async fn restart(self) -> Self {
        self.restart_after(async |_| ()).await
    }

    /// Stops the server in order and starts it again when something has been done meanwhile.
    pub async fn restart_after(self, meanwhile: impl AsyncFnOnce(&Config)) -> Self {
        let Self { server, clock, config, folder, .. } = self;
        server.stop().await.expect("stops in order");
        meanwhile(&config).await;
        let server = Server::start(&config, clock.clone()).await.expect("the server starts again");
        let token = server.operator_token(TOKEN).expect("a token");
        let operator = Client::new(server.addr(), Some(&token));
        Self { server, clock, config, operator, folder }
    }

    /// Stops the server in order and starts it again with other settings.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.restart().await
    }

    /// A bearer token of somebody, good for as long as any test.
    pub fn token(&self, principal: Principal) -> String {
        self.token_on(principal, None)
    }

    /// A bearer token of somebody that rests on something, good for as long as any test.
    pub fn token_on(&self, principal: Principal, basis: Option<Basis>) -> String {
        self.server.app().tokens.issue(principal, basis, self.clock.now(), TOKEN).expect("signs").0
    }

    /// A bearer token of somebody, by the id that their resource name ends with.
    pub fn user_token(&self, name: &str) -> String {
        let id = name.rsplit('/').next().unwrap_or_default();
        self.token(Principal::User(id.parse().expect("a user's name")))
    }

    /// Ends what is due: what the server does every second, by the test's clock.
    pub async fn sweep(&self) {
        self.server.app().gate.sweep(self.clock.now()).await.expect("sweeps");
    }

    /// The books, as the database has them.
    pub async fn books(&self) -> Books {
        Books::open(&self.config.database).await
    }

    /// Stops the server and checks that the books are in order, before and after.
    pub async fn end(self) {
        let books = self.books().await;
        books.check().await;
        self.server.stop().await.expect("stops in order");
        books.check().await;
        books.close().await;
        drop(self.folder);
    }
}

//! A world that outlives the servers that answer for it: they run as processes, which a test kills.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tollreeve::{
    config::Config,
    runtime::{Server, clock::SystemClock},
};

use super::{
    books::Books,
    client::Client,
    process::Process,
    server::options,
    world::{World, account_token, import_prices},
};

/// A folder, a database, and a world in it.
pub struct Scene {
    folder: TempDir,
    database_url: Option<String>,
    config: Config,
    world: World,
    operator_token: String,
    sidecar_token: String,
}

impl Scene {
    /// A world that `make` adds to while nobody is killed; gives what that made as well.
    pub async fn set<T>(database_url: Option<String>, make: impl AsyncFnOnce(&World) -> T) -> (Self, T) {
        let folder = tempfile::Builder::new().prefix("tollreeve-it-").tempdir().expect("a folder");
        let config = options(folder.path(), database_url.as_deref()).validate().expect("good settings");
        let server = Server::start(&config, Arc::new(SystemClock)).await.expect("starts");
        let operator_token = server.operator_token(Duration::from_hours(1)).expect("a token");
        let operator = Client::new(server.addr(), Some(&operator_token));
        import_prices(&operator).await;
        let world = World::made_by(&operator, "acme").await;
        let sidecar_token = account_token(&operator, &world.account).await;
        let made = make(&world).await;
        server.stop().await.expect("stops");
        (Self { folder, database_url, config, world, operator_token, sidecar_token }, made)
    }

    /// The folder of the data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server; gives the world through it too.
    pub async fn serve(&self, arguments: &[&str]) -> (Process, World) {
        let process = Process::serve(self.folder(), self.database_url.as_deref(), arguments).await;
        let operator = Client::new(process.addr, Some(&self.operator_token));
        let sidecar = operator.with_token(Some(&self.sidecar_token));
        (process, World { operator, sidecar, ..self.world.clone() })
    }

    /// What is on record.
    pub async fn books(&self) -> Books {
        Books::open(&self.config.database).await
    }
}

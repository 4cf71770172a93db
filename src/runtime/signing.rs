//! Looks, while the server runs, for private keys that tokens can be signed with: who puts a new key in the place of another
//! need not start anything again.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::keyring;
use crate::app::App;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Looks for as long as the server runs.
pub async fn run(app: Arc<App>, folder: PathBuf) {
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = app.clock.now();
        let told = match keyring::look(&folder, &app.tokens, now) {
            Ok(true) => {
                tracing::info!("there is another key to sign tokens with");
                String::new()
            }
            Ok(false) if !app.tokens.can_sign(now) => {
                "every key to sign tokens with that is here has retired".to_owned()
            }
            Ok(false) => String::new(),
            Err(error) => error.to_string(),
        };
        if !told.is_empty() && told != complaint {
            tracing::error!(error = told, "tokens cannot be signed with every key");
        }
        complaint = told;
    }
}

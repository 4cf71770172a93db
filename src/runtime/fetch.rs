//! Fetches what issuers publish.

use std::{sync::OnceLock, time::Duration};

use reqwest::{Client, redirect::Policy};

use crate::app::issuers::{Fetch, Fetched};

/// How long an issuer may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Fetches by HTTP. What is needed for that is made when it is first needed: most servers never do.
#[derive(Default)]
pub struct Fetcher(OnceLock<Result<Client, String>>);

impl Fetcher {
    fn client(&self) -> Result<&Client, String> {
        let made = self.0.get_or_init(|| {
            // A redirect would lead to where nobody was set up for.
            let builder = Client::builder().timeout(PATIENCE).redirect(Policy::none()).no_proxy();
            builder.build().map_err(|error| error.to_string())
        });
        made.as_ref().map_err(Clone::clone)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let told = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error));
        let mut answer = self.client()?.get(url).send().await.map_err(told)?.error_for_status().map_err(told)?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let mut content = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            content.extend_from_slice(&chunk);
            if content.len() > MAX_ANSWER {
                return Err(format!("{url} answers with more than {MAX_ANSWER} bytes"));
            }
        }
        Ok(content)
    }
}

impl Fetch for Fetcher {
    fn fetch<'a>(&'a self, url: &'a str) -> Fetched<'a> {
        Box::pin(self.get(url))
    }
}

//! `tollreeve keys check`: finds keys where they should not be, without a server, and has them revoked if that is asked for.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use tonic::Code;

use super::{
    FAILURE,
    client::CallError,
    names::NotThere,
    session::{Session, SessionArgs},
};
use crate::{domain::leaks, pb::tollreeve::v1 as pb};

/// Flags of `keys check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    /// Files to look into, whatever is in them; `-` or none for standard input.
    files: Vec<PathBuf>,
    /// Have every key that is found revoked, and its owner told: the key itself is all that it takes.
    #[arg(long)]
    report: bool,
    /// Where they were found, for the audit log; otherwise the name of the file
    #[arg(long, requires = "report", value_name = "TEXT")]
    found: Option<String>,
}

/// Looks for keys, and prints where they stand and how they begin. The exit code is 0 when there are none, and 1 when there are.
///
/// # Errors
/// When a file cannot be read, or a key cannot be reported.
pub async fn check(session: SessionArgs, args: CheckArgs) -> anyhow::Result<ExitCode> {
    let files = if args.files.is_empty() { vec![PathBuf::from("-")] } else { args.files };
    let session = if args.report { Some(Session::open_for_anybody(session).await?) } else { None };
    let mut any = false;
    for file in &files {
        let text = read(file)?;
        let name = file.display().to_string();
        for found in leaks::find(&text) {
            any = true;
            let (line, column) = place(&text, found.at);
            let at = format!("{name}:{line}:{column}");
            let Some(session) = &session else {
                println!("{at}: {}", found.hint());
                continue;
            };
            let told = args.found.clone().unwrap_or_else(|| at.clone());
            let outcome = report(session, found.key, told).await.with_context(|| at.clone())?;
            println!("{at}: {}: {outcome}", found.hint());
        }
    }
    Ok(if any { ExitCode::from(FAILURE) } else { ExitCode::SUCCESS })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut text)?;
    } else {
        let unreadable = |error| NotThere(format!("cannot read `{}`: {error}", file.display()));
        text = fs::read(file).map_err(unreadable)?;
    }
    Ok(text)
}

/// The line and the column of a byte, from 1 on, as editors count.
fn place(text: &[u8], at: usize) -> (usize, usize) {
    let lines: Vec<&[u8]> = text[..at].split(|byte| *byte == b'\n').collect();
    (lines.len(), lines.last().map_or(0, |line| line.len()) + 1)
}

async fn report(session: &Session, key: &str, found: String) -> anyhow::Result<String> {
    let request = pb::ReportLeakedKeyRequest { secret: key.to_owned(), found };
    match session.connection.keys().report_leaked_key(request).await {
        Ok(answer) => Ok(format!("revoked, as of revision {}", answer.into_inner().revision)),
        Err(status) if status.code() == Code::NotFound => Ok("no key of this server".to_owned()),
        Err(status) => Err(CallError { what: "cannot report it".to_owned(), status, advice: None }.into()),
    }
}

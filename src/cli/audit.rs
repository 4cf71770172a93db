//! `tollreeve audit`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    names::{UsageError, tenant as full},
    session::{PageArgs, Session, SessionArgs, called, listed},
    show::{Colour, Paint},
};
use crate::{
    domain::{audit_export::Verifier, checkpoint::VerifierKey},
    pb::tollreeve::v1 as pb,
};

/// Flags of `audit`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List events, newest first.
    List {
        /// The tenant, `acme`.
        tenant: String,
        #[command(flatten)]
        pages: PageArgs,
        /// Which: `action = "keys.revoke"`, `actor = "..."`, `source = "..."`, `outcome = REFUSED`, `time >= "2026-03-01T00:00:00Z"`.
        #[arg(long, default_value = "")]
        filter: String,
        /// In which order: `time`, also `"time desc"`.
        #[arg(long, default_value = "", value_name = "FIELD")]
        order_by: String,
    },
    /// Write the log to a file as lines of JSON that `verify` checks. A file that is there already is gone on with.
    Export {
        /// The tenant, `acme`.
        tenant: String,
        /// The file.
        #[arg(long)]
        to: PathBuf,
        /// Leave out so many events at the beginning: those that another export has.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Print a signed checkpoint of the log as it is now. Keep it where nobody who could change the log can change it too.
    Checkpoint {
        /// The tenant, `acme`.
        tenant: String,
    },
    /// Print the key that verifies the checkpoints of the log. Ask once, and keep it.
    Key {
        /// The tenant, `acme`.
        tenant: String,
    },
    /// Check an export: no server, no database and no network is needed. Says the first event that does not fit; ends with 1 then.
    Verify {
        /// The export; `-` for standard input.
        file: PathBuf,
        /// The verifier key, as `key` printed it once.
        #[arg(long)]
        key: VerifierKey,
        /// A checkpoint that was kept: the log must still have in it all that this was signed for.
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
}

const COLUMNS: [(&str, &str); 6] = [
    ("SEQUENCE", "sequence"),
    ("TIME", "time"),
    ("ACTOR", "actor"),
    ("ACTION", "action"),
    ("RESOURCE", "resource"),
    ("OUTCOME", "outcome"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { session, verb } = args;
    let (session, verb) = match verb {
        Verb::Verify { file, key, since } => return verify(&file, key, since.as_deref()),
        other => (Session::open(session).await?, other),
    };
    match verb {
        Verb::List { tenant, pages, filter, order_by } => {
            let parent = full(&tenant);
            let request = pb::ListAuditEventsRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
            let list = listed!(session, pages, &parent, audit.list_audit_events(request), events);
            session.table(&list, "events", &COLUMNS)
        }
        Verb::Export { tenant, to, after } => export(&session, full(&tenant), &to, after).await,
        Verb::Checkpoint { tenant } => {
            print!("{}", checkpoint(&session, full(&tenant)).await?.checkpoint.unwrap_or_default().note);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Key { tenant } => {
            println!("{}", checkpoint(&session, full(&tenant)).await?.verifier_key);
            Ok(ExitCode::SUCCESS)
        }
        // Answered above.
        Verb::Verify { .. } => Ok(ExitCode::SUCCESS),
    }
}

async fn checkpoint(session: &Session, parent: String) -> anyhow::Result<pb::GetAuditCheckpointResponse> {
    let request = pb::GetAuditCheckpointRequest { parent: parent.clone(), size: None };
    called!(session, "read the checkpoint of", &parent, audit.get_audit_checkpoint(request))
}

/// Exports to a file, page by page; goes on behind the last whole event that the file has.
async fn export(session: &Session, parent: String, to: &Path, after: i64) -> anyhow::Result<ExitCode> {
    let told = || format!("{}", to.display());
    let mut file = File::options().read(true).append(true).create(true).open(to).with_context(told)?;
    let begun = last_event(&file).with_context(told)?;
    file.set_len(begun.map_or(0, |(_, whole)| whole)).with_context(told)?;
    let (mut after_sequence, mut continued) = (begun.map_or(after, |(last, _)| last), begun.is_some());
    loop {
        let request = pb::ExportAuditEventsRequest { parent: parent.clone(), after_sequence, continued };
        let page = called!(session, "export the log of", &parent, audit.export_audit_events(request))?;
        file.write_all(page.lines.as_bytes()).with_context(told)?;
        (after_sequence, continued) = (page.last_sequence, true);
        if page.complete {
            break;
        }
    }
    file.sync_all().with_context(told)?;
    eprintln!("{}: {after_sequence} events", to.display());
    Ok(ExitCode::SUCCESS)
}

/// The last event of an export that was begun, and how many bytes there are up to its end and the checkpoints that follow it. `None`
/// when there is none.
fn last_event(file: &File) -> anyhow::Result<Option<(i64, u64)>> {
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    let (mut at, mut last, mut whole) = (0, None, 0);
    while reader.read_until(b'\n', &mut line)? > 0 {
        at += line.len() as u64;
        // The last line may have been cut off.
        let Some(text) = line.strip_suffix(b"\n") else { break };
        let value: serde_json::Value =
            serde_json::from_slice(text).map_err(|_| UsageError("the file is no export".to_owned()))?;
        last = match (&value["log"]["after"], &value["event"]["sequence"]) {
            (after, serde_json::Value::Null) if last.is_none() => after.as_i64(),
            (_, sequence) => sequence.as_i64().or(last),
        };
        whole = at;
        line.clear();
    }
    Ok(last.map(|last| (last, whole)))
}

fn verify(file: &Path, key: VerifierKey, since: Option<&Path>) -> anyhow::Result<ExitCode> {
    let paint = Paint::stdout();
    let kept = since.map(|path| -> anyhow::Result<_> {
        let told = || format!("{}", path.display());
        let note = std::fs::read_to_string(path).with_context(told)?;
        key.open(&note).with_context(told)
    });
    let mut verifier = Verifier::new(key, kept.transpose()?);
    let input: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).with_context(|| format!("{}", file.display()))?)
    };
    let (mut reader, mut line) = (BufReader::with_capacity(1 << 20, input), Vec::new());
    let mut check = || -> anyhow::Result<_> {
        while reader.by_ref().read_until(b'\n', &mut line)? > 0 {
            if let Err(finding) = verifier.line(&line) {
                return Ok(Err(finding));
            }
            line.clear();
        }
        Ok(Ok(()))
    };
    match check()?.and_then(|()| verifier.end()) {
        Ok(done) => {
            let fits = paint.paint(Colour::Green, "fits");
            println!("{fits}: events {} to {}, up to a signed checkpoint", done.begins + 1, done.size);
            Ok(ExitCode::SUCCESS)
        }
        Err(finding) => {
            println!("{}: {finding}", paint.paint(Colour::Red, "does not fit"));
            Ok(ExitCode::FAILURE)
        }
    }
}

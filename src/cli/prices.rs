//! `tollreeve prices`, and how a price file is brought into a server's list.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Subcommand;

use super::{
    client::{Connection, failed},
    session::{PageArgs, Session, SessionArgs, called, listed},
};
use crate::{
    domain::price_file::{self, NoteKind, PriceFile},
    pb::tollreeve::v1 as pb,
};

/// Flags of `prices`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    /// The prices that the tenant of `--tenant` has of its own. Default: those that are the same for every tenant.
    #[arg(long, global = true)]
    own: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Import the field's usual price file, `model_prices_and_context_window.json`; what it changes is a new version.
    Import {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        when: When,
        /// Say what it would change, and change nothing.
        #[arg(long)]
        validate_only: bool,
    },
    /// List the prices in force.
    List {
        #[command(flatten)]
        pages: PageArgs,
        /// Those that are in force then, `2027-01-31T12:00:00Z`. Default: now.
        #[arg(long, value_name = "TIME")]
        at: Option<jiff::Timestamp>,
    },
    /// List the versions of the prices, the last one first.
    Versions(PageArgs),
    /// Show what a version changed.
    Diff {
        /// Its number, `7`.
        version: String,
        #[command(flatten)]
        pages: PageArgs,
    },
    /// Let the prices be those of an older version again, by a new one.
    Rollback {
        /// Its number, `6`.
        version: String,
        #[command(flatten)]
        when: When,
        /// Say how much it would change, and change nothing.
        #[arg(long)]
        validate_only: bool,
    },
}

/// When something takes effect.
#[derive(clap::Args)]
struct When {
    /// When it takes effect, `2027-01-31T12:00:00Z`. Default: at once.
    #[arg(long, value_name = "TIME")]
    effective: Option<jiff::Timestamp>,
}

/// The name of a version that was told by its number or its name.
fn version_name(parent: &str, version: &str) -> String {
    match (version.contains('/'), parent) {
        (true, _) => version.to_owned(),
        (false, "") => format!("priceVersions/{version}"),
        (false, parent) => format!("{parent}/priceVersions/{version}"),
    }
}

fn wire(time: Option<jiff::Timestamp>) -> Option<prost_types::Timestamp> {
    time.map(|at| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
}

const COLUMNS: [(&str, &str); 5] = [
    ("PROVIDER", "provider"),
    ("MODEL", "model"),
    ("INPUT (NANOS/M)", "input_nanos_per_million"),
    ("OUTPUT (NANOS/M)", "output_nanos_per_million"),
    ("REQUESTS (NANOS/M)", "request_nanos_per_million"),
];
const VERSIONS: [(&str, &str); 6] = [
    ("NAME", "name"),
    ("FROM", "effective_time"),
    ("SETS", "set_count"),
    ("REMOVES", "removed_count"),
    ("RESTORES", "restored_version"),
    ("BY", "actor"),
];
const CHANGES: [(&str, &str); 8] = [
    ("PROVIDER", "before.provider"),
    ("MODEL", "before.model"),
    ("INPUT (NANOS/M)", "before.input_nanos_per_million"),
    ("OUTPUT (NANOS/M)", "before.output_nanos_per_million"),
    ("PROVIDER", "after.provider"),
    ("MODEL", "after.model"),
    ("INPUT (NANOS/M)", "after.input_nanos_per_million"),
    ("OUTPUT (NANOS/M)", "after.output_nanos_per_million"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let content = match &args.verb {
        Verb::Import { file, .. } => read(file)?.into_bytes(),
        _ => Vec::new(),
    };
    let parent = if args.own { args.session.names().tenant(None)? } else { String::new() };
    let on = if args.own { &*parent } else { "the prices" };
    let session = Session::open(args.session).await?;
    match args.verb {
        Verb::Import { when, validate_only, .. } => {
            let effective_time = wire(when.effective);
            let parent = parent.clone();
            let content = content.into();
            let request = pb::ImportPriceFileRequest { content, validate_only, effective_time, parent };
            let answer = called!(session, "import", on, prices.import_price_file(request))?;
            session.print(&answer, |_| told(answer.changed, &answer.version, validate_only))
        }
        Verb::List { pages, at } => {
            let effective_time = wire(at);
            let request = pb::ListPricesRequest { effective_time, parent: parent.clone(), ..Default::default() };
            let list = listed!(session, pages, on, prices.list_prices(request), prices);
            session.table(&list, "prices", &COLUMNS)
        }
        Verb::Versions(pages) => {
            let request = pb::ListPriceVersionsRequest { parent: parent.clone(), ..Default::default() };
            let list = listed!(session, pages, on, prices.list_price_versions(request), versions);
            session.table(&list, "versions", &VERSIONS)
        }
        Verb::Diff { version, pages } => {
            let name = version_name(&parent, &version);
            let request = pb::GetPriceVersionRequest { name: name.clone(), ..Default::default() };
            let read = listed!(session, pages, &name, prices.get_price_version(request), changes);
            session.table(&read, "changes", &CHANGES)
        }
        Verb::Rollback { version, when, validate_only } => {
            let name = version_name(&parent, &version);
            let request =
                pb::RollBackPricesRequest { name: name.clone(), effective_time: wire(when.effective), validate_only };
            let answer = called!(session, "roll back to", &name, prices.roll_back_prices(request))?;
            session.print(&answer, |_| told(answer.changed, &answer.version, validate_only))
        }
    }
}

/// What became of the prices, for people.
fn told(changed: i32, version: &str, validate_only: bool) -> String {
    match (changed, validate_only) {
        (0, _) => "the prices are so already".to_owned(),
        (_, true) => format!("{changed} prices would change; nothing was changed"),
        (_, false) => format!("{changed} prices changed by {version}"),
    }
}

/// Most complaints about a file that are printed unless all are asked for; their number is told in any case.
const SHOWN: usize = 10;

/// Reads a price file and says on standard error which of its entries cannot be used.
///
/// # Errors
/// When the file cannot be read or is not a JSON object.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let file = price_file::parse(&text).with_context(|| format!("`{}` is not a price file", path.display()))?;
    for note in file.notes.iter().filter(|note| note.kind == NoteKind::Broken).take(SHOWN) {
        eprintln!("{}:{}: `{}` is not used: {}", path.display(), note.line, note.name, note.reason);
    }
    eprintln!("{}: {}", path.display(), summary(&file));
    Ok(text)
}

fn summary(file: &PriceFile) -> String {
    format!(
        "{} prices; {} entries make no sense, {} cannot be charged by; {} members not understood, {} rounded up",
        file.prices.len(),
        file.count(NoteKind::Broken),
        file.count(NoteKind::Unpriced),
        file.count(NoteKind::Ignored),
        file.count(NoteKind::Rounded),
    )
}

/// Adds the prices of a file to the server's list, or replaces those of the same provider and model. Answers how many
/// are new or different.
///
/// # Errors
/// When the server refuses.
pub async fn import(connection: &Connection, text: String) -> anyhow::Result<i32> {
    let request = pb::ImportPriceFileRequest { content: text.into(), ..pb::ImportPriceFileRequest::default() };
    let answer = connection.prices().import_price_file(request).await.map_err(failed("cannot import the prices"))?;
    Ok(answer.into_inner().changed)
}

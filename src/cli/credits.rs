//! `tollreeve credits`.

use std::{fmt::Write as _, process::ExitCode};

use clap::{Subcommand, ValueEnum};

use super::{
    ServerOptions,
    bindings::Until,
    names::WORKSPACE,
    policies::dollars,
    session::{ChangeArgs, PageArgs, Session, SessionArgs, called, listed},
    show::{Colour, Paint},
};
use crate::{
    config::Config,
    domain::{
        credit_proof::{Misfit, Proof},
        money::Nanos,
        time::Clock as _,
    },
    pb::tollreeve::v1 as pb,
    runtime::clock::SystemClock,
    store::{self, Db},
};

/// Flags of `credits`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show where the credit of a workspace stands.
    Get {
        /// The workspace, `prod`.
        workspace: String,
    },
    /// List the entries of a workspace's credit.
    List {
        /// The workspace, `prod`.
        workspace: String,
        #[command(flatten)]
        pages: PageArgs,
        /// Which: `kind = PURCHASE`, `reference = "invoice 7"`, `create_time >= "2026-03-01T00:00:00Z"`.
        #[arg(long, default_value = "")]
        filter: String,
        /// In which order: `create_time`, also `"create_time desc"`.
        #[arg(long, default_value = "", value_name = "FIELD")]
        order_by: String,
    },
    /// Add an entry to a workspace's credit: a purchase, a grant or an adjustment.
    Add {
        /// The workspace, `prod`.
        workspace: String,
        /// US dollars, `250` or `-12.50`; at most nine decimals. Below zero, an adjustment takes back.
        #[arg(long, value_parser = signed, allow_hyphen_values = true, value_name = "DOLLARS")]
        amount: i64,
        /// What it is.
        #[arg(long, value_enum)]
        kind: Kind,
        /// Invoice or ticket; the same again is the same entry.
        #[arg(long)]
        reference: String,
        /// For people.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        until: Until,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Work out every balance anew from the entries and from what every charge has posted, and say which does not fit and by how
    /// much; ends with 1 then. Reads one state of the database, and trusts no server: none has to run.
    Prove {
        /// The workspaces, `prod`. Default: all of `--tenant`; without one, all there are.
        workspaces: Vec<String>,
        #[command(flatten)]
        database: Box<ServerOptions>,
    },
}

/// What an entry is.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Was paid for.
    Purchase,
    /// Was given.
    Grant,
    /// Puts something right.
    Adjustment,
}

impl From<Kind> for pb::CreditEntryKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Purchase => Self::Purchase,
            Kind::Grant => Self::Grant,
            Kind::Adjustment => Self::Adjustment,
        }
    }
}

/// Billionths of a dollar in `-12.50`, exactly.
fn signed(text: &str) -> Result<i64, String> {
    let (sign, amount) = text.strip_prefix('-').map_or((1, text), |amount| (-1, amount));
    dollars(amount).map(|nanos| sign * nanos).ok_or_else(|| "must be US dollars, like `250` or `-12.50`".to_owned())
}

const COLUMNS: [(&str, &str); 7] = [
    ("NAME", "name"),
    ("KIND", "kind"),
    ("AMOUNT (NANOS)", "amount_nanos"),
    ("REFERENCE", "reference"),
    ("UNTIL", "expire_time"),
    ("BY", "actor"),
    ("MADE", "create_time"),
];

/// Does what was asked.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { session, verb } = args;
    let verb = match verb {
        Verb::Prove { workspaces, database } => return prove(&session, &workspaces, &database.read()?).await,
        other => other,
    };
    let session = Session::open(session).await?;
    let full = |name: &str| session.names.full(WORKSPACE, name);
    match verb {
        Verb::Get { workspace } => {
            let name = full(&workspace)?;
            let request = pb::GetCreditRequest { name: name.clone() };
            session.record(&called!(session, "read the credit of", &name, credits.get_credit(request))?, "credit")
        }
        Verb::List { workspace, pages, filter, order_by } => {
            let parent = full(&workspace)?;
            let request =
                pb::ListCreditEntriesRequest { parent: parent.clone(), filter, order_by, ..Default::default() };
            let list = listed!(session, pages, &parent, credits.list_credit_entries(request), entries);
            session.table(&list, "entries", &COLUMNS)
        }
        Verb::Add { workspace, amount, kind, reference, note, until, change } => {
            let ChangeArgs { validate_only, request_id } = change;
            let parent = full(&workspace)?;
            let entry = Some(pb::CreditEntry {
                kind: pb::CreditEntryKind::from(kind).into(),
                amount_nanos: amount,
                reference,
                note,
                expire_time: until.time(),
                ..pb::CreditEntry::default()
            });
            let request = pb::CreateCreditEntryRequest { parent: parent.clone(), entry, request_id, validate_only };
            let answer = called!(session, "add to the credit of", &parent, credits.create_credit_entry(request))?;
            session.changed(&answer, "entry", "added", validate_only)
        }
        // Answered above.
        Verb::Prove { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Proves the credit of these workspaces, or of every one of the tenant, or of all.
async fn prove(session: &SessionArgs, workspaces: &[String], config: &Config) -> anyhow::Result<ExitCode> {
    let names = session.names();
    let all = workspaces.iter().map(|name| names.full(WORKSPACE, name)).collect::<Result<Vec<_>, _>>()?;
    let within = names.tenant(None).map(|tenant| format!("{tenant}/")).unwrap_or_default();
    let wanted =
        |name: &str| if all.is_empty() { name.starts_with(&within) } else { all.iter().any(|one| one == name) };
    let db = Db::connect(&config.database).await?;
    let (proofs, charges) = store::credit_proof::prove_all(&db, SystemClock.now(), wanted).await?;
    db.close().await;
    if session.is_json() {
        println!("{:#}", serde_json::json!({ "charges": charges, "pools": proofs }));
    } else {
        let paint = Paint::stdout();
        for proof in &proofs {
            println!("{}", told(paint, proof));
        }
        println!("{} pools, {charges} charges", proofs.len());
    }
    let fits = proofs.iter().all(|proof| proof.misfits.is_empty());
    Ok(if fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a proof says, for people.
fn told(paint: Paint, proof: &Proof) -> String {
    let Proof { workspace, entries, balance, settling, misfits } = proof;
    let fits = match (misfits.is_empty(), settling) {
        (false, _) => paint.paint(Colour::Red, "does not fit"),
        (true, true) => paint.paint(Colour::Yellow, "fits as far as calls that still run let it be seen"),
        (true, false) => paint.paint(Colour::Green, "fits"),
    };
    let mut text = format!("{workspace}: {fits}; {} is left by {entries} entries", dollars_of(*balance));
    for Misfit { what, found, expected } in misfits {
        let by = dollars_of(found - expected);
        let (found, expected) = (dollars_of(*found), dollars_of(*expected));
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {what}: {found} on record, {expected} worked out; off by {by}");
    }
    text
}

fn dollars_of(exact: i128) -> Nanos {
    Nanos(i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_dollars_with_a_sign() {
        let read = |text| signed(text).ok();
        assert_eq!(
            (read("250"), read("-12.5"), read("0.000000001")),
            (Some(250_000_000_000), Some(-12_500_000_000), Some(1))
        );
        assert_eq!((read("--1"), read("1e3"), read(""), read("-")), (None, None, None, None));
    }
}

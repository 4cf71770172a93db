//! Brings prices into a server's list.

use std::path::Path;

use anyhow::Context as _;

use super::client::{Connection, failed};
use crate::{
    domain::price_file::{self, NoteKind, PriceFile},
    pb::tollreeve::v1 as pb,
};

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

//! `tollreeve usage` and `tollreeve requests`.

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

use clap::ValueEnum;

use super::{
    names::{KEY, PROJECT, TEAM, UsageError, WORKSPACE},
    session::{PageArgs, Session, SessionArgs, called, listed},
    show::{self, Colour},
};
use crate::pb::tollreeve::v1::{self as pb, UsageGranularity, UsageGrouping};

/// Flags of `usage`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    session: SessionArgs,
    /// How long the spans are.
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// What it is added up by, with commas: `workspace,model`.
    #[arg(long, value_enum, value_delimiter = ',')]
    group: Vec<Group>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    only: Only,
    /// Only of those who were in this team, `core`.
    #[arg(long)]
    team: Option<String>,
    /// Only by this provider, `azure`.
    #[arg(long, default_value = "")]
    provider: String,
    /// In which order: `time` or `spend`, also `"spend desc"`.
    #[arg(long, default_value = "", value_name = "FIELD")]
    order_by: String,
    /// All of it as CSV, with a line of names: for a spreadsheet.
    #[arg(long, conflicts_with_all = ["output", "page_size", "page_token"])]
    csv: bool,
    #[command(flatten)]
    pages: PageArgs,
}

/// Flags of `requests`.
#[derive(clap::Args)]
pub struct LogArgs {
    #[command(flatten)]
    session: SessionArgs,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    pages: PageArgs,
}

/// Which time.
#[derive(clap::Args)]
struct Range {
    /// From this time on, `2026-11-01` or `2026-11-01T08:00:00Z`; days begin at midnight UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<prost_types::Timestamp>,
    /// Until before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<prost_types::Timestamp>,
}

/// Whose usage.
#[derive(clap::Args)]
struct Only {
    /// Only in this workspace, `prod`.
    #[arg(long)]
    workspace: Option<String>,
    /// Only in this project, `prod/search`.
    #[arg(long)]
    project: Option<String>,
    /// Only of this owner of keys, `user_...` or `serviceAccounts/edge`.
    #[arg(long)]
    owner: Option<String>,
    /// Only with this key, `prod/key_...`.
    #[arg(long)]
    key: Option<String>,
    /// Only by this model, `gpt-4o`.
    #[arg(long, default_value = "")]
    model: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Hour,
    Day,
    Month,
    Total,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    Workspace,
    Project,
    Team,
    Owner,
    Key,
    Provider,
    Model,
}

/// The columns of the log.
const LOG: [(&str, &str); 8] = [
    ("TIME", "record_time"),
    ("OWNER", "owner"),
    ("KEY", "key"),
    ("PROJECT", "project"),
    ("MODEL", "model"),
    ("IN", "usage.input_tokens"),
    ("OUT", "usage.output_tokens"),
    ("NANO-DOLLARS", "cost_nanos"),
];

/// The first line of CSV.
const HEADER: [&str; 17] = [
    "start",
    "end",
    "workspace",
    "project",
    "team",
    "owner",
    "key",
    "provider",
    "model",
    "charges",
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
];

/// A date, or a time of day.
fn time(text: &str) -> Result<prost_types::Timestamp, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let time: jiff::Timestamp = whole.parse().map_err(|error| format!("{error}"))?;
    Ok(prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

/// Names in full, and the parent that they lie in.
struct Named {
    parent: String,
    project: String,
    owner: String,
    key: String,
}

fn named(session: &Session, only: &Only) -> Result<Named, UsageError> {
    let full = |of, text: &Option<String>| {
        text.as_deref().map_or_else(|| Ok(String::new()), |text| session.names.full(of, text))
    };
    let owner = only.owner.as_deref().map_or_else(|| Ok(String::new()), |text| session.names.member(text))?;
    let parent = match &only.workspace {
        Some(workspace) => session.names.full(WORKSPACE, workspace)?,
        None => session.names.tenant(None)?,
    };
    Ok(Named { parent, project: full(PROJECT, &only.project)?, owner, key: full(KEY, &only.key)? })
}

/// Tells what was used.
///
/// # Errors
/// When it could not be done.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { session, by, group, range, only, team, provider, order_by, csv, pages } = args;
    let session = Session::open(session).await?;
    let Named { parent, project, owner, key } = named(&session, &only)?;
    let team = team.map_or_else(|| Ok(String::new()), |team| session.names.full(TEAM, &team))?;
    let group_by = group.iter().map(|group| grouping(*group).into()).collect();
    let request = pb::QueryUsageRequest {
        parent: parent.clone(),
        start_time: range.from,
        end_time: range.to,
        granularity: granularity(by).into(),
        group_by,
        project,
        team,
        owner,
        key,
        provider,
        model: only.model,
        order_by,
        ..Default::default()
    };
    if csv {
        return export(&session, &parent, request).await;
    }
    let list = listed!(session, pages, &parent, usage.query_usage(request), rows);
    if !list.next_page_token.is_empty() && !session.is_json() {
        eprintln!("there is more: --all tells all of it, --page-token {} the next", list.next_page_token);
    }
    session.print(&list, |_| chart(&session, &list.rows, by, &group))
}

/// Tells every call.
///
/// # Errors
/// When it could not be done.
pub async fn requests(args: LogArgs) -> anyhow::Result<ExitCode> {
    let LogArgs { session, range, only, pages } = args;
    let session = Session::open(session).await?;
    let Named { parent, project, owner, key } = named(&session, &only)?;
    let request = pb::ListChargesRequest {
        parent: parent.clone(),
        start_time: range.from,
        end_time: range.to,
        owner,
        key,
        project,
        model: only.model,
        ..Default::default()
    };
    let list = listed!(session, pages, &parent, usage.list_charges(request), charges);
    session.table(&list, "charges", &LOG)
}

const fn granularity(by: By) -> UsageGranularity {
    match by {
        By::Hour => UsageGranularity::Hour,
        By::Day => UsageGranularity::Day,
        By::Month => UsageGranularity::Month,
        By::Total => UsageGranularity::Total,
    }
}

const fn grouping(group: Group) -> UsageGrouping {
    match group {
        Group::Workspace => UsageGrouping::Workspace,
        Group::Project => UsageGrouping::Project,
        Group::Team => UsageGrouping::Team,
        Group::Owner => UsageGrouping::Owner,
        Group::Key => UsageGrouping::Key,
        Group::Provider => UsageGrouping::Provider,
        Group::Model => UsageGrouping::Model,
    }
}

fn group_of(row: &pb::UsageRow, group: Group) -> &str {
    match group {
        Group::Workspace => &row.workspace,
        Group::Project => &row.project,
        Group::Team => &row.team,
        Group::Owner => &row.owner,
        Group::Key => &row.key,
        Group::Provider => &row.provider,
        Group::Model => &row.model,
    }
}

/// The begin of a span, as short as it may be.
fn start(row: &pb::UsageRow, by: By) -> String {
    let text = row.start_time.map(|time| time.to_string()).unwrap_or_default();
    let kept = match by {
        By::Hour => 16,
        By::Day | By::Total => 10,
        By::Month => 7,
    };
    text.get(..kept).unwrap_or(&text).replace('T', " ")
}

/// A bar for every row: its share of the one that cost the most; of requests when nothing cost anything.
fn chart(session: &Session, rows: &[pb::UsageRow], by: By, groups: &[Group]) -> String {
    let costs = rows.iter().any(|row| row.cost_nanos > 0);
    let size = |row: &pb::UsageRow| if costs { row.cost_nanos } else { row.requests };
    let most = rows.iter().map(size).max().unwrap_or_default();
    let line = |row: &pb::UsageRow| {
        let mut cells = vec![start(row, by)];
        // The end of a name tells it from others beside it.
        let short = |name: &str| name.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("-").to_owned();
        cells.extend(groups.iter().map(|group| match group {
            Group::Provider | Group::Model if !group_of(row, *group).is_empty() => group_of(row, *group).to_owned(),
            _ => short(group_of(row, *group)),
        }));
        let share = if most > 0 { show::percent(size(row), most) } else { 0 };
        cells.push(session.paint().paint(Colour::Green, &show::bar(share)));
        cells.push(show::dollars(row.cost_nanos.into()));
        let input = row.input_tokens.saturating_add(row.cached_input_tokens).saturating_add(row.cache_write_tokens);
        cells.extend([row.requests, input, row.output_tokens].map(|count| count.to_string()));
        cells
    };
    let names: Vec<String> = groups
        .iter()
        .map(|group| group.to_possible_value().map_or_else(String::new, |v| v.get_name().to_uppercase()))
        .collect();
    let mut header = vec!["FROM (UTC)"];
    header.extend(names.iter().map(String::as_str));
    header.extend(["", "SPEND", "REQUESTS", "TOKENS IN", "TOKENS OUT"]);
    show::table(&header, rows.iter().map(line).collect())
}

/// Every row as CSV, page by page.
async fn export(session: &Session, parent: &str, request: pb::QueryUsageRequest) -> anyhow::Result<ExitCode> {
    let mut request = pb::QueryUsageRequest { page_size: 1000, ..request };
    let mut first = true;
    loop {
        let page = called!(session, "export the usage of", parent, usage.query_usage(request.clone()))?;
        let text = csv(&page.rows, first)?;
        match std::io::stdout().write_all(&text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            other => other?,
        }
        if page.next_page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        first = false;
        request.page_token = page.next_page_token;
    }
}

/// Rows as CSV (RFC 4180), with a line of names at first.
fn csv(rows: &[pb::UsageRow], first: bool) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if first {
        writer.write_record(HEADER)?;
    }
    for row in rows {
        let time = |time: Option<prost_types::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let mut cells = vec![time(row.start_time), time(row.end_time)];
        let texts = [&row.workspace, &row.project, &row.team, &row.owner, &row.key, &row.provider, &row.model];
        cells.extend(texts.map(|text| harmless(text)));
        let counts = [
            row.charges,
            row.requests,
            row.input_tokens,
            row.cached_input_tokens,
            row.cache_write_tokens,
            row.output_tokens,
            row.reasoning_tokens,
        ];
        cells.extend(counts.map(|count| count.to_string()));
        cells.push(show::dollars(row.cost_nanos.into()).trim_start_matches('$').to_owned());
        writer.write_record(&cells)?;
    }
    Ok(writer.into_inner()?)
}

/// A text that no spreadsheet takes for a formula: names of models are whatever a sidecar sends.
fn harmless(text: &str) -> String {
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '＝', '＋', '－', '＠']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_must_be_and_has_no_formulas() {
        let time = Some(time("2026-11-01").expect("a date"));
        let row = pb::UsageRow {
            start_time: time,
            end_time: time,
            model: "=HYPERLINK(\"http://evil\",\"a\")".into(),
            provider: "a,b".into(),
            requests: 3,
            cost_nanos: 1_500_000_000,
            ..pb::UsageRow::default()
        };
        let text = String::from_utf8(csv(&[row], true).expect("written")).expect("text");
        let mut lines = text.split("\r\n");
        assert_eq!(lines.next(), Some(&*HEADER.join(",")));
        assert_eq!(
            lines.next(),
            Some(
                "2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,,,,,,\"a,b\",\"'=HYPERLINK(\"\"http://evil\"\",\"\"a\"\")\",\
                 0,3,0,0,0,0,0,1.50"
            )
        );
        for bad in ["+1", "-1", "@SUM(1)", " =1", "\t=1", "＝1"] {
            assert_eq!(harmless(bad), format!("'{bad}"));
        }
        assert_eq!(harmless("gpt-4o"), "gpt-4o");
    }
}

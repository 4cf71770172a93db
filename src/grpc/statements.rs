//! What messages of statements mean.

use super::{
    parse::{self, FieldError},
    usage::{listing, named},
};
use crate::{
    app::statements::{CloseStatement, GetStatement, ListStatementLines, ListStatements, NamedStatement, OnlyLines},
    domain::{
        statements::{Line, Totals},
        usage::time_of,
    },
    pb::tollreeve::v1::{self as pb, *},
};

impl From<Totals> for pb::StatementTotals {
    fn from(totals: Totals) -> Self {
        let [input, cached, written, output, reasoning] = totals.tokens;
        Self {
            charges: totals.charges,
            requests: totals.requests,
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: output,
            reasoning_tokens: reasoning,
            cost_nanos: totals.cost,
        }
    }
}

impl From<pb::StatementTotals> for Totals {
    fn from(totals: pb::StatementTotals) -> Self {
        let tokens = [
            totals.input_tokens,
            totals.cached_input_tokens,
            totals.cache_write_tokens,
            totals.output_tokens,
            totals.reasoning_tokens,
        ];
        Self { charges: totals.charges, requests: totals.requests, tokens, cost: totals.cost_nanos }
    }
}

impl From<NamedStatement> for pb::Statement {
    fn from(named: NamedStatement) -> Self {
        let statement = named.statement;
        let state = if statement.closing.is_some() { StatementState::Closed } else { StatementState::Draft };
        let (start, end) = (time_of(statement.month.start()), time_of(statement.month.end()));
        let closing = statement.closing;
        Self {
            name: named.name.to_string(),
            state: state.into(),
            start_time: Some(parse::to_wire(start)),
            end_time: Some(parse::to_wire(end)),
            line_count: statement.lines,
            totals: Some(statement.totals.into()),
            number: closing.as_ref().map_or(0, |closing| closing.number),
            close_time: closing.as_ref().map(|closing| parse::to_wire(closing.at)),
            actor: closing.as_ref().map(|closing| closing.actor.clone()).unwrap_or_default(),
            sha256: closing.map(|closing| closing.hash).unwrap_or_default(),
        }
    }
}

impl From<Line> for pb::StatementLine {
    fn from(line: Line) -> Self {
        let Line { number, team, workspace, project, provider, model, totals } = line;
        Self { number, team, workspace, project, provider, model, totals: Some(totals.into()) }
    }
}

impl From<pb::StatementLine> for Line {
    fn from(line: pb::StatementLine) -> Self {
        let pb::StatementLine { number, team, workspace, project, provider, model, totals } = line;
        Self { number, team, workspace, project, provider, model, totals: totals.unwrap_or_default().into() }
    }
}

fn only(workspace: &str, team: &str) -> Result<OnlyLines, FieldError> {
    Ok(OnlyLines { workspace: named("workspace", workspace)?, team: named("team", team)? })
}

impl TryFrom<GetStatementRequest> for GetStatement {
    type Error = FieldError;

    fn try_from(request: GetStatementRequest) -> Result<Self, FieldError> {
        let only = only(&request.workspace, &request.team)?;
        Ok(Self { name: parse::required("name", &request.name)?, only })
    }
}

impl TryFrom<ListStatementsRequest> for ListStatements {
    type Error = FieldError;

    fn try_from(request: ListStatementsRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        Ok(Self { parent: parse::required("parent", &request.parent)?, listing: listing(page, String::new()) })
    }
}

impl TryFrom<ListStatementLinesRequest> for ListStatementLines {
    type Error = FieldError;

    fn try_from(request: ListStatementLinesRequest) -> Result<Self, FieldError> {
        let page = parse::page(request.page_size, &request.page_token)?;
        // The parent is part of the list's own name.
        let asked = format!("{} {}", request.workspace, request.team);
        Ok(Self {
            parent: parse::required("parent", &request.parent)?,
            only: only(&request.workspace, &request.team)?,
            listing: listing(page, asked),
        })
    }
}

asks_by_name! {
    CloseStatementRequest => CloseStatement;
}

intended!(CloseStatementRequest);

answers_one! {
    NamedStatement as statement: read GetStatementResponse;
    changed CloseStatementResponse;
}

answers_page!(NamedStatement as statements: ListStatementsResponse);

answers_page!(Line as lines: ListStatementLinesResponse);

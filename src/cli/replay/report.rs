//! What a replay prints at its end.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};

use super::{
    books::Difference,
    plan::ModelShare,
    tally::{Cell, Reason, Tally},
    view::per_second,
};
use crate::{
    cli::show::{self, Colour, Paint},
    pb::tollreeve::v1 as pb,
};

/// Most kinds of failures that are listed.
const MOST_FAILURES: usize = 10;

/// Everything that is known at the end of a run.
pub struct Report {
    /// What the sidecars were told.
    pub tally: Tally,
    /// The run's models.
    pub mix: Vec<ModelShare>,
    /// Calls that were to be played.
    pub planned: usize,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// The budgets before.
    pub before: Vec<pb::Budget>,
    /// The budgets after.
    pub after: Vec<pb::Budget>,
    /// Where the books differ from what the sidecars were told; an error when the server could not be asked.
    pub books: anyhow::Result<Vec<Difference>>,
}

impl Report {
    /// The report as text.
    #[must_use]
    pub fn text(self, paint: Paint) -> String {
        let total = self.tally.total();
        let mut parts = vec![calls_table(&self.tally, &self.mix)];
        if !self.tally.reasons.is_empty() {
            parts.push(reasons_table(&self.tally.reasons));
        }
        parts.push(budget_lines(paint, &self.before, &self.after));
        parts.push(summary(&self.tally, &total, self.planned, self.elapsed));
        if !self.tally.failures.is_empty() {
            parts.push(failure_lines(paint, &self.tally));
        }
        parts.push(book_lines(paint, &total, &self.books, self.tally.unacknowledged));
        parts.push(latency_table(self.tally));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n") + "\n"
    }
}

/// A table whose columns from `numbers` on hold numbers.
fn table(header: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn calls_table(tally: &Tally, mix: &[ModelShare]) -> String {
    let header = ["Team", "Project", "Model", "Calls", "Refused", "Failed", "Input tokens", "Output tokens", "Charged"];
    let mut table = table(&header, 3);
    let mut row = |team: &str, project: &str, model: &str, cell: &Cell| {
        let [input, output] =
            [cell.charged.input_tokens, cell.charged.output_tokens].map(|tokens| show::grouped(tokens.unsigned_abs()));
        let [calls, refused, failed] = [cell.calls, cell.refused, cell.failed].map(show::grouped);
        let charged = show::dollars(cell.charged.nanos);
        table.add_row([team, project, model, &calls, &refused, &failed, &input, &output, &charged]);
    };
    for (group, cell) in &tally.cells {
        row(group.team, group.project, &mix[group.model].model, cell);
    }
    row("Total", "", "", &tally.total());
    table.to_string()
}

fn reasons_table(reasons: &BTreeMap<Reason, u64>) -> String {
    let mut table = table(&["Refused because of", "Scope", "Limit", "Times"], 2);
    for (reason, count) in reasons {
        let limited = reason.unit != i32::from(pb::Unit::Unspecified);
        let limit = if limited { show::unit(reason.unit).show(reason.limit) } else { String::new() };
        table.add_row([reason.code, &reason.scope, &limit, &show::grouped(*count)]);
    }
    table.to_string()
}

/// Where the budgets stand, and by how much each has moved meanwhile, whoever moved it.
fn budget_lines(paint: Paint, before: &[pb::Budget], after: &[pb::Budget]) -> String {
    let spent = |budget: &pb::Budget| budget.state.as_ref().map_or(0, |state| state.spent);
    let width = after.iter().map(|budget| budget.display_name.chars().count()).max().unwrap_or(0);
    let lines = after.iter().filter_map(|budget| {
        let state = budget.state.as_ref()?;
        let earlier = before.iter().find(|earlier| earlier.name == budget.name).map_or(0, spent);
        // A window that began meanwhile makes this negative.
        let moved = state.spent.saturating_sub(earlier);
        let moved = format!("{}{}", if moved < 0 { "" } else { "+" }, show::unit(state.unit).show(moved));
        Some(format!(
            "{:<width$}  {} {}",
            budget.display_name,
            show::overview(paint, &budget.thresholds, state),
            paint.paint(Colour::Grey, &format!("({moved})"))
        ))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn summary(tally: &Tally, total: &Cell, planned: usize, elapsed: Duration) -> String {
    let mut text = format!(
        "{} of {} calls in {}.{:03} s: {} calls/s",
        show::grouped(total.calls),
        show::grouped(planned as u64),
        elapsed.as_secs(),
        elapsed.subsec_millis(),
        show::grouped(per_second(total.calls, elapsed)),
    );
    let statuses = tally.statuses.iter().map(|(status, count)| format!("{} {status}", show::grouped(*count)));
    let statuses = statuses.collect::<Vec<_>>().join(", ");
    if !statuses.is_empty() {
        text = format!("{text}; charges: {statuses}");
    }
    if tally.retries > 0 {
        text = format!("{text}; {} attempts repeated", show::grouped(tally.retries));
    }
    if tally.late >= Duration::from_millis(100) {
        text = format!("{text}; at worst {} ms behind the trace", show::grouped(tally.late.as_millis()));
    }
    text
}

fn failure_lines(paint: Paint, tally: &Tally) -> String {
    let mut failures: Vec<_> = tally.failures.iter().collect();
    failures.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let more = failures.len().saturating_sub(MOST_FAILURES);
    let listed = failures.into_iter().take(MOST_FAILURES);
    let mut lines: Vec<_> = listed
        .map(|(failure, count)| {
            format!("{} {failure}", paint.paint(Colour::Red, &format!("{} failed:", show::grouped(*count))))
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} other kinds of failures"));
    }
    lines.join("\n")
}

fn book_lines(paint: Paint, total: &Cell, books: &anyhow::Result<Vec<Difference>>, unacknowledged: u64) -> String {
    let charged = &total.charged;
    let told = format!(
        "{} charges, {} input and {} output tokens, {}",
        show::grouped(charged.charges.unsigned_abs()),
        show::grouped(charged.input_tokens.unsigned_abs()),
        show::grouped(charged.output_tokens.unsigned_abs()),
        show::dollars(charged.nanos)
    );
    let mut lines = match books {
        Ok(differences) if differences.is_empty() => {
            let good = paint.paint(Colour::Green, "The books agree");
            vec![format!("{good} with what the sidecars were told, in total, by project and by model: {told}")]
        }
        Ok(differences) => {
            let bad = paint.paint(Colour::Red, "THE BOOKS DIFFER");
            let mut lines = vec![format!("{bad} from what the sidecars were told: {told}")];
            lines.extend(differences.iter().map(|Difference { group, what, told, booked }| {
                let group = if group.is_empty() { "in total" } else { group };
                format!("  {group}: {told} {what} told, {booked} booked ({:+})", booked - told)
            }));
            lines
        }
        Err(error) => vec![format!("{} {error:#}", paint.paint(Colour::Red, "The books were not checked:"))],
    };
    if unacknowledged > 0 {
        lines.push(format!(
            "{} charges were sent and never acknowledged: the books may have them",
            show::grouped(unacknowledged)
        ));
    }
    lines.join("\n")
}

fn latency_table(tally: Tally) -> String {
    let mut table = table(&["Answered in", "Calls", "p50", "p90", "p99", "max"], 1);
    for (name, latencies) in [("Authorize", tally.authorize), ("Charge", tally.charge)] {
        if let Some((count, percentiles)) = latencies.percentiles() {
            let times = percentiles.map(|micros| format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10));
            let row = [name.to_owned(), show::grouped(count as u64)];
            table.add_row(row.into_iter().chain(times));
        }
    }
    if table.is_empty() { String::new() } else { table.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::replay::tally::Group, domain::trace::TracedCall};

    fn budget(spent: i64) -> pb::Budget {
        let unit = pb::Unit::UsdNanos.into();
        pb::Budget {
            name: "b".into(),
            display_name: "Company".into(),
            state: Some(pb::BudgetState {
                unit,
                spent,
                limit: 10_000_000_000,
                hard: true,
                ..pb::BudgetState::default()
            }),
            ..pb::Budget::default()
        }
    }

    fn report(books: anyhow::Result<Vec<Difference>>) -> String {
        let group = Group { team: "search", project: "search-assistant", model: 0 };
        let call = TracedCall { offset_micros: 0, input_tokens: 1374, output_tokens: 44 };
        let mut tally = Tally::default();
        let answer = pb::ChargeResponse { charged_nanos: 1_375_000, status: 1, ..pb::ChargeResponse::default() };
        tally.charge(group, &call, &answer);
        tally.charge.note(Duration::from_micros(1234));
        let denial = pb::Denial {
            code: pb::DenialCode::QuotaExhausted.into(),
            scope: "tenants/demo".into(),
            unit: pb::Unit::Requests.into(),
            limit: 5,
            ..pb::Denial::default()
        };
        tally.refuse(group, vec![denial]);
        let report = Report {
            tally,
            mix: vec!["openai/gpt-4o".parse().expect("a share")],
            planned: 3,
            elapsed: Duration::from_millis(1500),
            before: vec![budget(0)],
            after: vec![budget(1_375_000)],
            books,
        };
        report.text(Paint::off())
    }

    #[test]
    fn a_report_has_the_calls_the_refusals_the_budgets_the_books_and_the_times() {
        let text = report(Ok(vec![]));
        for part in [
            "│ search ┆ search-assistant ┆ gpt-4o ┆     2 ┆       1 ┆      0 ┆        1,374 ┆            44 ┆ $0.001375 │",
            "│ QUOTA_EXHAUSTED    ┆ tenants/demo ┆ 5 requests ┆     1 │",
            "0 %  $0.00 spent of $10.00 (+$0.001375)",
            "2 of 3 calls in 1.500 s: 1 calls/s; charges: 1 APPLIED",
            "The books agree with what the sidecars were told, in total, by project and by model: \
             1 charges, 1,374 input and 44 output tokens, $0.001375",
            "│ Charge      ┆     1 ┆ 1.23 ms ┆",
        ] {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
        assert!(!text.contains("Authorize"), "nothing was measured there");
    }

    #[test]
    fn a_report_names_every_difference_and_does_not_hide_that_the_books_were_not_checked() {
        let difference = Difference { group: String::new(), what: "nano-dollars", told: 5, booked: 3 };
        assert!(report(Ok(vec![difference])).contains("  in total: 5 nano-dollars told, 3 booked (-2)"));
        assert!(report(Err(anyhow::anyhow!("away"))).contains("The books were not checked: away"));
    }
}

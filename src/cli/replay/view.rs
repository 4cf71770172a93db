//! What a replay shows while it runs: bars on a terminal, a line now and then elsewhere. All of it on standard error.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::tally::Cell;
use crate::{
    cli::show::{self, Colour, Paint},
    pb::tollreeve::v1 as pb,
};

/// Between two looks.
pub const PERIOD: Duration = Duration::from_millis(250);
/// Between two lines, when the next percent is reached.
const LINE_PERIOD: Duration = Duration::from_secs(2);
/// Between two lines in any case.
const QUIET_PERIOD: Duration = Duration::from_secs(10);
/// Columns for a budget's name.
const NAME_WIDTH: usize = 30;

/// How a replay is shown.
pub enum View {
    /// On a terminal.
    Bars(Bars),
    /// Elsewhere.
    Lines(Lines),
}

/// How far a replay has come.
pub struct Progress<'a> {
    /// What became of the calls so far.
    pub so_far: Cell,
    /// Calls of the whole run.
    pub planned: usize,
    /// Since the first call was due.
    pub elapsed: Duration,
    /// Where the budgets stand, as far as known.
    pub budgets: &'a [pb::Budget],
}

impl Progress<'_> {
    fn rate(&self) -> u64 {
        per_second(self.so_far.calls, self.elapsed)
    }

    fn summary(&self) -> String {
        let Cell { refused, failed, charged, .. } = self.so_far;
        let failed = if failed > 0 { format!(", {} failed", show::grouped(failed)) } else { String::new() };
        format!(
            "{}/s, {} refused{failed}, {}",
            show::grouped(self.rate()),
            show::grouped(refused),
            show::cents(charged.nanos)
        )
    }
}

/// Calls per second, rounded down.
#[must_use]
pub fn per_second(calls: u64, elapsed: Duration) -> u64 {
    u64::try_from(u128::from(calls) * 1000 / elapsed.as_millis().max(1)).unwrap_or(u64::MAX)
}

impl View {
    /// For standard error.
    #[must_use]
    pub fn new() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars(Bars::new()) } else { Self::Lines(Lines::default()) }
    }

    /// Shows how far the replay has come.
    pub fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bars(bars) => bars.show(progress),
            Self::Lines(lines) => {
                if let Some(line) = lines.next(progress) {
                    eprintln!("{line}");
                }
            }
        }
    }

    /// Takes the bars away, to make room for the report.
    pub fn end(self) {
        if let Self::Bars(bars) = self {
            // A terminal that is gone needs no cleaning.
            let _ = bars.all.clear();
        }
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

/// A bar for the calls, and one for each budget.
pub struct Bars {
    all: MultiProgress,
    calls: ProgressBar,
    budgets: Vec<ProgressBar>,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let calls =
            all.add(ProgressBar::no_length().with_style(style("{elapsed} {bar:40.cyan} {pos} of {len}, {msg}")));
        Self { all, calls, budgets: Vec::new() }
    }

    fn show(&mut self, progress: &Progress) {
        self.calls.set_length(progress.planned as u64);
        self.calls.set_position(progress.so_far.calls);
        self.calls.set_message(progress.summary());
        while self.budgets.len() < progress.budgets.len() {
            self.budgets.push(self.all.add(ProgressBar::no_length().with_style(style("{wide_msg}"))));
        }
        for (bar, budget) in self.budgets.iter().zip(progress.budgets) {
            if let Some(state) = &budget.state {
                let standing = show::overview(Paint::stderr(), &budget.thresholds, state);
                bar.set_message(format!("{:<NAME_WIDTH$} {standing}", budget.display_name));
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are fixed and well-formed; were one not, a plain bar would still tell something.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// When the last line was printed, and what it said.
#[derive(Default)]
pub struct Lines {
    last: Option<(Duration, i64)>,
}

impl Lines {
    /// The next line, if it is time for one.
    fn next(&mut self, progress: &Progress) -> Option<String> {
        let calls = i64::try_from(progress.so_far.calls).unwrap_or(i64::MAX);
        let percent = show::percent(calls, i64::try_from(progress.planned).unwrap_or(i64::MAX));
        if let Some((at, before)) = self.last {
            let since = progress.elapsed.saturating_sub(at);
            if since < LINE_PERIOD || (since < QUIET_PERIOD && percent == before) {
                return None;
            }
        }
        self.last = Some((progress.elapsed, percent));
        let [calls, planned] = [progress.so_far.calls, progress.planned as u64].map(show::grouped);
        Some(format!(
            "{percent:>3} %  {calls} of {planned} calls, {}{}",
            progress.summary(),
            spent_up(progress.budgets)
        ))
    }
}

/// The hard budgets that are at or near their limit, by name.
fn spent_up(budgets: &[pb::Budget]) -> String {
    let near = budgets.iter().filter_map(|budget| {
        let state = budget.state.as_ref().filter(|state| state.hard)?;
        let share = show::percent(state.spent.saturating_add(state.held), state.limit);
        (show::level(&budget.thresholds, share) == Colour::Red).then(|| format!("{} {share} %", budget.display_name))
    });
    let near: Vec<_> = near.collect();
    if near.is_empty() { String::new() } else { format!("; near the limit: {}", near.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(calls: u64, elapsed: Duration, budgets: &[pb::Budget]) -> Progress<'_> {
        Progress { so_far: Cell { calls, refused: 2, ..Cell::default() }, planned: 1000, elapsed, budgets }
    }

    #[test]
    fn a_line_comes_every_two_seconds_and_more_rarely_while_nothing_happens() {
        let mut lines = Lines::default();
        let mut at = |seconds, calls| lines.next(&progress(calls, Duration::from_secs(seconds), &[])).is_some();
        assert!(at(0, 0), "the first");
        assert!(!at(1, 500), "too early");
        assert!(at(2, 500), "two seconds and a percent later");
        assert!(!at(4, 501), "the same percent");
        assert!(at(12, 501), "ten seconds later in any case");
    }

    #[test]
    fn a_line_names_the_hard_budgets_that_are_near_their_limit() {
        let budget = |name: &str, spent, hard| pb::Budget {
            display_name: name.into(),
            state: Some(pb::BudgetState { spent, limit: 100, hard, ..pb::BudgetState::default() }),
            ..pb::Budget::default()
        };
        let budgets = [budget("calm", 89, true), budget("full", 90, true), budget("warned", 99, false)];
        let line = Lines::default().next(&progress(250, Duration::from_secs(2), &budgets)).expect("the first line");
        assert_eq!(line, " 25 %  250 of 1,000 calls, 125/s, 2 refused, $0.00; near the limit: full 90 %");
    }
}

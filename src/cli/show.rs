//! How things look to people: colours, bars, budgets.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};

use crate::{
    domain::{
        budgets::{Level, Thresholds},
        money::{Nanos, Unit},
    },
    pb::tollreeve::v1 as pb,
};

/// Cells of a bar.
const BAR_WIDTH: i64 = 20;

/// Colours text, or leaves it alone where colours would be noise.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// A colour of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// Good.
    Green,
    /// Worth a look.
    Yellow,
    /// Bad.
    Red,
    /// Beside the point.
    Grey,
}

impl Paint {
    /// Colours for standard output: only on a terminal, and not when `NO_COLOR` is set.
    #[must_use]
    pub fn stdout() -> Self {
        Self::on(std::io::stdout().is_terminal())
    }

    /// Colours for standard error, likewise.
    #[must_use]
    pub fn stderr() -> Self {
        Self::on(std::io::stderr().is_terminal())
    }

    fn on(terminal: bool) -> Self {
        Self { on: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    /// No colours.
    #[must_use]
    pub const fn off() -> Self {
        Self { on: false }
    }

    /// `text` in a colour.
    #[must_use]
    pub fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Grey => 90,
        };
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How much of `limit` is used, in percent, rounded down; past 100 when more is used than there is. Of a limit of zero,
/// all is.
#[must_use]
pub fn percent(used: i64, limit: i64) -> i64 {
    if limit <= 0 {
        return 100;
    }
    i64::try_from(i128::from(used) * 100 / i128::from(limit)).unwrap_or(i64::MAX)
}

/// Green below the first threshold of a budget, red from the second on. None: the usual ones.
#[must_use]
pub fn level(thresholds: &[i32], percent: i64) -> Colour {
    let percents: Vec<u16> = thresholds.iter().filter_map(|percent| u16::try_from(*percent).ok()).collect();
    match Thresholds::try_from(percents).unwrap_or_default().level(percent) {
        Level::Ok => Colour::Green,
        Level::Warning => Colour::Yellow,
        Level::Critical => Colour::Red,
    }
}

/// A bar that is filled to `percent`; at least a cell as soon as there is anything.
#[must_use]
pub fn bar(percent: i64) -> String {
    let filled = (percent.clamp(0, 100) * BAR_WIDTH / 100).max(i64::from(percent > 0));
    (0..BAR_WIDTH).map(|cell| if cell < filled { '█' } else { '░' }).collect()
}

/// The unit that a message speaks of; US dollars when it names none.
#[must_use]
pub fn unit(value: i32) -> Unit {
    match pb::Unit::try_from(value) {
        Ok(pb::Unit::Requests) => Unit::Requests,
        Ok(pb::Unit::Tokens) => Unit::Tokens,
        _ => Unit::Usd,
    }
}

/// A budget in a line: where it stands, when it starts again, what it limits.
#[must_use]
pub fn budget(paint: Paint, state: &pb::BudgetState) -> String {
    let reset = state.resets_at.map(|at| paint.paint(Colour::Grey, &format!(", resets {at}"))).unwrap_or_default();
    format!("{}{reset}  {}", standing(paint, state), state.scope)
}

/// Where a budget stands, exactly: bar, share, spent and held of the limit.
#[must_use]
pub fn standing(paint: Paint, state: &pb::BudgetState) -> String {
    let unit = unit(state.unit);
    standing_in(paint, &[], state, |amount| unit.show(amount))
}

/// Where a budget stands, with dollars to the cent unless the limit itself is small: numbers that do not flicker.
#[must_use]
pub fn overview(paint: Paint, thresholds: &[i32], state: &pb::BudgetState) -> String {
    let unit = unit(state.unit);
    standing_in(paint, thresholds, state, |amount| match unit {
        Unit::Usd if state.limit >= Nanos::DOLLAR.0 => cents(amount.into()),
        Unit::Usd => unit.show(amount),
        Unit::Requests => format!("{} requests", grouped(amount.unsigned_abs())),
        Unit::Tokens => format!("{} tokens", grouped(amount.unsigned_abs())),
    })
}

fn standing_in(paint: Paint, thresholds: &[i32], state: &pb::BudgetState, show: impl Fn(i64) -> String) -> String {
    let share = percent(state.spent.saturating_add(state.held), state.limit);
    let held = if state.held > 0 { format!(" + {} held", show(state.held)) } else { String::new() };
    format!(
        "{} {share:>4} %  {} spent{held} of {}{}",
        paint.paint(level(thresholds, share), &bar(share)),
        show(state.spent),
        show(state.limit),
        if state.hard { "" } else { " (soft)" },
    )
}

/// A sum of billionths of a US dollar, exactly: `$12.345678`.
#[must_use]
pub fn dollars(nanos: i128) -> String {
    i64::try_from(nanos).map_or_else(|_| format!("{nanos} nano-dollars"), |nanos| Nanos(nanos).to_string())
}

/// A sum of billionths of a US dollar to the cent, rounded half up: `$12.35`. For overviews; never for books.
#[must_use]
pub fn cents(nanos: i128) -> String {
    let cents = (nanos + 5_000_000).div_euclid(10_000_000);
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}${}.{:02}", grouped(cents.unsigned_abs() / 100), cents.unsigned_abs() % 100)
}

/// A number with a comma between its thousands: `1,234,567`.
#[must_use]
pub fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table without lines, as wide as the terminal at most; whole where there is none. A word when it has no rows.
#[must_use]
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "nothing".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Names with what they stand for, aligned.
#[must_use]
pub fn pairs(paint: Paint, lines: &[(String, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let line =
        |(name, text): &(String, String)| format!("{}  {text}", paint.paint(Colour::Grey, &format!("{name:width$}")));
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_green_yellow_or_red_by_its_thresholds() {
        for (used, colour) in
            [(0, Colour::Green), (699, Colour::Green), (700, Colour::Yellow), (899, Colour::Yellow), (900, Colour::Red)]
        {
            assert_eq!(level(&[], percent(used, 1000)), colour, "{used}");
        }
        assert_eq!([19, 20, 50].map(|percent| level(&[20, 50], percent)), [Colour::Green, Colour::Yellow, Colour::Red]);
        assert_eq!(percent(5, 0), 100);
        assert_eq!(percent(i64::MAX, 1), i64::MAX);
    }

    #[test]
    fn a_bar_shows_the_first_trace_of_use_and_never_overflows() {
        let filled = |percent| bar(percent).chars().filter(|cell| *cell == '█').count();
        assert_eq!([0, 1, 50, 99, 100, 1000].map(filled), [0, 1, 10, 19, 20, 20]);
    }

    #[test]
    fn a_budget_is_one_line_with_everything_that_matters() {
        let state = pb::BudgetState {
            scope: "tenants/demo".into(),
            unit: pb::Unit::UsdNanos.into(),
            limit: 10_000_000_000,
            spent: 7_000_000_000,
            held: 100_000_000,
            hard: true,
            ..pb::BudgetState::default()
        };
        assert_eq!(
            budget(Paint::off(), &state),
            "██████████████░░░░░░   71 %  $7.00 spent + $0.10 held of $10.00  tenants/demo"
        );
        let odd = pb::BudgetState { spent: 7_000_000_001, ..state };
        assert!(standing(Paint::off(), &odd).contains("$7.000000001 spent"));
        assert!(overview(Paint::off(), &[], &odd).contains("$7.00 spent"));
        let small = pb::BudgetState { limit: 10_000_000, spent: 9_859_350, held: 0, ..odd };
        assert!(overview(Paint::off(), &[], &small).ends_with("98 %  $0.00985935 spent of $0.01"));
    }

    #[test]
    fn overviews_round_to_cents_and_group_thousands() {
        for (nanos, text) in [(0, "$0.00"), (4_999_999, "$0.00"), (5_000_000, "$0.01"), (-1_230_000_000, "-$1.23")] {
            assert_eq!(cents(nanos), text);
        }
        assert_eq!(cents(1_234_567_890_000_000), "$1,234,567.89");
        assert_eq!([0u64, 999, 1000, 19_366, 1_234_567].map(grouped), ["0", "999", "1,000", "19,366", "1,234,567"]);
    }
}

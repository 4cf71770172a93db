//! Statements: what a tenant used in a month, line by line, and the text that it is told apart by.

use std::{
    fmt::{self, Write as _},
    str::FromStr,
    time::Duration,
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    listing::Sorted,
    time::Timestamp,
    usage::{self, time_of},
};

/// How long after its month a statement can be closed. A charge counts in the hour in which a server took it in, by its own
/// clock, and is written long before this has passed; one that is not is recorded later: see [`crate::store::statements`].
pub const GRACE: Duration = Duration::from_hours(1);

/// A calendar month (UTC) from 1970 on, as `2026-11`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Month(i64);

/// The text is not a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a month from 1970 on, like `2026-11`")]
pub struct BadMonth;

impl Month {
    /// The month that an hour since 1970 is in.
    #[must_use]
    pub fn of(hour: i64) -> Self {
        Self(usage::month(hour))
    }

    /// Its first hour, counted since 1970.
    #[must_use]
    pub const fn start(self) -> i64 {
        self.0
    }

    /// The first hour of the next one.
    #[must_use]
    pub fn end(self) -> i64 {
        usage::after_month(self.0)
    }

    /// When its statement can be closed.
    #[must_use]
    pub fn closes(self) -> Timestamp {
        time_of(self.end()).after(GRACE)
    }
}

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Self, BadMonth> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (year, month) = text.split_once('-').ok_or(BadMonth)?;
        if year.len() != 4 || month.len() != 2 || !digits(year) || !digits(month) {
            return Err(BadMonth);
        }
        let first: jiff::Timestamp = format!("{text}-01T00:00:00Z").parse().map_err(|_| BadMonth)?;
        let hour = first.as_second() / 3600;
        if (0..=usage::LAST_HOUR).contains(&hour) { Ok(Self(hour)) } else { Err(BadMonth) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(time_of(self.0).to_string().get(..7).unwrap_or_default())
    }
}

/// What charges come to; no sum is more than fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Charges.
    pub charges: i64,
    /// Model calls.
    pub requests: i64,
    /// Tokens: input, cached, written to a cache, output, reasoning.
    pub tokens: [i64; 5],
    /// Billionths of a US dollar.
    pub cost: i64,
}

impl Totals {
    /// What lines come to.
    pub fn of<'l>(lines: impl Iterator<Item = &'l Line>) -> Self {
        lines.fold(Self::default(), |mut sum, line| {
            let Self { charges, requests, tokens, cost } = line.totals;
            sum.charges = sum.charges.saturating_add(charges);
            sum.requests = sum.requests.saturating_add(requests);
            sum.tokens.iter_mut().zip(tokens).for_each(|(sum, more)| *sum = sum.saturating_add(more));
            sum.cost = sum.cost.saturating_add(cost);
            sum
        })
    }
}

/// A line: what was used in a place of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// 1, 2, 3 and so on in the statement.
    pub number: i64,
    /// Of a line by team, the name of that; empty with lines by place, each charge in one of them.
    pub team: String,
    /// Name of the workspace; empty for none.
    pub workspace: String,
    /// Name of the project; empty for none.
    pub project: String,
    /// The provider; empty where none was told.
    pub provider: String,
    /// The model; empty where none was told.
    pub model: String,
    /// What it comes to.
    pub totals: Totals,
}

impl Sorted for Line {
    fn id(&self) -> String {
        self.number.to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

/// How a statement was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Closing {
    /// 1, 2, 3 and so on in the tenant.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// Who closed it.
    pub actor: String,
    /// SHA-256 of [`csv`] of its lines, in hexadecimal digits.
    pub hash: String,
}

/// The statement of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The month.
    pub month: Month,
    /// How many lines it has.
    pub lines: i64,
    /// What they come to.
    pub totals: Totals,
    /// `None` for a draft.
    pub closing: Option<Closing>,
}

impl Sorted for Statement {
    fn id(&self) -> String {
        self.month.start().to_string()
    }

    fn key(&self, _: &str) -> String {
        String::new()
    }
}

/// Lines as CSV (RFC 4180): the same text for the same lines, for ever.
#[must_use]
pub fn csv(lines: &[Line]) -> String {
    let mut text = "line,team,workspace,project,provider,model,charges,requests,input_tokens,cached_input_tokens,\
                    cache_write_tokens,output_tokens,reasoning_tokens,cost_nanos\r\n"
        .to_owned();
    for Line { number, team, workspace, project, provider, model, totals } in lines {
        // Writing to a String cannot fail.
        let _ = write!(text, "{number}");
        for field in [team, workspace, project, provider, model] {
            text.push(',');
            if field.contains(['"', ',', '\r', '\n']) {
                let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
            } else {
                text.push_str(field);
            }
        }
        let Totals { charges, requests, tokens, cost } = totals;
        for number in [charges, requests].into_iter().chain(tokens).chain([cost]) {
            let _ = write!(text, ",{number}");
        }
        text.push_str("\r\n");
    }
    text
}

/// SHA-256 of a text, in hexadecimal digits.
#[must_use]
pub fn hash(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_read_as_it_is_written_and_ends_where_the_next_one_begins() {
        for text in ["1970-01", "2024-02", "2026-11", "2026-12"] {
            let month: Month = text.parse().expect("a month");
            assert_eq!(month.to_string(), text);
            assert_eq!(Month::of(month.end() - 1), month);
            assert_eq!(Month::of(month.end()).start(), month.end());
        }
        for bad in ["", "2026", "2026-1", "2026-13", "2026-00", "1969-12", "26-11", "2026-11-01", "+026-11", "9999-12"]
        {
            assert_eq!(bad.parse::<Month>(), Err(BadMonth), "{bad}");
        }
    }

    #[test]
    fn lines_are_written_as_anybody_reads_them() {
        let totals = Totals { charges: 1, requests: 2, tokens: [3, 4, 5, 6, 7], cost: 8 };
        let model = "a \"b\", c".to_owned();
        let line =
            Line { number: 1, workspace: "tenants/acme/workspaces/prod".into(), model, totals, ..Line::default() };
        let text = csv(std::slice::from_ref(&line));
        assert!(
            text.ends_with("\r\n1,,tenants/acme/workspaces/prod,,,\"a \"\"b\"\", c\",1,2,3,4,5,6,7,8\r\n"),
            "{text}"
        );
        assert_eq!(hash(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let much = Line { totals: Totals { cost: i64::MAX, ..totals }, ..line.clone() };
        assert_eq!(Totals::of([line, much].iter()).cost, i64::MAX);
    }
}

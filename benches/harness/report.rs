//! What a benchmark prints: a small table of what was measured, beside the bar that it is held to.

use std::{
    ops::{Bound, RangeBounds},
    time::Duration,
};

/// The table of one benchmark.
pub struct Report {
    title: &'static str,
    rows: Vec<[String; 3]>,
}

impl Report {
    /// An empty table.
    pub fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// A figure to know, held to nothing.
    pub fn note(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.rows.push([what.into(), figure.into(), String::new()]);
    }

    /// A figure that must lie within `bar`: `..=2.0` is at most 2, `2.0..` at least 2.
    pub fn hold(&mut self, what: impl Into<String>, figure: f64, unit: &str, bar: impl RangeBounds<f64>) {
        let bound = match (bar.start_bound(), bar.end_bound()) {
            (Bound::Included(least), _) => format!("at least {least}{unit}"),
            (_, Bound::Included(most)) => format!("at most {most}{unit}"),
            _ => String::new(),
        };
        let verdict = match (is_measurement(), bar.contains(&figure)) {
            (false, _) => "a quick run, not held to it",
            (true, true) => "ok",
            (true, false) => "MISSED",
        };
        self.rows.push([what.into(), format!("{figure:.2}{unit}"), format!("{bound}: {verdict}")]);
    }

    /// Prints the table.
    pub fn print(&self) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (first, second) = (width(0), width(1));
        println!("\n{}", self.title);
        for [what, figure, bar] in &self.rows {
            println!("  {what:<first$}  {figure:>second$}  {bar}");
        }
    }
}

/// Whether this is a measurement. Without `cargo bench`'s flag, as under `cargo test --benches`, it is a quick run to
/// see that everything works.
pub fn is_measurement() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// A size: from the environment, or `usual`, or `quick` when nothing is measured.
pub fn size(variable: &str, usual: usize, quick: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")),
        Err(_) if is_measurement() => usual,
        Err(_) => quick,
    }
}

/// The value below which a share of the sorted values lies.
pub fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// A span in words.
pub fn show(span: Duration) -> String {
    match span.as_nanos() {
        nanos @ 0..10_000 => format!("{nanos} ns"),
        nanos @ 10_000..10_000_000 => format!("{} us", nanos / 1000),
        nanos => format!("{} ms", nanos / 1_000_000),
    }
}

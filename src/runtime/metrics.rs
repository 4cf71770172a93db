//! Measurements, for an OpenTelemetry collector when one is named; otherwise they go nowhere.

use std::time::Duration;

use opentelemetry::{global, metrics::Histogram};

use crate::engine::meter::Meter;

/// What the tasks of the ledger take, as OpenTelemetry has it.
#[derive(Debug)]
pub struct LedgerMetrics {
    charges: Histogram<u64>,
    waited: Histogram<f64>,
    charging: Histogram<f64>,
    budgets: Histogram<u64>,
    granting: Histogram<f64>,
}

impl Default for LedgerMetrics {
    fn default() -> Self {
        // Powers of two up to the largest group; a tenth of a millisecond up to some seconds.
        const COUNTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
        const SECONDS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.5];
        let meter = global::meter("tollreeve");
        let count = |name: &'static str, unit: &'static str, about: &'static str| {
            let counts = meter.u64_histogram(name).with_unit(unit).with_description(about);
            counts.with_boundaries(COUNTS.to_vec()).build()
        };
        let span = |name: &'static str, about: &'static str| {
            let spans = meter.f64_histogram(name).with_unit("s").with_description(about);
            spans.with_boundaries(SECONDS.to_vec()).build()
        };
        Self {
            charges: count("tollreeve.ledger.batch.size", "{charge}", "Charges that one commit made durable"),
            waited: span("tollreeve.ledger.batch.wait", "How long the first charge of a batch had waited"),
            charging: span("tollreeve.ledger.commit.duration", "How long the ledger took to write a batch of charges"),
            budgets: count("tollreeve.ledger.grant.size", "{budget}", "Budgets that room was asked for together"),
            granting: span("tollreeve.ledger.grant.duration", "How long the ledger took to grant room"),
        }
    }
}

impl Meter for LedgerMetrics {
    fn charged(&self, charges: usize, waited: Duration, took: Duration) {
        self.charges.record(charges as u64, &[]);
        self.waited.record(waited.as_secs_f64(), &[]);
        self.charging.record(took.as_secs_f64(), &[]);
    }

    fn granted(&self, budgets: usize, took: Duration) {
        self.budgets.record(budgets as u64, &[]);
        self.granting.record(took.as_secs_f64(), &[]);
    }
}

//! Machines that can be stopped: by a signal to the process, or as a whole, their clocks with them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tollreeve::domain::time::{Clock, Timestamp};

use crate::harness::clock::START;

/// A clock that goes a little too fast or too slow.
#[derive(Clone, Copy, Debug)]
pub struct Rate(pub i64);

impl Rate {
    /// What the clock shows of a span.
    pub fn shown(self, span: Duration) -> Duration {
        let nanos = i128::try_from(span.as_nanos()).expect("short") * i128::from(1_000_000 + self.0) / 1_000_000;
        Duration::from_nanos(u64::try_from(nanos).expect("short"))
    }

    /// How long a span that it shows takes, and a moment more.
    pub fn takes(self, span: Duration) -> Duration {
        let nanos = i128::try_from(span.as_nanos()).expect("short") * 1_000_000 / i128::from(1_000_000 + self.0);
        Duration::from_nanos(u64::try_from(nanos).expect("short")) + Duration::from_millis(1)
    }
}

/// A machine with a clock of its own, on which one process runs.
pub struct Machine {
    start: Instant,
    rate: Rate,
    /// What the clock shows at the start.
    up: Duration,
    now: Timestamp,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// For how long the clocks have stood still.
    still: Duration,
    frozen: Option<Instant>,
    paused: bool,
    wakers: Vec<Waker>,
}

impl Machine {
    pub fn new(rate: Rate, up: Duration, ahead_micros: i64) -> Arc<Self> {
        let now = Timestamp::from_micros(START.micros() + ahead_micros);
        Arc::new(Self { start: Instant::now(), rate, up, now, state: Mutex::default() })
    }

    /// The process gets no time any more; the clocks go on.
    pub fn pause(&self, paused: bool) {
        self.state.lock().paused = paused;
        self.wake();
    }

    /// Nothing goes on, the clocks neither.
    pub fn freeze(&self) {
        let mut state = self.state.lock();
        state.frozen = state.frozen.or(Some(Instant::now()));
    }

    pub fn thaw(&self) {
        {
            let mut state = self.state.lock();
            if let Some(since) = state.frozen.take() {
                state.still += since.elapsed();
            }
        }
        self.wake();
    }

    pub fn is_running(&self) -> bool {
        let state = self.state.lock();
        !state.paused && state.frozen.is_none()
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut self.state.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn shown(&self) -> Duration {
        let state = self.state.lock();
        let until = state.frozen.unwrap_or_else(Instant::now);
        self.rate.shown(until.saturating_duration_since(self.start).saturating_sub(state.still))
    }

    /// Waits by this machine's clock.
    pub async fn sleep(&self, span: Duration) {
        let until = self.uptime() + span;
        loop {
            let left = until.saturating_sub(self.uptime());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(self.rate.takes(left)).await;
        }
    }

    /// Something that runs here, as long as the machine does.
    pub fn run<F: Future>(self: &Arc<Self>, work: F) -> Running<F> {
        Running { machine: Arc::clone(self), work: Box::pin(work) }
    }
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        self.now.after(self.shown())
    }

    fn uptime(&self) -> Duration {
        self.up + self.shown()
    }
}

/// Something that runs on a machine.
pub struct Running<F> {
    machine: Arc<Machine>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.machine.is_running() {
            self.machine.state.lock().wakers.push(context.waker().clone());
            return Poll::Pending;
        }
        self.work.as_mut().poll(context)
    }
}

//! Progress of long work: each phase shows its name and its duration, as a spinner on a terminal
//! and as plain lines elsewhere.

use std::{
    borrow::Cow,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Interval of progress lines for a running phase when there is no terminal.
const REMINDER: Duration = Duration::from_secs(15);

/// Output of phases. Clones share the same terminal lines, so phases may run concurrently.
#[derive(Clone)]
pub struct Progress {
    bars: Option<MultiProgress>,
    started: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Progress on standard error; the clock of the whole command starts here.
    pub fn new() -> Self {
        Self {
            bars: stderr().is_terminal().then(MultiProgress::new),
            started: Instant::now(),
        }
    }

    /// Runs `work` as the phase `name`.
    ///
    /// # Errors
    /// Those of `work`, prefixed with the phase and its duration.
    pub async fn phase<T>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: impl AsyncFnOnce(&Phase) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let name = name.into();
        let phase = Phase::new(self, name.to_string());
        let started = Instant::now();
        let done = {
            let mut work = std::pin::pin!(work(&phase));
            let mut reminder =
                tokio::time::interval_at(tokio::time::Instant::now() + REMINDER, REMINDER);
            loop {
                tokio::select! {
                    done = &mut work => break done,
                    _ = reminder.tick() => phase.remind(started.elapsed()),
                }
            }
        };
        let took = started.elapsed();
        phase.bar.finish_and_clear();
        match done {
            Ok(value) => {
                self.say(&format!(
                    "{:>7.1}s  {name} ({:.1}s)",
                    self.started.elapsed().as_secs_f64(),
                    took.as_secs_f64()
                ));
                Ok(value)
            }
            Err(error) => Err(error)
                .with_context(|| format!("{name}: failed after {:.1}s", took.as_secs_f64())),
        }
    }

    /// Prints one line above the running phases.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // A closed terminal must not stop the work.
            Some(bars) => drop(bars.println(line)),
            None => eprintln!("{line}"),
        }
    }

    /// Time since this value was created, for the duration of the whole command.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A running phase.
pub struct Phase {
    name: String,
    bar: ProgressBar,
    plain: bool,
}

impl Phase {
    fn new(progress: &Progress, name: String) -> Self {
        let bar = match &progress.bars {
            Some(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) =
                    ProgressStyle::with_template("{elapsed:>8}  {spinner} {prefix} {wide_msg:.dim}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(name.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                bar
            }
            None => ProgressBar::hidden(),
        };
        Self {
            name,
            bar,
            plain: progress.bars.is_none(),
        }
    }

    /// Shows the phase's current activity.
    pub fn note(&self, note: impl Into<Cow<'static, str>>) {
        self.bar.set_message(note);
    }

    fn remind(&self, after: Duration) {
        if self.plain {
            eprintln!(
                "          … {} {} ({:.0}s so far)",
                self.name,
                self.bar.message(),
                after.as_secs_f64()
            );
        }
    }
}

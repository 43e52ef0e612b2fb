//! The progress of index jobs, on a terminal and in plain lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

const TICK: Duration = Duration::from_millis(120);
const BYTES_TEMPLATE: &str = "{prefix} [{bar:30}] {bytes}/{total_bytes}  {eta} left  {msg}";
const TEMPLATE: &str = "{prefix} [{bar:30}] {pos}/{len} pages  {msg}";

/// One bar; silent where standard error is no terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    style: ProgressStyle,
}

impl Bar {
    pub(super) fn new(prefix: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_prefix(prefix.to_owned());
        let spinner = ProgressStyle::with_template("{prefix} {spinner} {msg}");
        bar.set_style(spinner.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(TICK);
        let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar, style: style.progress_chars("=> ") }
    }

    /// A bar over the bytes of a file; a spinner where nobody knows how many there are.
    pub(super) fn of_bytes(prefix: &str, total: Option<u64>) -> Self {
        let bar = Self::new(prefix);
        if let Some(total) = total {
            let style = ProgressStyle::with_template(BYTES_TEMPLATE);
            bar.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.bar.set_length(total);
        }
        bar
    }

    /// Counts what is read through it.
    pub(super) fn counting<R: std::io::Read>(&self, reader: R) -> impl std::io::Read + use<R> {
        self.bar.wrap_read(reader)
    }

    pub(super) fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }

    /// Shows the job as the node tells it.
    pub(super) fn show(&self, job: &Value) {
        let progress = &job["progress"];
        if let Some(total) = progress["pages_total"].as_u64() {
            if self.bar.length() != Some(total) {
                self.bar.set_style(self.style.clone());
                self.bar.set_length(total);
            }
            self.bar.set_position(progress["pages"].as_u64().unwrap_or_default());
        }
        self.say(words(progress));
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// `index · 1604 snippets · 210 pages/s · 2 s left`
fn words(progress: &Value) -> String {
    let mut words = vec![progress["stage"].as_str().unwrap_or_default().to_owned()];
    if let Some(snippets) = progress["snippets"].as_u64().filter(|snippets| *snippets > 0) {
        words.push(format!("{snippets} snippets"));
    }
    if let Some(rate) = progress["pages_per_second"].as_f64().filter(|rate| *rate > 0.0) {
        words.push(format!("{rate:.0} pages/s"));
    }
    if let Some(left) = progress["seconds_left"].as_f64() {
        words.push(format!("{:.0} s left", left.ceil()));
    }
    words.join(" · ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_told_in_words_as_far_as_it_is_known() {
        let early = json!({ "stage": "fetch", "pages": 0, "snippets": 0, "pages_per_second": 0.0 });
        assert_eq!(words(&early), "fetch");
        let later =
            json!({ "stage": "index", "snippets": 1604, "pages_per_second": 210.4, "seconds_left": 1.2 });
        assert_eq!(words(&later), "index · 1604 snippets · 210 pages/s · 2 s left");
    }
}

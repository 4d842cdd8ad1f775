//! Prometheus' text format, version 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>). It is small
//! enough that a library for it would be larger than this.

use std::fmt::Write as _;

use super::meter::{BOUNDS, Histogram};

/// What the answer has to say that it is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The types of metrics that we have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A scrape being written, one family after the other.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family: what follows are its samples.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// The samples of one family.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        self.line("", labels, value);
        self
    }

    pub(crate) fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) -> &mut Self {
        let counts = histogram.cumulative();
        let total = counts.last().copied().unwrap_or_default();
        for (bound, count) in BOUNDS.iter().zip(counts) {
            self.line(
                "_bucket",
                &[labels, &[("le", &bound.to_string())]].concat(),
                count,
            );
        }
        self.line("_bucket", &[labels, &[("le", "+Inf")]].concat(), total);
        self.line("_sum", labels, histogram.sum());
        self.line("_count", labels, total);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(k, v)| format!("{k}=\"{}\"", escaped(v)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{}{suffix}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_format_to_the_letter() {
        let mut text = Text::default();
        text.family("a_total", Kind::Counter, "How many.")
            .sample(&[("type", "x\"\\\n")], 3)
            .sample(&[], 0.5);
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(1500));
        text.family("b_seconds", Kind::Histogram, "How long.")
            .histogram(&[("ops", "get")], &histogram);
        let text = text.finish();
        assert!(text.starts_with(
            "# HELP a_total How many.\n# TYPE a_total counter\na_total{type=\"x\\\"\\\\\\n\"} 3\na_total 0.5\n\
             # HELP b_seconds How long.\n# TYPE b_seconds histogram\nb_seconds_bucket{ops=\"get\",le=\"0.0001\"} 0\n"
        ), "{text}");
        assert!(text.ends_with(
            "b_seconds_bucket{ops=\"get\",le=\"1\"} 0\nb_seconds_bucket{ops=\"get\",le=\"2.5\"} 1\n\
             b_seconds_bucket{ops=\"get\",le=\"5\"} 1\nb_seconds_bucket{ops=\"get\",le=\"10\"} 1\n\
             b_seconds_bucket{ops=\"get\",le=\"+Inf\"} 1\nb_seconds_sum{ops=\"get\"} 1.5\nb_seconds_count{ops=\"get\"} 1\n"
        ), "{text}");
    }
}

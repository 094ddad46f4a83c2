//! The text of `/metrics`, asked by name and labels.

/// One scrape.
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// The text format 0.0.4.
    pub fn new(text: String) -> Metrics {
        Metrics { text }
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The sum of all series of this name that have all of these labels (`route="a"`); 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.series().filter(|(key, _)| matches(key, name, labels));
        series.map(|(_, value)| value).sum()
    }

    /// Every series and its value.
    pub fn series(&self) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
    }
}

fn matches(key: &str, name: &str, labels: &[&str]) -> bool {
    let (found, rest) = key.split_once('{').unwrap_or((key, ""));
    found == name && labels.iter().all(|label| rest.contains(label))
}

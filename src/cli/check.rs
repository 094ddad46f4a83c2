//! A file in, a plan or every diagnostic out: the same for `check` and `run`.

use std::path::Path;

use crate::config::{self, Report};
use crate::plan::{self, Plan};

/// The plan of a file, with `${VAR}` from the process's environment.
///
/// # Errors
/// Everything that is wrong with the file.
pub(super) fn load(path: &Path) -> Result<Plan, Report> {
    let loaded = config::load(path, &|name| std::env::var(name).ok())?;
    plan::compile(&loaded.config).map_err(|faults| loaded.place(faults))
}

/// One line that says what a good file has.
///
/// # Errors
/// As [`load`].
pub(super) fn check(path: &Path) -> Result<String, Report> {
    let plan = load(path)?;
    Ok(format!("{}: ok ({})", path.display(), summary(&plan)))
}

fn summary(plan: &Plan) -> String {
    let Plan { listeners, upstreams, routes, .. } = plan;
    let counts = [("listener", listeners.len()), ("upstream", upstreams.len()), ("route", routes.len())];
    counts.map(|(noun, count)| counted(count, noun)).join(", ")
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "route")), ["0 routes", "1 route", "2 routes"]);
    }
}

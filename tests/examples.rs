//! Every sample configuration is one that works.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use tetap::config::{self, Report};
use tetap::plan::{self, Members, Plan};

fn samples() -> Vec<PathBuf> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let examples = fs::read_dir(conf.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = examples.chain([conf.join("tetap.yaml")]).collect();
    samples.sort();
    samples
}

/// With an empty environment: a sample has a default for each of its variables.
fn compile(path: &Path) -> Result<Plan, Report> {
    let loaded = config::load(path, &|_| None)?;
    plan::compile(&loaded.config).map_err(|faults| loaded.place(faults))
}

#[test]
fn every_sample_compiles() {
    let samples = samples();
    assert!(samples.len() >= 7, "{samples:?}");
    for path in samples {
        compile(&path).unwrap_or_else(|report| panic!("{report}"));
    }
}

#[test]
fn every_sample_tells_editors_of_the_schema() {
    for path in samples() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        let schema = first.strip_prefix("# yaml-language-server: $schema=").unwrap();
        assert!(path.parent().unwrap().join(schema).is_file(), "{}: {schema}", path.display());
    }
}

#[test]
fn the_first_configuration_is_the_one_that_the_readme_promises() {
    let plan = compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/tetap.yaml")).unwrap();
    assert_eq!(plan.listeners[0].address.to_string(), "0.0.0.0:8080");
    assert_eq!(plan.admin.unwrap().to_string(), "127.0.0.1:9901");
    assert!(matches!(&plan.upstreams[0].members, Members::Fixed(endpoints) if endpoints.len() == 3));
}

/// `tetap schema > conf/schema.json` makes it anew; so does `UPDATE_SCHEMA=1 cargo nextest run --test examples`.
#[test]
fn the_schema_on_disk_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/schema.json");
    let now = serde_json::to_string_pretty(&config::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(kept, now, "conf/schema.json is out of date: run `tetap schema > conf/schema.json`");
}

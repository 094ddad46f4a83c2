//! Configurations in, exact diagnostics out.
//!
//! Each `tests/golden/NAME.yaml` has a `NAME.expected` with what `tetap check` says about it, or `ok`. After a change of
//! wording, `UPDATE_GOLDEN=1 cargo nextest run --test golden` writes them anew; read the difference before you keep it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tetap::plan::Plan;
use tetap::plan::diff::Changes;
use tetap::{config, plan};

/// The environment that all cases see.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "HOST" => "10.0.0.1",
        "PORT" => "8080",
        "THREADS" => "4",
        "EMPTY" => "",
        "WORD" => "abc",
        "INJECTED" => "a\r\nX-Evil: 1",
        _ => return None,
    };
    Some(value.to_owned())
}

/// What `tetap check` prints.
fn diagnostics(name: &str, text: &str) -> String {
    let loaded = match config::from_text(name, text, &env) {
        Ok(loaded) => loaded,
        Err(report) => return report.to_string(),
    };
    match plan::compile(&loaded.config) {
        Ok(_) => "ok".to_owned(),
        Err(faults) => loaded.place(faults).to_string(),
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_says_exactly_what_is_expected() {
    let cases = cases();
    assert!(cases.len() >= 70, "only {} cases", cases.len());
    let wrong: Vec<_> = cases.iter().filter_map(|case| differs(case)).collect();
    assert!(wrong.is_empty(), "{} cases differ\n\n{}", wrong.len(), wrong.join("\n\n"));
}

fn differs(case: &Path) -> Option<String> {
    let name = case.file_name().unwrap().to_str().unwrap();
    let told = diagnostics(name, &fs::read_to_string(case).unwrap()) + "\n";
    let kept = case.with_extension("expected");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&kept, &told).unwrap();
    }
    let expected = fs::read_to_string(&kept).unwrap_or_default();
    (told != expected).then(|| format!("--- expected\n{expected}--- told\n{told}"))
}

/// Every configuration that is good, of the cases and of the samples, by file.
fn good() -> Vec<(PathBuf, String)> {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let examples = fs::read_dir(conf.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let files = cases().into_iter().chain(examples).chain([conf.join("tetap.yaml")]);
    let texts = files.map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default()));
    texts.filter(|(_, text)| diagnostics("f", text) == "ok").collect()
}

fn compile(text: &str) -> Plan {
    plan::compile(&config::from_text("f", text, &env).unwrap().config).unwrap()
}

#[test]
fn a_plan_differs_in_nothing_from_itself_compiled_again() {
    let good = good();
    assert!(good.len() >= 20, "only {} good ones", good.len());
    for (path, text) in good {
        let changes = plan::diff(&compile(&text), &compile(&text));
        assert!(changes.is_empty(), "{}\n{changes}", path.display());
    }
}

#[test]
fn there_and_back_the_same_places_change() {
    let plans: Vec<_> = good().into_iter().map(|(path, text)| (path, compile(&text))).collect();
    let mut told = 0;
    for (one, old) in &plans {
        for (other, new) in plans.iter().filter(|(other, _)| other != one) {
            let (there, back) = (plan::diff(old, new), plan::diff(new, old));
            let which = format!("{} and {}\n{there}\n{back}", one.display(), other.display());
            assert_eq!(places(&there), places(&back), "{which}");
            assert_eq!(there.cost(), back.cost(), "{which}");
            told += there.changes.len();
        }
    }
    assert!(told > plans.len() * plans.len(), "only {told} changes");
}

fn places(changes: &Changes) -> Vec<&str> {
    let mut places: Vec<_> = changes.changes.iter().map(|change| &*change.place).collect();
    places.sort_unstable();
    places
}

/// Every file is refused or accepted within a few seconds, even by a debug build on a busy machine.
#[test]
fn hostile_files_are_refused_quickly() {
    let laughs: String = (1..12)
        .map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")))
        .collect();
    let hostile = [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        "a:\n ".repeat(10_000),
        "!!a ".repeat(10_000),
        "&a ".repeat(10_000),
        "'".repeat(100_001),
        "\"\\".repeat(100_001),
        format!("a0: &a0 lol\n{laughs}"),
        format!("a: &a [{}]\nb: [{}]", "x, ".repeat(100_000), "*a, ".repeat(100_000)),
        "a: 1\n".repeat(10 * 1024 * 1024 / 5),
        (0..200_000).map(|key| format!("k{key}: 1\n")).collect(),
        (0..100_000).map(|_| "k: 1\n").collect(),
        format!("listeners: [{}]", "{}, ".repeat(100_000)),
        format!("listeners: {}", "x".repeat(1 << 22)),
        format!("{}: 1", "x".repeat(1 << 22)),
        format!("a: {}", "${HOST}".repeat(100_000)),
    ];
    for text in hostile {
        let start = Instant::now();
        let told = diagnostics("f", &text);
        let what: String = text.chars().take(20).collect();
        assert_ne!(told, "ok", "{what}");
        assert!(told.len() < 200_000, "{what}: {} bytes of diagnostics", told.len());
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {:?}", start.elapsed());
    }
}

/// Ten thousand routes are no reason to wait.
#[test]
fn a_large_configuration_is_read_quickly() {
    let route = |number: usize| {
        format!(
            "  - {{match: {{host: h{number}.example.com, path: {{prefix: /p{number}}}}}, upstream: u{}}}\n",
            number % 100
        )
    };
    let upstream = |number: usize| format!("  u{number}: {{endpoints: [10.0.0.{number}:80]}}\n");
    let upstreams: String = (1..=100).map(upstream).collect::<String>().replace("u100:", "u0:");
    let routes: String = (0..10_000).map(route).collect();
    let text = format!("listeners: [{{address: 127.0.0.1:80}}]\nupstreams:\n{upstreams}routes:\n{routes}");
    let start = Instant::now();
    assert_eq!(diagnostics("f", &text), "ok");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Pieces that YAML and this grammar are made of, in any order.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "listeners",
        "routes",
        "upstreams",
        "address",
        "match",
        "path",
        "prefix",
        "host",
        "upstream",
        "respond",
        "a",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n- ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "|",
        ">",
        "&a ",
        "*a",
        "!t ",
        "? ",
        "# ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "<<",
        "~",
        "${",
        "}",
        "$${",
        "${HOST}",
        "0.0.0.0:80",
        "/",
        "1",
        "-1",
        "1e400",
        "0x",
        ".nan",
        "true",
        "5s",
        "64KiB",
        "\t",
        "\r",
        "\u{feff}",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
        "ä",
        "💥",
        "\\",
        "\\x",
        "@",
        "`",
        "=",
        "\u{7f}",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..60)
        .prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fragments_of_yaml_never_panic(text in fragment()) {
        diagnostics("f", &text);
    }

    #[test]
    fn text_never_panics(text in any::<String>()) {
        diagnostics("f", &text);
    }

    #[test]
    fn a_working_configuration_with_a_slip_never_panics(cut in 0..400usize, length in 0..20usize, slip in fragment()) {
        let text = include_str!("../conf/examples/hosts-and-prefixes.yaml");
        let mut chars: Vec<char> = text.chars().collect();
        let start = (cut * chars.len() / 400).min(chars.len());
        let end = (start + length).min(chars.len());
        chars.splice(start..end, slip.chars());
        diagnostics("f", &chars.into_iter().collect::<String>());
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, bytes).unwrap();
        let _ = config::load(&path, &env);
    }
}

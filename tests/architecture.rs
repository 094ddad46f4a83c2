//! The import rule: a room knows only what the table says: groups above its own, and neighbours in one direction.
//!
//! Layers that are kept by good intentions last until the first hurry. This test reads every source file, finds the
//! rooms that it names (`crate::x`, and `super::x` where that leads out of the room; also in the middle of code and in
//! macros) and the paths outside the crate, and fails when a room knows what [`ROOMS`] does not let it. Test modules
//! count too: what a decision needs to be tested, it needs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

type Names = &'static [&'static str];

/// A room, the other rooms that it may know, and the outside paths that it may not.
struct Room {
    name: &'static str,
    knows: &'static [Names],
    shuns: &'static [Names],
}

const WORDS: Names = &["clock", "failure", "limits", "estate", "history"];
const DOMAIN: Names =
    &["routing", "health", "balance", "roster", "limit", "retry", "hygiene", "answer", "handover"];
const PROCESS: Names = &["process", "cli", "demo", "selftest"];

const ENGINE: Names = &[
    "pingora",
    "pingora_core",
    "pingora_proxy",
    "pingora_http",
    "pingora_error",
    "pingora_load_balancing",
    "pingora_ketama",
];
const TASKS: Names = &["tokio", "tokio_util", "axum"];
/// What only the process as a whole has: its files, environment, threads, logs and shared state.
const WORLD: Names = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::os",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "log",
    "env_logger",
    "prometheus",
    "socket2",
];
/// Apart from the world, since a plan asks how many cores there are: the default of `process.threads`.
const THREADS: Names = &["std::thread"];
const NOW: Names = &[
    "Instant::now",
    "SystemTime::now",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "clock::Instant::now",
    "clock::SystemTime::now",
    "crate::clock::Instant::now",
    "crate::clock::SystemTime::now",
];
/// The operator's words: what reads a configuration.
const SYNTAX: Names = &["serde", "serde_yaml", "schemars", "saphyr_parser", "clap"];
/// All that a decision must do without.
const IMPURE: &[Names] = &[ENGINE, TASKS, WORLD, THREADS, NOW, SYNTAX];

/// A file, and what it may know though its room may not.
///
/// The package is fixed by the user's wish, and its ketama ring is pure arithmetic over addresses and weights: no socket, no
/// task, no clock. To write the same ring again would only be a second one to keep in step with other proxies'.
const EXCEPTIONS: &[(&str, &str)] = &[("balance/hash.rs", "pingora_load_balancing")];

/// The groups of the map in `lib.rs`, from the top down; within a group, a room knows at most rooms that stand above it
/// here. A room that is missing here is missing in the design.
const ROOMS: &[Room] = &[
    Room { name: "clock", knows: &[], shuns: &[ENGINE, TASKS, WORLD] },
    Room { name: "failure", knows: &[], shuns: &[ENGINE, TASKS, WORLD] },
    Room { name: "limits", knows: &[], shuns: &[ENGINE, TASKS, WORLD] },
    Room { name: "history", knows: &[], shuns: &[ENGINE, TASKS, WORLD, NOW] },
    Room { name: "estate", knows: &[&["clock", "limits"]], shuns: &[ENGINE, TASKS, WORLD, NOW] },
    Room { name: "config", knows: &[WORDS], shuns: &[ENGINE, TASKS] },
    Room { name: "routing", knows: &[WORDS], shuns: IMPURE },
    Room { name: "health", knows: &[WORDS], shuns: IMPURE },
    Room { name: "balance", knows: &[WORDS], shuns: IMPURE },
    Room { name: "roster", knows: &[WORDS, &["health", "balance"]], shuns: IMPURE },
    Room { name: "limit", knows: &[WORDS], shuns: IMPURE },
    Room { name: "retry", knows: &[WORDS], shuns: IMPURE },
    Room { name: "hygiene", knows: &[WORDS, &["routing"]], shuns: IMPURE },
    Room { name: "answer", knows: &[WORDS], shuns: IMPURE },
    Room { name: "handover", knows: &[WORDS], shuns: IMPURE },
    Room { name: "plan", knows: &[WORDS, DOMAIN, &["config"]], shuns: &[ENGINE, TASKS, WORLD, NOW] },
    Room { name: "observe", knows: &[WORDS], shuns: &[ENGINE, TASKS] },
    Room { name: "sockets", knows: &[WORDS], shuns: &[ENGINE, TASKS, SYNTAX] },
    Room { name: "watchdog", knows: &[WORDS], shuns: &[ENGINE, WORLD, SYNTAX] },
    Room { name: "upstream", knows: &[WORDS, DOMAIN, &["plan", "observe", "watchdog"]], shuns: &[SYNTAX] },
    Room { name: "runtime", knows: &[WORDS, DOMAIN, &["plan", "observe", "upstream"]], shuns: &[SYNTAX] },
    Room {
        name: "listen",
        knows: &[WORDS, DOMAIN, &["plan", "observe", "watchdog", "upstream", "runtime", "sockets"]],
        shuns: &[SYNTAX],
    },
    Room {
        name: "proxy",
        knows: &[WORDS, DOMAIN, &["plan", "observe", "upstream", "runtime", "listen"]],
        shuns: &[SYNTAX],
    },
    Room {
        name: "admin",
        knows: &[WORDS, DOMAIN, &["plan", "observe", "upstream", "runtime"]],
        shuns: &[ENGINE],
    },
    Room { name: "wire", knows: &[WORDS, &["sockets"]], shuns: &[ENGINE] },
    Room {
        name: "supervisor",
        knows: &[WORDS, &["handover", "sockets", "wire"]],
        shuns: &[ENGINE, &["serde_yaml", "schemars", "saphyr_parser", "clap"]],
    },
    Room { name: "process", knows: EVERYTHING, shuns: &[] },
    Room { name: "cli", knows: EVERYTHING, shuns: &[] },
    Room { name: "demo", knows: EVERYTHING, shuns: &[] },
    Room { name: "selftest", knows: EVERYTHING, shuns: &[] },
    Room { name: "main", knows: EVERYTHING, shuns: &[] },
    Room { name: "lib", knows: &[], shuns: &[ENGINE, TASKS, WORLD] },
];
const EVERYTHING: &[Names] = &[
    WORDS,
    DOMAIN,
    PROCESS,
    &[
        "config",
        "plan",
        "observe",
        "watchdog",
        "upstream",
        "runtime",
        "listen",
        "proxy",
        "admin",
        "sockets",
        "wire",
        "supervisor",
    ],
];

#[test]
fn no_room_knows_what_it_may_not() {
    let faults: Vec<String> = sources().iter().flat_map(|path| faults(path, &read(path))).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_exception_is_still_one() {
    let is_used = |(file, name): &(&str, &str)| read(&Path::new(SRC).join(file)).contains(name);
    let idle: Vec<_> = EXCEPTIONS.iter().filter(|exception| !is_used(exception)).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

#[test]
fn every_file_opens_with_its_idea() {
    let silent: Vec<_> = sources().into_iter().filter(|path| !read(path).starts_with("//!")).collect();
    assert!(silent.is_empty(), "files without a //! header: {silent:?}");
}

#[test]
fn a_module_stands_beside_its_folder() {
    let named: Vec<_> = sources().into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(named.is_empty(), "{named:?}");
}

#[test]
fn a_planted_import_is_found() {
    let planted = [
        ("routing.rs", "use crate::config::Config;", "config"),
        ("routing/table.rs", "use crate::{failure::Cause, plan::{self, Route}};", "plan"),
        ("routing/table.rs", "use super::super::observe;", "observe"),
        ("routing.rs", "mod tests { fn f() { super::super::proxy::run() } }", "proxy"),
        ("balance/random.rs", "fn f() { let x: crate::upstream::Lease = y; }", "upstream"),
        ("limit.rs", "fn f() { vec![crate::runtime::new()] }", "runtime"),
        ("hygiene/path.rs", "use tokio::net::TcpStream;", "tokio"),
        ("retry.rs", "fn f() { log::info!(\"x\") }", "log"),
        ("routing.rs", "use std::{fs::File, sync::Arc};", "std::fs"),
        ("limit.rs", "fn f() { let now = std::time::Instant::now(); }", "Instant::now"),
        ("limit.rs", "fn f() { crate::clock::Instant::now() }", "clock::Instant::now"),
        ("balance/random.rs", "fn f() { super::super::clock::SystemTime::now() }", "clock::SystemTime::now"),
        ("retry.rs", "use crate::clock; fn f() { clock::Instant::now() }", "clock::Instant::now"),
        ("plan/compile.rs", "#[cfg(test)] mod tests { use std::fs; }", "std::fs"),
        ("answer.rs", "use crate::config::Config;", "config"),
        ("answer.rs", "fn f() { Instant::now() }", "Instant::now"),
        ("balance/random.rs", "use pingora_load_balancing::Backend;", "pingora_load_balancing"),
        ("balance/hash.rs", "use pingora_core::server::Server;", "pingora_core"),
        ("watchdog.rs", "use crate::upstream::Lease;", "upstream"),
        ("routing.rs", "use crate::hygiene::path;", "hygiene"),
        ("config/parse.rs", "use crate::routing::Table;", "routing"),
        ("listen/accept.rs", "use crate::proxy::Exchange;", "proxy"),
        ("observe/metrics.rs", "use crate::plan::Plan;", "plan"),
        ("attic.rs", "", "attic"),
    ];
    for (path, source, named) in planted {
        let found = faults(&Path::new(SRC).join(path), source);
        assert!(
            !found.is_empty() && found.iter().all(|fault| fault.contains(named)),
            "{path}: {source}: {found:?}"
        );
    }
}

#[test]
fn what_only_looks_like_an_import_is_none() {
    let innocent = [
        (
            "routing.rs",
            "//! See [`crate::proxy`].\n// use crate::proxy;\nfn f() { let log = \"crate::config::x\"; }",
        ),
        ("routing/table.rs", "use super::{Rule, tests}; use crate::failure::Cause; use self::tree::Tree;"),
        ("routing/table.rs", "mod tests { use super::*; use super::super::Rule; }"),
        ("proxy/attempt.rs", "use crate::{listen, runtime::Snapshot, upstream}; use tokio::time;"),
        ("balance/hash.rs", "use pingora_load_balancing::Backend;"),
        ("main.rs", "fn main() { tetap::cli::main() }"),
    ];
    for (path, source) in innocent {
        assert_eq!(faults(&Path::new(SRC).join(path), source), Vec::<String>::new(), "{path}");
    }
}

const SRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(SRC)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { folders.push(entry) } else { found.push(entry) }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// What is wrong with a file, one line each.
fn faults(path: &Path, source: &str) -> Vec<String> {
    let shown = path.strip_prefix(SRC).unwrap().display();
    let module = module_of(path);
    let name =
        if shown.to_string() == "main.rs" { "main" } else { module.first().map_or("lib", String::as_str) };
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        return vec![format!("{shown}: the room {name} is not in the table")];
    };
    let tokens: TokenStream = source.parse().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut paths = Vec::new();
    collect(tokens, &module, &mut paths);
    let excepted = |path: &Named| is_excepted(&shown.to_string(), &path.join("::"));
    let mut found: Vec<String> =
        paths.iter().filter(|path| !excepted(path)).filter_map(|path| fault(room, path)).collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|fault| format!("{shown}: {fault}")).collect()
}

/// `src/plan/compile.rs` is `plan::compile`.
fn module_of(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix(SRC).unwrap().with_extension("");
    let names: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_string()).collect();
    if names == ["lib"] || names == ["main"] { Vec::new() } else { names }
}

/// A path as it stands in the source, `super` and `self` resolved to `crate`.
type Named = Vec<String>;

fn fault(room: &Room, path: &Named) -> Option<String> {
    let text = path.join("::");
    let shunned = || room.shuns.iter().copied().flatten().find(|name| is_below(&text, name)).copied();
    let fault = strange_room(room, path).or_else(shunned)?;
    Some(format!("{} may not know {fault} ({text})", room.name))
}

fn is_excepted(file: &str, path: &str) -> bool {
    EXCEPTIONS.iter().any(|(excepted, name)| *excepted == file && is_below(path, name))
}

/// Another room that a path leads into, where this one may not know it.
fn strange_room<'p>(room: &Room, path: &'p Named) -> Option<&'p str> {
    let [first, other, ..] = path.as_slice() else { return None };
    let leads_out = first == "crate" && other != room.name && is_room(other);
    let is_known = || room.knows.iter().any(|names| names.contains(&other.as_str()));
    (leads_out && !is_known()).then_some(other.as_str())
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|room| room.name == name)
}

/// `log::info` and `tokio::net` are below `log` and `tokio`; a variable `log` is not.
fn is_below(path: &str, name: &str) -> bool {
    let rest = path.strip_prefix(name);
    rest.is_some_and(|rest| rest.starts_with("::") || (rest.is_empty() && name.contains("::")))
}

/// Every path in these tokens, which stand in `module`.
fn collect(tokens: TokenStream, module: &[String], paths: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = collect_path(&tokens, at, Vec::new(), module, paths),
            TokenTree::Group(group) => {
                collect(group.stream(), &inside(&tokens[..at], module, group.delimiter()), paths);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// The module that a group stands in: one deeper after `mod name`.
fn inside(before: &[TokenTree], module: &[String], delimiter: Delimiter) -> Vec<String> {
    let mut module = module.to_vec();
    if let [.., TokenTree::Ident(keyword), TokenTree::Ident(name)] = before
        && keyword == "mod"
        && delimiter == Delimiter::Brace
    {
        module.push(name.to_string());
    }
    module
}

/// Reads a path from `at` on, with all branches of a `use` group; returns the place behind it.
fn collect_path(
    tokens: &[TokenTree],
    at: usize,
    prefix: Named,
    module: &[String],
    paths: &mut Vec<Named>,
) -> usize {
    let mut path = prefix;
    let mut at = at;
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        path.push(name.to_string());
        if !is_path_separator(tokens, at + 1) {
            paths.push(resolved(&path, module));
            return at + 1;
        }
        at += 3;
    }
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            collect_branches(group.stream(), &path, module, paths);
            at + 1
        }
        _ => {
            paths.push(resolved(&path, module));
            at
        }
    }
}

fn collect_branches(tokens: TokenStream, prefix: &Named, module: &[String], paths: &mut Vec<Named>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for branch in tokens.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')) {
        if !branch.is_empty() {
            collect_path(branch, 0, prefix.clone(), module, paths);
        }
    }
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// `super`, `self` and the library's own name made into `crate`, where the path begins with one of them.
fn resolved(path: &Named, module: &[String]) -> Named {
    let mut base = module.to_vec();
    let mut rest = path.as_slice();
    match rest.first().map(String::as_str) {
        Some("crate" | "tetap") => base.clear(),
        Some("self") => {}
        Some("super") => {
            while rest.first().is_some_and(|name| name == "super") {
                base.pop();
                rest = &rest[1..];
            }
            return absolute(base, rest);
        }
        _ => return path.clone(),
    }
    absolute(base, &rest[1..])
}

fn absolute(base: Vec<String>, rest: &[String]) -> Named {
    [vec!["crate".to_string()], base, rest.to_vec()].concat()
}

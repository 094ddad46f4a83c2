use serde_yaml::Value; use crate::config::diagnostic::Fault; use crate::config::Env;
pub fn check(v: Value, _s: &serde_json::Value, _e: Env<'_>) -> (Value, Vec<Fault>) { (v, vec![]) }

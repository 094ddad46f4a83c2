//! Faults: what clients notice of servers that die, hang, lie and dawdle, at some hundred requests a second.
//!
//! Each test is one fault, made live: three server processes behind the built binary, a mix of GETs and POSTs that does
//! not wait for anybody, and something that happens to one of the servers, or to all. The promise is always the same:
//!
//! - no GET fails, but one whose answer had begun to flow when it was cut;
//! - no POST is delivered twice; and lost are at most two, which were under way on the very server that failed;
//! - no answer looks whole that is not.
//!
//! Every test prints a line of the table and leaves it in `faults.tsv` in the target folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/lib.rs"]
mod support;

mod faults {
    mod bursts;
    mod stage;

    mod deaths;
    mod lies;
    mod restarts;
    mod silence;
    mod stale;
}

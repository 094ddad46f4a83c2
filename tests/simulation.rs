//! Years of failing endpoints, in seconds: the decisions played through in virtual time, from a seed.
//!
//! What decides (roster, retries, budget) does no IO and knows no clock. So here a whole upstream is played: endpoints
//! that die, hang, slow down, flap, say 503, leave and come back; an operator who drains them; checks of them, some of which
//! lie; clients with GETs and POSTs, with deadlines of their own, with little patience, and with tunnels that last for
//! minutes. A seed determines everything: policy, endpoints, faults, requests. After every step the invariants must hold:
//!
//! * no more endpoints are ejected than may be, whoever leaves;
//! * what endpoints get is at most (1 + budget) × what clients send;
//! * no endpoint is asked after its verdict has taken it out (but for a trial, or where health is ignored, and then
//!   only one that answers);
//! * a drained endpoint is not asked at all;
//! * clients in a hurry eject nobody who answers others as soon as ever;
//! * no request that is not idempotent is delivered twice;
//! * every request ends by its deadline, and what it took is given back;
//! * when all is well again, all is well: no request fails, and every endpoint is asked.
//!
//! `SEED=7 cargo nextest run --test simulation one_seed` plays one seed; a seed that fails prints its own command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod simulation {
    pub mod scene;
    pub mod world;
}

use simulation::scene::Scene;
use simulation::world::World;

/// Seeds in all, spread over the tests below so that they run side by side.
const SEEDS: u64 = 10_000;
const PARTS: u64 = 8;

fn play(seed: u64) {
    let outcome = std::panic::catch_unwind(|| World::new(Scene::of(seed)).play());
    if let Err(fault) = outcome {
        eprintln!("replay: SEED={seed} cargo nextest run --test simulation one_seed");
        std::panic::resume_unwind(fault);
    }
}

fn play_part(part: u64) {
    (0..SEEDS).filter(|seed| seed % PARTS == part).for_each(play);
}

/// The seed of the environment, or any of those below.
#[test]
fn one_seed() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    play(seed);
}

#[test]
fn seeds_of_part_0() {
    play_part(0);
}

#[test]
fn seeds_of_part_1() {
    play_part(1);
}

#[test]
fn seeds_of_part_2() {
    play_part(2);
}

#[test]
fn seeds_of_part_3() {
    play_part(3);
}

#[test]
fn seeds_of_part_4() {
    play_part(4);
}

#[test]
fn seeds_of_part_5() {
    play_part(5);
}

#[test]
fn seeds_of_part_6() {
    play_part(6);
}

#[test]
fn seeds_of_part_7() {
    play_part(7);
}

/// A simulation that never meets what it is about proves nothing.
#[test]
fn the_seeds_meet_everything_that_can_happen() {
    let mut met = simulation::world::Met::default();
    (0..200).for_each(|seed| met.add(&World::new(Scene::of(seed)).play()));
    met.assert_everything();
}

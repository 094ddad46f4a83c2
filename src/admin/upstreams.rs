//! Who may be asked, and why not.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::Sources;
use crate::clock::{Moment, millis};
use crate::health::Fitness;
use crate::roster::{Roster, Seat, SeatId};
use crate::upstream::Upstream;

/// Every upstream of the present generation, in the order of the configuration.
pub(super) async fn list(State(sources): State<Sources>) -> impl IntoResponse {
    let snapshot = sources.runtime.snapshot();
    let upstreams: Vec<Value> = snapshot.upstreams().iter().map(|upstream| tell(upstream)).collect();
    let document = json!({"generation": snapshot.generation(), "upstreams": upstreams});
    ([(header::CONTENT_TYPE, "application/json")], document.to_string())
}

fn tell(upstream: &Upstream) -> Value {
    let (panic, endpoints) = upstream.look(|roster, now| {
        let members = roster.members().map(|(id, seat)| tell_endpoint(roster, id, seat, now));
        (roster.is_panic(), members.collect::<Vec<_>>())
    });
    json!({"name": &**upstream.name(), "panic": panic, "endpoints": endpoints})
}

fn tell_endpoint<E>(roster: &Roster<E>, id: SeatId, seat: &Seat<E>, now: Moment) -> Value
where
    E: Clone,
{
    let (verdict, reason) = match seat.fitness() {
        Fitness::Fit => ("fit", None),
        Fitness::Unfit(reason) => (reason.as_str(), Some(reason.to_string())),
    };
    json!({
        "address": seat.member().address.to_string(),
        "weight": seat.member().weight,
        "tier": seat.member().tier,
        "verdict": verdict,
        "reason": reason,
        "in_doubt": seat.is_doubtful(now),
        "share": roster.shares().get(id.slot),
        "in_flight": seat.in_flight(),
        "latency_ms": millis(seat.latency(now)),
    })
}

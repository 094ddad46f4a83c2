//! Who finds an upstream's endpoints and has them checked.
//!
//! One task for each upstream follows its membership, and below it one for each endpoint checks that, so that an endpoint
//! that hangs holds up nobody else's check, and a name server that hangs no check at all. Where an endpoint leaves, its
//! task ends; where the upstream is dropped, all of them do.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::discovery::{Change, Complaints, Source, Trouble};
use super::persistence::persist;
use super::prober::{self, Hurried, Hurry};
use super::{Endpoint, Upstream, check};
use crate::clock::Duration;
use crate::health::probe::Miss;
use crate::limits;
use crate::plan::{self, Check, CheckKind};
use crate::roster::SeatId;

/// What the keeper of one upstream needs, and tells.
#[derive(Debug)]
pub struct Keeping {
    hurry: Arc<Hurry>,
    check: Option<Arc<Check>>,
    /// The members are known.
    found: watch::Sender<bool>,
    /// Counts up with every check.
    checks: watch::Sender<u64>,
}

/// How an endpoint that nobody wants checked is looked at, when somebody waits for it.
fn glance() -> Check {
    Check { kind: CheckKind::Tcp, port: None, interval: Duration::MAX, timeout: limits::CONNECT_CHECK }
}

impl Keeping {
    /// `found`: the members are known from the beginning.
    pub(super) fn new(planned: &plan::Upstream, found: bool) -> Keeping {
        Keeping {
            hurry: Arc::default(),
            check: planned.check.clone().map(Arc::new),
            found: watch::Sender::new(found),
            checks: watch::Sender::new(0),
        }
    }

    /// Somebody waits for an endpoint, until this is dropped.
    pub(super) fn hurry(&self) -> Hurried {
        self.hurry.begin()
    }
}

/// The tasks that check, by the place of their endpoint.
#[derive(Default)]
struct Probers {
    tasks: JoinSet<()>,
    handles: HashMap<SeatId, AbortHandle>,
}

impl Probers {
    /// One for each member, none for who has left.
    fn adapt(&mut self, upstream: &Arc<Upstream>) {
        upstream.keeping.hurry.set_members(upstream.look(|roster, _| roster.len()));
        let seats: HashMap<SeatId, Arc<Endpoint>> = upstream.seats().into_iter().collect();
        self.handles.retain(|id, handle| {
            let stays = seats.contains_key(id);
            if !stays {
                handle.abort();
            }
            stays
        });
        for (id, endpoint) in seats {
            self.handles.entry(id).or_insert_with(|| self.tasks.spawn(probe(upstream.clone(), id, endpoint)));
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn probe(upstream: Arc<Upstream>, id: SeatId, endpoint: Arc<Endpoint>) {
    let what = format!("upstream {}: the checks of {}", upstream.plan.name, endpoint.name());
    persist(what, || upstream.clone().probe(id, endpoint.clone())).await;
}

impl Upstream {
    /// Follows the membership and checks every member, for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        let mut probers = Probers::default();
        probers.adapt(&self);
        let Some(mut source) = Source::of(&self.plan.members) else { return std::future::pending().await };
        let mut complaints = Complaints::default();
        loop {
            let look = source.next().await;
            if let Some(members) = look.members {
                self.found(&members);
                probers.adapt(&self);
            }
            self.complain(look.trouble, &mut complaints);
        }
    }

    fn found(&self, members: &[plan::Endpoint]) {
        let before = self.seats().into_iter().map(|(_, endpoint)| endpoint.address());
        log::info!("upstream {}: {}", self.plan.name, Change::between(before, members));
        self.set_members(members);
        self.metrics.discovery_updates.inc();
        self.keeping.found.send_replace(true);
    }

    /// Counts every trouble, and logs those that are new.
    fn complain(&self, trouble: Option<Trouble>, complaints: &mut Complaints) {
        let Some(trouble) = trouble else {
            if complaints.are_over() {
                log::info!("upstream {}: its endpoints can be found out again", self.plan.name);
            }
            return;
        };
        self.metrics.discovery_errors.inc();
        if complaints.is_news(&trouble, Instant::now()) {
            let stay = match self.seats().len() {
                0 => "no endpoint is known so far".to_owned(),
                1 => "the 1 endpoint known so far stays".to_owned(),
                known => format!("the {known} endpoints known so far stay"),
            };
            log::warn!("upstream {}: {stay}: {trouble}", self.plan.name);
        }
    }

    async fn probe(self: Arc<Self>, id: SeatId, endpoint: Arc<Endpoint>) {
        let wanted = self.keeping.check.clone();
        let interval = wanted.as_ref().map(|check| check.interval);
        let check = wanted.unwrap_or_else(|| Arc::new(glance()));
        let report = |result: Result<(), _>| {
            if interval.is_some() && result != Err(Miss::Unmade) {
                endpoint.metrics().checked(result.is_ok());
            }
            let in_doubt = self.checked(id, result);
            self.keeping.checks.send_modify(|count| *count += 1);
            in_doubt
        };
        let made = || check::check(&check, endpoint.address());
        prober::watch(interval, endpoint.nudged(), &self.keeping.hurry, made, report).await;
    }

    /// Ready once the members are known and each was checked once, where checks are made.
    pub async fn first_round(&self) {
        let mut found = self.keeping.found.subscribe();
        let _ = found.wait_for(|found| *found).await; // the sender lives as long as we do
        let mut checks = self.keeping.checks.subscribe();
        while !self.look(|roster, _| roster.is_checked()) {
            if checks.changed().await.is_err() {
                return;
            }
        }
    }
}

//! The supervisor as the successor of itself; [`succession`](super::succession) says how that goes.

use std::io;
use std::os::fd::OwnedFd;

use log::{error, info, warn};

use super::child::{Child, Prepared, Program};
use super::control::Control;
use super::held::Held;
use super::lent::Lent;
use super::service::Service;
use super::signals::Signals;
use super::{Basis, Succession, Supervisor, policy, succession};
use crate::clock::Instant;
use crate::handover::{Executable, Handover, Stand, WorkerId};
use crate::limits::LAST_SIGNALS;
use crate::wire::Place;

impl Supervisor {
    /// Signals are heard again as soon as there is somebody who hears them.
    pub(super) fn resume(socket: &OwnedFd) -> io::Result<Supervisor> {
        let (state, descriptors) = succession::receive(socket)?;
        let signals = Signals::new()?;
        succession::unblock_signals()?;
        let succession::State {
            revision: _,
            config,
            settings,
            user,
            applied,
            before,
            program,
            control,
            generation,
            last,
            history,
            held,
            lent,
            children,
        } = state;
        let program = Program::held(descriptors.program, program);
        let control = control.zip(descriptors.control).map(|(path, socket)| Control::held(path, socket));
        let texts = (applied.into(), before.into());
        let lent = Lent::left(lent, descriptors.lent);
        let service = Service::resumed();
        let basis = Basis { signals, program, config, settings, user, texts, control, lent, service };
        let mut this = Supervisor::on(basis)?;
        this.handover = Handover::new(policy(&this.settings), Executable(0), last);
        let places = this.lent.places();
        let hold = |(place, socket): (Place, OwnedFd)| match places.contains(&place) {
            true => Held::lent(place, socket),
            false => Held::new(place, socket),
        };
        this.held = held.into_iter().zip(descriptors.held).map(hold).collect();
        (this.generation, this.history, this.has_served) = (generation, history, true);
        for (left, socket) in children.into_iter().zip(descriptors.children) {
            this.take_over(left, socket)?;
        }
        info!("tetap {} goes on as process {}", env!("CARGO_PKG_VERSION"), std::process::id());
        this.reap(); // who has ended meanwhile
        Ok(this)
    }

    pub(super) fn take_over(&mut self, left: succession::Worker, socket: OwnedFd) -> io::Result<()> {
        let (id, serves) = (WorkerId(left.id), left.serves);
        let child = Child::resume(left, self.applied.clone(), socket, self.words.0.clone())?;
        self.children.insert(id, child);
        self.handover.resume(id, serves, self.clock.now());
        Ok(())
    }

    /// Becomes the program that it has gone over to, once nothing is under way that would be forgotten.
    pub(super) async fn succeed(&mut self) {
        if !matches!(self.succession, Succession::Understood) || !self.is_quiet() {
            return;
        }
        if succession::block_signals().is_err() {
            return;
        }
        // What was caught before they were blocked is heard now; nothing else happens meanwhile but that words arrive.
        let caught = tokio::time::timeout(LAST_SIGNALS, self.signals.next()).await;
        if caught.is_err() && self.is_quiet() {
            self.succession = Succession::None;
            let failed = self.become_it();
            error!("the supervisor stays as it is: {failed}");
        }
        let _ = succession::unblock_signals(); // it was possible a moment ago
        if let Ok(caught) = caught {
            self.catch(caught);
        }
    }

    /// Nothing is under way that is not in a [`State`](succession::State), and nobody waits.
    pub(super) fn is_quiet(&self) -> bool {
        let is_settled = |(id, child): (&WorkerId, &Child)| {
            let stand = self.handover.stand(*id);
            child.is_told()
                && child.prepared.is_some()
                && child.reaped.is_none()
                && !child.silent
                && matches!(stand, Some(Stand::Serving | Stand::Draining))
        };
        let nothing_waits = self.words.1.is_empty() && self.events.1.is_empty() && self.asked.1.is_empty();
        nothing_waits
            && self.waiting.is_empty()
            && !self.is_changing()
            && !self.reload_pending
            && self.trial.is_none()
            && self.questions.is_empty()
            && !self.handover.is_stopping()
            && self.control.as_ref().is_none_or(Control::is_idle)
            && self.serving().next().is_some() // else one is about to be started, which is not in a state
            && self.children.iter().all(is_settled)
    }

    pub(super) fn state(&self) -> Option<succession::State> {
        let worker = |(id, child): (&WorkerId, &Child)| {
            let serves = self.handover.stand(*id) == Some(Stand::Serving);
            let Prepared { places, settings, text: _ } = child.prepared.clone()?;
            Some(succession::Worker {
                id: id.0,
                pid: child.pid.as_raw_nonzero().get(),
                serves,
                version: child.version.clone(),
                generation: child.generation,
                closed: child.closed,
                drained: child.drained,
                places,
                settings,
            })
        };
        Some(succession::State {
            revision: succession::State::revision(),
            config: self.config.clone(),
            settings: self.settings.clone(),
            user: self.user,
            applied: self.applied.to_string(),
            before: self.before.to_string(),
            program: self.home(),
            control: self.control.as_ref().map(|control| control.path.clone()),
            generation: self.generation,
            last: self.handover.last(),
            history: self.history,
            held: self.held.iter().map(|held| held.place.clone()).collect(),
            lent: self.lent.places(),
            children: self.children.iter().map(worker).collect::<Option<Vec<_>>>()?,
        })
    }

    /// Returns only if it fails.
    pub(super) fn become_it(&self) -> io::Error {
        let become_it = || -> io::Result<io::Error> {
            let state = self.state().ok_or_else(|| io::Error::other("a worker is on its way"))?.to_bytes()?;
            let (_, program) = self.programs.first_key_value().ok_or(io::ErrorKind::NotFound)?;
            let descriptors = succession::Descriptors {
                program: program.file(),
                control: self.control.as_ref().map(Control::socket),
                held: self.held.iter().map(Held::socket).collect(),
                lent: self.lent.sockets().collect(),
                children: self.children.values().map(Child::socket).collect(),
            };
            let socket = succession::send(&state, &descriptors)?;
            Ok(succession::become_it(&program.link(), &socket))
        };
        become_it().unwrap_or_else(|failed| failed)
    }

    /// The supervisor's own program is this one from now on, if that understands what this one leaves.
    pub(super) fn settle(&mut self, executable: Executable) {
        self.programs.retain(|number, _| *number == executable.0);
        self.succession = match self.examine() {
            Ok(examiner) => Succession::Examined(examiner, Instant::now()),
            Err(error) => {
                warn!("the supervisor stays as it is, with workers of the new version: {error}");
                Succession::None
            }
        };
    }

    pub(super) fn examine(&self) -> io::Result<u32> {
        let state = self.state().ok_or_else(|| io::Error::other("a worker is on its way"))?.to_bytes()?;
        let (_, program) = self.programs.first_key_value().ok_or(io::ErrorKind::NotFound)?;
        Ok(succession::examine(&program.link(), &state)?.id())
    }

    pub(super) fn examined(&mut self, understood: bool) {
        self.succession = if understood { Succession::Understood } else { Succession::None };
        if !understood {
            warn!(
                "the supervisor stays as it is, with workers of the new version: that does not understand its state"
            );
        }
    }
}

//! What a worker is told before it can begin, by the supervisor that started it.
//!
//! It says who it is, and is given the sockets that there are and a configuration: either its text, or the file to read.
//! What that configuration needs beyond these sockets, it asks for. The supervisor opens all of it or nothing.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use super::places::{self, Need, Sockets};
use super::worker::RunError;
use crate::config::{self, Report as Diagnostics};
use crate::estate::Estate;
use crate::history::History;
use crate::limits::{CONFIG_BYTES, WIRE_BODY_BYTES};
use crate::plan::{self, Plan};
use crate::wire::{Channel, Order, PROTOCOL, Place, Received, Report, Role, frame};

/// A worker's work.
pub struct Assignment {
    /// Its number.
    pub generation: u64,
    /// Why it is there.
    pub role: Role,
    /// The configuration's file.
    pub config: PathBuf,
    /// What it serves by.
    pub plan: Plan,
    /// What that was made from.
    pub text: String,
    /// What it serves at.
    pub sockets: Sockets,
    /// What the one before it has left.
    pub heritage: Estate,
    /// Sockets that belong to somebody else.
    pub lent: Vec<Place>,
    /// Somebody has served by this text before.
    pub has_served: bool,
    /// What has happened before it.
    pub history: History,
}

/// Why a worker will not serve.
#[derive(Debug)]
pub struct Refusal {
    /// For people.
    pub reason: String,
    /// The operator's words are to blame.
    pub usage: bool,
}

impl From<Diagnostics> for Refusal {
    fn from(report: Diagnostics) -> Refusal {
        Refusal { reason: report.to_string(), usage: true }
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Refusal {
        Refusal { reason: error.to_string(), usage: false }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal { reason: error.to_string(), usage: false }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Where orders come from.
pub trait Orders: Send {
    /// The next one, and the descriptors beside it; `None` where there will be none.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Parcel>>> + Send;
}

/// An order, and the descriptors beside it.
pub type Parcel = (Order, Vec<OwnedFd>);

impl Orders for &Channel {
    async fn next(&mut self) -> io::Result<Option<Parcel>> {
        loop {
            match self.receive::<Order>().await? {
                Some(Received::Message(order, beside)) => return Ok(Some((order, beside))),
                Some(Received::Unknown(kind)) => {
                    log::warn!("not understood, from a supervisor of another version: {kind}");
                }
                None => return Ok(None),
            }
        }
    }
}

impl Orders for mpsc::Receiver<Parcel> {
    async fn next(&mut self) -> io::Result<Option<Parcel>> {
        Ok(self.recv().await)
    }
}

/// A socket that is there.
type Given = (Place, OwnedFd);

/// Takes up work; `None` where there is none any more.
///
/// # Errors
/// What it is told cannot be served by.
pub async fn take_up(channel: &Channel) -> Result<Option<Assignment>, Refusal> {
    channel
        .send(&Report::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into() }, &[])
        .await?;
    let mut given = Vec::new();
    let mut orders = channel;
    while let Some((order, beside)) = orders.next().await? {
        match order {
            Order::Cut { .. } | Order::Drain { .. } => return Ok(None),
            Order::Sockets { places } => given.extend(places.into_iter().zip(beside)),
            Order::Begin { generation, config, role, has_text, has_estate, lent, has_served, history } => {
                let mut beside = beside.into_iter();
                let text = match has_text {
                    true => text_of(beside.next())?,
                    false => read(&config)?,
                };
                let heritage = if has_estate { heritage(beside.next()) } else { Estate::default() };
                let plan = compile(&config, &text)?;
                let needs = places::needs(&plan);
                let Some(opened) = gather(channel, &mut orders, &needs, given).await? else {
                    return Ok(None);
                };
                let sockets = places::assign(&plan, opened);
                return Ok(Some(Assignment {
                    generation,
                    role,
                    config,
                    plan,
                    text,
                    sockets,
                    heritage,
                    lent,
                    has_served,
                    history,
                }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The text in a file that came beside a message.
///
/// # Errors
/// It did not, or is no text.
pub fn text_of(file: Option<OwnedFd>) -> io::Result<String> {
    let file = file.ok_or_else(|| io::Error::other("the configuration's text did not come"))?;
    String::from_utf8(frame::contents(file, CONFIG_BYTES)?).map_err(io::Error::other)
}

/// What another worker has left. It is a help and no more: without it, all is found out anew.
fn heritage(file: Option<OwnedFd>) -> Estate {
    let bytes = file.ok_or_else(|| io::Error::other("it did not come"));
    let bytes = bytes.and_then(|file| frame::contents(file, WIRE_BODY_BYTES));
    let estate = bytes.and_then(|bytes| Estate::from_bytes(&bytes).map_err(io::Error::other));
    estate.unwrap_or_else(|why| {
        log::warn!("nothing that the worker before knew is taken over: {why}");
        Estate::default()
    })
}

/// A file's text. While clients are served, a pipe or a device is waited for by nobody.
///
/// # Errors
/// It is no regular file, or no text.
pub fn read(config: &Path) -> Result<String, Refusal> {
    let is_other = std::fs::metadata(config).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    if is_other {
        let reason = format!("{}: found no regular file, expected a configuration", config.display());
        return Err(Refusal { reason, usage: true });
    }
    Ok(config::read_text(config)?)
}

/// From a text to a plan, the same way as `check` does it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(config: &Path, text: &str) -> Result<Plan, Diagnostics> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = config::from_text(&config.display().to_string(), text, &env)?;
    plan::compile(&loaded.config).map_err(|faults| loaded.place(faults))
}

/// The sockets that are needed, in the same order: out of those that there are, and others that are asked for. `None` where
/// nobody answers.
///
/// # Errors
/// One of them cannot be had.
pub async fn gather(
    channel: &Channel,
    orders: &mut impl Orders,
    needs: &[Need],
    mut given: Vec<Given>,
) -> Result<Option<Vec<OwnedFd>>, Refusal> {
    let mut found: Vec<_> = needs.iter().map(|need| take(&mut given, &need.wanted.place)).collect();
    let missing: Vec<&Need> =
        needs.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(need, _)| need).collect();
    if !missing.is_empty() {
        let Some(mut opened) = ask_for(channel, orders, &missing).await? else { return Ok(None) };
        for (need, found) in needs.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            *found = take(&mut opened, &need.wanted.place);
        }
    }
    let found: Option<Vec<OwnedFd>> = found.into_iter().collect();
    let found = found.ok_or_else(|| {
        io::Error::other("not every socket that was asked for came; are there descriptors left for them?")
    })?;
    Ok(Some(found))
}

/// The first one there: port 0 can be asked for more than once.
fn take(given: &mut Vec<Given>, wanted: &Place) -> Option<OwnedFd> {
    let at = given.iter().position(|(place, _)| place == wanted)?;
    Some(given.remove(at).1)
}

async fn ask_for(
    channel: &Channel,
    orders: &mut impl Orders,
    missing: &[&Need],
) -> Result<Option<Vec<Given>>, Refusal> {
    let wanted = missing.iter().map(|need| need.wanted.clone()).collect();
    channel.send(&Report::Bind { wanted }, &[]).await?;
    let mut opened = Vec::new();
    while let Some((order, beside)) = orders.next().await? {
        match order {
            Order::Cut { .. } | Order::Drain { .. } => return Ok(None),
            Order::Sockets { places } => opened.extend(places.into_iter().zip(beside)),
            Order::Bound { failed: None } => return Ok(Some(opened)),
            Order::Bound { failed: Some((place, why)) } => return Err(refused(missing, place, why)),
            _ => {}
        }
    }
    Ok(None)
}

fn refused(missing: &[&Need], place: Place, why: String) -> Refusal {
    let source = io::Error::other(why);
    match missing.iter().find(|need| need.wanted.place == place) {
        Some(need) => places::refused(need, source).into(),
        None => Refusal { reason: format!("cannot listen on {place}: {source}"), usage: false },
    }
}

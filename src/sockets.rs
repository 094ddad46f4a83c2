//! Listening sockets: how they are opened, whoever owns them.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};

/// Opens a TCP socket. One for IPv6 takes IPv6 only, so that `0.0.0.0:80` and `[::]:80` can stand side by side.
///
/// # Errors
/// The address is in use or not ours.
pub fn tcp(address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    listen(socket, backlog)
}

/// Opens a unix socket. A file that nobody listens on any more is replaced.
///
/// # Errors
/// The path is taken or cannot be written.
pub fn unix(path: &Path, backlog: u32) -> io::Result<OwnedFd> {
    if is_left_over(path) {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    listen(socket, backlog)
}

/// Removes a socket's file when dropped: the way to the socket ends before the socket does. Only this very file: who has put
/// another one there keeps it.
#[derive(Debug)]
pub struct Unlink {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Unlink {
    /// The file that is there now.
    pub fn of(path: &Path) -> Unlink {
        Unlink { path: path.to_owned(), identity: identity(path) }
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path); // gone already is as good
        }
    }
}

/// Device and number.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

fn listen(socket: Socket, backlog: u32) -> io::Result<OwnedFd> {
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Waits for nobody: where the queue is full there is somebody.
fn connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&socket2::SockAddr::unix(path)?)
}

/// Whether `path` is a socket that nobody listens on, and nothing else: what is not a socket is never removed.
fn is_left_over(path: &Path) -> bool {
    let socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    socket && connect(path).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_file_that_nobody_listens_on_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = unix(&path, 8).unwrap();
        assert_eq!(unix(&path, 8).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(unix(&path, 8).is_ok());
    }

    #[test]
    fn who_has_put_another_file_there_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let ours = unix(&path, 8).unwrap();
        let unlink = Unlink::of(&path);
        fs::rename(&path, dir.path().join("away")).unwrap();
        fs::write(&path, "theirs").unwrap();
        drop((unlink, ours));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        let _ours = unix(&dir.path().join("t"), 8).unwrap();
        drop(Unlink::of(&dir.path().join("t")));
        assert!(!dir.path().join("t").exists());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "x").unwrap();
        assert!(unix(&path, 8).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    }

    #[test]
    fn both_families_of_any_address_can_share_a_port() {
        let v4 = tcp("0.0.0.0:0".parse().unwrap(), 8).unwrap();
        let port = socket2::SockRef::from(&v4).local_addr().unwrap().as_socket().unwrap().port();
        assert!(tcp(format!("[::]:{port}").parse().unwrap(), 8).is_ok());
    }
}

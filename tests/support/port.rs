//! Ports that two tests never share.
//!
//! Binding port 0 and letting go of it again is a race: before the server under test binds it, the kernel may have
//! given it to another test, or to an outgoing connection. So ports are taken from below the ephemeral range, and each
//! is claimed by a lock on a file, which the kernel lets go when the test's process ends.

use std::fs::File;
use std::net::TcpListener;

/// Below Linux' ephemeral ports (32768 and up), above what services of the machine use.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port of 127.0.0.1 that nobody listens on, and that no other test will be given while this process runs.
pub fn free_port() -> u16 {
    let start = fastrand::u16(RANGE);
    (start..RANGE.end).chain(RANGE.start..start).find(|port| claim(*port)).expect("a free port")
}

fn claim(port: u16) -> bool {
    let directory = std::env::temp_dir().join("tetap-test-ports");
    std::fs::create_dir_all(&directory).unwrap();
    let file = File::create(directory.join(port.to_string())).unwrap();
    if file.try_lock().is_err() || TcpListener::bind(("127.0.0.1", port)).is_err() {
        return false;
    }
    std::mem::forget(file); // the lock lives as long as the process
    true
}

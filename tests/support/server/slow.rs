//! What takes seconds on purpose: a body that trickles, an upload that is acknowledged, and a WebSocket that
//! echoes.
//!
//! These are the exchanges that are under way when a proxy is reloaded, upgraded or killed. They do as they
//! are asked, whatever the server's conduct: what is measured with them is the proxy.

use std::time::Duration;

use super::super::message::Head;
use super::super::parcel::Delivery;
use super::super::websocket::{Frame, Opcode, welcome};
use super::super::{PATIENCE, parcel};
use super::process::Visit;

/// How long a body rests between two pieces.
const STEP: Duration = Duration::from_millis(50);

impl Visit<'_> {
    /// Answers what belongs here; otherwise none. False when it was the last answer on this connection.
    pub(super) fn answer_slowly(&mut self, head: &Head, body: &[u8]) -> Option<bool> {
        let target = head.line.split(' ').nth(1)?;
        if target.starts_with("/upload/") {
            return Some(self.say("200 OK", &parcel::receipt(target, body)));
        }
        if let Some(delivery) = Delivery::asked(target) {
            return Some(self.deliver(&delivery));
        }
        let key = head.one("sec-websocket-key").filter(|_| target == "/echo")?;
        Some(self.echo(key))
    }

    fn deliver(&mut self, delivery: &Delivery) -> bool {
        let body = delivery.parcel.body();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let steps = delivery.millis as usize / STEP.as_millis() as usize;
        let mut pieces = body.chunks(body.len().div_ceil(steps.max(1)));
        self.write(head.as_bytes())
            && pieces.all(|piece| {
                std::thread::sleep(if steps > 0 { STEP } else { Duration::ZERO });
                self.write(piece)
            })
    }

    /// Sends every frame back until the client closes, properly or not.
    fn echo(&mut self, key: &str) -> bool {
        self.set_patience(PATIENCE * 4);
        self.write(welcome(key).as_bytes());
        while let Some(mut frame) = self.next_frame() {
            if frame.opcode == Opcode::Ping {
                frame.opcode = Opcode::Pong;
            }
            let is_last = frame.opcode == Opcode::Close;
            if !self.write(&frame.plain()) || is_last {
                break;
            }
        }
        false
    }

    fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::parse(self.wire.ahead()) {
                self.wire.read_exact(length).ok()?;
                return Some(frame);
            }
            self.wire.fill().ok()?;
        }
    }
}

//! A body whose every byte is foreseeable, and the receipt for it.
//!
//! A slow transfer is the exchange that a replaced process loses most easily, and a status of 200 does not
//! say that all of it arrived, nor that it arrived unchanged. So the sender of an upload gets the number of
//! bytes and their SHA-256 back, the receiver of a download knows what it must get, and both compare. Bodies
//! are large here: they are made by the block.

use ring::digest::{SHA256, digest};

/// What is carried up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Never given to another request of the test.
    pub id: u64,
    /// Of the body.
    pub bytes: usize,
}

/// Of a block of the body, its line end included.
const BLOCK: usize = 1024;

impl Parcel {
    /// Where it is sent to.
    pub fn target(&self) -> String {
        format!("/upload/{}", self.id)
    }

    /// The body: each block names the parcel and its own place.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes + BLOCK);
        while body.len() < self.bytes {
            let line = format!("parcel {} from byte {} ", self.id, body.len());
            body.extend_from_slice(line.as_bytes());
            body.resize(body.len().next_multiple_of(BLOCK) - 1, b'.');
            body.push(b'\n');
        }
        body.truncate(self.bytes);
        body
    }

    /// The receipt that the server must give.
    pub fn receipt(&self) -> String {
        receipt(&self.target(), &self.body())
    }
}

/// The receipt for what came in at this target.
pub fn receipt(target: &str, body: &[u8]) -> String {
    let sum: String = digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{target}: {} bytes, sha256 {sum}", body.len())
}

/// A parcel that is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The body.
    pub parcel: Parcel,
    /// How long the server takes to send it; without any, it sends as fast as it can.
    pub millis: u64,
}

impl Delivery {
    /// Where it is fetched from.
    pub fn target(&self) -> String {
        let Delivery { parcel: Parcel { id, bytes }, millis } = self;
        format!("/download/{id}?bytes={bytes}&millis={millis}")
    }

    /// What is asked for with this target, if it is one.
    pub fn asked(target: &str) -> Option<Delivery> {
        let (id, query) = target.strip_prefix("/download/")?.split_once("?bytes=")?;
        let (bytes, millis) = query.split_once("&millis=")?;
        let parcel = Parcel { id: id.parse().ok()?, bytes: bytes.parse().ok()? };
        Some(Delivery { parcel, millis: millis.parse().ok()? })
    }
}

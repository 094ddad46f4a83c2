//! A body whose every byte is foreseeable, and the receipt for it.
//!
//! A slow upload is the request that a replaced process loses most easily, and a status of 200 does not say that all of
//! it arrived, nor that it arrived unchanged. So the server answers with the number of bytes and their SHA-256, and the
//! sender compares.

use ring::digest::{SHA256, digest};

/// What is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Never given to another request of the test.
    pub id: u64,
    /// Of the body.
    pub bytes: usize,
}

impl Parcel {
    /// Where it goes.
    pub fn target(&self) -> String {
        format!("/upload/{}", self.id)
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let lines = (0..).flat_map(|number| format!("parcel {} line {number}\n", self.id).into_bytes());
        lines.take(self.bytes).collect()
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

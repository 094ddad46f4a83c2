//! Temporary.
use super::Upstream;
use crate::plan;
use std::sync::Arc;

#[derive(Debug, Default)]
pub struct Nudge(tokio::sync::Notify);
impl Nudge {
    pub fn nudge(&self) {
        self.0.notify_one();
    }
}

#[derive(Debug)]
pub struct Keeping {}
impl Keeping {
    pub fn new(_: &plan::Upstream) -> Keeping {
        Keeping {}
    }
    pub fn hurry(&self) {}
}
impl Upstream {
    pub async fn keep(self: Arc<Self>) {}
    pub async fn first_round(&self) {}
}

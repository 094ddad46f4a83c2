//! temp
use crate::health::probe::Miss;
use crate::plan;
use std::net::SocketAddr;
/// x
pub async fn check(check: &plan::Check, address: SocketAddr) -> Result<(), Miss> {
    match tokio::time::timeout(check.timeout, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Miss::NoConnection),
        Err(_) => Err(Miss::TimedOut),
    }
}

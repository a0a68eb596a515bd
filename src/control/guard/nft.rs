//! x
use super::GuardError;
use ipnet::IpNet;
#[derive(Debug)]
pub(super) struct Nft;
impl Nft {
    pub(super) fn new(_left: &[IpNet]) -> Result<Self, GuardError> {
        Ok(Self)
    }
    pub(super) fn attach(&mut self, _: u32) -> Result<(), GuardError> {
        Ok(())
    }
    pub(super) fn detach(&mut self, _: u32) -> Result<(), GuardError> {
        Ok(())
    }
    pub(super) fn leave(&mut self, _: &[IpNet]) -> Result<(), GuardError> {
        Ok(())
    }
    pub(super) fn claim(&mut self, _: &[IpNet]) -> Result<(), GuardError> {
        Ok(())
    }
    pub(super) fn renew(&mut self) -> Result<(), GuardError> {
        Ok(())
    }
}

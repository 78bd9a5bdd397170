mod chain;
mod memory;

pub use self::{chain::{AuditRecord, verify_chain}, memory::MemoryAudit};

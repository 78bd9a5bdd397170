mod chain;
mod file;
mod memory;

pub use self::{
    chain::{AuditRecord, verify_chain},
    file::FileAudit,
    memory::MemoryAudit,
};

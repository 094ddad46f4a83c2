//! Configuration in, plan or all of its faults out.

/// Placeholder until the configuration is in.
pub fn compile() {}

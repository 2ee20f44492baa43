//! Learning rates that change with the step.

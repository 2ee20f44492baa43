//! Limits that weights are brought back to after each step.

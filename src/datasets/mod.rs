//! Data sets that many start with.

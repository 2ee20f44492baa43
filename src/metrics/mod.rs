//! What training reports.

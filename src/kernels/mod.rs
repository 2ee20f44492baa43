//! The numeric core, on plain slices. The only place with `unsafe`.

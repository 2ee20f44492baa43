//! The numeric core, on plain slices. The only place with `unsafe`.
//!
//! Tensors are `f32`, channels last, without gaps; what they mean is in a small geometry struct
//! ([`Conv2d`](conv::Conv2d), [`Pool2d`](pool::Pool2d), [`Lrn`](lrn::Lrn)) that is checked once,
//! when it is made. The functions themselves panic when a slice has not the length that the
//! geometry says: layers check shapes before they come here.
//!
//! How work is cut into pieces depends on the geometry alone, so results do not depend on the
//! number of threads. Each fast path is tested against [`reference`](mod@reference).
//!
//! The processor's instruction set is found at run time; the environment variable `CORNU_SIMD`, `avx512`, `avx2`
//! or `portable`, asks for another one. Where there is no kernel of ours, matrix products are those of the crate
//! `matrixmultiply`, which has kernels for other processors too.

pub mod color;
pub mod conv;
pub mod conv3d;
mod epilogue;
pub mod gemm;
mod limit;
pub mod lrn;
mod packed;
pub mod pool;
pub mod pool3d;
mod product;
pub mod reduce;
pub mod reference;
pub mod resize;
mod scratch;
mod simd;
mod tile;
pub mod warp;

pub use epilogue::Epilogue;
#[doc(hidden)]
pub use limit::peak_flops;
pub(crate) use packed::{Layout, Packed};
pub(crate) use scratch::Scratch;
pub use simd::instruction_set;
pub(crate) use simd::vectorised;

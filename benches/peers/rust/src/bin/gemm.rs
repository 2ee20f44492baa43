//! Matrix products by the crate `gemm`, row-major, with its AVX-512 kernels.
use cornu_peers::{Failure, matrices, numbers, often, serve, threads};

fn main() -> Result<(), Failure> {
    let parallelism = if threads() > 1 { gemm::Parallelism::Rayon(threads()) } else { gemm::Parallelism::None };
    serve("gemm 0.19.0", 0, |request| {
        let ["gemm", sizes @ ..] = request else { return Ok(None) };
        let [m, n, k] = numbers(sizes)?[..] else { return Ok(None) };
        let (a, b, mut c) = matrices(m, n, k);
        let (one, k_stride, n_stride) = (1, k as isize, n as isize);
        let seconds = often(|| {
            // SAFETY: the slices hold (m, k), (k, n) and (m, n) values with these strides.
            unsafe {
                gemm::gemm(
                    m,
                    n,
                    k,
                    c.as_mut_ptr(),
                    one,
                    n_stride,
                    false,
                    a.as_ptr(),
                    one,
                    k_stride,
                    b.as_ptr(),
                    one,
                    n_stride,
                    0f32,
                    1f32,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
            Ok::<(), Failure>(())
        })?;
        Ok(Some(seconds))
    })
}

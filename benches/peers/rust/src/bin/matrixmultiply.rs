//! Matrix products by the crate `matrixmultiply` (threads: `MATMUL_NUM_THREADS`).
use cornu_peers::{Failure, matrices, numbers, often, serve};

fn main() -> Result<(), Failure> {
    serve("matrixmultiply 0.3.11", 0, |request| {
        let ["gemm", sizes @ ..] = request else { return Ok(None) };
        let [m, n, k] = numbers(sizes)?[..] else { return Ok(None) };
        let (a, b, mut c) = matrices(m, n, k);
        let (ks, ns) = (k as isize, n as isize);
        let seconds = often(|| {
            // SAFETY: the slices hold (m, k), (k, n) and (m, n) values with these strides.
            unsafe {
                matrixmultiply::sgemm(m, k, n, 1.0, a.as_ptr(), ks, 1, b.as_ptr(), ns, 1, 0.0, c.as_mut_ptr(), ns, 1);
            }
            Ok::<(), Failure>(())
        })?;
        Ok(Some(seconds))
    })
}

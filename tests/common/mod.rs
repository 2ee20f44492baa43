//! What several tests need.

use cornu::data::Rows;
use ndarray::ArrayD;
use std::path::Path;

/// An array from a `.npy` file: little-endian `f32` or `i32` in C order.
pub enum Npy {
    F32(ArrayD<f32>),
    I32(ArrayD<i32>),
}

impl Npy {
    /// Reads a file that these tests brought along.
    ///
    /// # Panics
    /// When it is not there or not of this kind.
    pub fn read(path: &Path) -> Npy {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00", "{}", path.display());
        let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = std::str::from_utf8(&bytes[10..end]).unwrap();
        assert!(header.contains("'fortran_order': False"), "{header}");
        let shape = header.split(['(', ')']).nth(1).unwrap();
        let shape: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
        let values = bytes[end..].as_chunks::<4>().0.iter();
        if header.contains("'<f4'") {
            Npy::F32(ArrayD::from_shape_vec(shape, values.map(|v| f32::from_le_bytes(*v)).collect()).unwrap())
        } else {
            assert!(header.contains("'<i4'"), "{header}");
            Npy::I32(ArrayD::from_shape_vec(shape, values.map(|v| i32::from_le_bytes(*v)).collect()).unwrap())
        }
    }

    /// As data for a model.
    pub fn rows(&self) -> &dyn Rows {
        match self {
            Npy::F32(array) => array,
            Npy::I32(array) => array,
        }
    }

    /// As numbers.
    pub fn f32(&self) -> ArrayD<f32> {
        match self {
            Npy::F32(array) => array.clone(),
            Npy::I32(array) => array.mapv(|v| v as f32),
        }
    }
}

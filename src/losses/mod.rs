//! What training minimizes.

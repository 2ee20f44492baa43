use crate::{args, print};
use cornu::{Model, Result};

/// `cornu summary`: what Keras' `summary()` prints.
pub fn run(args: &args::Summary) -> Result<()> {
    print(Model::load(&args.model)?.summary())
}

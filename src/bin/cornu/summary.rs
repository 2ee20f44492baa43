use crate::{args, print};
use cornu::{Model, Result};

/// `cornu summary`: what Keras' `summary()` prints.
pub fn run(args: &args::Summary) -> Result<()> {
    let summary = Model::load(&args.model)?.summary();
    print(summary.expand_nested(args.expand_nested).show_trainable(args.show_trainable).width(args.width))
}

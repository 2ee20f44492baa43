use crate::{args, arrays, bench, print};
use cornu::runtime::threads;
use cornu::{Model, Result};

/// `cornu profile`: what each layer costs in time, operations and memory, on random inputs.
pub fn run(args: &args::Profile) -> Result<()> {
    let mut model = Model::load(&args.model)?;
    model.build()?;
    let x = bench::random(model.input_shapes()?, args.batch_size, 1)?;
    let profile = || model.profile(arrays::inputs(&x));
    print(match args.threads {
        Some(threads) => threads::with_num_threads(threads, profile)?,
        None => profile()?,
    })
}

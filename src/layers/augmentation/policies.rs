//! Images that are changed in several ways, which are themselves drawn.

use super::{
    Augmentation, AutoContrast, BYTES, Draws, Equalization, Projective, RandomBrightness, RandomColorDegeneration,
    RandomContrast, RandomPosterization, RandomRotation, RandomSharpness, RandomShear, RandomTranslation, Range,
    Solarization, augmentations, check_channels,
};
use crate::error::{Result, ensure};
use crate::kernels::resize::Interpolation;
use ndarray_rand::rand::Rng as _;
use ndarray_rand::rand_distr::{Beta, Distribution, Gamma};

augmentations! {
    /// Some simple changes of each image, which ones being the same for all images of a batch (Keras: `RandAugment`;
    /// Cubuk et al.: *RandAugment*, 2019). One or three channels.
    RandAugment() [seed] {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// How many, at most 1024. Default: 2.
        num_ops: usize as usize = 2,
        /// How strong they are, from 0 to 1: a number `f` means 0 to `f`. Default: 0.5.
        factor: Range = Range::Between(0.0, 0.5),
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
    /// Mixes chains of simple changes with each image (Keras: `AugMix`; Hendrycks et al.: *AugMix*, 2020). The changes
    /// of a chain and the shares are the same for all images of a batch; what each change draws is not. One or three
    /// channels.
    AugMix() [seed] {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// The number of chains, at most 1024. Default: 3.
        num_chains: usize as usize = 3,
        /// The number of changes in a chain, at most 1024, each of which may be none. Default: 3.
        chain_depth: usize as usize = 3,
        /// How strong they are, from 0 to 1: a number `f` means 0 to `f`. Default: 0.3.
        factor: Range = Range::Between(0.0, 0.3),
        /// The parameter of the shares' distributions, above 0. Default: 1.
        alpha: f64 = 1.0,
        /// Whether brightness, contrast, saturation and sharpness are among them. Default: yes.
        all_ops: bool = true,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
}

/// A simple change, with what its layer draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// See [`RandomShear`].
    Shear(Projective),
    /// See [`RandomTranslation`].
    Translation(Projective),
    /// See [`RandomRotation`].
    Rotation(Projective),
    /// See [`RandomPosterization`].
    Posterization(u32),
    /// See [`Solarization`].
    Solarization([f64; 2]),
    /// See [`AutoContrast`].
    AutoContrast,
    /// See [`Equalization`].
    Equalization,
    /// See [`RandomBrightness`].
    Brightness(f64),
    /// See [`RandomColorDegeneration`]; an image of one channel stays.
    ColorDegeneration(f64),
    /// See [`RandomContrast`].
    Contrast(f64),
    /// See [`RandomSharpness`].
    Sharpness(f64),
}

/// The number of operations, and of those that [`AugMix`] leaves without `all_ops`.
const ALL: usize = 11;
const FEW: usize = 7;

/// The layers behind the operations.
struct Operations {
    shear: RandomShear,
    translation: RandomTranslation,
    rotation: RandomRotation,
    posterization: RandomPosterization,
    solarization: Solarization,
    auto_contrast: AutoContrast,
    equalization: Equalization,
    brightness: RandomBrightness,
    degeneration: RandomColorDegeneration,
    contrast: RandomContrast,
    sharpness: RandomSharpness,
}

impl Operations {
    fn new(factor: Range, value_range: [f64; 2], interpolation: Interpolation) -> Self {
        // Keras hands the pair on, so that nothing is symmetrical.
        let (low, high) = factor.bounds(0.0);
        let factor = Range::Between(low, high);
        Operations {
            shear: RandomShear::new().x_factor(factor).y_factor(factor).interpolation(interpolation),
            translation: RandomTranslation::new(factor, factor).interpolation(interpolation),
            rotation: RandomRotation::new(factor).interpolation(interpolation),
            posterization: RandomPosterization::new((8.0 * high).floor().max(1.0)).value_range(value_range),
            solarization: Solarization::new().addition_factor(factor).threshold_factor(factor).value_range(value_range),
            auto_contrast: AutoContrast::new().value_range(value_range),
            equalization: Equalization::new().value_range(value_range),
            brightness: RandomBrightness::new(factor).value_range(value_range),
            degeneration: RandomColorDegeneration::new(factor).value_range(value_range),
            contrast: RandomContrast::new(factor).value_range(value_range),
            sharpness: RandomSharpness::new(factor).value_range(value_range),
        }
    }

    fn draw(&self, which: usize, size: [usize; 3], draws: &mut Draws) -> Operation {
        match which {
            0 => Operation::Shear(self.shear.draw(size, draws)),
            1 => Operation::Translation(self.translation.draw(size, draws)),
            2 => Operation::Rotation(self.rotation.draw(size, draws)),
            3 => Operation::Posterization(self.posterization.draw(size, draws)),
            4 => Operation::Solarization(self.solarization.draw(size, draws)),
            5 => Operation::AutoContrast,
            6 => Operation::Equalization,
            7 => Operation::Brightness(self.brightness.draw(size, draws)),
            8 => Operation::ColorDegeneration(self.degeneration.draw(size, draws)),
            9 => Operation::Contrast(self.contrast.draw(size, draws)),
            _ => Operation::Sharpness(self.sharpness.draw(size, draws)),
        }
    }

    fn write(&self, size: [usize; 3], operation: &Operation, image: &[f32], out: &mut [f32]) -> Result<()> {
        match operation {
            Operation::Shear(map) => self.shear.write(size, map, image, out),
            Operation::Translation(map) => self.translation.write(size, map, image, out),
            Operation::Rotation(map) => self.rotation.write(size, map, image, out),
            Operation::Posterization(bits) => self.posterization.write(size, bits, image, out),
            Operation::Solarization(drawn) => self.solarization.write(size, drawn, image, out),
            Operation::AutoContrast => self.auto_contrast.write(size, &(), image, out),
            Operation::Equalization => self.equalization.write(size, &(), image, out),
            Operation::Brightness(delta) => self.brightness.write(size, delta, image, out),
            Operation::ColorDegeneration(_) if size[2] == 1 => {
                out.copy_from_slice(image);
                Ok(())
            }
            Operation::ColorDegeneration(share) => self.degeneration.write(size, share, image, out),
            Operation::Contrast(factor) => self.contrast.write(size, factor, image, out),
            Operation::Sharpness(factor) => self.sharpness.write(size, factor, image, out),
        }
    }

    /// One operation after the other; `image` and `out` are overwritten, and the result is in `image`.
    fn chain(&self, size: [usize; 3], chain: &[Operation], image: &mut Vec<f32>, out: &mut Vec<f32>) -> Result<()> {
        for operation in chain {
            self.write(size, operation, image, out)?;
            std::mem::swap(image, out);
        }
        Ok(())
    }
}

/// Checks that a number, of an argument called `name`, is one that a file may ask for.
fn check_number(name: &str, number: usize) -> Result<()> {
    ensure!(number <= 1024, Argument, "{name} is {number}; it must be at most 1024");
    Ok(())
}

impl RandAugment {
    fn check_arguments(&self) -> Result<()> {
        check_number("num_ops", self.num_ops)?;
        self.factor.check_within("factor", 0.0, 1.0)
    }

    fn operations(&self) -> Operations {
        Operations::new(self.factor, self.value_range, self.interpolation)
    }
}

impl Augmentation for RandAugment {
    /// The changes, first to last.
    type Parameters = Vec<Operation>;

    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Vec<Operation> {
        let operations = self.operations();
        // As in Keras a change that is chosen twice does the same twice.
        let mut drawn = [None; ALL];
        let chosen: Vec<usize> = (0..self.num_ops).map(|_| draws.batch.random_range(0..ALL)).collect();
        chosen.into_iter().map(|i| *drawn[i].get_or_insert_with(|| operations.draw(i, size, draws))).collect()
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[1, 3])
    }

    fn write(&self, size: [usize; 3], drawn: &Vec<Operation>, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (mut image, mut spare) = (image.to_vec(), vec![0.0; image.len()]);
        self.operations().chain(size, drawn, &mut image, &mut spare)?;
        out.copy_from_slice(&image);
        Ok(())
    }
}

/// What [`AugMix`] draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Chains {
    /// The changes of each chain, first to last.
    pub chains: Vec<Vec<Operation>>,
    /// The share of each chain among all chains.
    pub weights: Vec<f64>,
    /// The share of the image itself.
    pub own: f64,
}

impl AugMix {
    fn check_arguments(&self) -> Result<()> {
        check_number("num_chains", self.num_chains)?;
        check_number("chain_depth", self.chain_depth)?;
        ensure!((f64::MIN_POSITIVE..).contains(&self.alpha), Argument, "alpha is {}; it must be above 0", self.alpha);
        self.factor.check_within("factor", 0.0, 1.0)
    }

    fn operations(&self) -> Operations {
        Operations::new(self.factor, self.value_range, self.interpolation)
    }
}

impl Augmentation for AugMix {
    type Parameters = Chains;

    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Chains {
        let (operations, choices) = (self.operations(), if self.all_ops { ALL } else { FEW });
        // Gamma draws over their sum are a draw from Dirichlet's distribution.
        let gamma = |draws: &mut Draws| Gamma::new(self.alpha, 1.0).map_or(1.0, |gamma| gamma.sample(&mut draws.batch));
        let parts: Vec<f64> = (0..self.num_chains).map(|_| gamma(draws).max(f64::MIN_POSITIVE)).collect();
        let sum: f64 = parts.iter().sum();
        let own = Beta::new(self.alpha, self.alpha).map_or(0.5, |beta| beta.sample(&mut draws.batch));
        let mut chain = || {
            // The last choice is none.
            let chosen: Vec<usize> = (0..self.chain_depth).map(|_| draws.batch.random_range(0..=choices)).collect();
            chosen.into_iter().filter(|i| *i < choices).map(|i| operations.draw(i, size, draws)).collect()
        };
        let chains = (0..self.num_chains).map(|_| chain()).collect();
        Chains { chains, weights: parts.into_iter().map(|part| part / sum).collect(), own }
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[1, 3])
    }

    fn write(&self, size: [usize; 3], drawn: &Chains, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (operations, Chains { chains, weights, own }) = (self.operations(), drawn);
        let (mut changed, mut spare) = (image.to_vec(), vec![0.0; image.len()]);
        out.fill(0.0);
        for (chain, weight) in chains.iter().zip(weights) {
            changed.copy_from_slice(image);
            operations.chain(size, chain, &mut changed, &mut spare)?;
            out.iter_mut().zip(&changed).for_each(|(y, x)| *y += *weight as f32 * x);
        }
        let (own, [low, high]) = (*own as f32, super::color::range(self.value_range));
        out.iter_mut().zip(image).for_each(|(y, x)| *y = (own * x + (1.0 - own) * *y).max(low).min(high));
        Ok(())
    }
}

//! Images changed at random: against Keras' own pixels, and what the draws promise.

use cornu::config::from_config;
use cornu::layers::augmentation::{Chains, Displacement, Draws, Erased, Mixture, Operation, Projective};
use cornu::layers::{FillMode, Flip, Interpolation};
use cornu::prelude::*;
use cornu::training::Differentiate;
use ndarray::{Array2, Array3, Array4, Axis};
use serde_json::{Map, Value};

/// The picture of `tests/fixtures/augmentation/make.py`.
fn picture([height, width, channels]: [usize; 3], top: f32) -> Array3<f32> {
    Array3::from_shape_fn((height, width, channels), |(i, j, c)| {
        let grain = (i * 31 + j * 17 + c * 60 + i * j * 7) % 97;
        let smooth = 40 + 5 * i + 6 * j + 20 * c;
        ((smooth + grain) % 256) as f32 / 255.0 * top
    })
}

/// One case of Keras.
struct Case {
    config: Map<String, Value>,
    drawn: Value,
    size: [usize; 3],
    top: f32,
}

impl Case {
    fn number(&self, name: &str) -> f64 {
        self.drawn[name].as_f64().unwrap_or_else(|| panic!("{name}"))
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.drawn[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    fn points(&self, name: &str) -> [[f64; 2]; 4] {
        std::array::from_fn(|i| std::array::from_fn(|j| self.drawn[name][i][j].as_f64().unwrap()))
    }

    fn scalar(&self) -> f64 {
        self.drawn.as_f64().unwrap()
    }

    fn apply<A>(&self, parameters: A::Parameters) -> Array3<f32>
    where
        A: Augmentation + Layer + serde::de::DeserializeOwned,
    {
        let layer: A = from_config(self.config.clone()).unwrap();
        layer.check().unwrap();
        layer.apply(&picture(self.size, self.top), &parameters).unwrap()
    }

    fn run(&self, class: &str) -> Array3<f32> {
        let size = self.size;
        match class {
            "RandomRotation" => self.apply::<RandomRotation>(Projective::rotation(self.number("degrees"), size)),
            "RandomTranslation" => {
                self.apply::<RandomTranslation>(Projective::translation(self.number("right"), self.number("down")))
            }
            "RandomZoom" => {
                self.apply::<RandomZoom>(Projective::zoom(self.number("width"), self.number("height"), size))
            }
            "RandomShear" => self.apply::<RandomShear>(Projective::shear(self.number("x"), self.number("y"))),
            "RandomPerspective" => {
                self.apply::<RandomPerspective>(Projective::perspective(self.points("start"), self.points("end")))
            }
            "RandomFlip" => self.apply::<RandomFlip>(self.drawn.as_bool().unwrap()),
            "RandomElasticTransform" => {
                let [x, y] = ["x", "y"].map(|name| self.numbers(name).into_iter().map(|v| v as f32).collect());
                self.apply::<RandomElasticTransform>(Some(Displacement { x, y }))
            }
            "RandomBrightness" => self.apply::<RandomBrightness>(self.scalar()),
            "RandomContrast" => self.apply::<RandomContrast>(self.scalar()),
            "RandomHue" => self.apply::<RandomHue>(self.scalar()),
            "RandomSaturation" => self.apply::<RandomSaturation>(self.scalar()),
            "RandomColorDegeneration" => self.apply::<RandomColorDegeneration>(self.scalar()),
            "RandomSharpness" => self.apply::<RandomSharpness>(self.scalar()),
            "RandomPosterization" => self.apply::<RandomPosterization>(self.scalar() as u32),
            "RandomInvert" => self.apply::<RandomInvert>(true),
            "RandomGrayscale" => self.apply::<RandomGrayscale>(true),
            "AutoContrast" => self.apply::<AutoContrast>(()),
            "ContrastLimitedAdaptiveHistogramEqualization" => {
                self.apply::<ContrastLimitedAdaptiveHistogramEqualization>(())
            }
            "Equalization" => self.apply::<Equalization>(()),
            "Solarization" => self.apply::<Solarization>(std::array::from_fn(|i| self.drawn[i].as_f64().unwrap())),
            "RandomGaussianBlur" => {
                self.apply::<RandomGaussianBlur>(Some(std::array::from_fn(|i| self.drawn[i].as_f64().unwrap())))
            }
            "RandomCrop" => self.apply::<RandomCrop>(std::array::from_fn(|i| self.drawn[i].as_u64().unwrap() as usize)),
            "RandomErasing" => {
                let [rows, columns] = ["rows", "columns"].map(|name| {
                    let ends = self.numbers(name);
                    ends[0] as usize..ends[1] as usize
                });
                let values = vec![7.0; rows.len() * columns.len() * size[2]];
                self.apply::<RandomErasing>(Some(Erased { rows, columns, values }))
            }
            other => panic!("{other} has no case here"),
        }
    }
}

#[test]
fn pixels_are_those_of_keras() {
    let cases: Value = serde_json::from_str(include_str!("fixtures/augmentation/cases.json")).unwrap();
    let (mut worst, mut failed) = (std::collections::BTreeMap::<String, f32>::new(), Vec::new());
    for (i, case) in cases.as_array().unwrap().iter().enumerate() {
        let class = case["class"].as_str().unwrap();
        let made = Case {
            config: case["config"].as_object().unwrap().clone(),
            drawn: case["drawn"].clone(),
            size: std::array::from_fn(|i| case["size"][i].as_u64().unwrap() as usize),
            top: case["top"].as_f64().unwrap() as f32,
        };
        let got = made.run(class);
        let want = case["output"].as_array().unwrap();
        assert_eq!(got.len(), want.len(), "{class}: {case}");
        let error = got.iter().zip(want).map(|(got, want)| (got - want.as_f64().unwrap() as f32).abs());
        let error = error.fold(0.0, f32::max) / made.top;
        let so_far = worst.entry(class.to_owned()).or_default();
        *so_far = so_far.max(error);
        if error.is_nan() || error > 1e-4 {
            failed.push(format!(
                "case {i}, {class} of {:?} with {} {}: {error:e}",
                made.size, case["config"], case["drawn"]
            ));
        }
    }
    println!("largest differences on images from 0 to 1: {worst:#?}");
    assert!(failed.is_empty(), "{} cases:\n{}", failed.len(), failed.join("\n"));
    assert!(worst.len() > 20, "{} classes", worst.len());
}

/// Draws for many images.
fn drawn<A: Augmentation>(layer: &A, size: [usize; 3]) -> Vec<A::Parameters> {
    (0..2000).map(|i| layer.draw(size, &mut Draws::new(1, 0, i))).collect()
}

#[track_caller]
fn assert_spread(numbers: impl IntoIterator<Item = f64>, low: f64, high: f64) {
    let numbers: Vec<f64> = numbers.into_iter().collect();
    let (least, most) = numbers.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let margin = 0.02 * (high - low) + 1e-9;
    assert!(least >= low - 1e-9 && least < low + margin, "the least is {least}, not about {low}");
    assert!(most <= high + 1e-9 && most > high - margin, "the largest is {most}, not about {high}");
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    assert!((mean - (low + high) / 2.0).abs() <= 0.05 * (high - low) + 1e-9, "the mean is {mean}");
}

#[test]
fn factors_mean_what_they_mean_in_keras() {
    let size = [10, 20, 3];
    let numbers = |drawn: Vec<f64>| drawn;
    let places = |drawn: Vec<Projective>, i: usize| drawn.into_iter().map(move |map| map.0[i]);
    assert_spread(numbers(drawn(&RandomBrightness::new(0.2), size)), -51.0, 51.0);
    assert_spread(numbers(drawn(&RandomBrightness::new((0.1, 0.3)).value_range([-1.0, 1.0]), size)), 0.2, 0.6);
    // One number only adds contrast.
    assert_spread(numbers(drawn(&RandomContrast::new(0.4), size)), 1.0, 1.4);
    assert_spread(numbers(drawn(&RandomContrast::new((0.2, 0.4)), size)), 0.8, 1.4);
    assert_spread(numbers(drawn(&RandomHue::new(0.4), size)), -0.2, 0.2);
    assert_spread(numbers(drawn(&RandomColorDegeneration::new(0.4), size)), -0.4, 0.4);
    assert_spread(numbers(drawn(&RandomSharpness::new(0.4), size)), 0.0, 0.4);
    let saturation = drawn(&RandomSaturation::new((0.25, 0.5)), size);
    assert_spread(saturation.into_iter().map(|v| v / (1.0 + v)), 0.25, 0.5);
    assert_spread(drawn(&RandomPosterization::new(4.0), size).into_iter().map(f64::from), 1.0, 3.0);
    let bits = drawn(&RandomPosterization::new((2.0, 2.0)), size);
    assert!(bits.into_iter().all(|bits| bits == 2));
    let solar = drawn(&Solarization::new().threshold_factor((0.5, 0.75)), size);
    assert!(solar.iter().all(|[addition, _]| *addition == 0.0));
    assert_spread(solar.into_iter().map(|[_, threshold]| threshold), 0.5, 191.25);
    // Pixels to the right and down.
    assert_spread(places(drawn(&RandomTranslation::new(0.2, (0.1, 0.3)), size), 5), -2.0, 2.0);
    assert_spread(places(drawn(&RandomTranslation::new(0.2, (0.1, 0.3)), size), 2), -6.0, -2.0);
    assert_spread(places(drawn(&RandomZoom::new((0.1, 0.3)), size), 0), 1.1, 1.3);
    assert_spread(places(drawn(&RandomShear::new().x_factor(0.2), size), 1), -0.2, 0.2);
    let turns = drawn(&RandomRotation::new((0.0, 0.25)), size);
    assert_spread(turns.into_iter().map(|map| map.0[3].atan2(map.0[0]).to_degrees()), 0.0, 90.0);
    let scales = drawn(&RandomAffine::new().scale((1.0, 1.6)), size);
    assert_spread(scales.into_iter().map(|map| 1.0 / map.0[0]), 1.0, 1.6);

    let share = |happened: usize| happened as f64 / 2000.0;
    let flipped = share(drawn(&RandomFlip::new(), size).into_iter().filter(|flipped| *flipped).count());
    assert!((flipped - 0.5).abs() < 0.05, "{flipped}");
    // A probability from 0 to 1 is one half on average.
    let inverted = share(drawn(&RandomInvert::new(), size).into_iter().filter(|inverted| *inverted).count());
    assert!((inverted - 0.5).abs() < 0.05, "{inverted}");
    let grey = share(drawn(&RandomGrayscale::new().factor(0.2), size).into_iter().filter(|grey| *grey).count());
    assert!((grey - 0.2).abs() < 0.04, "{grey}");
    let erased: Vec<Erased> =
        drawn(&RandomErasing::new().factor((1.0, 1.0)), [100, 200, 1]).into_iter().flatten().collect();
    assert_eq!(erased.len(), 2000);
    let sides = erased.iter().map(|e| (e.rows.len() as f64 / 100.0).powi(2));
    assert!(sides.clone().fold(0.0, f64::max) < 0.35 && sides.fold(1.0, f64::min) > 0.015);

    // Pieces lie anywhere, and at the same place for all images of a batch.
    let crop = RandomCrop::new(4, 5);
    let places: std::collections::BTreeSet<_> =
        (0..2000).map(|step| crop.draw(size, &mut Draws::new(1, step, 0))).collect();
    assert_eq!(places.len(), 7 * 16);
    assert!((0..9).all(|i| crop.draw(size, &mut Draws::new(1, 0, i)) == crop.draw(size, &mut Draws::new(1, 0, 0))));
}

#[test]
fn in_a_model_images_change_in_training_alone() {
    let x = ndarray::ArrayD::from_shape_fn(vec![4, 8, 9, 3], |i| {
        ((i[0] * 31 + i[1] * 17 + i[2] * 5 + i[3] * 90) % 256) as f32
    });
    let layers: Vec<LayerHandle> = vec![
        RandomRotation::new((0.1, 0.2)).into(),
        RandomAffine::new().rotation((20.0, 30.0)).into(),
        RandomContrast::new((0.0, 0.5)).into(),
        RandomHue::new((0.2, 0.5)).into(),
        RandomCrop::new(8, 9).into(),
        RandAugment::new().num_ops(6).into(),
        Pipeline::new().add(RandomZoom::new((0.2, 0.3))).add(RandomSharpness::new(1.0)).into(),
    ];
    for layer in layers {
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([8, 9, 3])).add(layer.clone());
        model.build().unwrap();
        assert_eq!(model.predict(&x, Predict::default()).unwrap(), x, "{layer:?}");
        let trained = model.forward(&x, true, Differentiate::Weights).unwrap().output().into_array();
        assert_eq!(trained.shape(), x.shape());
        // A piece of the whole size is the image.
        assert_eq!(trained == x, layer.class_name() == "RandomCrop", "{layer:?}");
        assert_eq!(
            trained,
            model.forward(&x, true, Differentiate::Weights).unwrap().output().into_array(),
            "{layer:?}"
        );
    }
    // Contrast is stretched in inference too.
    let mut model = Sequential::new();
    model.add(Input::new([8, 9, 3])).add(AutoContrast::new());
    model.build().unwrap();
    let y = model.predict(&(&x / 3.0), Predict::default()).unwrap();
    assert!((y.iter().copied().fold(0.0, f32::max) - 255.0).abs() < 1e-3);
}

#[test]
fn models_with_augmentation_learn_and_are_saved() {
    let x = Array4::from_shape_fn((32, 8, 8, 1), |(n, i, j, _)| if (i + n) % 2 == 0 { 1.0 } else { j as f32 / 8.0 });
    let y: Vec<u8> = (0..32).map(|n| n % 2).collect();
    let mut model = Sequential::new().with_seed(3);
    model
        .add(Input::new([8, 8, 1]))
        .add(RandomTranslation::new(0.05, 0.2))
        .add(
            Pipeline::new().add(RandomAffine::new().scale(0.1)).add(RandomBrightness::new(0.1).value_range([0.0, 1.0])),
        )
        .add(Flatten::new())
        .add(Dense::new(2).activation("softmax"));
    model.compile(Adam::new(0.01), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    let history = model.fit(&x, &y, Fit::new().epochs(8).batch_size(8).verbose(0)).unwrap();
    assert!(history["loss"].last() < history["loss"].first());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cornu");
    model.save(&path).unwrap();
    let other = Sequential::load(&path).unwrap();
    assert_eq!(other.to_json().unwrap(), model.to_json().unwrap());
    assert!(model.to_json().unwrap().contains("cornu>RandomAffine"));
    assert_eq!(other.predict(&x, Predict::default()).unwrap(), model.predict(&x, Predict::default()).unwrap());
}

#[test]
fn mixing_takes_labels_along() {
    let images = Array4::from_shape_fn((6, 5, 4, 2), |(n, i, j, c)| (n * 100 + i * 10 + j + c) as f32);
    let labels = Array2::<f32>::eye(6);
    let layer = MixUp::new().alpha(0.7);
    let mixture = layer.draw(6, 1, 2).unwrap();
    assert_eq!(mixture, layer.draw(6, 1, 2).unwrap());
    assert_ne!(mixture, layer.draw(6, 1, 3).unwrap());
    let (mixed, shares) = (layer.apply(&images, &mixture).unwrap(), layer.apply_labels(&labels, &mixture).unwrap());
    let Mixture { order, weights } = &mixture;
    for n in 0..6 {
        let (own, other) = (images.index_axis(Axis(0), n), images.index_axis(Axis(0), order[n]));
        let want = &own * weights[n] + &other * (1.0 - weights[n]);
        assert!((&mixed.index_axis(Axis(0), n) - &want).iter().all(|d| d.abs() < 1e-3));
        assert!((shares[[n, n]] - if order[n] == n { 1.0 } else { weights[n] }).abs() < 1e-6);
        assert!((shares.row(n).sum() - 1.0).abs() < 1e-6);
    }
    assert!(layer.apply(&images.slice(ndarray::s![..5, .., .., ..]), &mixture).is_err());
    assert!(MixUp::new().alpha(0.0).draw(6, 1, 2).unwrap_err().to_string().contains("alpha is 0"));

    let images = Array4::from_shape_fn((6, 50, 40, 1), |(n, _, _, _)| n as f32);
    let layer = CutMix::new();
    let cuts = layer.draw(6, [50, 40, 1], 1, 2).unwrap();
    let (cut, shares) = (layer.apply(&images, &cuts).unwrap(), layer.apply_labels(&labels, &cuts).unwrap());
    for n in 0..6 {
        let other = cuts.mixture.order[n];
        let from_other = cut.index_axis(Axis(0), n).iter().filter(|v| **v == other as f32 && other != n).count();
        let share = from_other as f32 / 2000.0;
        // Whole pixels.
        assert!((shares[[n, n]] - (1.0 - share)).abs() < 0.05, "{n}: {share} {shares}");
    }
    assert!(cuts.mixture.weights.iter().any(|w| *w > 0.05 && *w < 0.95));
    assert!(layer.apply(&images.slice(ndarray::s![.., ..9, .., ..]), &cuts).is_err());

    // In a model, images alone, whole batches.
    for layer in [LayerHandle::from(MixUp::new().alpha(1.0)), CutMix::new().into()] {
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([50, 40, 1])).add(layer);
        model.build().unwrap();
        let x = images.clone().into_dyn();
        assert_eq!(model.predict(&x, Predict::default()).unwrap(), x);
        let mixed = model.forward(&x, true, Differentiate::Weights).unwrap().output().into_array();
        assert!(mixed != x && mixed.iter().all(|v| (0.0..=5.0).contains(v)));
    }
}

#[test]
fn policies_are_their_operations_one_by_one() {
    let image = picture([12, 15, 3], 255.0);
    let layer = RandAugment::new();
    let turn = Projective::rotation(20.0, [12, 15, 3]);
    let operations = vec![Operation::Rotation(turn), Operation::Solarization([10.0, 100.0]), Operation::AutoContrast];
    let got = layer.apply(&image, &operations).unwrap();
    let want = RandomRotation::new(0.5).apply(&image, &turn).unwrap();
    let want = Solarization::new().apply(&want, &[10.0, 100.0]).unwrap();
    let want = AutoContrast::new().apply(&want, &()).unwrap();
    assert_eq!(got, want);

    let contrast = RandomContrast::new(0.5).apply(&image, &1.2).unwrap();
    let chains = Chains { chains: vec![operations, vec![Operation::Contrast(1.2)]], weights: vec![0.3, 0.7], own: 0.4 };
    let mixed = AugMix::new().apply(&image, &chains).unwrap();
    let want = (&image * 0.4 + (want * 0.3 + contrast * 0.7) * 0.6).mapv(|v| v.clamp(0.0, 255.0));
    assert!((&mixed - &want).iter().all(|d| d.abs() < 1e-3));

    // The kinds are the same for all images of a batch, their numbers are not.
    let kinds = |drawn: &[Operation]| drawn.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    let drawn: Vec<_> = (0..9).map(|i| layer.draw([12, 15, 3], &mut Draws::new(1, 0, i))).collect();
    assert!(drawn.iter().all(|one| kinds(one) == kinds(&drawn[0])));
    let steps: Vec<_> = (0..200).map(|step| layer.draw([12, 15, 3], &mut Draws::new(1, step, 0))).collect();
    let all: std::collections::HashSet<_> = steps.iter().flatten().map(std::mem::discriminant).collect();
    assert_eq!(all.len(), 11);
    let grey = picture([6, 7, 1], 1.0);
    for step in 0..40 {
        let y = RandAugment::new().value_range([0.0, 1.0]).augment(&grey, &mut Draws::new(2, step, 0)).unwrap();
        assert!(y.iter().all(|v| v.is_finite()));
        let y = AugMix::new().value_range([0.0, 1.0]).augment(&grey, &mut Draws::new(2, step, 0)).unwrap();
        assert!(y.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}

#[test]
fn changes_of_the_plane_become_one() {
    let size = [64, 80, 3];
    let smooth = Array3::from_shape_fn((64, 80, 3), |(i, j, c)| {
        0.5 + 0.3 * (i as f32 / 9.0).sin() * (j as f32 / 11.0 + c as f32).cos()
    });
    let all = RandomAffine::new().rotation(30.0).shift(0.1).scale((1.0, 1.6)).shear(20.0).stretch((1.0, 1.3));
    let (turn, zoom) = (Projective::rotation(17.0, size), Projective::zoom(0.7, 0.8, size));
    let one = all.apply(&smooth, &turn.then(zoom)).unwrap();
    let two = RandomRotation::new(1.0).apply(&smooth, &turn).unwrap();
    let two = RandomZoom::new(1.0).apply(&two, &zoom).unwrap();
    let inside = ndarray::s![20..44, 24..56, ..];
    let worst = (&one.slice(inside) - &two.slice(inside)).iter().fold(0f32, |worst, d| worst.max(d.abs()));
    // Two samplings blur what one does not.
    assert!(worst > 0.0 && worst < 0.02, "{worst}");

    let unchanged = RandomAffine::new();
    assert_eq!(unchanged.draw(size, &mut Draws::new(1, 0, 0)), Projective::default());
    let flip = RandomAffine::new().flip(Flip::Horizontal);
    let map = Projective::flip(true, false, size);
    assert_eq!(flip.apply(&smooth, &map).unwrap(), smooth.slice(ndarray::s![.., ..;-1, ..]));
}

#[test]
fn mistakes_are_said() {
    let says = |layer: LayerHandle, text: &str| {
        let mut model = Sequential::new();
        model.add(Input::new([8, 8, 3])).add(layer);
        let error = model.build().unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(RandomRotation::new(1.5).into(), "factor is 1.5 to 1.5; it must be within -1 and 1");
    says(RandomZoom::new((-1.0, 0.0)).into(), "height_factor");
    says(RandomZoom::new(0.1).interpolation(Interpolation::Bicubic).into(), "nearest or bilinear");
    says(RandomContrast::new((0.5, 0.2)).into(), "the second is not smaller");
    says(RandomBrightness::new(0.1).value_range([1.0, 1.0]).into(), "the second must be larger");
    says(RandomPosterization::new(9.0).into(), "within 1 and 8");
    says(RandomGaussianBlur::new().kernel_size(4).into(), "both must be odd");
    says(RandomAffine::new().shear(90.0).into(), "shear");
    says(RandomAffine::new().scale(1.0).into(), "scale begins at 0");
    says(Equalization::new().bins(1).into(), "bins is 1");
    says(RandAugment::new().num_ops(1025).into(), "num_ops is 1025; it must be at most 1024");
    says(AugMix::new().num_chains(1 << 20).into(), "num_chains is 1048576");
    says(AugMix::new().chain_depth(1025).into(), "chain_depth is 1025");
    says(RandomZoom::new(0.1).width_factor(1.5).into(), "width_factor is 1.5");
    says(RandomColorJitter::new().brightness_factor((0.2, 0.1)).into(), "brightness_factor is (0.2, 0.1)");
    says(MixUp::new().alpha(-1.0).into(), "alpha is -1");
    says(AugMix::new().alpha(0.0).into(), "alpha is 0");

    let two = Array3::<f32>::zeros((4, 4, 2));
    let error = RandomHue::new(0.1).apply(&two, &0.1).unwrap_err().to_string();
    assert!(error.contains("2 channels"), "{error}");
    assert!(RandomGrayscale::new().apply(&two, &true).is_err());
    assert!(RandomFlip::new().apply(&Array3::<f32>::zeros((0, 4, 2)), &true).is_err());
    let outside = Some(Erased { rows: 0..5, columns: 0..1, values: vec![0.0; 10] });
    assert!(RandomErasing::new().apply(&two, &outside).is_err());
    let mut turned = Erased { rows: 0..1, columns: 2..3, values: Vec::new() };
    turned.columns.end = 1;
    assert!(RandomErasing::new().apply(&two, &Some(turned)).is_err());
    assert!(RandomCrop::new(3, 3).apply(&two, &[0, 20]).is_err());
    assert!(RandomCrop::new(3, 3).apply(&two, &[20, 0]).is_err());
    // Without a model too.
    let draws = || Draws::new(1, 0, 0);
    let by_hand = [
        RandomCrop::new(5, 0).augment(&two, &mut draws()),
        RandomGaussianBlur::new().kernel_size(0).augment(&two, &mut draws()),
        RandomGaussianBlur::new().kernel_size(0).apply(&two, &Some([1.0, 1.0])),
        ContrastLimitedAdaptiveHistogramEqualization::new().tile_grid_size(0).apply(&two, &()),
        Equalization::new().bins(0).apply(&two, &()),
    ];
    assert!(by_hand.iter().all(|result| matches!(result, Err(cornu::Error::Argument(_)))), "{by_hand:?}");
    let filled = RandomErasing::new().fill_value(0.0).apply(&two, &None).unwrap();
    assert_eq!(filled, two);
    assert!(RandomElasticTransform::new().apply(&two, &Some(Displacement::default())).is_err());
    // One channel is grey already.
    let grey = picture([4, 4, 1], 255.0);
    assert_eq!(RandomGrayscale::new().apply(&grey, &true).unwrap(), grey);
    // FillMode and what stands beyond a border are read as Keras writes them.
    let mode: FillMode = serde_json::from_str("\"nearest\"").unwrap();
    assert_eq!(mode, FillMode::Nearest);
}

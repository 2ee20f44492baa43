//! Layer by layer as Keras builds them, without the time that drawing 138 million weights takes.

use super::*;
use crate::layer::LayerHandle;
use ndarray::array;

/// The network with zeros for weights, which nothing touches.
fn shapes(outline: Result<Model>) -> Model {
    let mut model = outline.unwrap();
    model.build_to_load(usize::MAX).unwrap();
    model
}

/// The lines of `tests/fixtures/applications/make.py`.
fn listing(model: &Model) -> Vec<String> {
    let size =
        |dims: &mut dyn Iterator<Item = String>| Some(dims.collect::<Vec<_>>().join("x")).filter(|s| !s.is_empty());
    let graph = model.built().unwrap();
    let line = |layer: &LayerHandle| {
        let node = graph.nodes.iter().find(|node| node.layer.is(layer)).unwrap();
        let output = node.output_shapes[0].sample();
        let output = size(&mut output.iter().map(|dim| dim.map_or("None".to_owned(), |dim| dim.to_string())));
        let weights = layer.weights();
        let weights = weights.iter().map(|weight| size(&mut weight.shape().iter().map(|dim| dim.to_string())));
        let parts = [Some(layer.name()), Some(layer.class_name()), output].into_iter().chain(weights);
        parts.map(|part| part.unwrap_or_else(|| "-".to_owned())).collect::<Vec<_>>().join(" ")
    };
    graph.order().iter().map(line).collect()
}

#[track_caller]
fn is_keras(name: &str, outline: Result<Model>) {
    let path = format!("{}/tests/fixtures/applications/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let want = std::fs::read_to_string(path).unwrap();
    let mut want = want.lines();
    let model = shapes(outline);
    let got = listing(&model);
    assert_eq!(format!("{} {}", model.name(), model.count_params()), want.next().unwrap());
    let want: Vec<&str> = want.collect();
    if want[0].starts_with("crc32 ") {
        let lines: String = got.iter().map(|line| format!("{line}\n")).collect();
        assert_eq!(format!("crc32 {:08x} of {} layers", crc32fast::hash(lines.as_bytes()), got.len()), want[0]);
        return;
    }
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got, want);
    }
    assert_eq!(got.len(), want.len());
}

#[test]
fn vgg_is_keras() {
    is_keras("vgg16", VGG16::new().outline());
    is_keras("vgg19", VGG19::new().outline());
    let base = VGG16::new().include_top(false).input_shape([40, 33, 3]).pooling(Pooling::Avg);
    is_keras("vgg16_notop_avg", base.outline());
}

#[test]
fn resnet_is_keras() {
    is_keras("resnet50", ResNet50::new().outline());
    is_keras("resnet101", ResNet101::new().outline());
    is_keras("resnet152", ResNet152::new().outline());
}

#[test]
fn mobilenet_v2_is_keras() {
    is_keras("mobilenet_v2", MobileNetV2::new().outline());
    let base = MobileNetV2::new().alpha(0.35).include_top(false).input_shape([96, 96, 3]).pooling(Pooling::Max);
    is_keras("mobilenet_v2_035_96_max", base.outline());
    is_keras("mobilenet_v2_140_7", MobileNetV2::new().alpha(1.4).classes(7).input_shape([75, 64, 3]).outline());
}

/// Of networks that Keras does not have: counts from the papers' tables, or of other libraries.
#[test]
fn counts_of_the_others() {
    let count = |outline| shapes(outline).count_params();
    assert_eq!(count(LeNet5::new().outline()), 61_706);
    assert_eq!(count(AlexNetLite::new().outline()), 380_042);
    assert_eq!(count(AlexNet::new().outline()), 62_378_344);
    assert_eq!(count(AlexNet::new().groups(2).outline()), 60_965_224);
    // PyTorch's resnet18 and resnet34.
    for (outline, learned) in [(ResNet18::new().outline(), 11_689_512), (ResNet34::new().outline(), 21_797_672)] {
        let learned_here: usize = shapes(outline).trainable_weights().iter().map(|weight| weight.len()).sum();
        assert_eq!(learned_here, learned);
    }
    // The paper says 0.27, 0.46, 0.66 and 0.85 million.
    let networks = [
        (ResNet20::new().outline(), 271_098),
        (ResNet32::new().outline(), 466_426),
        (ResNet44::new().outline(), 661_754),
        (ResNet56::new().outline(), 857_082),
    ];
    for (outline, parameters) in networks {
        assert_eq!(count(outline), parameters);
    }
}

/// The sizes in the paper, on images of 227 x 227 pixels.
#[test]
fn alexnet_is_the_papers() {
    let lines = listing(&shapes(AlexNet::new().outline()));
    let has = |wanted: &str| assert!(lines.iter().any(|line| line == wanted), "{wanted}\n{lines:#?}");
    has("conv1 Conv2D 55x55x96 11x11x3x96 96");
    has("norm1 cornu>LocalResponseNormalization 55x55x96");
    has("pool1 MaxPooling2D 27x27x96");
    has("conv2 Conv2D 27x27x256 5x5x96x256 256");
    has("norm2 cornu>LocalResponseNormalization 27x27x256");
    has("pool2 MaxPooling2D 13x13x256");
    has("conv3 Conv2D 13x13x384 3x3x256x384 384");
    has("conv4 Conv2D 13x13x384 3x3x384x384 384");
    has("conv5 Conv2D 13x13x256 3x3x384x256 256");
    has("pool5 MaxPooling2D 6x6x256");
    has("fc6 Dense 4096 9216x4096 4096");
    has("drop6 Dropout 4096");
    has("fc7 Dense 4096 4096x4096 4096");
    has("drop7 Dropout 4096");
    has("predictions Dense 1000 4096x1000 1000");
    // In two columns each filter sees half of the channels.
    let columns = listing(&shapes(AlexNet::new().groups(2).outline()));
    assert!(columns.contains(&"conv2 Conv2D 27x27x256 5x5x48x256 256".to_owned()), "{columns:#?}");
}

#[test]
fn options() {
    let shape = |outline| shapes(outline).output_shape().unwrap().to_string();
    assert_eq!(shape(VGG16::new().include_top(false).outline()), "(None, None, None, 512)");
    assert_eq!(shape(MobileNetV2::new().include_top(false).pooling(Pooling::Max).outline()), "(None, 1280)");
    assert_eq!(shape(AlexNet::new().include_top(false).input_shape([227, 227, 3]).outline()), "(None, 6, 6, 256)");
    assert_eq!(shape(ResNet18::new().classes(7).outline()), "(None, 7)");
    // The classifier's activation: as it is asked for, and softmax without being asked.
    let x = ndarray::Array4::from_shape_fn((1, 12, 12, 1), |(_, i, j, _)| (i * j % 7) as f32);
    let answers = |network: LeNet5| {
        let model = network.input_shape([12, 12, 1]).classes(4).seed(1).build().unwrap();
        model.predict(&x, Default::default()).unwrap()
    };
    let (probabilities, logits) = (answers(LeNet5::new()), answers(LeNet5::new().classifier_activation("linear")));
    let exp = logits.mapv(f32::exp);
    let softmax = &exp / exp.sum();
    assert!(probabilities.iter().zip(&softmax).all(|(a, b)| (a - b).abs() < 1e-6), "{probabilities} and {softmax}");
    assert_eq!(shapes(ResNet20::new().name("mine").outline()).name(), "mine");
    assert_eq!(
        LeNet5::new().seed(3).build().unwrap().get_weights(),
        LeNet5::new().seed(3).build().unwrap().get_weights()
    );

    let error = |outline: Result<Model>| outline.unwrap_err().to_string();
    assert!(error(VGG16::new().input_shape([31, 224, 3]).outline()).contains("at least 32"));
    assert!(error(VGG16::new().input_shape([224, 224]).outline()).contains("[height, width, channels]"));
    assert!(error(MobileNetV2::new().alpha(0.0).outline()).contains("alpha is 0"));
    assert!(error(LeNet5::new().weights("x.h5").classifier_activation("relu").outline()).contains("'softmax'"));
    let missing = LeNet5::new().weights("no such file.h5").build().unwrap_err().to_string();
    assert!(missing.contains("no such file.h5"), "{missing}");
}

/// A base for images of any size gives what one for this size gives.
#[test]
fn images_of_any_size() {
    let any = ResNet20::new().include_top(false).pooling(Pooling::Avg).seed(1).build().unwrap();
    let one =
        ResNet20::new().include_top(false).pooling(Pooling::Avg).seed(1).input_shape([20, 15, 3]).build().unwrap();
    let x =
        ndarray::Array4::from_shape_fn((2, 20, 15, 3), |(n, i, j, c)| ((n * 7 + i * 3 + j * 5 + c) % 11) as f32 / 11.0);
    let predict = |model: &Model| model.predict(&x, Default::default()).unwrap();
    assert_eq!(predict(&any), predict(&one));
    assert_eq!(predict(&any).shape(), [2, 64]);
}

#[cfg(feature = "keras")]
#[test]
fn weights_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let network = || ResNet20::new().input_shape([8, 8, 3]);
    let model = network().seed(1).build().unwrap();
    model.save_weights(folder.path().join("w.weights.h5")).unwrap();
    model.save(folder.path().join("w.keras")).unwrap();
    for name in ["w.weights.h5", "w.keras"] {
        let same = network().weights(folder.path().join(name)).build().unwrap();
        assert_eq!(same.get_weights(), model.get_weights(), "{name}");
    }
    // Those of a base fit the base alone.
    let base = || ResNet20::new().include_top(false).input_shape([8, 8, 3]);
    let notop = base().seed(2).build().unwrap();
    notop.save_weights(folder.path().join("notop.weights.h5")).unwrap();
    let same = base().weights(folder.path().join("notop.weights.h5")).build().unwrap();
    assert_eq!(same.get_weights(), notop.get_weights());
    assert!(network().weights(folder.path().join("notop.weights.h5")).build().is_err());
    let other = ResNet32::new().input_shape([8, 8, 3]).weights(folder.path().join("w.keras")).build().unwrap_err();
    assert!(other.to_string().contains("weights of 'resnet32'"), "{other}");
}

/// Numbers of Keras 3.15.1's `imagenet_utils.preprocess_input`.
#[test]
fn preprocessing_is_keras() {
    let x = array![[[10u8, 20, 30], [255, 0, 128]]];
    let close = |mode, want: ndarray::Array3<f32>| {
        let got = preprocess_input(&x, mode).unwrap();
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-5), "{got}");
    };
    close(Preprocessing::Caffe, array![[[-73.939, -96.779, -113.68], [24.061, -116.779, 131.32]]]);
    close(
        Preprocessing::Torch,
        array![[[-1.946_656_8, -1.685_574_2, -1.281_568_6], [2.248_908_3, -2.035_714_3, 0.426_492_4]]],
    );
    close(Preprocessing::Tf, array![[[-0.921_568_63, -0.843_137_26, -0.764_705_9], [1.0, -1.0, 0.003_921_569]]]);
    // Each module has the mode of its networks' weights.
    let caffe = preprocess_input(&x, Preprocessing::Caffe).unwrap();
    assert_eq!(vgg16::preprocess_input(&x).unwrap(), caffe);
    assert_eq!(vgg19::preprocess_input(&x).unwrap(), caffe);
    assert_eq!(resnet::preprocess_input(&x).unwrap(), caffe);
    assert_eq!(mobilenet_v2::preprocess_input(&x).unwrap(), preprocess_input(&x, Preprocessing::Tf).unwrap());
    let hed = hed::preprocess_input(&x).unwrap();
    assert!((hed[[0, 0, 0]] - (30.0 - 104.00699)).abs() < 1e-5 && (hed[[0, 0, 2]] - (10.0 - 122.67892)).abs() < 1e-5);
    assert!(
        preprocess_input(&array![[1.0, 2.0]], Preprocessing::Caffe).unwrap_err().to_string().contains("3 channels")
    );
}

#[test]
fn answers_have_names() {
    let index = ClassIndex::parse(r#"{"1": ["n1", "b"], "0": ["n0", "a"], "2": ["n2", "c"]}"#).unwrap();
    let best = decode_predictions(&array![[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], &index, 2).unwrap();
    let names = |best: &[Recognised]| best.iter().map(|r| (r.id.clone(), r.score)).collect::<Vec<_>>();
    assert_eq!(names(&best[0]), [("n1".to_owned(), 0.5), ("n2".to_owned(), 0.3)]);
    assert_eq!(names(&best[1]), [("n0".to_owned(), 0.4), ("n2".to_owned(), 0.4)]);
    assert_eq!(decode_predictions(&array![[0.2, 0.5, 0.3]], &index, 9).unwrap()[0].len(), 3);
    assert!(decode_predictions(&array![[0.2, 0.5]], &index, 1).unwrap_err().to_string().contains("3 classes"));
    for text in ["", "[]", "{}", r#"{"1": ["n", "x"]}"#, r#"{"0": ["n"]}"#, r#"{"x": ["n", "x"]}"#] {
        assert!(ClassIndex::parse(text).is_err(), "{text}");
    }
}

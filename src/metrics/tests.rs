use super::*;
use crate::error::Error;

/// Shape and values.
type Array = (&'static [usize], &'static [f32]);

fn tensor(array: &Array) -> Tensor {
    Tensor::new(array.0, array.1.to_vec()).unwrap()
}

/// Rows `from..to`.
fn rows(tensor: &Tensor, from: usize, to: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    shape[0] = to - from;
    let values = (from..to).flat_map(|i| tensor.row(i)).copied().collect();
    Tensor::new(shape, values).unwrap()
}

fn close(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-6 + 2e-5 * want.abs(), "{what}: {got} instead of {want}");
    }
}

/// The results after batches of three rows and of two are Keras', also after a reset and after a detour
/// through the configuration.
fn check(metric: impl Metric + Clone + 'static, y: &Array, p: &Array, w: Option<&Array>, results: &[f64]) {
    let what = format!("{metric:?}");
    let (y, p, w) = (tensor(y), tensor(p), w.map(tensor));
    metric.check().unwrap();
    let mut metric: Box<dyn Metric> = metric.into();
    let text = serde_json::to_string(&metric).unwrap();
    for _ in 0..2 {
        for (from, to) in [(0, 3), (3, 5)] {
            let w = w.as_ref().map(|w| rows(w, from, to));
            metric.update(&rows(&y, from, to), &rows(&p, from, to), w.as_ref()).unwrap();
        }
        close(&metric.results(), results, &what);
        close(&[metric.result()], &[mean(results)], &what);
        metric.reset();
    }
    let mut again: Box<dyn Metric> = serde_json::from_str(&text).unwrap();
    again.update(&y, &p, w.as_ref()).unwrap();
    assert_eq!(again.name(), metric.name());
    // Correlations over the batch are the only ones that depend on how it is cut.
    if !text.contains("\"axis\":0") {
        close(&again.results(), results, &text);
    }
}

#[test]
fn names_are_kept_as_typed() {
    let metrics = Metrics::from(["acc", "mse", "accuracy", "MeanAbsoluteError", "AUC"]);
    metrics.check().unwrap();
    assert_eq!(metrics.names(), ["acc", "mse", "accuracy", "MeanAbsoluteError", "AUC"]);
    let loaded: Metrics =
        serde_json::from_str(r#"["mape", {"class_name": "MeanIoU", "config": {"num_classes": 2}}]"#).unwrap();
    assert_eq!(loaded.names(), ["mape", "mean_io_u"]);
    for class in <Box<dyn Metric> as config::Family>::classes() {
        for name in class.names {
            let metric = Box::<dyn Metric>::from(*name);
            assert_eq!((metric.name().as_str(), metric.class_name()), (*name, class.class_name));
        }
    }
    let wrong = Metrics::from("acuracy").check().unwrap_err().to_string();
    assert!(wrong.contains("metric 'acuracy'") && wrong.contains("'accuracy'"), "{wrong}");
}

#[test]
fn metrics_are_made_from_what_users_write() {
    assert!(Metrics::from(()).0.is_empty());
    assert_eq!(Metrics::from("accuracy").names(), ["accuracy"]);
    assert_eq!(Metrics::from(vec!["mae", "mse"]).names(), ["mae", "mse"]);
    assert_eq!(Metrics::from(AUC::new()).names(), ["auc"]);
    let boxed: Vec<Box<dyn Metric>> = vec!["acc".into(), Recall::new().into()];
    assert_eq!(Metrics::from(boxed).names(), ["acc", "recall"]);
    let mixed = crate::metrics!["acc", AUC::new(), AUC::new(), AUC::new().name("mine"),];
    assert_eq!(mixed.names(), ["acc", "auc", "auc_1", "mine"]);
    assert!(crate::metrics![].0.is_empty());
}

#[test]
fn accuracy_is_chosen_by_shape() {
    let feed = |y: &[usize], p: &[usize]| {
        let mut metric: Box<dyn Metric> = "accuracy".into();
        assert_eq!(metric.class_name(), "AutoAccuracy");
        metric.update(&Tensor::zeros(y), &Tensor::zeros(p), None).unwrap();
        metric.reset();
        (metric.class_name().to_owned(), metric.config().unwrap())
    };
    for (y, p, class) in [
        (vec![2], vec![2, 1], "BinaryAccuracy"),
        (vec![2, 1], vec![2, 1], "BinaryAccuracy"),
        (vec![2], vec![2, 3], "SparseCategoricalAccuracy"),
        (vec![2, 1], vec![2, 3], "SparseCategoricalAccuracy"),
        (vec![2, 4], vec![2, 4, 3], "SparseCategoricalAccuracy"),
        (vec![2, 3], vec![2, 3], "CategoricalAccuracy"),
    ] {
        let (found, config) = feed(&y, &p);
        assert_eq!(found, class);
        assert_eq!(config["name"], "accuracy");
    }
    let typed: Box<dyn Metric> = "Accuracy".into();
    assert_eq!(typed.class_name(), "AutoAccuracy");
    let loaded: Box<dyn Metric> = serde_json::from_str(r#"{"class_name": "Accuracy", "config": {}}"#).unwrap();
    assert_eq!(loaded.class_name(), "Accuracy");
}

#[test]
fn a_short_last_batch_weighs_less() {
    let mut metric: Box<dyn Metric> = "mse".into();
    metric.update(&Tensor::zeros([3, 2]), &Tensor::full([3, 2], 1.0), None).unwrap();
    metric.update(&Tensor::zeros([1, 2]), &Tensor::full([1, 2], 3.0), None).unwrap();
    assert_eq!(metric.result(), 3.0);
    metric.reset();
    assert_eq!(metric.result(), 0.0);
    let weights = Tensor::new([2], vec![0.0, 0.0]).unwrap();
    metric.update(&Tensor::zeros([2, 2]), &Tensor::full([2, 2], f32::NAN), Some(&weights)).unwrap();
    assert_eq!(metric.result(), 0.0, "what has no weight does not count");
}

#[test]
fn many_samples_keep_their_digits() {
    let mut mean = Mean::new();
    for _ in 0..1000 {
        mean.add(&Tensor::full([20_000], 0.1), None).unwrap();
    }
    assert!((mean.result() - f64::from(0.1f32)).abs() < 1e-12);
    let mut sum = Sum::new();
    sum.add(&Tensor::full([4], 0.5), Some(&Tensor::full([4], 3.0))).unwrap();
    assert_eq!(sum.result(), 6.0);
}

#[test]
fn wrong_arguments_are_refused() {
    let refused = |metric: &dyn Metric| assert!(matches!(metric.check(), Err(Error::Argument(_))), "{metric:?}");
    refused(&Precision::new().thresholds(1.5));
    refused(&Recall::new().thresholds([]));
    refused(&TruePositives::new().thresholds([0.5, f64::NAN]));
    refused(&AUC::new().num_thresholds(1));
    refused(&AUC::new().num_labels(3));
    refused(&AUC::new().thresholds(vec![2.0]));
    refused(&FBetaScore::new().beta(0.0));
    refused(&F1Score::new().threshold(1.1));
    refused(&IoU::new(2usize, vec![2]));
    refused(&MeanIoU::default());
    refused(&SensitivityAtSpecificity::default());
    refused(&RecallAtPrecision::new(1.2));
    refused(&TopKCategoricalAccuracy::new().k(0));
    refused(&BinaryCrossentropy::new().label_smoothing(2.0));
    assert!(serde_json::from_str::<Box<dyn Metric>>(r#"{"class_name": "AUC", "config": {"curve": "X"}}"#).is_err());
}

#[test]
fn wrong_shapes_are_refused() {
    let (p, ids) = (Tensor::full([2, 3], 0.3), Tensor::zeros([2]));
    for class in <Box<dyn Metric> as config::Family>::classes() {
        let metric = || {
            let config = serde_json::json!({"num_classes": 3, "target_class_ids": [0], "recall": 0.5, "precision": 0.5,
                "sensitivity": 0.5, "specificity": 0.5, "sparse_y_pred": true});
            let value = serde_json::json!({"class_name": class.class_name, "config": config});
            serde_json::from_value::<Box<dyn Metric>>(value).unwrap()
        };
        if ["Mean", "Sum"].contains(&class.class_name) {
            continue;
        }
        let wrong = metric().update(&Tensor::zeros([5, 7]), &p, None);
        assert!(matches!(wrong, Err(Error::Shape(_))), "{}: {wrong:?}", class.class_name);
        let y = if class.class_name.starts_with("Sparse") { &ids } else { &p };
        let wrong = metric().update(y, &p, Some(&Tensor::zeros([4])));
        assert!(wrong.is_err(), "{}: weights", class.class_name);
    }
    assert!(SparseCategoricalAccuracy::new().update(&p, &p, None).unwrap_err().to_string().contains("one-hot"));
    assert!(Precision::new().class_id(3).update(&p, &p, None).is_err());
    assert!(Precision::new().top_k(4).update(&p, &p, None).is_err());
    assert!(AUC::new().label_weights(vec![1.0]).update(&p, &p, None).is_err());
    let mut f = F1Score::new();
    f.update(&p, &p, None).unwrap();
    assert!(f.update(&Tensor::zeros([2, 2]), &Tensor::zeros([2, 2]), None).unwrap_err().to_string().contains("reset"));
}

#[test]
fn strange_values_do_not_break_counts() {
    let p = Tensor::new([4, 1], vec![f32::NAN, f32::INFINITY, -3.0, 7.0]).unwrap();
    let y = Tensor::new([4, 1], vec![1.0, 0.0, 1.0, 1.0]).unwrap();
    for name in ["auc", "precision", "recall", "binary_io_u", "f1_score", "accuracy", "top_k_categorical_accuracy"] {
        let mut metric = Box::<dyn Metric>::from(name);
        metric.update(&y, &p, None).unwrap();
        assert!((0.0..=1.0).contains(&metric.result()), "{name}: {}", metric.result());
    }
    // Labels out of range are never hit, and ignored where regions are counted.
    let mut top = SparseTopKCategoricalAccuracy::new();
    top.update(&Tensor::new([2], vec![-1.0, 9.0]).unwrap(), &Tensor::full([2, 3], 0.3), None).unwrap();
    assert_eq!(top.result(), 0.0);
    let mut iou = MeanIoU::new(2usize);
    let y = Tensor::new([3], vec![0.0, 5.0, f32::NAN]).unwrap();
    iou.update(&y, &Tensor::zeros([3]), None).unwrap();
    assert!((iou.result() - 1.0).abs() < 1e-6);
}

const REAL_Y: Array =
    (&[5, 3], &[-0.12, -2.0, -1.13, 0.36, -2.13, 0.85, -1.75, 0.76, -0.85, 0.78, 0.13, -1.54, 1.25, 1.44, -0.07]);
const REAL_P: Array =
    (&[5, 3], &[-0.26, -2.08, -1.62, 0.91, -2.4, 0.82, -2.14, 0.44, -1.49, 1.41, 0.06, -1.06, 1.25, 1.1, -0.24]);
const COUNT_Y: Array = (&[5, 3], &[0.0, 2.0, 1.0, 4.0, 0.0, 1.0, 2.0, 2.0, 0.0, 1.0, 3.0, 1.0, 5.0, 0.0, 2.0]);
const COUNT_P: Array =
    (&[5, 3], &[2.92, 2.59, 3.89, 1.46, 1.71, 0.97, 0.39, 1.01, 3.68, 3.39, 0.63, 2.49, 2.02, 2.46, 2.71]);
const ONE_HOT: Array = (&[5, 3], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
const PROB: Array =
    (&[5, 3], &[0.33, 0.92, 0.47, 0.62, 0.62, 0.22, 0.11, 0.42, 0.74, 0.78, 0.71, 0.15, 0.87, 0.77, 0.84]);
const IDS: Array = (&[5], &[2.0, 0.0, 1.0, 1.0, 2.0]);
const IDS_COLUMN: Array = (&[5, 1], &[2.0, 0.0, 1.0, 1.0, 2.0]);
const BIN: Array = (&[5, 3], &[0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
const YES: Array = (&[5, 1], &[1.0, 0.0, 1.0, 1.0, 0.0]);
const YES_P: Array = (&[5, 1], &[0.9, 0.4, 0.3, 0.75, 0.6]);
const LOGITS: Array =
    (&[5, 3], &[-0.88, -1.02, 1.26, -0.6, -0.3, 0.04, 2.36, 1.36, 0.76, -1.12, -2.76, 1.9, 1.94, -0.28, 1.08]);
const STEPS: Array = (&[5, 2], &[1.0, 0.0, 2.0, 2.0, 1.0, -1.0, 0.0, 1.0, 2.0, 0.0]);
const STEP_P: Array = (
    &[5, 2, 3],
    &[
        0.89, 0.53, 0.78, 0.64, 0.6, 0.22, 0.57, 0.09, 0.77, 0.91, 0.82, 0.1, 0.35, 0.34, 0.15, 0.61, 0.77, 0.33, 0.83,
        0.77, 0.17, 0.74, 0.84, 0.23, 0.57, 0.62, 0.6, 0.14, 0.65, 0.62,
    ],
);
const SORTED: Array = (&[5, 3], &[2.0, 0.0, 1.0, 1.0, 2.0, 0.0, 0.0, 1.0, 2.0, 2.0, 1.0, 0.0, 0.0, 1.0, 2.0]);
const PRED_IDS: Array = (&[5], &[2.0, 1.0, 1.0, 0.0, 2.0]);
const W: Array = (&[5], &[0.5, 2.0, 1.0, 0.0, 3.0]);
const STEP_W: Array = (&[5, 2], &[1.0, 2.0, 0.5, 0.0, 0.25, 1.0, 1.0, 1.0, 2.0, 0.5]);

#[test]
fn values_are_keras() {
    check(Accuracy::new(), &IDS, &PRED_IDS, None, &[0.6]);
    check(Accuracy::new(), &IDS, &PRED_IDS, Some(&W), &[0.6923077]);
    check(BinaryAccuracy::new(), &BIN, &PROB, None, &[0.4666667]);
    check(BinaryAccuracy::new(), &BIN, &PROB, Some(&W), &[0.7179487]);
    check(BinaryAccuracy::new().threshold(0.4), &YES, &YES_P, None, &[0.6]);
    check(BinaryAccuracy::new().threshold(0.4), &YES, &YES_P, Some(&W), &[0.3846154]);
    check(CategoricalAccuracy::new(), &ONE_HOT, &PROB, None, &[0.2]);
    check(CategoricalAccuracy::new(), &ONE_HOT, &PROB, Some(&W), &[0.3076923]);
    check(SparseCategoricalAccuracy::new(), &IDS, &PROB, None, &[0.2]);
    check(SparseCategoricalAccuracy::new(), &IDS, &PROB, Some(&W), &[0.3076923]);
    check(SparseCategoricalAccuracy::new(), &IDS_COLUMN, &PROB, Some(&W), &[0.3076923]);
    check(SparseCategoricalAccuracy::new(), &STEPS, &STEP_P, None, &[0.4]);
    check(SparseCategoricalAccuracy::new(), &STEPS, &STEP_P, Some(&STEP_W), &[0.4864865]);
    check(SparseCategoricalAccuracy::new(), &STEPS, &STEP_P, Some(&W), &[0.1923077]);
    check(TopKCategoricalAccuracy::new().k(2), &ONE_HOT, &PROB, None, &[1.0]);
    check(TopKCategoricalAccuracy::new().k(2), &ONE_HOT, &PROB, Some(&W), &[1.0]);
    check(SparseTopKCategoricalAccuracy::new().k(2), &IDS, &PROB, None, &[1.0]);
    check(SparseTopKCategoricalAccuracy::new().k(2), &IDS, &PROB, Some(&W), &[1.0]);
    check(SparseTopKCategoricalAccuracy::new().k(2).from_sorted_ids(true), &IDS, &SORTED, None, &[0.6]);
    check(SparseTopKCategoricalAccuracy::new().k(2).from_sorted_ids(true), &IDS, &SORTED, Some(&W), &[0.2307692]);
    check(MeanSquaredError::new(), &REAL_Y, &REAL_P, None, &[0.13888]);
    check(MeanSquaredError::new(), &REAL_Y, &REAL_P, Some(&W), &[0.1017051]);
    check(MeanAbsoluteError::new(), &REAL_Y, &REAL_P, None, &[0.3066667]);
    check(MeanAbsoluteError::new(), &REAL_Y, &REAL_P, Some(&W), &[0.2530769]);
    check(MeanAbsolutePercentageError::new(), &REAL_Y, &REAL_P, None, &[60.33002]);
    check(MeanAbsolutePercentageError::new(), &REAL_Y, &REAL_P, Some(&W), &[69.69595]);
    check(RootMeanSquaredError::new(), &REAL_Y, &REAL_P, None, &[0.3726661]);
    check(RootMeanSquaredError::new(), &REAL_Y, &REAL_P, Some(&W), &[0.3189124]);
    check(LogCoshError::new(), &REAL_Y, &REAL_P, None, &[0.06646788]);
    check(LogCoshError::new(), &REAL_Y, &REAL_P, Some(&W), &[0.04900421]);
    check(CosineSimilarity::new(), &REAL_Y, &REAL_P, None, &[0.9638454]);
    check(CosineSimilarity::new(), &REAL_Y, &REAL_P, Some(&W), &[0.9815902]);
    check(R2Score::new(), &REAL_Y, &REAL_P, None, &[0.8515889]);
    check(R2Score::new(), &REAL_Y, &REAL_P, Some(&W), &[0.8788675]);
    check(PearsonCorrelation::new(), &REAL_Y, &REAL_P, None, &[0.976623]);
    check(PearsonCorrelation::new(), &REAL_Y, &REAL_P, Some(&W), &[0.9820966]);
    check(ConcordanceCorrelation::new(), &REAL_Y, &REAL_P, None, &[0.9312416]);
    check(ConcordanceCorrelation::new(), &REAL_Y, &REAL_P, Some(&W), &[0.9473824]);
    check(MeanSquaredLogarithmicError::new(), &COUNT_Y, &COUNT_P, None, &[0.7413371]);
    check(MeanSquaredLogarithmicError::new(), &COUNT_Y, &COUNT_P, Some(&W), &[0.6999358]);
    check(Poisson::new(), &COUNT_Y, &COUNT_P, None, &[1.545461]);
    check(Poisson::new(), &COUNT_Y, &COUNT_P, Some(&W), &[1.044499]);
    check(RootMeanSquaredError::new(), &STEP_P, &STEP_P, Some(&W), &[0.0]);
    check(R2Score::new().class_aggregation(None), &REAL_Y, &REAL_P, None, &[0.8363615, 0.9713744, 0.7470308]);
    check(R2Score::new().class_aggregation(None), &REAL_Y, &REAL_P, Some(&W), &[0.8893018, 0.9665197, 0.7807811]);
    check(
        R2Score::new().class_aggregation(ClassAggregation::VarianceWeightedAverage).num_regressors(2),
        &REAL_Y,
        &REAL_P,
        None,
        &[0.8752182],
    );
    check(
        R2Score::new().class_aggregation(ClassAggregation::VarianceWeightedAverage).num_regressors(2),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        &[0.916212],
    );
    check(PearsonCorrelation::new().axis(0), &REAL_Y, &REAL_P, None, &[0.6633126]);
    check(ConcordanceCorrelation::new().axis(0), &REAL_Y, &REAL_P, None, &[0.7207382]);
    check(BinaryCrossentropy::new().label_smoothing(0.1), &BIN, &PROB, None, &[0.844289]);
    check(BinaryCrossentropy::new().label_smoothing(0.1), &BIN, &PROB, Some(&W), &[0.5589164]);
    check(CategoricalCrossentropy::new().from_logits(true), &ONE_HOT, &LOGITS, None, &[1.81977]);
    check(CategoricalCrossentropy::new().from_logits(true), &ONE_HOT, &LOGITS, Some(&W), &[1.277188]);
    check(SparseCategoricalCrossentropy::new(), &IDS, &PROB, None, &[1.036027]);
    check(SparseCategoricalCrossentropy::new(), &IDS, &PROB, Some(&W), &[1.033226]);
    check(SparseCategoricalCrossentropy::new().ignore_class(-1), &STEPS, &STEP_P, None, &[1.160619]);
    check(SparseCategoricalCrossentropy::new().ignore_class(-1), &STEPS, &STEP_P, Some(&STEP_W), &[1.027193]);
    check(KLDivergence::new(), &BIN, &PROB, None, &[1.372661]);
    check(KLDivergence::new(), &BIN, &PROB, Some(&W), &[0.9499971]);
    check(Hinge::new(), &BIN, &REAL_P, None, &[1.254667]);
    check(Hinge::new(), &BIN, &REAL_P, Some(&W), &[0.7415385]);
    check(SquaredHinge::new(), &BIN, &REAL_P, None, &[2.873667]);
    check(SquaredHinge::new(), &BIN, &REAL_P, Some(&W), &[1.532113]);
    check(CategoricalHinge::new(), &ONE_HOT, &REAL_P, None, &[1.786]);
    check(CategoricalHinge::new(), &ONE_HOT, &REAL_P, Some(&W), &[1.716923]);
    check(TruePositives::new(), &BIN, &PROB, None, &[5.0]);
    check(TruePositives::new(), &BIN, &PROB, Some(&W), &[11.5]);
    check(TruePositives::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[7.0, 3.0]);
    check(TruePositives::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[13.0, 6.5]);
    check(TrueNegatives::new(), &BIN, &PROB, None, &[2.0]);
    check(TrueNegatives::new(), &BIN, &PROB, Some(&W), &[2.5]);
    check(TrueNegatives::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[1.0, 6.0]);
    check(TrueNegatives::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[2.0, 5.5]);
    check(FalsePositives::new(), &BIN, &PROB, None, &[4.0]);
    check(FalsePositives::new(), &BIN, &PROB, Some(&W), &[3.0]);
    check(FalsePositives::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[5.0, 0.0]);
    check(FalsePositives::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[3.5, 0.0]);
    check(FalseNegatives::new(), &BIN, &PROB, None, &[4.0]);
    check(FalseNegatives::new(), &BIN, &PROB, Some(&W), &[2.5]);
    check(FalseNegatives::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[2.0, 6.0]);
    check(FalseNegatives::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[1.0, 7.5]);
    check(Precision::new(), &BIN, &PROB, None, &[0.5555556]);
    check(Precision::new(), &BIN, &PROB, Some(&W), &[0.7931034]);
    check(Precision::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[0.5833333, 1.0]);
    check(Precision::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[0.7878788, 1.0]);
    check(Recall::new(), &BIN, &PROB, None, &[0.5555556]);
    check(Recall::new(), &BIN, &PROB, Some(&W), &[0.8214286]);
    check(Recall::new().thresholds([0.3, 0.8]), &BIN, &PROB, None, &[0.7777778, 0.3333333]);
    check(Recall::new().thresholds([0.3, 0.8]), &BIN, &PROB, Some(&W), &[0.9285714, 0.4642857]);
    check(Precision::new().top_k(2), &BIN, &PROB, None, &[0.6]);
    check(Precision::new().top_k(2), &BIN, &PROB, Some(&W), &[0.7692308]);
    check(Precision::new().class_id(1), &BIN, &PROB, None, &[0.5]);
    check(Precision::new().class_id(1), &BIN, &PROB, Some(&W), &[0.6363636]);
    check(Precision::new().top_k(2).class_id(2), &BIN, &PROB, None, &[0.6666667]);
    check(Precision::new().top_k(2).class_id(2), &BIN, &PROB, Some(&W), &[0.7777778]);
    check(Precision::new().thresholds([0.0, 0.5, 1.0]), &YES, &YES_P, None, &[0.6, 0.6666667, 0.0]);
    check(Precision::new().thresholds([0.0, 0.5, 1.0]), &YES, &YES_P, Some(&W), &[0.2307692, 0.1428571, 0.0]);
    check(Recall::new().top_k(2), &BIN, &PROB, None, &[0.6666667]);
    check(Recall::new().top_k(2), &BIN, &PROB, Some(&W), &[0.7142857]);
    check(Recall::new().class_id(1), &BIN, &PROB, None, &[0.6666667]);
    check(Recall::new().class_id(1), &BIN, &PROB, Some(&W), &[0.7777778]);
    check(Recall::new().top_k(2).class_id(2), &BIN, &PROB, None, &[0.6666667]);
    check(Recall::new().top_k(2).class_id(2), &BIN, &PROB, Some(&W), &[1.0]);
    check(Recall::new().thresholds([0.0, 0.5, 1.0]), &YES, &YES_P, None, &[1.0, 0.6666667, 0.0]);
    check(Recall::new().thresholds([0.0, 0.5, 1.0]), &YES, &YES_P, Some(&W), &[1.0, 0.3333333, 0.0]);
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        None,
        &[0.5462963],
    );
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        Some(&W),
        &[0.8181818],
    );
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        None,
        &[0.537037],
    );
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.7922078],
    );
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        None,
        &[0.5555556],
    );
    check(
        AUC::new().curve(AUCCurve::ROC).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.8441558],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        None,
        &[0.7420441],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        Some(&W),
        &[0.9357881],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        None,
        &[0.6190001],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.8918187],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        None,
        &[0.7532468],
    );
    check(
        AUC::new().curve(AUCCurve::PR).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.9457123],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        None,
        &[-0.06326531],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Interpolation),
        &BIN,
        &PROB,
        Some(&W),
        &[0.3648059],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        None,
        &[-0.1423151],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Minoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.2614429],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        None,
        &[0.01578444],
    );
    check(
        AUC::new().curve(AUCCurve::PRGAIN).summation_method(AUCSummationMethod::Majoring),
        &BIN,
        &PROB,
        Some(&W),
        &[0.4681688],
    );
    check(AUC::new().num_thresholds(5), &YES, &YES_P, None, &[0.6666667]);
    check(AUC::new().from_logits(true), &BIN, &LOGITS, None, &[0.8333333]);
    check(AUC::new().thresholds(vec![0.7, 0.2, 0.35]), &BIN, &PROB, None, &[0.4722222]);
    check(AUC::new().multi_label(true), &BIN, &PROB, None, &[0.5555556]);
    check(AUC::new().multi_label(true), &BIN, &PROB, Some(&W), &[0.8544974]);
    check(AUC::new().multi_label(true).label_weights(vec![1.0, 2.0, 0.5]), &BIN, &PROB, None, &[0.5952381]);
    check(AUC::new().label_weights(vec![1.0, 2.0, 0.5]), &BIN, &PROB, None, &[0.5816327]);
    check(F1Score::new().average(None), &ONE_HOT, &PROB, None, &[0.4999999, 0.0, 0.0]);
    check(F1Score::new().average(None), &ONE_HOT, &PROB, Some(&W), &[0.5714285, 0.0, 0.0]);
    check(FBetaScore::new().average(None).beta(2.0).threshold(0.5), &BIN, &PROB, None, &[0.6666666, 0.625, 0.3571428]);
    check(
        FBetaScore::new().average(None).beta(2.0).threshold(0.5),
        &BIN,
        &PROB,
        Some(&W),
        &[0.8620689, 0.7446808, 0.8333333],
    );
    check(F1Score::new().average(Average::Micro), &ONE_HOT, &PROB, None, &[0.1818181]);
    check(F1Score::new().average(Average::Micro), &ONE_HOT, &PROB, Some(&W), &[0.2666666]);
    check(FBetaScore::new().average(Average::Micro).beta(2.0).threshold(0.5), &BIN, &PROB, None, &[0.5555555]);
    check(FBetaScore::new().average(Average::Micro).beta(2.0).threshold(0.5), &BIN, &PROB, Some(&W), &[0.8156028]);
    check(F1Score::new().average(Average::Macro), &ONE_HOT, &PROB, None, &[0.1666666]);
    check(F1Score::new().average(Average::Macro), &ONE_HOT, &PROB, Some(&W), &[0.1904762]);
    check(FBetaScore::new().average(Average::Macro).beta(2.0).threshold(0.5), &BIN, &PROB, None, &[0.5496031]);
    check(FBetaScore::new().average(Average::Macro).beta(2.0).threshold(0.5), &BIN, &PROB, Some(&W), &[0.813361]);
    check(F1Score::new().average(Average::Weighted), &ONE_HOT, &PROB, None, &[0.09999999]);
    check(F1Score::new().average(Average::Weighted), &ONE_HOT, &PROB, Some(&W), &[0.1758242]);
    check(FBetaScore::new().average(Average::Weighted).beta(2.0).threshold(0.5), &BIN, &PROB, None, &[0.5496031]);
    check(FBetaScore::new().average(Average::Weighted).beta(2.0).threshold(0.5), &BIN, &PROB, Some(&W), &[0.8171531]);
    check(SensitivityAtSpecificity::new(0.5), &BIN, &PROB, None, &[0.4444444]);
    check(SensitivityAtSpecificity::new(0.5), &BIN, &PROB, Some(&W), &[0.6785714]);
    check(SensitivityAtSpecificity::new(0.5).num_thresholds(1), &YES, &YES_P, None, &[0.6666667]);
    check(SensitivityAtSpecificity::new(0.5).class_id(1), &BIN, &PROB, None, &[0.6666667]);
    check(SpecificityAtSensitivity::new(0.6), &BIN, &PROB, None, &[0.3333333]);
    check(SpecificityAtSensitivity::new(0.6), &BIN, &PROB, Some(&W), &[1.0]);
    check(SpecificityAtSensitivity::new(0.6).num_thresholds(1), &YES, &YES_P, None, &[0.5]);
    check(SpecificityAtSensitivity::new(0.6).class_id(1), &BIN, &PROB, None, &[1.0]);
    check(PrecisionAtRecall::new(0.6), &BIN, &PROB, None, &[0.6363636]);
    check(PrecisionAtRecall::new(0.6), &BIN, &PROB, Some(&W), &[1.0]);
    check(PrecisionAtRecall::new(0.6).num_thresholds(1), &YES, &YES_P, None, &[0.6666667]);
    check(PrecisionAtRecall::new(0.6).class_id(1), &BIN, &PROB, None, &[1.0]);
    check(RecallAtPrecision::new(0.7), &BIN, &PROB, None, &[0.4444444]);
    check(RecallAtPrecision::new(0.7), &BIN, &PROB, Some(&W), &[1.0]);
    check(RecallAtPrecision::new(0.7).num_thresholds(1), &YES, &YES_P, None, &[0.0]);
    check(RecallAtPrecision::new(0.7).class_id(1), &BIN, &PROB, None, &[0.6666667]);
    check(IoU::new(3usize, vec![0, 2]), &IDS, &PRED_IDS, None, &[0.5]);
    check(IoU::new(3usize, vec![0, 2]).dtype("float32"), &IDS, &PRED_IDS, Some(&W), &[0.5]);
    check(MeanIoU::new(3usize), &IDS, &PRED_IDS, None, &[0.4444444]);
    check(MeanIoU::new(3usize).dtype("float32"), &IDS, &PRED_IDS, Some(&W), &[0.4444444]);
    check(
        MeanIoU::new(3usize).ignore_class(1).sparse_y_pred(false).dtype("float32"),
        &STEPS,
        &STEP_P,
        Some(&STEP_W),
        &[0.352381],
    );
    // Cut to whole numbers, weights below 1 are 0.
    let few = (&[5][..], &[0.5f32, 0.9, 0.2, 0.0, 0.7][..]);
    check(MeanIoU::new(3usize), &IDS, &PRED_IDS, Some(&few), &[0.0]);
    check(BinaryIoU::new(), &YES, &YES_P, None, &[0.4166667]);
    check(BinaryIoU::new().dtype("float32"), &YES, &YES_P, Some(&W), &[0.2222222]);
    check(BinaryIoU::new().target_class_ids(vec![1]).threshold(0.3), &BIN, &PROB, None, &[0.4999999]);
    check(OneHotIoU::new(3usize, vec![1]), &ONE_HOT, &PROB, None, &[0.0]);
    check(OneHotIoU::new(3usize, vec![1]).dtype("float32"), &ONE_HOT, &PROB, Some(&W), &[0.0]);
    check(OneHotMeanIoU::new(3usize), &ONE_HOT, &PROB, None, &[0.1111111]);
    check(OneHotMeanIoU::new(3usize).dtype("float32"), &ONE_HOT, &PROB, Some(&W), &[0.1333333]);
}

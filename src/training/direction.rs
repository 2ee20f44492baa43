//! Which way a metric is to go.

/// Whether a metric is to rise, as far as its name tells: what Keras' `mode="auto"` decides by the class.
///
/// `val_` before the name and the name of an output make no difference, nor does the number that a
/// second metric of a class ends in (`auc_1`).
pub(crate) fn larger_is_better(name: &str) -> Option<bool> {
    const RISING: [&str; 14] = [
        "accuracy",
        "acc",
        "auc",
        "precision",
        "recall",
        "f1_score",
        "fbeta_score",
        "iou",
        "io_u",
        "r2_score",
        "similarity",
        "correlation",
        "at_specificity",
        "at_sensitivity",
    ];
    const FALLING: [&str; 15] = [
        "loss",
        "error",
        "crossentropy",
        "hinge",
        "divergence",
        "poisson",
        "cosh",
        "logcosh",
        "mse",
        "mae",
        "mape",
        "msle",
        "rmse",
        "kld",
        "perplexity",
    ];
    let name = name.to_lowercase();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    let ends =
        |ending: &&str| name.strip_suffix(*ending).is_some_and(|before| before.is_empty() || before.ends_with('_'));
    if RISING.iter().any(ends) {
        Some(true)
    } else if FALLING.iter().any(ends) {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::larger_is_better;

    /// The default names of all metrics of Keras 3.15, by their direction there.
    #[test]
    fn keras_metrics_go_where_keras_says() {
        let rising = "auc accuracy binary_accuracy binary_io_u categorical_accuracy concordance_correlation \
            cosine_similarity f1_score fbeta_score io_u mean_io_u one_hot_io_u one_hot_mean_io_u pearson_correlation \
            precision precision_at_recall r2_score recall recall_at_precision sensitivity_at_specificity \
            sparse_categorical_accuracy sparse_top_k_categorical_accuracy specificity_at_sensitivity \
            top_k_categorical_accuracy";
        let falling = "loss binary_crossentropy categorical_crossentropy categorical_hinge hinge kl_divergence logcosh \
            mean_absolute_error mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error \
            poisson root_mean_squared_error sparse_categorical_crossentropy squared_hinge";
        let neither = "false_negatives false_positives true_negatives true_positives mean sum learning_rate closs mine";
        for (names, direction) in [(rising, Some(true)), (falling, Some(false)), (neither, None)] {
            for name in names.split_whitespace() {
                for name in [name.to_owned(), format!("val_{name}"), format!("val_out_{name}"), format!("{name}_1")] {
                    assert_eq!(larger_is_better(&name), direction, "{name}");
                }
            }
        }
    }
}

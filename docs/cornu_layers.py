"""The layers of cornu that Keras lacks, for Keras 3 on any backend.

Import it before loading a model that cornu saved.
"""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cornu")
class LocalResponseNormalization(keras.layers.Layer):
    """x / (k + alpha * sum of x² over `size` channels around it) ** beta (AlexNet, section 3.3)."""

    def __init__(self, size=5, k=2.0, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def call(self, x):
        around = self.size // 2
        channels = x.shape[-1]
        squares = ops.pad(ops.square(x), [[0, 0]] * (len(x.shape) - 1) + [[around, around]])
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x * ops.power(self.k + self.alpha * total, -self.beta)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}

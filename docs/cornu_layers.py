"""The layers of cornu that Keras lacks, for Keras 3 on any backend.

Import it before loading a model that cornu saved.
"""

import math

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


def _between(value, around=0.0):
    """The range that a number or a pair stands for."""
    return (around - abs(value), around + abs(value)) if isinstance(value, (int, float)) else tuple(value)


@keras.saving.register_keras_serializable(package="cornu")
class RandomAffine(keras.layers.Layer):
    """Flips, stretches, scales, slants, rotates and moves each image in one pass, in training."""

    def __init__(
        self,
        rotation=0.0,
        shift=0.0,
        scale=0.0,
        flip=None,
        shear=0.0,
        stretch=0.0,
        fill_mode="reflect",
        fill_value=0.0,
        interpolation="bilinear",
        seed=None,
        data_format=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.own = {
            "rotation": rotation,
            "shift": shift,
            "scale": scale,
            "flip": flip,
            "shear": shear,
            "stretch": stretch,
            "fill_mode": fill_mode,
            "fill_value": fill_value,
            "interpolation": interpolation,
            "seed": seed,
            "data_format": data_format or "channels_last",
        }
        self.generator = keras.random.SeedGenerator(seed)

    def get_transforms(self, batch, height, width):
        """Draws what `ops.image.affine_transform` takes, `(batch, 8)`."""

        def draw(value, around=0.0):
            low, high = _between(value, around)
            return low + (high - low) * keras.random.uniform((batch,), seed=self.generator)

        def coin():
            return ops.cast(keras.random.uniform((batch,), seed=self.generator) < 0.5, "float32")

        def matrix(rows):
            ones = ops.ones((batch,))
            return ops.stack([ops.stack([ones * v for v in row], axis=-1) for row in rows], axis=1)

        flip = self.own["flip"] or ""
        across = 1.0 - 2.0 * coin() * float("horizontal" in flip)
        down = 1.0 - 2.0 * coin() * float("vertical" in flip)
        stretch, along, scale = draw(self.own["stretch"], 1.0), coin(), draw(self.own["scale"], 1.0)
        zoom_x = 1.0 / (scale * (along * stretch + 1.0 - along))
        zoom_y = 1.0 / (scale * ((1.0 - along) * stretch + along))
        lean = ops.tan(draw(self.own["shear"]) * math.pi / 180.0)
        angle = draw(self.own["rotation"]) * math.pi / 180.0
        cos, sin = ops.cos(angle), ops.sin(angle)
        x, y = (width - 1) / 2.0, (height - 1) / 2.0
        product = matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])
        for step in [
            [[across, 0, 0], [0, down, 0], [0, 0, 1]],
            [[zoom_x, 0, 0], [0, zoom_y, 0], [0, 0, 1]],
            [[1, lean, 0], [0, 1, 0], [0, 0, 1]],
            [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]],
            [[1, 0, -x - draw(self.own["shift"]) * width], [0, 1, -y - draw(self.own["shift"]) * height], [0, 0, 1]],
        ]:
            product = ops.matmul(product, matrix(step))
        return ops.reshape(product, (batch, 9))[:, :8]

    def call(self, images, training=False):
        if not training:
            return images
        shape, last = ops.shape(images), self.own["data_format"] == "channels_last"
        height, width = (shape[1], shape[2]) if last else (shape[2], shape[3])
        return ops.image.affine_transform(
            images,
            self.get_transforms(shape[0], height, width),
            interpolation=self.own["interpolation"],
            fill_mode=self.own["fill_mode"],
            fill_value=self.own["fill_value"],
            data_format=self.own["data_format"],
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **self.own}

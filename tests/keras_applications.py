"""The part of tests/keras_applications.rs that real Keras does; the Rust test runs it, as

    keras_applications.py make FOLDER [WEIGHTS OF HED]
    keras_applications.py check FOLDER

`make` draws weights for Keras' own networks, moving averages included, and writes NAME.keras, NAME.weights.h5, NAME.h5
(the layout of the weights that Keras downloads), images (NAME.x.npy) and what Keras makes of them (NAME.y.npy). `check` opens what cornu wrote (NAME.cornu.keras,
NAME.cornu.weights.h5), predicts from the same images and compares with cornu's NAME.cornu.y.npy.

Keras 3.15.1 and PyTorch 2.15 (KERAS_BACKEND may name another backend).
"""

import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")
import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

NETWORKS = {
    "resnet50": keras.applications.ResNet50,
    "vgg16": keras.applications.VGG16,
    "mobilenet_v2": keras.applications.MobileNetV2,
}


def draw(model, x, rng):
    """Weights with which normalizations do something, and neither all classes nor a single one are probable."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            layer.set_weights([
                rng.uniform(0.8, 1.2, size), rng.normal(0, 0.2, size),
                rng.normal(0, 0.2, size), rng.uniform(0.5, 1.5, size),
            ])
        elif layer.weights:
            kernel = layer.weights[0].shape
            inputs = np.prod(kernel[:2] if "Depthwise" in type(layer).__name__ else kernel[:-1])
            layer.set_weights([
                rng.normal(0, (2 / inputs) ** 0.5, kernel), *(rng.normal(0, 0.1, w.shape) for w in layer.weights[1:])
            ])
    classifier = model.layers[-1]
    kernel, bias = classifier.get_weights()
    logits = keras.Model(model.input, model.layers[-2].output).predict(x, verbose=0) @ kernel
    classifier.set_weights([kernel * (2 / logits.std()), bias])


def hed(weights):
    """HED as its paper has it (Xie and Tu 2015), for images of any size, with weights from a file."""
    layers, conv = keras.layers, keras.layers.Conv2D

    class Hed(keras.Model):
        def __init__(self):
            super().__init__()
            for i, (filters, count) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)], 1):
                pool = [layers.MaxPooling2D(2, padding="same")] if i > 1 else []
                convolutions = [conv(filters, 3, padding="same", activation="relu") for _ in range(count)]
                setattr(self, f"block{i}", keras.Sequential(pool + convolutions))
                setattr(self, f"dsn{i}", conv(1, 1))
            self.fuse = conv(1, 1)

        def call(self, image):
            x, sides = image, []
            for i in range(1, 6):
                x = getattr(self, f"block{i}")(x)
                side = getattr(self, f"dsn{i}")(x)
                sides.append(keras.ops.image.resize(side, image.shape[1:3], interpolation="bilinear"))
            return keras.ops.sigmoid(self.fuse(keras.ops.concatenate(sides, -1)))

    model = Hed()
    model(np.zeros((1, 32, 32, 3), "float32"))
    model.load_weights(weights)
    return model


def compare(name, ours, theirs):
    """cornu's and Keras' predictions: the largest difference relative to the largest value, and value by value."""
    difference = np.abs(ours - theirs)
    relative, single = difference.max() / np.abs(theirs).max(), (difference / np.abs(theirs)).max()
    print(f"{name:>46}  {relative:.2e} of the largest value, {single:.2e} value by value")
    return max(relative, single)


def make(folder, weights=None):
    for seed, (name, network) in enumerate(NETWORKS.items()):
        rng = np.random.default_rng(seed)
        model = network(weights=None)
        x = rng.normal(0, 1, (2, 224, 224, 3)).astype("float32")
        draw(model, x, rng)
        model.save(folder / f"{name}.keras")
        model.save_weights(folder / f"{name}.weights.h5")
        # The layout of the files that Keras downloads.
        with h5py.File(folder / f"{name}.h5", "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
        np.save(folder / f"{name}.x.npy", x)
        np.save(folder / f"{name}.y.npy", model.predict(x, verbose=0))
    if weights:
        x = np.load(folder / "hed.x.npy")
        np.save(folder / "hed.y.npy", hed(weights).predict(x, verbose=0))


def check(folder):
    worst = 0
    for name, network in NETWORKS.items():
        x, ours = np.load(folder / f"{name}.x.npy"), np.load(folder / f"{name}.cornu.y.npy")
        model = keras.models.load_model(folder / f"{name}.cornu.keras")
        worst = max(worst, compare(f"{name}, cornu's .keras in Keras", ours, model.predict(x, verbose=0)))
        model = network(weights=None)
        model.load_weights(folder / f"{name}.cornu.weights.h5")
        worst = max(worst, compare(f"{name}, cornu's .weights.h5 in Keras", ours, model.predict(x, verbose=0)))
    assert worst <= 1e-4, worst


command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
{"make": make, "check": check}[command](folder, *sys.argv[3:])

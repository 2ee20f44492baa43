"""Keras on TensorFlow: `fit` and `predict` of the same models, and TensorFlow's convolution."""
import functools
import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from common import THREADS, WARM, images, often, once, serve
from keras import layers as L

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(THREADS)
x, y = images()
y = y.astype(np.int32)

BODY = {
    "lstm": lambda: [L.Reshape((28, 28)), L.LSTM(128)],
    "mlp": lambda: [L.Flatten(), L.Dense(128, "relu")],
    "lenet5": lambda: [L.Conv2D(6, 5, padding="same", activation="relu"), L.MaxPooling2D(),
                       L.Conv2D(16, 5, activation="relu"), L.MaxPooling2D(), L.Flatten(),
                       L.Dense(120, "relu"), L.Dense(84, "relu")],
    "convnet": lambda: [L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(),
                        L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dropout(0.5)],
}


class Clock(keras.callbacks.Callback):
    """The seconds of the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


@functools.cache
def compiled(kind, batch):
    """A model, and what brings its weights and its optimizer back to how they were made."""
    model = keras.Sequential([keras.Input((28, 28, 1)), *BODY[kind](), L.Dense(10, "softmax")])
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9) if kind == "lenet5" else "adam"
    # jit_compile makes networks of this size slower on the CPU.
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    start = [(v, v.numpy()) for v in (*model.variables, *model.optimizer.variables)]
    return model, lambda: [v.assign(value) for v, value in start]


def answer(task, *words):
    if task in ("train", "predict") and words[0] in BODY:
        kind, batch = words
        model, refresh = compiled(kind, batch)
        if task == "train":
            # A new model would be traced again; this one gets its first weights back. The second epoch is the one
            # that counts: `fit` itself takes a while to begin.
            refresh()
            clock = Clock()
            model.fit(x, y, batch, epochs=2, verbose=0, callbacks=[clock])
            return clock.seconds
        if batch == 1:
            image = x[:1]
            return often(lambda: model.predict_on_batch(image))
        model.predict(x[:WARM], batch, verbose=0)
        return once(lambda: model.predict(x, batch, verbose=0))
    if task in ("train", "predict") and words[0] in ("resnet20", "resnet50", "alexnet", "vgg16"):
        return classic(task, *words)
    if task in ("conv_forward", "conv_step"):
        return convolution(task == "conv_step", *words)


@functools.lru_cache(1)
def network(kind):
    """A classic network, compiled."""
    if kind == "resnet50":
        model = keras.applications.ResNet50(weights=None)
    elif kind == "vgg16":
        model = keras.applications.VGG16(weights=None)
    elif kind == "resnet20":
        model = resnet20()
    else:
        model = alexnet()
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"],
                  jit_compile=False)
    return model


def resnet20():
    def normalized(x, filters, strides=1):
        x = L.Conv2D(filters, 3, strides, "same", use_bias=False, kernel_initializer="he_normal")(x)
        return L.BatchNormalization(epsilon=1.001e-5)(x)

    image = keras.Input((32, 32, 3))
    x = L.ReLU()(normalized(image, 16))
    for filters in (16, 32, 64):
        for block in range(3):
            shortcut, strides = x, 2 if filters > 16 and not block else 1
            if strides > 1:
                pads = ((0, 0), (filters // 4, filters // 4))
                shortcut = L.MaxPooling2D(1, 2)(x)
                # Channels last are to this layer the columns of an image with its channels first.
                shortcut = L.ZeroPadding2D(pads, data_format="channels_first")(shortcut)
            x = normalized(L.ReLU()(normalized(x, filters, strides)), filters)
            x = L.ReLU()(L.Add()([shortcut, x]))
    return keras.Model(image, L.Dense(10, "softmax")(L.GlobalAveragePooling2D()(x)))


class Normalization(L.Layer):
    """AlexNet's response normalization."""

    def call(self, x):
        return tf.nn.local_response_normalization(x, 2, 2.0, 1e-4, 0.75)


def alexnet():
    convolution = lambda *arguments: L.Conv2D(*arguments, activation="relu")
    return keras.Sequential([
        keras.Input((227, 227, 3)), convolution(96, 11, 4), Normalization(), L.MaxPooling2D(3, 2),
        convolution(256, 5, 1, "same"), Normalization(), L.MaxPooling2D(3, 2), convolution(384, 3, 1, "same"),
        convolution(384, 3, 1, "same"), convolution(256, 3, 1, "same"), L.MaxPooling2D(3, 2), L.Flatten(),
        L.Dense(4096, "relu"), L.Dropout(0.5), L.Dense(4096, "relu"), L.Dropout(0.5), L.Dense(1000, "softmax")])


def classic(task, kind, batch):
    model = network(kind)
    images = np.random.default_rng(2).random((batch, *model.input_shape[1:]), np.float32)
    if task == "train":
        classes = np.arange(batch) % 10
        return often(lambda: model.train_on_batch(images, classes))
    return often(lambda: model.predict_on_batch(images))


def convolution(backward, n, h, w, inputs, outputs, size, stride, padding, groups):
    depthwise = groups > 1
    if depthwise and not groups == inputs == outputs:
        return None
    image = tf.random.normal((n, h, w, inputs))
    kernel = tf.random.normal((size, size, inputs, 1 if depthwise else outputs)) * 0.05
    bias = tf.zeros((outputs,))
    same = stride == 1 and 2 * padding == size - 1
    if padding and not same:
        return None
    run = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d

    def forward(image, kernel, bias):
        return tf.nn.bias_add(run(image, kernel, [1, stride, stride, 1], "SAME" if same else "VALID"), bias)

    def step(image, kernel, bias):
        with tf.GradientTape() as tape:
            tape.watch((image, kernel, bias))
            output = forward(image, kernel, bias)
        # The gradients do not need the output: unless it is returned, the graph is pruned of the forward pass.
        return output, tape.gradient(output, (image, kernel, bias), gradient)

    gradient = tf.random.normal(forward(image, kernel, bias).shape) if backward else None
    call = tf.function(step if backward else forward, jit_compile=False)
    return often(lambda: call(image, kernel, bias))


serve(f"Keras {keras.__version__}, TensorFlow {tf.__version__}", x.nbytes + y.nbytes, answer)

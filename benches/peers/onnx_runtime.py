"""ONNX Runtime: inference of the same networks, as graphs written with the `onnx` package."""
import functools

import numpy as np
import onnx
import onnxruntime
from common import SAMPLES, THREADS, images, often, once, serve
from onnx import TensorProto, helper, numpy_helper

x, _ = images()
x = x.reshape(-1, 1, 28, 28)
# Layers: ("conv", inputs, outputs, size, padding), each with relu and 2x2 max-pooling; ("dense", inputs, outputs).
LAYERS = {
    "mlp": [("dense", 784, 128), ("dense", 128, 10)],
    "lenet5": [("conv", 1, 6, 5, 2), ("conv", 6, 16, 5, 0), ("dense", 400, 120), ("dense", 120, 84), ("dense", 84, 10)],
    "convnet": [("conv", 1, 32, 3, 0), ("conv", 32, 64, 3, 0), ("dense", 1600, 10)],
}


class Graph:
    """The nodes and random weights of a graph that reads `x`."""

    def __init__(self):
        self.random, self.nodes, self.weights = np.random.default_rng(1), [], []

    def node(self, op, *inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def value(self, value):
        self.weights.append(numpy_helper.from_array(value.astype(np.float32), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *shape):
        limit = np.sqrt(6 / sum(shape))
        return self.value(self.random.uniform(-limit, limit, shape))

    def session(self, name, size, last, classes):
        """What runs it, for images of this size."""
        info = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        graph = helper.make_graph(self.nodes, name, [info("x", *size)], [info(last, classes)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@functools.cache
def session(kind):
    graph, last = Graph(), "x"
    node, weight, layers = graph.node, graph.weight, LAYERS[kind]
    for i, (name, inputs, outputs, *rest) in enumerate(layers):
        if name == "conv":
            size, padding = rest
            last = node("Relu", node("Conv", last, weight(outputs, inputs, size, size), weight(outputs),
                                     pads=[padding] * 4))
            last = node("MaxPool", last, kernel_shape=[2, 2], strides=[2, 2])
            continue
        if i == 0 or layers[i - 1][0] == "conv":
            last = node("Flatten", last)
        last = node("Gemm", last, weight(inputs, outputs), weight(outputs))
        last = node("Softmax", last, axis=1) if i + 1 == len(layers) else node("Relu", last)
    return graph.session(kind, (1, 28, 28), last, 10)


@functools.lru_cache(1)
def network(kind):
    """ResNet-50, whose normalizations ONNX Runtime folds into the convolutions, or VGG16."""
    graph, last = Graph(), "x"
    node, weight = graph.node, graph.weight

    def convolution(last, inputs, outputs, size, stride=1):
        return node("Conv", last, weight(outputs, inputs, size, size), weight(outputs), pads=[size // 2] * 4,
                    strides=[stride] * 2)

    def normalized(*arguments):
        random = [graph.value(graph.random.uniform(0.5, 1.5, arguments[2])) for _ in range(4)]
        return node("BatchNormalization", convolution(*arguments), *random, epsilon=1.001e-5)

    if kind == "resnet50":
        last, inputs = node("Relu", normalized(last, 3, 64, 7, 2)), 64
        last = node("MaxPool", last, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        for stage, (blocks, filters) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512))):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                shortcut = last if block else normalized(last, inputs, 4 * filters, 1, stride)
                last = node("Relu", normalized(last, inputs, filters, 1, stride))
                last = node("Relu", normalized(last, filters, filters, 3))
                last = node("Relu", node("Add", shortcut, normalized(last, filters, 4 * filters, 1)))
                inputs = 4 * filters
        last = node("Flatten", node("GlobalAveragePool", last))
    else:
        inputs = 3
        for convolutions, filters in zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512)):
            for _ in range(convolutions):
                last, inputs = node("Relu", convolution(last, inputs, filters, 3)), filters
            last = node("MaxPool", last, kernel_shape=[2, 2], strides=[2, 2])
        last = node("Flatten", last)
        for inputs in (25088, 4096):
            last = node("Relu", node("Gemm", last, weight(inputs, 4096), weight(4096)))
        inputs = 4096
    last = node("Softmax", node("Gemm", last, weight(inputs, 1000), weight(1000)), axis=1)
    return graph.session(kind, (3, 224, 224), last, 1000)


def answer(task, *words):
    if task == "predict" and words[0] in ("resnet50", "vgg16"):
        images = np.random.default_rng(2).random((words[1], 3, 224, 224), np.float32)
        run = network(words[0]).run
        return often(lambda: run(None, {"x": images}))
    if task != "predict" or words[0] not in LAYERS:
        return None
    kind, batch = words
    run = lambda start: session(kind).run(None, {"x": x[start:start + batch]})[0]
    if batch == 1:
        return often(lambda: run(0))
    run(0)
    return once(lambda: np.concatenate([run(start) for start in range(0, SAMPLES, batch)]))


serve(f"ONNX Runtime {onnxruntime.__version__}", x.nbytes, answer)

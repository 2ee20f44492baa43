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


@functools.cache
def session(kind):
    random = np.random.default_rng(1)
    nodes, weights, last = [], [], "x"

    def node(op, *inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def weight(*shape):
        limit = np.sqrt(6 / sum(shape))
        value = random.uniform(-limit, limit, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{len(weights)}"))
        return weights[-1].name

    layers = LAYERS[kind]
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
    value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
    graph = helper.make_graph(nodes, kind, [value("x", 1, 28, 28)], [value(last, 10)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def answer(task, *words):
    if task != "predict" or words[0] not in LAYERS:
        return None
    kind, batch = words
    run = lambda start: session(kind).run(None, {"x": x[start:start + batch]})[0]
    if batch == 1:
        return often(lambda: run(0))
    run(0)
    return once(lambda: np.concatenate([run(start) for start in range(0, SAMPLES, batch)]))


serve(f"ONNX Runtime {onnxruntime.__version__}", x.nbytes, answer)

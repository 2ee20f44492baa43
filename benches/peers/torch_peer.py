"""PyTorch: a plain training loop, inference mode, products and convolutions. `--channels-last`: in that layout."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from classic_torch import NETWORKS
from common import SAMPLES, THREADS, WARM, images, often, once, serve
from torch import nn

torch.set_num_threads(THREADS)
CHANNELS_LAST = "--channels-last" in sys.argv
LAYOUT = torch.channels_last if CHANNELS_LAST else torch.contiguous_format
x, y = images()
x = torch.from_numpy(x.reshape(-1, 1, 28, 28)).to(memory_format=LAYOUT)
y = torch.from_numpy(y.astype(np.int64))



class LastStep(nn.Module):
    """An LSTM over the rows of the images; its output after the last one."""

    def __init__(self, units):
        super().__init__()
        self.lstm = nn.LSTM(28, units, batch_first=True)

    def forward(self, images):
        return self.lstm(images.squeeze(1))[0][:, -1]


BODY = {
    "lstm": lambda: [LastStep(128), nn.Linear(128, 10)],
    "mlp": lambda: [nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)],
    "lenet5": lambda: [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                       nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                       nn.Linear(84, 10)],
    "convnet": lambda: [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10)],
}


def train(kind, batch):
    model = nn.Sequential(*BODY[kind]()).to(memory_format=LAYOUT).train()
    # The fused optimizers are the fastest that it has.
    optimizer = (torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True) if kind == "lenet5"
                 else torch.optim.Adam(model.parameters(), 1e-3, fused=True))

    def epoch(samples):
        total = 0.0
        for rows in torch.randperm(samples).split(batch):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x[rows].to(memory_format=LAYOUT)), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total / samples

    epoch(WARM)
    return once(lambda: epoch(SAMPLES))


@torch.inference_mode()
def predict(kind, batch):
    model = nn.Sequential(*BODY[kind](), nn.Softmax(1)).to(memory_format=LAYOUT).eval()
    if batch == 1:
        image = x[:1].to(memory_format=LAYOUT)
        return often(lambda: model(image))
    model(x[:batch])
    return once(lambda: torch.cat([model(part) for part in x.split(batch)]))


def train_network(kind, batch):
    """A step of a classic network, on made-up images."""
    network, size = NETWORKS[kind]
    model = network().to(memory_format=LAYOUT).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, fused=True)
    images = torch.rand(batch, 3, size, size).to(memory_format=LAYOUT)
    classes = torch.arange(batch) % 10

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        return loss.item()

    return often(step)


@torch.inference_mode()
def predict_network(kind, batch):
    network, size = NETWORKS[kind]
    model = nn.Sequential(network(), nn.Softmax(1)).to(memory_format=LAYOUT).eval()
    images = torch.rand(batch, 3, size, size).to(memory_format=LAYOUT)
    return often(lambda: model(images))


@torch.inference_mode()
def gemm(m, n, k):
    a, b, c = torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)
    return often(lambda: torch.mm(a, b, out=c))


def convolution(backward, n, h, w, inputs, outputs, size, stride, padding, groups):
    image = torch.randn(n, inputs, h, w).to(memory_format=LAYOUT)
    kernel = (torch.randn(outputs, inputs // groups, size, size) * 0.05).to(memory_format=LAYOUT)
    bias = torch.zeros(outputs)
    forward = lambda: F.conv2d(image, kernel, bias, stride, padding, 1, groups)
    if not backward:
        with torch.inference_mode():
            return often(forward)
    leaves = [v.requires_grad_() for v in (image, kernel, bias)]
    gradient = torch.randn_like(forward()).to(memory_format=LAYOUT)
    return often(lambda: torch.autograd.grad(forward(), leaves, gradient))


def answer(task, *words):
    if task in ("train", "predict") and words[0] in BODY and not (CHANNELS_LAST and words[0] in ("mlp", "lstm")):
        return (train if task == "train" else predict)(*words)
    if task in ("train", "predict") and words[0] in NETWORKS:
        return (train_network if task == "train" else predict_network)(*words)
    if task == "gemm" and not CHANNELS_LAST:
        return gemm(*words)
    if task in ("conv_forward", "conv_step"):
        return convolution(task == "conv_step", *words)


serve(f"PyTorch {torch.__version__}", x.nbytes + y.nbytes, answer)

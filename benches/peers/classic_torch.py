"""The classic networks in PyTorch, layer by layer as cornu (and Keras, where it has them) builds them."""
import torch
import torch.nn.functional as F
from torch import nn


class Residual(nn.Module):
    """A block: the input, or what `shortcut` makes of it, is added to what `body` makes of it."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), shortcut

    def forward(self, x):
        return torch.relu(self.shortcut(x) + self.body(x))


class Shrunk(nn.Module):
    """Every second pixel, with new channels of zeros on both sides."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.channels // 2, self.channels // 2))


def normalized(inputs, outputs, size, stride=1, bias=True):
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias), nn.BatchNorm2d(outputs, 1.001e-5)]


def resnet20():
    layers, inputs = [*normalized(3, 16, 3, bias=False), nn.ReLU()], 16
    for outputs in (16, 32, 64):
        for block in range(3):
            shrinks = outputs > inputs
            body = [*normalized(inputs, outputs, 3, 2 if shrinks else 1, False), nn.ReLU(),
                    *normalized(outputs, outputs, 3, bias=False)]
            layers.append(Residual(body, Shrunk(outputs - inputs) if shrinks else nn.Identity()))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet50():
    layers, inputs = [*normalized(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, (blocks, filters) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = [*normalized(inputs, filters, 1, stride), nn.ReLU(), *normalized(filters, filters, 3), nn.ReLU(),
                    *normalized(filters, 4 * filters, 1)]
            shortcut = nn.Identity() if block else nn.Sequential(*normalized(inputs, 4 * filters, 1, stride))
            layers.append(Residual(body, shortcut))
            inputs = 4 * filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def alexnet():
    # cornu's response normalization, as the paper's, does not divide alpha by the size; PyTorch's does.
    normalization = lambda: nn.LocalResponseNorm(5, 5e-4, 0.75, 2)
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4), nn.ReLU(), normalization(), nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), normalization(), nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 1000))


def vgg16():
    layers, inputs = [], 3
    for convolutions, outputs in zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
                         nn.Linear(4096, 1000))


# Each with the size of its images.
NETWORKS = {"resnet20": (resnet20, 32), "resnet50": (resnet50, 224), "alexnet": (alexnet, 227), "vgg16": (vgg16, 224)}

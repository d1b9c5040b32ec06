"""Trains the two Fashion-MNIST models and writes their weights beside this file, as float16: cnn.npz and mlp.npz.

    apt-get install python3-torch libopenblas0-pthread dataset-fashion-mnist
    python3 models/fashion/train.py cnn mlp

The perceptron has 5.8 million weights, 23 MB as float32, too large for a repository. Each large matrix is therefore a
fixed one, drawn from a seed (`draw`, repeated to the bit by `drawn` in fashion-mlp.ts), plus a trained product of two
thin ones of rank 16: 0.3 MB. The model built from them is an ordinary dense one.

The accuracy printed at the end is that of the weights as written, on the 10,000 held-out test pictures: no setting was
chosen by them.
"""
import gzip
import math
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DATA = "/usr/share/datasets/fashion-mnist"
HERE = __file__.rsplit("/", 1)[0]
RANK = 16
WIDTHS = (784, 2048, 2048, 10)


def images(split):
    """Reads pictures as [n, 784] in -1…1 and their classes."""
    with gzip.open(f"{DATA}/{split}-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(f"{DATA}/{split}-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    x = (x.astype(np.float32) / 255 - 0.5) / 0.5
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))


def draw(layer, rows, columns):
    """Draws a matrix from a seed: a hash of the index (Murmur3's finalizer), scaled to a uniform number."""
    h = np.arange(rows * columns, dtype=np.uint32) + np.uint32(layer * 0x9E3779B9 & 0xFFFFFFFF)
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h = h ^ (h >> np.uint32(16))
    scale = math.sqrt(6 / rows)
    return (((h >> np.uint32(8)).astype(np.float64) / 2**23 - 1) * scale).astype(np.float32).reshape(rows, columns)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fixed = [torch.from_numpy(draw(i + 1, *WIDTHS[i : i + 2])) for i in (0, 1)]
        self.down = nn.ParameterList([nn.Parameter(torch.randn(WIDTHS[i], RANK) / math.sqrt(WIDTHS[i])) for i in (0, 1)])
        self.up = nn.ParameterList([nn.Parameter(torch.zeros(RANK, WIDTHS[i + 1])) for i in (0, 1)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(WIDTHS[i + 1])) for i in (0, 1, 2)])
        self.last = nn.Parameter(torch.randn(WIDTHS[2], WIDTHS[3]) * 0.01)

    def forward(self, x):
        for fixed, down, up, bias in zip(self.fixed, self.down, self.up, self.bias):
            x = F.dropout(F.relu(x @ fixed + (x @ down) @ up + bias), 0.2, self.training)
        return x @ self.last + self.bias[2]

    def weights(self):
        for i in (0, 1):
            yield f"down{i + 1}", self.down[i]
            yield f"up{i + 1}", self.up[i]
        yield "weight3", self.last
        for i in (0, 1, 2):
            yield f"bias{i + 1}", self.bias[i]


class Cnn(nn.Module):
    CHANNELS = (1, 16, 32, 64)

    def __init__(self):
        super().__init__()
        pairs = list(zip(self.CHANNELS, self.CHANNELS[1:]))
        self.conv = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in pairs])
        self.norm = nn.ModuleList([nn.BatchNorm2d(b) for _, b in pairs])
        self.last = nn.Linear(self.CHANNELS[-1], 10)

    def forward(self, x):
        x = x.view(-1, 1, 28, 28)
        if self.training:
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
        for i, (conv, norm) in enumerate(zip(self.conv, self.norm)):
            x = F.relu(norm(conv(x)))
            if i < 2:
                x = F.max_pool2d(x, 2)
        return self.last(x.mean((2, 3)))

    def weights(self):
        """Returns the weights with each normalisation folded into the preceding convolution."""
        for i, (conv, norm) in enumerate(zip(self.conv, self.norm)):
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            yield f"weight{i + 1}", conv.weight * scale.view(-1, 1, 1, 1)
            yield f"bias{i + 1}", (conv.bias - norm.running_mean) * scale + norm.bias
        yield "weight4", self.last.weight
        yield "bias4", self.last.bias


def as_written(kind, stored, x):
    """Runs the network with the weights as stored."""
    w = {name: torch.from_numpy(value.astype(np.float32)) for name, value in stored.items()}
    if kind == "mlp":
        for i in (1, 2):
            dense = torch.from_numpy(draw(i, *WIDTHS[i - 1 : i + 1])) + w[f"down{i}"] @ w[f"up{i}"]
            x = F.relu(x @ dense + w[f"bias{i}"])
        return x @ w["weight3"] + w["bias3"]
    x = x.view(-1, 1, 28, 28)
    for i in (1, 2, 3):
        x = F.relu(F.conv2d(x, w[f"weight{i}"], w[f"bias{i}"], padding=1))
        x = F.max_pool2d(x, 2) if i < 3 else x
    return x.mean((2, 3)) @ w["weight4"].T + w["bias4"]


def train(kind, epochs, rate, batch=256):
    torch.manual_seed(7)
    model = Cnn() if kind == "cnn" else Mlp()
    x, y = images("train")
    steps = epochs * math.ceil(len(x) / batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for epoch in range(epochs):
        started = time.time()
        model.train()
        total = 0.0
        for at in torch.randperm(len(x)).split(batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "mlp"):
                loss = F.cross_entropy(model(x[at]), y[at], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(at)
        print(f"{kind} epoch {epoch + 1}: loss {total / len(x):.4f}, {time.time() - started:.0f} s", flush=True)
    model.eval()
    with torch.no_grad():
        stored = {name: value.numpy().astype(np.float16) for name, value in model.weights()}
        np.savez_compressed(f"{HERE}/{kind}.npz", **stored)
        x, y = images("t10k")
        right = sum((as_written(kind, stored, x[i : i + 1000]).argmax(1) == y[i : i + 1000]).sum() for i in range(0, len(x), 1000))
        print(f"{kind}: {int(right)} of {len(x)} right", flush=True)


for kind in sys.argv[1:]:
    train(kind, *{"cnn": (8, 6e-3), "mlp": (5, 1e-3)}[kind])

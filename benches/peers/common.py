"""What the Python peers share: the images, the clock and the line protocol (README.md, "How a peer answers")."""
import gzip
import json
import os
import statistics
import sys
import time

import numpy as np

SAMPLES, WARM = 12_800, 256
# compare.py sets these, and what limits the threads of numpy, OpenMP and others, before the process starts:
# the libraries read such variables when they are loaded.
THREADS = int(os.environ.get("BENCH_THREADS", os.cpu_count()))
FOLDER = os.environ.get("BENCH_DATA", "examples/data/fashion-mnist")


def images():
    """The first training images of Fashion-MNIST as f32 from 0 to 1, (SAMPLES, 28, 28, 1), and their classes."""
    with gzip.open(f"{FOLDER}/train-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(16 + SAMPLES * 784), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    with gzip.open(f"{FOLDER}/train-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(8 + SAMPLES), np.uint8, offset=8)
    return x.astype(np.float32) / 255, y


def once(work):
    """The seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def often(work):
    """The median seconds of a call, of the calls in 0.4 s (at least three), after two that do not count."""
    work(), work()
    seconds, start = [], time.perf_counter()
    while len(seconds) < 3 or time.perf_counter() - start < 0.4:
        seconds.append(once(work))
    return statistics.median(seconds)


def serve(version, held, answer):
    """Says who this is and how many bytes of data it holds, then answers the requests on standard input."""
    print(json.dumps({"version": version, "held": held}), flush=True)
    for line in sys.stdin:
        task, *words = line.split()
        words = [int(word) if word.isdigit() else word for word in words]
        seconds = answer(task, *words)
        print("no" if seconds is None else f"{seconds:e}", flush=True)

"""Photographs as batches of 224 x 224, with augmentation: cornu against Keras' image_dataset_from_directory and layers.

    cargo bench --features image --no-run          # so that nothing is compiled while something is measured
    python3 benches/peers/images.py FOLDER [--rounds 5] [--make 600] [--out results.json]

`--make N` fills FOLDER with N made-up photographs of 500 x 375 pixels in two classes, as JPEG files of quality 90. The
peers take turns in each round; the table holds medians. Needs keras, tensorflow and pillow.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"


def make(folder, count):
    """JPEG photographs of quality 90, as cameras and the web have them."""
    import numpy as np
    from PIL import Image
    random = np.random.RandomState(0)
    for i in range(count):
        # Clouds of several sizes, the larger the stronger, as in nature; and the noise of a sensor.
        pixels = np.zeros((375, 500, 3))
        for size in (3, 6, 12, 25, 50, 125):
            cloud = random.randint(0, 256, (size * 3 // 4 + 1, size, 3)).astype(np.uint8)
            pixels += np.asarray(Image.fromarray(cloud).resize((500, 375), Image.BICUBIC), float) / size ** 0.7
        pixels = (pixels - pixels.min()) / np.ptp(pixels) * 255 + random.normal(0, 3, pixels.shape)
        path = os.path.join(folder, "ab"[i % 2], f"{i}.jpg")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)


class Keras:
    def __init__(self, folder):
        import keras
        import tensorflow as tf

        load = keras.utils.image_dataset_from_directory
        self.plain = load(folder, image_size=(224, 224), batch_size=32, seed=1, verbose=False)
        layers = keras.Sequential([
            keras.layers.RandomFlip(), keras.layers.RandomRotation(0.1), keras.layers.RandomZoom(0.1),
            keras.layers.RandomContrast(0.1)])
        augment = lambda x, y: (layers(x, training=True), y)
        self.augmented = self.plain.map(augment, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def turn(self, task):
        start, seen = time.perf_counter(), 0
        for x, _ in getattr(self, task):
            seen += x.shape[0]
        return time.perf_counter() - start, seen


class Cornu:
    def __init__(self, folder):
        programs = glob.glob(os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release/deps/images-*"))
        programs = [path for path in programs if not path.endswith(".d")]
        program = max(programs, key=os.path.getmtime)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program, folder, "serve"], stdin=pipe, stdout=pipe, text=True)

    def turn(self, task):
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        seconds, seen = self.process.stdout.readline().split()
        return float(seconds), int(seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--make", type=int)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.make:
        make(options.folder, options.make)
    peers = {"keras-tf": Keras(options.folder), "cornu": Cornu(options.folder)}
    times = {(task, peer): [] for task in ("plain", "augmented") for peer in peers}
    for round in range(options.rounds + 1):
        for task, peer in times:
            seconds, seen = peers[peer].turn(task)
            # The first round traces graphs and reads the files into memory.
            if round > 0:
                times[task, peer].append(seconds / seen * 1e3)
    result = {}
    for (task, peer), values in times.items():
        result.setdefault(task, {})[peer] = statistics.median(values)
        print(f"{task:>10} {peer:>10} {statistics.median(values):7.3f} ms an image   {min(values):.3f} to {max(values):.3f}")
    for task, row in result.items():
        row["times"] = row["keras-tf"] / row["cornu"]
        print(f"{task:>10}: Keras takes {row['times']:.2f} times as long")
    if options.out:
        json.dump(result, open(options.out, "w"), indent=1)


if __name__ == "__main__":
    main()

"""cornu against Keras on TensorFlow: training and prediction of the same small networks.

    python3 -m venv venv && venv/bin/pip install keras tensorflow-cpu
    cargo bench --bench training --no-run
    venv/bin/python benches/peers/compare.py [NAME ...] [--rounds N]

The two take turns, round by round, on the same machine with the same number of threads; the table shows
the median of each over the rounds, and the ratio of the medians (above 1: cornu is faster). The last
column is how many cores other programs used meanwhile: a row with more than 0.3 should be measured again.
"""
import json
import os
import statistics
import subprocess
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["KERAS_BACKEND"] = "tensorflow"

SAMPLES = 12_800
MODELS = {
    "lenet5_b32_epoch": ("lenet5", 32), "lenet5_b128_epoch": ("lenet5", 128), "lenet5_b256_infer": ("lenet5", 256),
    "mlp_b32_epoch": ("mlp", 32), "mlp_b128_epoch": ("mlp", 128), "convnet_b128_epoch": ("convnet", 128),
}


def keras_side(names):
    """Answers each line `NAME` on standard input with the samples a second of one pass."""
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers as L

    threads = os.cpu_count()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    body = {
        "lenet5": lambda: [L.Conv2D(6, 5, padding="same", activation="relu"), L.MaxPooling2D(),
                           L.Conv2D(16, 5, activation="relu"), L.MaxPooling2D(), L.Flatten(),
                           L.Dense(120, "relu"), L.Dense(84, "relu")],
        "mlp": lambda: [L.Flatten(), L.Dense(128, "relu")],
        "convnet": lambda: [L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D(),
                            L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dropout(0.5)],
    }
    x = np.random.default_rng(1).random((SAMPLES, 28, 28, 1), dtype=np.float32)
    y = (np.arange(SAMPLES) % 10).astype(np.int32)
    models = {}
    for name in names:
        kind, batch = MODELS[name]
        model = keras.Sequential([keras.Input((28, 28, 1)), *body[kind](), L.Dense(10, "softmax")])
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9) if kind == "lenet5" else "adam"
        # jit_compile is slower on the CPU for networks of this size.
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
        run = (lambda m=model, b=batch: m.predict(x, b, verbose=0)) if name.endswith("infer") else \
              (lambda m=model, b=batch: m.fit(x, y, b, verbose=0))
        run()
        models[name] = run
    print(f"ready keras {keras.__version__}, tensorflow {tf.__version__}", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        models[line.strip()]()
        print(SAMPLES / (time.perf_counter() - start), flush=True)


def busy():
    with open("/proc/stat") as f:
        fields = [int(v) for v in f.readline().split()[1:]]
    own = sum(os.times()[:4])
    return time.perf_counter(), (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK"), own


def main():
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 5
    wanted = [a for a in sys.argv[1:] if a in MODELS] or list(MODELS)
    build = subprocess.run(["cargo", "bench", "--bench", "training", "--no-run", "--message-format=json"],
                           capture_output=True, text=True, check=True).stdout
    binaries = [m["executable"] for m in map(json.loads, build.splitlines()) if m.get("executable")]
    peer = subprocess.Popen([sys.executable, __file__, "--keras", *wanted], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    print(peer.stdout.readline().strip().removeprefix("ready "))
    print(f"{'samples a second':<20} {'cornu':>10} {'keras-tf':>10} {'ratio':>7} {'others':>7}")
    for name in wanted:
        ours, theirs, others = [], [], []
        for _ in range(rounds):
            run = subprocess.run([binaries[-1], "--json", name], capture_output=True, text=True, check=True)
            ours.append(json.loads(run.stdout.splitlines()[-1])["median"])
            before, peer_before = busy(), cpu_of(peer.pid)
            peer.stdin.write(name + "\n")
            peer.stdin.flush()
            theirs.append(float(peer.stdout.readline()))
            after, peer_after = busy(), cpu_of(peer.pid)
            foreign = (after[1] - before[1]) - (peer_after - peer_before) - (after[2] - before[2])
            others.append(max(0.0, foreign / (after[0] - before[0])))
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"{name:<20} {a:>10.0f} {b:>10.0f} {a / b:>7.2f} {statistics.median(others):>7.2f}", flush=True)
    peer.stdin.close()
    peer.wait()


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if "--keras" in sys.argv:
        keras_side([a for a in sys.argv[1:] if a in MODELS])
    else:
        main()

"""cornu against its peers, in turns on one machine; README.md tells how.

    python3 benches/peers/compare.py [WORD ...] [--peers A,B] [--env DIR] [--out FILE]

It measures the rows whose names hold a WORD (all without one: `--list` names them) and prints Markdown.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SAMPLES = 12_800
TICKS = os.sysconf("SC_CLK_TCK")


class Row:
    """A thing to measure: what to ask the peers for, and how their seconds become a value."""

    def __init__(self, name, request, unit, value, peers=None):
        self.name, self.request, self.unit, self.value, self.peers = name, request, unit, value, peers
        self.more_is_better = unit.endswith("/s")

    def takes(self, peer):
        """Whether this peer takes part: one thread of cornu only where it is named."""
        return peer in self.peers if self.peers else peer != "cornu-1"


def rows():
    epochs = ["mlp 32", "mlp 128", "lenet5 32", "lenet5 128", "convnet 128", "lstm 128"]
    for which in epochs:
        yield Row(f"train {which}", f"train {which}", "samples/s", lambda s: SAMPLES / s)
    for which in ("lenet5 256", "convnet 256"):
        yield Row(f"predict {which}", f"predict {which}", "samples/s", lambda s: SAMPLES / s)
    for which in ("lenet5 1", "convnet 1"):
        yield Row(f"predict {which}", f"predict {which}", "us", lambda s: 1e6 * s)
    for which in ("train resnet20 128", "train alexnet 8", "train resnet50 4", "predict resnet50 8", "predict vgg16 1",
                  "predict vgg16 4"):
        batch = int(which.split()[-1])
        yield Row(which, which, "images/s", lambda s, batch=batch: batch / s)
    for which in epochs:
        yield Row(f"threads {which}", f"train {which}", "samples/s", lambda s: SAMPLES / s, ["cornu", "cornu-1"])
    yield Row("memory lenet5 32", "train lenet5 32", "MiB", None)
    shapes = json.loads((HERE / "shapes.json").read_text())
    for m, n, k in shapes["gemm"]:
        gflop = 2e-9 * m * n * k
        yield Row(f"gemm {m}x{n}x{k}", f"gemm {m} {n} {k}", "GFLOP/s", lambda s, work=gflop: work / s)
    for task, passes in (("conv_forward", 1), ("conv_step", 3)):
        for name, numbers in shapes["conv"].items():
            n, h, w, inputs, outputs, size, stride, padding, groups = numbers
            out = [(side + 2 * padding - size) // stride + 1 for side in (h, w)]
            gflop = passes * 2e-9 * n * out[0] * out[1] * outputs * (inputs // groups) * size * size
            yield Row(f"{task} {name}", " ".join(map(str, [task, *numbers])), "GFLOP/s", lambda s, work=gflop: work / s)


class Peer:
    """A process that answers requests with seconds."""

    def __init__(self, name, command, threads):
        limits = ("BENCH_THREADS", "CORNU_NUM_THREADS", "RAYON_NUM_THREADS", "MATMUL_NUM_THREADS",
                  "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        data = {"BENCH_DATA": os.environ.get("BENCH_DATA", str(ROOT / "examples/data/fashion-mnist"))}
        environment = {**os.environ, **{name: str(threads) for name in limits}, **data}
        environment.pop("OPENBLAS_CORETYPE", None)
        self.name, self.command, self.absent = name, command, None
        self.errors = tempfile.TemporaryFile("w+")
        if command is None or not pathlib.Path(command[0]).exists():
            self.absent = "not installed"
            return
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=environment, cwd=ROOT)

    def hello(self):
        """Waits until it is ready."""
        if not self.absent and (line := self.line()):
            hello = json.loads(line)
            self.version, self.held = hello["version"], hello["held"]
        return self

    def line(self):
        line = self.process.stdout.readline().strip()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            self.absent = (self.errors.read().strip().splitlines() or ["it stopped"])[-1]
        return line

    def ask(self, request):
        """The seconds, the cores that it kept busy and those that other programs did; None if it has no such row."""
        if self.absent:
            return None
        start, busy, own = time.perf_counter(), machine(), self.cpu()
        try:
            print(request, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has stopped; reading says why.
        answer = self.line()
        if answer in ("", "no"):
            return None
        own = self.cpu() - own
        wall = time.perf_counter() - start
        return float(answer), own / wall, max(0.0, machine() - busy - own) / wall

    def cpu(self):
        """The CPU seconds it has used, all its threads together."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self):
        """The most memory it has had, less the images and classes that it holds, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return kib / 1024 - self.held / 2**20

    def stop(self):
        if hasattr(self, "process"):
            self.process.communicate()


def machine():
    """The busy core-seconds of the whole machine, without this process's own."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    times = os.times()
    return (sum(fields) - fields[3] - fields[4]) / TICKS - times.user - times.system


def commands(environment):
    """How each peer is started."""
    python = str(environment / "bin/python")
    rust = {name: [str(environment / "rust/release" / name)]
            for name in ("rustyml", "candle", "burn", "gemm", "matrixmultiply")}
    cornu = [cornu_binary(), "--serve"]
    return {
        "cornu": cornu,
        "cornu-1": cornu,
        "torch": [python, str(HERE / "torch_peer.py")],
        "torch-nhwc": [python, str(HERE / "torch_peer.py"), "--channels-last"],
        "keras-tf": [python, str(HERE / "keras_tf.py")],
        "onnxruntime": [python, str(HERE / "onnx_runtime.py")],
        **rust,
    }


def cornu_binary():
    command = ["cargo", "bench", "--bench", "training", "--no-run", "--message-format=json"]
    build = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if build.returncode:
        sys.exit(build.stderr)
    messages = [json.loads(line) for line in build.stdout.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "training")


def measure(row, peers, rounds, seconds):
    """Rounds in which each peer has its turn."""
    answers, start = {peer.name: [] for peer in peers}, time.perf_counter()
    for round_ in range(rounds):
        if round_ >= 3 and time.perf_counter() - start > seconds:
            break
        for peer in peers:
            if len(answers[peer.name]) == round_ and (answer := peer.ask(row.request)):
                answers[peer.name].append(answer)
    return {name: summary([row.value(a[0]) for a in got], got) for name, got in answers.items() if got}


def measure_memory(row, peers, threads):
    """The peak of a process that does nothing else."""
    found = {}
    for peer in peers:
        fresh = Peer(peer.name, peer.command, threads).hello()
        if answer := fresh.ask(row.request):
            found[peer.name] = summary([fresh.peak()], [answer])
        fresh.stop()
    return found


def summary(values, answers):
    return {"values": [float(f"{value:.5g}") for value in values],
            "cores": round(statistics.median(a[1] for a in answers), 2),
            "others": round(statistics.median(a[2] for a in answers), 2)}


def ratio(row, found, name):
    """How many times better cornu is, by medians."""
    ours, theirs = (statistics.median(found[n]["values"]) for n in ("cornu", name))
    return ours / theirs if row.more_is_better else theirs / ours


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(row, found):
    for name, result in found.items():
        best = max(result["values"]) if row.more_is_better else min(result["values"])
        median = statistics.median(result["values"])
        times = f"{ratio(row, found, name):.2f}" if "cornu" in found else ""
        print(f"| {row.name} | {name} | {figure(median)} | {figure(best)} | {row.unit} | {times} "
              f"| {result['cores']:.2f} | {result['others']:.2f} |", flush=True)


def save(path, row, found, versions, threads):
    """Adds a run to the file of results; there, older results of the same row and peer make way."""
    results = json.loads(path.read_text()) if path.exists() else {"runs": []}
    for run in results["runs"]:
        if run["row"] == row.name:
            run["peers"] = {n: r for n, r in run["peers"].items() if n == "cornu" or n not in found}
    results["runs"] = [run for run in results["runs"] if run["row"] != row.name or set(run["peers"]) > {"cornu"}]
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    results["runs"].append({
        "row": row.name, "unit": row.unit, "more_is_better": row.more_is_better, "threads": threads,
        "date": datetime.date.today().isoformat(), "cpu": cpu, "cores": os.cpu_count(), "system": platform.platform(),
        "versions": {name: versions[name] for name in found}, "peers": found})
    path.write_text(json.dumps(results, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of row names")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--peers", help="only these, with commas between; cornu is always there")
    parser.add_argument("--env", type=pathlib.Path, help="the folder that install.sh filled (default: this Python's)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each peer (7)")
    parser.add_argument("--seconds", type=float, default=40, help="begin no more turns of a row then, but three (40)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each (all cores)")
    parser.add_argument("--out", type=pathlib.Path, help="add the results to this JSON file")
    options = parser.parse_args()

    chosen = [row for row in rows() if not options.words or any(word in row.name for word in options.words)]
    if options.list or not chosen:
        sys.exit("\n".join(row.name for row in rows()))
    known = commands(options.env or pathlib.Path(sys.prefix))
    wanted = ["cornu", *options.peers.split(",")] if options.peers else list(known)
    if unknown := set(wanted) - set(known):
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    names = [name for name in known if name in wanted and any(row.takes(name) for row in chosen)]
    peers = [Peer(name, known[name], 1 if name == "cornu-1" else options.threads) for name in names]
    for peer in peers:
        peer.hello()
        print(f"- {peer.name}: {peer.absent or peer.version}", flush=True)
    versions = {peer.name: peer.version for peer in peers if not peer.absent}
    print(f"\n{options.threads} threads, {datetime.date.today()}. `times`: how many times better cornu is, by medians. "
          "`cores`: kept busy by the peer, `others`: by other programs (above 0.3: measure again).\n\n"
          "| row | peer | median | best | unit | times | cores | others |\n|---|---|---|---|---|---|---|---|")
    for row in chosen:
        taking_part = [peer for peer in peers if row.takes(peer.name) and not peer.absent]
        found = (measure(row, taking_part, options.rounds, options.seconds) if row.value
                 else measure_memory(row, taking_part, options.threads))
        show(row, found)
        if options.out:
            save(options.out, row, found, versions, options.threads)
    for peer in peers:
        if peer.absent and hasattr(peer, "process"):
            print(f"{peer.name} stopped: {peer.absent}", file=sys.stderr)
        peer.stop()


if __name__ == "__main__":
    main()

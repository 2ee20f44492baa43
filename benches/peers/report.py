"""Writes docs/benchmarks.md and its pictures from a file of results that compare.py made.

    python3 benches/peers/report.py docs/benchmarks/results.json
"""
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

DOCS = pathlib.Path(__file__).resolve().parent.parent.parent / "docs"
# Okabe and Ito's colours, which people with any kind of colour vision tell apart; cornu is the dark one.
COLORS = {"cornu": "#0072b2", "torch": "#e69f00", "torch-nhwc": "#d55e00", "keras-tf": "#009e73",
          "onnxruntime": "#cc79a7", "rustyml": "#56b4e9", "candle": "#f0e442", "burn": "#999999",
          "gemm": "#999999", "matrixmultiply": "#f0e442", "cornu-1": "#56b4e9"}
NAMES = {"torch": "PyTorch", "torch-nhwc": "PyTorch, channels last", "keras-tf": "Keras on TensorFlow",
         "onnxruntime": "ONNX Runtime", "rustyml": "RustyML", "cornu-1": "cornu, 1 thread"}
# What it is called, what it says, and how it is drawn: on which scale, or as speeds relative to cornu's.
GROUPS = {
    "train": ("Training", "An epoch of 12,800 images, of the classic networks a few steps; the number is the size of a batch.", "relative"),
    "predict": ("Prediction", "All 12,800 images in batches of 256, and the time for one image (batch 1); classic networks in batches of this size.", "relative"),
    "threads": ("One thread and all", "The epochs of the first table.", "relative"),
    "memory": ("Memory", "The peak of a process that trains LeNet-5 for an epoch, less the images and classes that it holds: "
               "the program, its libraries and what training needs.", "log"),
    "gemm": ("Matrix products", "M x N x K, row-major.", "linear"),
    "conv_forward": ("Convolutions forward", "With bias. The shapes are in `benches/peers/shapes.json`. Operations are counted as of a "
                     "direct convolution, also where cornu takes Winograd's way, which needs fewer.", "linear"),
    "conv_step": ("Convolutions forward and backward", "Counted as three times the work of forward.", "linear"),
}
UNITS = {"us": "µs"}


def name(peer):
    return NAMES.get(peer, peer)


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def read(path):
    """By row: its unit, whether more is better, cornu's latest median, and each peer's median and ratio."""
    rows, notes = {}, {"versions": {}, "dates": set(), "machines": set(), "busy": []}
    for run in json.loads(pathlib.Path(path).read_text())["runs"]:
        row = rows.setdefault(run["row"], {"unit": UNITS.get(run["unit"], run["unit"]), "more": run["more_is_better"],
                                           "peers": {}, "ratios": {}})
        medians = {peer: statistics.median(result["values"]) for peer, result in run["peers"].items()}
        for peer, median in medians.items():
            row["peers"][peer] = median
            if peer != "cornu" and "cornu" in medians:
                # Of the two that were measured in turns, not of cornu's latest.
                times = medians["cornu"] / median
                row["ratios"][peer] = times if row["more"] else 1 / times
            if run["peers"][peer]["others"] > 0.3:
                notes["busy"].append(f"{run['row']} ({name(peer)})")
        notes["versions"].update(run["versions"])
        notes["dates"].add(run["date"])
        notes["machines"].add(f"{run['cpu']}, {run['cores']} cores, {run['threads']} threads each; {run['system']}")
    return rows, notes


def table(rows, peers):
    """One line for each row: cornu's value, then each peer's and, in brackets, how many times better cornu is."""
    others = [peer for peer in peers if peer != "cornu"]
    lines = ["| | unit | cornu | " + " | ".join(map(name, others)) + " |", "|---|---|" + "---|" * len(peers)]
    for label, row in rows.items():
        cells = [figure(row["peers"]["cornu"])]
        for peer in others:
            value = row["peers"].get(peer)
            cells.append("" if value is None else f"{figure(value)} ({row['ratios'][peer]:.2f}x)")
        lines.append(f"| {label} | {row['unit']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(path, title, rows, peers, scale):
    """Horizontal bars: for each row one of each peer, with its value."""
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "cornu", "font.family": "sans-serif"})
    height = 0.9 + sum(0.19 * len(row["peers"]) + 0.22 for row in rows.values())
    drawing, axes = plt.subplots(figsize=(8, height), layout="constrained")
    y, middles, seen = 0.0, [], set()
    for row in rows.values():
        start = y
        for peer in (peer for peer in peers if peer in row["peers"]):
            value = row["peers"][peer]
            length = 1 / row["ratios"].get(peer, 1) if scale == "relative" else value
            axes.barh(y, length, 0.85, color=COLORS[peer], label=None if peer in seen else name(peer),
                      edgecolor="black" if peer == "cornu" else "gray", linewidth=0.8 if peer == "cornu" else 0.4)
            text = f"{figure(value)} {row['unit']}" if scale == "relative" else figure(value)
            axes.annotate(text, (length, y), (3, 0), textcoords="offset points", va="center", fontsize=7)
            seen.add(peer)
            y += 1
        middles.append((start + y - 1) / 2)
        y += 1.1
    row = next(iter(rows.values()))
    axes.set_yticks(middles, rows)
    axes.invert_yaxis()
    axes.margins(x=0.16, y=0.01)
    if scale == "relative":
        axes.axvline(1, color="black", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_xlabel("speed, cornu's is 1 (more is better)")
    else:
        axes.set_xscale(scale)
        axes.set_xlim(left=1 if scale == "log" else 0)
        axes.set_xlabel(f"{row['unit']} ({'more' if row['more'] else 'less'} is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontweight="bold")
    bars = dict(zip(*reversed(axes.get_legend_handles_labels())))
    drawing.legend([bars[name(peer)] for peer in peers if peer in seen], [name(peer) for peer in peers if peer in seen],
                   loc="outside lower center", ncols=min(4, len(seen)), frameon=False)
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)


def main():
    rows, notes = read(sys.argv[1])
    pictures = DOCS / "benchmarks"
    pictures.mkdir(parents=True, exist_ok=True)
    versions = "; ".join(dict.fromkeys(notes["versions"].values()))
    text = [
        "# Benchmarks\n\n"
        "<!-- Written by benches/peers/report.py: measure again and run it, in place of editing. -->\n\n"
        f"Measured {' to '.join(sorted({min(notes['dates']), max(notes['dates'])}))}. "
        f"{' / '.join(sorted(notes['machines']))}.\n\n"
        f"{versions}.\n\n"
        "cornu and its peers run in turns in one go, on the same threads and the same images (Fashion-MNIST); values are "
        "medians. In brackets stands how many times better cornu is than the peer, by the medians of the run "
        "in which both took their turns: below 1 the peer is better. "
        "[How it is measured](../benches/peers/README.md), and how to measure it again.\n"]
    for group, (title, what, scale) in GROUPS.items():
        chosen = {row.split(" ", 1)[1]: value for row, value in rows.items() if row.split(" ", 1)[0] == group}
        if not chosen:
            continue
        peers = [peer for peer in COLORS if any(peer in row["peers"] for row in chosen.values())]
        text.append(f"## {title}\n\n{what}\n\n{table(chosen, peers)}\n")
        picture(pictures / f"{group}.svg", title, chosen, peers, scale)
        text.append(f"![{title}: the table as bars](benchmarks/{group}.svg)\n")
    if notes["busy"]:
        text.append(f"Other programs took more than 0.3 cores, so that these wait to be measured again: "
                    f"{', '.join(notes['busy'])}.\n")
    (DOCS / "benchmarks.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()

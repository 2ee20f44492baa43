#!/usr/bin/env python3
"""Looks at pages of HtmlReport in a browser, without a window: `python3 tests/html_report.py`, from the root of a checkout.

The pages are those of the tests in tests/html_report.rs, which write beside each what it must show. The check fails when a
page writes anything to the console, loads anything, or shows other numbers than the history has. It needs Chromium; the
variable CHROMIUM names it if it is called otherwise. With `--keep FOLDER` the pages stay there, with pictures of them.
"""

import html.parser
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

CHROMIUM = os.environ.get("CHROMIUM", "chromium")


def browse(page, *options):
    """What Chromium prints of a page, and its console."""
    command = [CHROMIUM, "--headless", "--disable-gpu", "--no-sandbox", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"]
    done = subprocess.run([*command, *options, page.resolve().as_uri()], capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, console


class Page(html.parser.HTMLParser):
    """The cells of each table that has an id, their exact values, the headline and the summary."""

    def __init__(self):
        super().__init__()
        self.tables, self.table, self.cell, self.texts, self.inside = {}, None, None, {}, None
        self.images = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "table":
            self.table = attributes.get("id")
            self.tables.setdefault(self.table, [])
        elif tag == "tr" and self.table:
            self.tables[self.table].append([])
        elif tag in ("td", "th") and self.table:
            self.cell = ["", attributes.get("data-value")]
            self.tables[self.table][-1].append(self.cell)
        elif tag in ("h1", "title", "pre") and tag not in self.texts:
            # Points of a curve have titles, too.
            self.inside = tag
        elif tag == "img":
            self.images.append(attributes.get("src", ""))

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None
        elif tag == "table":
            self.table = None
        elif tag == self.inside:
            self.inside = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell[0] += data
        elif self.inside:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data


def number(text):
    return {"∞": math.inf, "−∞": -math.inf}.get(text) if "∞" in text else float(text.replace("−", "-").replace(",", ""))


def same(a, b, near=0.0):
    return a == b or math.isnan(a) and math.isnan(b) or abs(a - b) <= near * abs(b)


def check(path):
    name = path.stem
    dom, console = browse(path, "--dump-dom")
    assert not console, f"{name}: the console says {console}"
    page = Page()
    page.feed(dom)
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text()).group(1))
    expected = {}
    for metric, epochs, lists in json.loads(path.with_suffix(".json").read_text()):
        for i in range(len(lists[0])):
            label = metric if len(lists[0]) == 1 else f"{metric}[{i}]"
            expected[label] = {epoch: float(values[i]) for epoch, values in zip(epochs, lists)}

    head, *rows = page.tables["epochs"]
    names = [text for text, _ in head]
    assert names == ["epoch", *expected, "learning rate", "seconds"], f"{name}: columns {names}"
    seen = 0
    for row in rows:
        epoch = int(row[0][0]) - 1
        for (text, value), metric in zip(row[1:], expected):
            if epoch in expected[metric]:
                want = expected[metric][epoch]
                exact = float(value)
                assert same(exact, want), f"{name}: {metric} in epoch {epoch} is {value}, not {want}"
                assert same(number(text), want, 6e-4), f"{name}: {metric} in epoch {epoch} reads {text}, not {want}"
                seen += 1
            else:
                assert text == "", f"{name}: {metric} in epoch {epoch} reads {text}"
    assert seen == sum(len(series) for series in expected.values()) > 0, f"{name}: {seen} numbers"

    assert page.texts["h1"] == page.texts["title"] == data["title"], f"{name}: titles {page.texts}"
    assert page.texts["pre"] == data["summary"], f"{name}: summary"
    assert all(image.startswith("data:image/png;base64,") for image in page.images), f"{name}: images"
    samples = data["samples"]
    if samples and samples["kind"] == "classes":
        _, *rows = page.tables["confusion"]
        counts = [[int(text) for text, _ in row[1:]] for row in rows]
        assert counts == samples["matrix"], f"{name}: confusions"
        assert [row[0][0] for row in rows] == samples["classes"], f"{name}: classes"
    print(f"{name}: {seen} numbers of {len(expected)} curves as in the history, {len(page.images)} images, a quiet console")


def main():
    keep = pathlib.Path(sys.argv[2]) if sys.argv[1:2] == ["--keep"] else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "CORNU_REPORT": str(folder.resolve())}
        subprocess.run(["cargo", "test", "--quiet", "--features", "full", "--test", "html_report"], env=environment, check=True)
        pages = sorted(path for path in folder.glob("*.html") if path.with_suffix(".json").exists())
        assert len(pages) >= 3, f"only {pages}"
        for path in pages:
            check(path)
            if keep:
                browse(path, f"--screenshot={path.with_suffix('.png').resolve()}", "--window-size=1240,2400", "--hide-scrollbars")


if __name__ == "__main__":
    main()

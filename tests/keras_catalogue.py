"""Which public classes and operations of Keras cornu does not know: `python tests/keras_catalogue.py` in the crate's root,
with Keras installed. The tables of names are read from the sources; what docs/keras-users.md says of gaps comes from here."""

import inspect
import os
import pathlib
import re

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras  # noqa: E402
from keras.src.ops.operation import Operation  # noqa: E402

SOURCES = pathlib.Path("src")


def family(path):
    """The classes and names of a `family!` table."""
    table = re.search(r"^family! \{.*?;\n(.*?)^\}", (SOURCES / path).read_text(), re.S | re.M).group(1)
    return set(re.findall(r"^\s*(\w+)", table, re.M)) | set(re.findall(r'"(\w+)"', table))


def classes(module, base=object):
    return {n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, base) and not n.startswith("_")}


def show(kind, missing):
    print(f"{kind}: {', '.join(sorted(missing)) or 'none missing'}")


for kind, path, module in [
    ("layers", "layers/mod.rs", keras.layers),
    ("losses", "losses/mod.rs", keras.losses),
    ("metrics", "metrics/mod.rs", keras.metrics),
    ("optimizers", "optimizers/mod.rs", keras.optimizers),
    ("schedules", "schedules.rs", keras.optimizers.schedules),
    ("initializers", "initializers.rs", keras.initializers),
    ("regularizers", "regularizers.rs", keras.regularizers),
    ("constraints", "constraints.rs", keras.constraints),
]:
    # A class under two names is known if one of them is.
    known = family(path)
    same = {}
    for name in classes(module):
        same.setdefault(getattr(module, name), set()).add(name)
    show(kind, {min(names) for names in same.values() if not names & known})

names = (SOURCES / "activations/names.rs").read_text()
known = set(re.findall(r'^    \("(\w+)",', names, re.M)) | {"threshold"}
functions = {n for n, f in vars(keras.activations).items() if inspect.isfunction(f)}
show("activations", functions - known - {"deserialize", "get", "serialize"})

# Operations: the classes that stand in the files of functional models.
text = "".join(p.read_text() for p in [*(SOURCES / "layers/operator").glob("*.rs"), SOURCES / "activations/names.rs"])
folded = {n.replace("_", "").lower() for n in re.findall(r'"(\w+)"', text)}
operations = {}
for name in ["core", "einops", "image", "linalg", "math", "nn", "numpy"]:
    module = getattr(__import__(f"keras.src.ops.{name}", fromlist=[name]), "__dict__")
    for n, c in module.items():
        if inspect.isclass(c) and issubclass(c, Operation) and c is not Operation and c.__module__.endswith("ops." + name):
            operations.setdefault(name, set()).add(n)
for name, all in operations.items():
    show(f"operations of ops.{name} ({len(all)})", {n for n in all if n.lower() not in folded})

#!/usr/bin/env python3
"""Whether kernels are what was meant: `.ci/registers.py PROGRAM`, for a program of the release profile with AVX-512 kernels.

A loop behind a kernel's inner one, over sums that the compiler does not unroll, keeps them in memory everywhere: each
multiply-add then loads and stores one, and takes three times as long. No test of values sees that. This looks at each short
loop of multiply-adds on whole vectors and counts those whose result goes to the stack at once; it needs objdump.

And an operation on vectors that is called where it is used in a closure, which has not the instruction set of the function
around it, is a function of its own then, whose operands go through memory: there must be none.
"""

import re
import subprocess
import sys

LONGEST = 160  # instructions: inner loops are shorter
LEAST = 8  # multiply-adds
MOST = 5  # stores


def functions(program):
    """The instructions of each function of the AVX-512 kernels, as (address, text), and operations that are functions."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True, text=True, check=True).stdout
    name, found = None, {}
    called = re.findall(r"^[0-9a-f]+ <(.*simd\.\.(?:avx512|avx2)\.\..*simd\.\.Lanes.*)>:", text, re.MULTILINE)
    for line in text.splitlines():
        if head := re.match(r"([0-9a-f]+) <(.*)>:", line):
            name = f"{head[2]} at {head[1]}" if "simd6avx5123run" in head[2] else None
        elif name and (code := re.match(r"\s+([0-9a-f]+):\s+(.*)", line)):
            found.setdefault(name, []).append((int(code[1], 16), code[2]))
    return found, called


def loops(code):
    """The texts of each loop: from where a jump goes back to, to the jump."""
    places = {address: i for i, (address, _) in enumerate(code)}
    for end, (_, text) in enumerate(code):
        if jump := re.match(r"j\w+\s+([0-9a-f]+)", text):
            start = places.get(int(jump[1], 16), end)
            if start < end < start + LONGEST:
                yield [text for _, text in code[start : end + 1]]


def stored(text, after):
    """Whether this is a multiply-add whose sum the next instruction stores on the stack."""
    result = text.split(",")[-1].strip() if "vfmadd" in text else None
    return bool(re.match(rf"vmov[au]ps\s+{result},(0x[0-9a-f]+)?\(%r[sb]p\)", after)) if result else False


def main():
    kernels, called = functions(sys.argv[1])
    if not kernels:
        sys.exit(f"{sys.argv[1]}: no AVX-512 kernels in it")
    spilled, seen = [], 0
    for name, code in kernels.items():
        for loop in loops(code):
            sums = [text for text in loop if "vfmadd" in text and "zmm" in text]
            stores = sum(stored(*pair) for pair in zip(loop, loop[1:]))
            if len(sums) >= LEAST:
                seen += 1
                if stores > MOST:
                    spilled.append(f"{name}: {stores} of {len(sums)} sums go to the stack")
    print(*spilled, f"{seen} loops of multiply-adds, {len(spilled)} with sums in memory", sep="\n")
    print(*called, f"{len(called)} operations on vectors that are called", sep="\n")
    sys.exit(bool(spilled or called))


main()

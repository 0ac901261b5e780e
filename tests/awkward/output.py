"""Prints in every way: no newline, bars, bytes, below Python, a stream of its own; and asks what its streams are."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile

import torch
from training import step

try:
    from tqdm import tqdm
except ImportError:

    def tqdm(items):
        """A bar, by hand."""
        for number, item in enumerate(items, 1):
            yield item
            sys.stderr.write(f"\r{'#' * number:<10}| {number}/{len(items)}")
            sys.stderr.flush()
        sys.stderr.write("\n")


def main():
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        print(
            stream.name, stream.mode, stream.encoding, stream.errors, stream.isatty(), stream.line_buffering, end="; "
        )
        print(stream.fileno(), stream is getattr(sys, f"__{stream.name.strip('<>')}__"))
    print("é ∇ 🙂", "a\x00b\x1b[31mred\x1b[0m\ttab\r\rback")
    print("no newline", end="")
    print(" and more", end="", flush=True)
    os.write(1, b" below Python ")
    sys.stdout.buffer.write(b"\xff\xfe bytes\n")
    os.write(2, b"below Python, on stderr\n")
    for _ in tqdm(range(3)):
        step("in a bar")
    with contextlib.redirect_stdout(io.StringIO()) as kept:
        step("kept")
    print(repr(kept.getvalue()))
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    with tempfile.TemporaryFile() as file:
        mine = os.dup(1)
        os.dup2(file.fileno(), 1)
        print("into a file", flush=True)
        os.dup2(mine, 1)
        file.seek(0)
        print(file.read())
    torch.set_printoptions(precision=3)
    print(torch.arange(3) / 7)
    print("x" * 200_000)
    print("last, no newline", end="")
    sys.stderr.write("last on stderr, no newline")


main()

"""Reads its standard input: a line at a time, then the rest."""

import sys

from training import step

name = input("name? ")
print("hello,", name)
step()
print("line", repr(sys.stdin.readline()))
step()
print("rest", repr(sys.stdin.buffer.read()))
print("end", repr(sys.stdin.read()))
input("one more? ")

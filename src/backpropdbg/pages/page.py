"""A film as one HTML page that needs no network and no other file, also from a folder or inside a notebook."""

import base64
import hashlib
from html import escape
from importlib import resources

import msgspec

from backpropdbg.figures import clean
from backpropdbg.pages.film import Film
from backpropdbg.pages.view import View, view
from backpropdbg.palette import DARK, LIGHT, Palette

MOST_BYTES = 8 * 2**20

# Inside a script element only these could end it, or begin a comment; JSON can do without them.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(film: Film, most_bytes: int = MOST_BYTES) -> str:
    """Return the page. Beyond `most_bytes` of stops the rest is left out, and the page says so."""
    views, size = list[View](), 0
    for slide in film.slides:
        made = view(slide)
        size += len(msgspec.json.encode(made))
        if size > most_bytes:
            break
        views.append(made)
    data = {
        "title": clean(film.title),
        "stops": views,
        "left_out": left_out(len(film.slides) - len(views), film.more),
        "before": [(r.kind, clean(r.command), clean(r.text)) for r in film.before],
        "output": [(stream, clean(text)) for stream, text in film.output],
    }
    return _fill(data)


def left_out(count: int, more: bool) -> str:
    """Say how many stops there were besides; more: and others that nobody counted."""
    if more:
        return "more are left out"
    return f"{count} more are left out" if count else ""


def colours() -> str:
    """Return the palettes as variables of the style sheet: the reader's browser says which of the two it would like."""
    return f"{_variables(DARK)}@media (prefers-color-scheme: light) {{ {_variables(LIGHT)} }}\n"


def _variables(palette: Palette) -> str:
    named = [f"--{name.replace('_', '-')}: {colour};" for name, colour in palette.colours.items()]
    return f":root {{ {' '.join(named)} }}\n"


def _fill(data: View) -> str:
    style, script = colours() + _read("page.css"), _read("page.js")
    parts = {
        "TITLE": escape(data["title"]),
        "POLICY": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": "".join(_ESCAPES.get(c, c) for c in msgspec.json.encode(data).decode()),
    }
    pieces = _read("page.html").split("{{")
    filled = [parts[name] + rest for name, rest in (piece.split("}}", 1) for piece in pieces[1:])]
    return pieces[0] + "".join(filled)


def _read(name: str) -> str:
    return (resources.files("backpropdbg.pages") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The only style and the only script that the browser lets in: these, by their hashes."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

"""A tape of a terminal as an asciicast, version 3: a line of JSON for the header, then one for each event."""

import json
from collections.abc import Iterable

from msgspec import Struct


class Moment(Struct, frozen=True):
    """What happens at a time. kind: "o" output, "m" marker, "x" the exit code. at: seconds from the beginning."""

    at: float
    kind: str
    text: str


def asciicast(title: str, columns: int, rows: int, moments: Iterable[Moment]) -> str:
    """Return the file; the time of each event in it is counted from the event before."""
    header = {"version": 3, "term": {"cols": columns, "rows": rows, "type": "xterm-256color"}, "title": title}
    lines, before = [json.dumps(header)], 0
    for moment in moments:
        now = round(moment.at * 1000)
        lines.append(json.dumps([(now - before) / 1000, moment.kind, moment.text]))
        before = now
    return "\n".join(lines) + "\n"

"""The user's config file: which theme, which keys, and what is remembered. `backpropdbg keys` prints one to begin with.

It is $BACKPROPDBG_CONFIG, else backpropdbg/config.toml in $XDG_CONFIG_HOME or ~/.config.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textual.keys import KEY_ALIASES, Keys, _character_to_key

from backpropdbg.errors import UsageError
from backpropdbg.palette import PALETTES
from backpropdbg.tui import keys

VARIABLE = "BACKPROPDBG_CONFIG"
MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}
NAMED = {key.value for key in Keys}
# What people write, and keys that a terminal can't tell from others.
SAME = {"esc": "escape", "return": "enter", **{other: key for key, others in KEY_ALIASES.items() for other in others}}


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    Attributes:
        theme: "dark", "light" or "contrast"; the option --theme goes before it.
        ascii: draw with ASCII signs only.
        keys: of actions that have others than those of keys.py.
        remember: have the panes as they were left the last time (`[layout] remember`).
        state: the file that remembers them; None: nothing does.
    """

    theme: str = "dark"
    ascii: bool = False
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remember: bool = True
    state: Path | None = None


def config_path(environment: Mapping[str, str]) -> Path:
    """Return where the file is, or would be."""
    given = environment.get(VARIABLE)
    return Path(given) if given else home(environment, "XDG_CONFIG_HOME", ".config") / "config.toml"


def home(environment: Mapping[str, str], variable: str, beneath: str) -> Path:
    """Return our folder in one of the XDG folders; a relative one counts as none, as the XDG standard says."""
    given = environment.get(variable, "")
    return (Path(given) if os.path.isabs(given) else Path.home() / beneath) / "backpropdbg"


def read(environment: Mapping[str, str]) -> Settings:
    """Return the settings of the user; without a file those that are built in. Raises UsageError."""
    path = config_path(environment)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if environment.get(VARIABLE):
            raise UsageError(f"{VARIABLE}: there is no file {str(path)!r}; backpropdbg keys prints one") from None
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{path}: can't read it: {reason}") from None
    return settings(text, str(path))


def settings(text: str, name: str) -> Settings:
    """Return what a config file says. name: of the file, for messages. Raises UsageError."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        line = at[1] if at and at[1] else len(text.splitlines())
        raise UsageError(f"{name}:{line}: {str(error)[: at.start() if at else None]}; this is no TOML") from None
    return _Reader(text, name).settings(found)


class _Reader:
    """Checks what a file says, and names the line of what is wrong."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name

    def settings(self, found: Mapping[str, Any]) -> Settings:
        self.known("", found, ("theme", "ascii", "keys", "layout"))
        theme = found.get("theme", "dark")
        if theme not in PALETTES:
            raise self.wrong("", "theme", f"{theme!r} is no theme; it is one of {', '.join(PALETTES)}")
        signs = found.get("ascii", False)
        if not isinstance(signs, bool):
            raise self.wrong("", "ascii", f"{signs!r} is neither true nor false")
        layout = self.table(found, "layout")
        self.known("layout", layout, ("remember",))
        remember = layout.get("remember", True)
        if not isinstance(remember, bool):
            raise self.wrong("layout", "remember", f"{remember!r} is neither true nor false")
        return Settings(theme, signs, self.keys(self.table(found, "keys")), remember)

    def keys(self, found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        self.known("keys", found, keys.KEYS)
        chosen = {}
        for action, given in found.items():
            several = [given] if isinstance(given, str) else given
            if not isinstance(several, list) or not all(isinstance(key, str) for key in several):
                raise self.wrong("keys", action, f'{given!r} is neither a key such as "s" nor a list of keys')
            chosen[action] = tuple(self.key(action, key) for key in several)
        owners = {keys.LEAVE: "quit, always"}
        kept = {action: mine for action, mine in keys.DEFAULT.items() if action not in chosen}
        for action, mine in (kept | chosen).items():
            for key in map(canonical, mine):
                if owners.setdefault(key, action) != action:
                    other = owners[key]
                    raise self.wrong("keys", action, f"{keys.display(key)!r} is the key of {other}; {advice(other)}")
        return chosen

    def key(self, action: str, key: str) -> str:
        """Return a key as textual calls it."""
        name = canonical(key)
        if not is_key(name):
            close = get_close_matches(key, NAMED, 1)
            example = close[0] if close else "s, ?, f5, ctrl+t or pageup"
            raise self.wrong("keys", action, f"{key!r} is no key that a terminal knows; e.g. {example}")
        return name

    def table(self, found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        value = found.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong("", name, f"{value!r} is no table; write [{name}] on a line of its own")
        return value

    def known(self, table: str, found: Iterable[str], names: Iterable[str]) -> None:
        """Refuse names that nobody knows."""
        for name in found:
            if name not in names:
                close = get_close_matches(name, list(names), 1) or [", ".join(list(names)[:5])]
                raise self.wrong(table, name, f"there is no such setting; did you mean {close[0]}?")

    def wrong(self, table: str, name: str, what: str) -> UsageError:
        """Return the error, with the line where the setting stands."""
        where, inside = self.name, ""
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[([^\[\]]+)\]", line)
            inside = header[1].strip() if header else inside
            here = header and not table and inside == name
            if here or (inside == table and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line)):
                where = f"{self.name}:{number}"
                break
        return UsageError(f"{where}: {f'{table}.' if table else ''}{name}: {what}")


def advice(owner: str) -> str:
    """Say what to do about a key that is taken."""
    return "take another one" if owner not in keys.KEYS else f"give {owner} another one, or [] for none"


def canonical(key: str) -> str:
    """Return the one name of a key, e.g. "question_mark" for "?", "T" for "shift+t", "escape" for "esc"."""
    if len(key) == 1:
        return _character_to_key(key)
    *modifiers, last = key.split("+") if not key.endswith("++") else [*key[:-2].split("+"), "plus"]
    if modifiers == ["shift"] and len(last) == 1 and last.isalpha():
        return last.upper()
    last = _character_to_key(last.lower() if modifiers else last) if len(last) == 1 else last
    name = "+".join([*sorted(set(modifiers)), last])
    return SAME.get(name, name)


def is_key(name: str) -> bool:
    """True for a name that textual gives to a key."""
    *modifiers, last = name.split("+")
    plain = last in NAMED or bool(keys.character(last))
    return not set(modifiers) - MODIFIERS and plain and (bool(modifiers) or "+" not in last)


def sample() -> str:
    """Return a whole config file with all that may be in it, each setting as it is without the file."""
    lines = [
        f"# backpropdbg reads this from {VARIABLE}, else from $XDG_CONFIG_HOME/backpropdbg/config.toml,",
        "# else from ~/.config/backpropdbg/config.toml. Take the # away to change a line.",
        "",
        f"# The colours: {', '.join(PALETTES)}. --theme goes before it; T and `theme NAME` change it.",
        '# theme = "dark"',
        "# ASCII signs only, for terminals that draw others two cells wide; so do --ascii and the command `ascii`.",
        "# ascii = false",
        "",
        "[layout]",
        "# Have the panes as they were left the last time.",
        "# remember = true",
        "",
        "[keys]",
        "# Action = key, or [keys], in place of those that it has; [] for none. A key is a character, or a name such",
        f"# as f5, ctrl+t, pageup, shift+left. {keys.LEAVE} always ends the debugger.",
    ]
    for title, entries in keys.GROUPS.items():
        lines += ["", f"# {title}"]
        for entry in entries:
            given = ", ".join(f'"{keys.display(key) if len(key) == 1 else key}"' for key in entry.keys)
            setting = f"# {entry.name} = {given if len(entry.keys) == 1 else f'[{given}]'}"
            lines.append(f"{setting:<32} # {entry.help}")
    return "\n".join(lines) + "\n"

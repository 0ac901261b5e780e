"""The names that a program's owner gave to its modules and parameters."""

import weakref
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.parameter import Parameter, is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from backpropdbg.probe.holders import (
    Look,
    Named,
    attributes,
    is_computed,
    outermost,
    own_parameters,
    parameters,
    part,
    user_frames,
    walk,
)
from backpropdbg.probe.labels import Bearer, Known, Labels, Own

_DEEP_LOOKS = 64


class Names:
    """Names of modules and parameters.

    One root's names stand without a prefix. Where the program holds several from the start, each has that of its
    variable; else a later root only where its names would collide. A leaf in no module is named after the variable,
    item or attribute that holds it.

    Attributes:
        on_new: is told of each name that from now on stands for another tensor.
    """

    def __init__(self, track: Iterable[str] = ()) -> None:
        self.on_new: Callable[[str], None] = lambda name: None
        self._globs = tuple(track)
        self._modules: Labels[str] = Labels()
        self._unowned: Labels[bool] = Labels()
        self._own: Labels[Own] = Labels()
        self._leaves: Labels[Known] = Labels()
        self._held: Labels[str] = Labels()
        self._entered: Labels[bool] = Labels()
        self._roots: list[weakref.ref[nn.Module]] = []
        self._first, self._several = True, False
        self._looks = self._strangers = 0

    # -- learning ----------------------------------------------------------------------------------

    def enter(self, module: nn.Module) -> bool:
        """An outermost module is called; True the first time that one with parameters is."""
        new = self._entered.get(module)
        if new is None:
            if not self.add_root(module) and self._earlier(module):
                self.learn(module, "")  # what was called by itself has become a part of it
            new = not isinstance(module, ParametrizationList) and any(True for _ in parameters(module))
            self._entered.set(module, False)
        return new

    def is_registered(self, module: nn.Module) -> bool:
        """False for a parametrization that nobody holds yet: torch calls it once when it is registered."""
        known = not isinstance(module, ParametrizationList) or self._modules.get(module) is not None
        return known or self.add_root(module)

    def add_root(self, module: nn.Module) -> bool:
        """Learn the names below an outermost module, or below the one that it is a part of; False where known."""
        if self._modules.get(module) is not None:
            return False
        if not any(True for _ in parameters(module)):
            self._modules.set(module, "")
            return True
        held = self._look(lambda look: any(m is module for _, root in look.modules for _, m in walk(root)))
        roots = outermost(held)
        owners = [(name, root) for name, root in roots if any(m is module for _, m in walk(root))]
        if not owners and isinstance(module, ParametrizationList):
            return False  # it is being registered: what it is a part of is not there yet
        name, root = owners[0] if owners else ("", module)
        self.learn(root, name, roots)
        return True

    def meet(self, text: str) -> bool:
        """Learn the names below a root that the program holds and never called, where a glob means it or a part."""
        roots = outermost(self._look(lambda look: any(self._modules.get(m) is None for _, m in look.modules)))
        for name, root in roots:
            parts = [path for path, _ in (*walk(root), *parameters(root)) if path]
            fits = [part for path in parts for part in (path, f"{name}.{path}")]
            if self._modules.get(root) is None and any(
                part == text or fnmatchcase(part, text) for part in (name, *fits)
            ):
                self.learn(root, name, roots)
                return True
        return False

    def learn(self, root: nn.Module, variable: str, roots: Sequence[tuple[str, nn.Module]] = ()) -> None:
        """Learn the names below a root that a variable holds; `roots` are all that are held now."""
        if self._first:
            self._first = False
            self._several = len({id(other) for other in [*[other for _, other in roots], root]}) > 1
        mine: dict[int, tuple[Tensor, list[str]]] = {}
        for name, p in parameters(root):
            mine.setdefault(id(p), (p, []))[1].append(name)
        prefix = self._prefix(root, variable, mine)
        parts = self._parts_of(root)
        for path, child in walk(root):
            if self._modules.get(child) is None or id(child) in parts:
                self._modules.set(child, (prefix + path).rstrip("."))
                own = {name: weakref.ref(p) for name, p in own_parameters(child)}
                self._own.set(child, Own(own, [id(p) for _, p in part(child, "_parameters")]))
                parts.discard(id(child))
        within = self._within(root)
        if not self._is_learned(root):
            self._roots.append(weakref.ref(root))
        for p, names in mine.values():
            known = self._leaves.get(p)
            before = known if known is not None and known.given else Known((), (), False, True)
            also = [f"{variable}.{name}" for name in names if variable]
            mine_now = [prefix + name for name in names]
            if id(p) in within:  # what a part of this root was called by itself is another word for it, no other owner
                self._set(p, tuple(mine_now), (*before.names, *before.also, *also), given=True)
            else:
                self._set(p, (*before.names, *mine_now), (*before.also, *also), given=True)

    def _earlier(self, root: nn.Module) -> list[nn.Module]:
        """The roots that were learned before and turn out to be parts of this one."""
        inside = {id(child) for _, child in walk(root)} - {id(root)}
        return [known for reference in self._roots if (known := reference()) is not None and id(known) in inside]

    def _parts_of(self, root: nn.Module) -> set[int]:
        return {id(child) for known in self._earlier(root) for _, child in walk(known)}

    def _within(self, root: nn.Module) -> set[int]:
        return {id(p) for known in self._earlier(root) for _, p in parameters(known)}

    def _prefix(self, root: nn.Module, variable: str, mine: dict[int, tuple[Tensor, list[str]]]) -> str:
        taken = {name: p for known, p in self._leaves.pairs() for name in known.names}
        collides = any(taken.get(name, p) is not p for p, names in mine.values() for name in names)
        if not collides and self._is_learned(root):
            return f"{known}." if (known := self._modules.get(root)) else ""
        return _free(variable or type(root).__name__, taken) + "." if self._several or collides else ""

    def _set(self, leaf: Tensor, names: tuple[str, ...], also: tuple[str, ...] = (), *, given: bool) -> None:
        known, names = self._leaves.get(leaf), tuple(dict.fromkeys(names))
        if known is None or known.names[0] != names[0]:
            self.on_new(names[0])
        self._leaves.set(leaf, Known(names, also, self._matches((*names, *also)), given))

    def of(self, leaf: Tensor) -> str:
        """Return the leaf's name: "leafN[shape]", by order of appearance, where nothing is found that holds it."""
        found = self._leaves.found.get(id(leaf))  # as `get` does, which takes longer
        return found[0].names[0] if found is not None else self._name(leaf)

    def _name(self, leaf: Tensor) -> str:
        wish = self._held.get(leaf)
        if wish is None:
            roots = outermost(self._look(lambda look: _holds(look, leaf)))
            for name, root in roots:
                if any(p is leaf for _, p in parameters(root)):
                    self.learn(root, name, roots)
                    return self.of(leaf)
            wish = self._held.get(leaf)
        taken = {name: (known, other) for known, other in self._leaves.pairs() for name in known.names}
        if wish in taken:
            known, other = taken[wish]
            if not known.given and self._held.get(other) is None:  # only its graph keeps that one alive
                self._leaves.drop(other)
                del taken[wish]
        if wish is None:
            wish = f"leaf{self._strangers}[{'x'.join(map(str, leaf.shape)) or 'scalar'}]"
            self._strangers += 1
        self._set(leaf, (_free(wish, taken),), given=False)
        return self.of(leaf)

    def _look(self, is_found: Callable[[Look], bool]) -> Named:
        """Look through the user's frames, and where that finds nothing through those of libraries.

        Return the modules that are held, and note the tensors. Shallow from some look on: a program may make a new leaf
        in each iteration.
        """
        self._looks += 1
        deepest = {} if self._looks <= _DEEP_LOOKS else {"deepest": 0}
        theirs, libraries = user_frames()
        look = Look(theirs, **deepest)
        if not is_found(look) and libraries:
            further = Look(libraries, **deepest)
            if is_found(further):
                look = further
        self._held = Labels()
        for name, t in look.tensors:
            self._held.set(t, name)
        return look.modules

    def bearer(self, leaf: Tensor) -> Bearer:
        """A leaf with its names, which outlive it."""
        self.of(leaf)
        known = self._leaves.get(leaf)
        assert known is not None
        return Bearer(known, tuple(leaf.shape), weakref.ref(leaf))

    def succeed(self, bearers: Iterable[Bearer]) -> dict[str, Tensor] | None:
        """Give the names of leaves to those that the program has put in their place; None where one is still there."""
        theirs, libraries = user_frames()
        self._looks += 1
        look = Look([*theirs, *libraries], **({} if self._looks <= _DEEP_LOOKS else {"deepest": 0}))
        named, places = dict(reversed(look.tensors)), list(bearers)
        held = {id(t) for _, t in look.tensors}
        for own in [dict(parameters(root)) for _, root in look.modules]:
            named |= {known.names[0]: own[n] for known, *_ in places for n in known.names if n in own}
            held.update(map(id, own.values()))
        if any(id(leaf) in held for *_, reference in places if (leaf := reference()) is not None):
            return None
        found = {}
        for known, shape, reference in places:
            leaf, new = reference(), named.get(known.names[0])
            if leaf is not None:
                self._leaves.drop(leaf)
            if new is not None and tuple(new.shape) == shape and self._leaves.get(new) is None:
                self._set(new, known.names, known.also, given=known.given)
                found[known.names[0]] = new
        return found

    # -- answers -----------------------------------------------------------------------------------

    def modules_at(self, path: str) -> list[nn.Module]:
        """The modules with a path; those with "" are the roots without a prefix."""
        return [module for known, module in self._modules.pairs() if known == path]

    def module_path(self, module: nn.Module) -> str | None:
        """The path of a module; None where it is not known."""
        return self._modules.get(module)

    def entered(self, module: nn.Module) -> bool:
        """True for a module that was called from outside of any other."""
        return self._entered.get(module) is not None

    def living(self) -> list[nn.Module]:
        """All modules that are known."""
        return [module for _, module in self._modules.pairs()]

    def without_variable(self, text: str) -> str:
        """A name without the variable of its root, where that does not stand in the names of its parameters."""
        for known, _ in self._leaves.pairs():
            for also in known.also:
                variable = also.removesuffix(known.names[0])
                if variable and variable != also and text.startswith(variable):
                    return text.removeprefix(variable)
        return text

    def _is_learned(self, root: nn.Module) -> bool:
        return any(reference() is root for reference in self._roots)

    def _grown(self, module: nn.Module) -> None:
        """A module is called that nobody knew: it was added to a root that is known."""
        roots = [root for reference in self._roots if (root := reference()) is not None]
        root = next((root for root in roots if any(m is module for _, m in walk(root))), None)
        if root is not None:
            self.learn(root, "")
        else:
            self._unowned.set(module, True)

    def module(self, module: nn.Module) -> str:
        """Return the module's path; its class name where it is a root without a prefix, or of no known root."""
        found = self._modules.found.get(id(module))
        if found is None and not self._unowned.get(module):
            self._grown(module)
            found = self._modules.found.get(id(module))
        return (found and found[0]) or type(module).__name__

    def replaced(self, module: nn.Module) -> tuple[str, ...]:
        """The module's own parameters that are tracked, and in whose place it has other tensors now."""
        found, now, gone = self._own.found.get(id(module)), module._parameters, []
        # Another thing gets an identity only after the parameter that had it is gone, which nothing can replace.
        if found is None or list(map(id, now.values())) == found[0].identities:
            return ()
        for name, reference in found[0].parameters.items():
            other, p = now.get(name), reference()
            if other is not p and other is not None and p is not None:
                gone.append(p)
        return tuple([self.of(p) for p in gone if self.tracks(p)])

    def parameters(self) -> list[tuple[str, Tensor]]:
        """Every known leaf that is tracked and requires a gradient, in the owner's order, by its first name."""
        return [
            (names[0], p)
            for (names, _, tracked, _), reference in list(self._leaves.found.values())  # a leaf may die meanwhile
            if tracked and (p := reference()) is not None and p.requires_grad
            if type(p) is Parameter or not is_lazy(p)
        ]

    def named(self) -> dict[str, tuple[str, ...]]:
        """All names of each of them."""
        return {
            names[0]: names
            for (names, _, tracked, _), reference in list(self._leaves.found.values())
            if tracked and (p := reference()) is not None and p.requires_grad
            if type(p) is Parameter or not is_lazy(p)
        }

    def all(self) -> tuple[str, ...]:
        """Names of all parameters that are tracked."""
        return tuple([name for name, _ in self.parameters()])

    def aliases(self, name: str) -> tuple[str, ...]:
        """Return all names of a parameter, `name` first where that is its canonical one; `name` alone if unknown."""
        return next((known.names for known, _ in self._leaves.pairs() if known.names[0] == name), (name,))

    def resolve(self, text: str) -> str | None:
        """Return the canonical name of a parameter by any of its names, also with its root's variable before it."""
        known = [known for known, _ in self._leaves.pairs()]
        exact = [k for k in known if text in k.names] or [k for k in known if text in k.also]
        return exact[0].names[0] if exact else None

    def frozen(self) -> tuple[str, ...]:
        """Names of the known parameters that do not require a gradient."""
        known = self._leaves.pairs()
        return tuple([k.names[0] for k, p in known if k.tracked and not p.requires_grad and not is_lazy(p)])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all parameters that are known, those too that require no gradient."""
        return {known.names[0]: tuple(p.shape) for known, p in self._leaves.pairs() if not is_lazy(p)}

    def non_leaves(self) -> tuple[str, ...]:
        """Plain attributes of known modules that require a gradient and are computed."""
        found = []
        for path, module in self._modules.pairs():
            mine = [name for name, t in attributes(module).items() if is_computed(t)]
            found += [f"{path}.{name}" if path else name for name in mine]
        return tuple(dict.fromkeys(found))

    def modules(self) -> tuple[str, ...]:
        """Paths of all modules."""
        return tuple(dict.fromkeys([name or type(module).__name__ for name, module in self._modules.pairs()]))

    # -- tracking ----------------------------------------------------------------------------------

    def track(self, globs: Iterable[str]) -> None:
        """Narrow to the parameters, or those of the modules, whose names match; all where there is no glob."""
        self._globs = tuple(globs)
        for known, leaf in self._leaves.pairs():
            tracked = self._matches((*known.names, *known.also))
            self._leaves.set(leaf, known._replace(tracked=tracked))

    @property
    def idle(self) -> bool:
        """True where leaves are known, and none of them is tracked."""
        known = [known for known, _ in self._leaves.pairs()]
        return bool(known) and not any(k.tracked for k in known)

    @property
    def narrowed(self) -> bool:
        """True where not everything is tracked."""
        return bool(self._globs)

    def tracks(self, leaf: Tensor) -> bool:
        """True where a leaf is tracked."""
        if not self._globs:
            return True
        self.of(leaf)
        known = self._leaves.get(leaf)
        return known is not None and known.tracked

    def knows(self, leaf: Tensor) -> bool:
        """True where a leaf has a name."""
        return self._leaves.get(leaf) is not None

    def _matches(self, names: Iterable[str]) -> bool:
        if not self._globs:
            return True
        paths = {name[:end] for name in names for end in [*_dots(name), len(name)]}
        return any(path == glob or fnmatchcase(path, glob) for path in paths for glob in self._globs)


def _dots(name: str) -> list[int]:
    return [n for n, letter in enumerate(name) if letter == "."]


def _holds(look: Look, leaf: Tensor) -> bool:
    if any(t is leaf for _, t in look.tensors):
        return True
    return any(p is leaf for _, root in look.modules for _, p in parameters(root))


def _free(wish: str, taken: Iterable[str]) -> str:
    name, n = wish, 1
    while any(other == name or other.startswith(name + ".") for other in taken):
        n += 1
        name = f"{wish}{n}"
    return name

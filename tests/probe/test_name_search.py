"""The search for names runs nothing of the program's, ends soon, and keeps nothing."""

import gc
import threading
import weakref

import pytest
import torch
from driving import probed
from torch import nn

from backpropdbg.probe.holders import Look, attributes, outermost, user_frames, walk
from backpropdbg.probe.hooks import Probe

RAN = []


def ran(*_, **__):
    RAN.append("the program's code")
    raise RuntimeError("the program's code ran")


class Answers:
    """Each way in which an object may be asked."""

    __eq__ = __ne__ = __hash__ = __bool__ = __len__ = __iter__ = __getitem__ = __repr__ = __str__ = ran
    __contains__ = __call__ = __get__ = ran
    __getattr__ = __getattribute__ = ran
    prop = property(ran)


class HidesItsDictionary:
    __dict__ = property(ran)


class Pretends:
    __class__ = property(ran)


class Meta(type):
    __instancecheck__ = __subclasscheck__ = __getattribute__ = ran


class OfMeta(metaclass=Meta):
    pass


class List(list):
    __iter__ = __len__ = __getitem__ = ran


class Dict(dict):
    items = keys = values = __iter__ = __getitem__ = __len__ = ran


class Text(str):
    __eq__ = __repr__ = __str__ = ran
    __hash__ = str.__hash__


class Model(nn.Module):
    """Overrides what torch would ask a module."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(2, 2)
        self.__dict__["answers"] = Answers()  # torch itself would ask it

    def forward(self, x):
        return self.lin(x)

    named_parameters = named_modules = named_children = parameters = modules = children = ran
    prop = property(ran)


class Tensors(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return ran() if cls.strict else super().__torch_function__(func, types, args, kwargs or {})

    strict = False
    requires_grad = is_leaf = property(ran)


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()
    yield
    Tensors.strict = False
    assert RAN == []


def test_no_code_of_the_program_runs():
    holder = Answers()
    hidden, pretends, of_meta, kind = HidesItsDictionary(), Pretends(), OfMeta(), OfMeta
    listed, mapped = List([torch.ones(2)]), Dict(a=torch.ones(2))
    odd_keys = {Text("a"): 1, (1, 2): 2, None: 3, 1.5: [holder]}
    odd = torch.ones(2).as_subclass(Tensors)
    Tensors.strict = True
    model, w = Model(), torch.ones(2, requires_grad=True)
    with probed() as seen:
        (model(torch.ones(1, 2)) * w).sum().backward()
    assert set(seen.probe.names.all()) == {"lin.weight", "lin.bias", "w"}
    assert seen.probe.names.non_leaves() == () and seen.probe.names.frozen() == ()
    held = (holder, hidden, pretends, of_meta, kind, listed, mapped, odd_keys, odd)
    del held


def test_the_traps_do_run_when_they_are_asked():
    """So the test above can fail."""
    for ask in (lambda: Answers() == 1, lambda: HidesItsDictionary().__dict__, lambda: isinstance(Pretends(), int)):
        with pytest.raises(RuntimeError):
            ask()
    with pytest.raises(RuntimeError):
        Model().named_parameters()
    RAN.clear()


def test_attributes_of_all_kinds_of_objects():
    class Plain:
        def __init__(self):
            self.a = 1

    class Slots:
        __slots__ = ("a",)

    assert attributes(Plain()) == {"a": 1}
    assert attributes(Slots()) == attributes(HidesItsDictionary()) == attributes(torch) == attributes(3) == {}
    assert attributes(Plain) == {}


# -- bounds --------------------------------------------------------------------------------------


def test_the_search_ends_in_what_contains_itself_and_in_what_is_huge():
    around = []
    around.append(around)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    wide = [[n, str(n), [n]] for n in range(50_000)]
    tree = [[[[[k] for k in range(10)] for j in range(10)] for i in range(10)] for h in range(10)]
    mapping = {n: (n,) for n in range(50_000)}
    w = torch.ones(2, requires_grad=True)
    look = Look(user_frames()[0])
    assert [name for name, t in look.tensors if t is w] == ["w"]
    assert len(look._seen) < 25_000
    assert len(around) == len(deep) == 1 and len(wide) == len(mapping) and len(tree) == 10


def test_what_is_ours_is_not_opened():
    """A recording holds the program's tensors, too; and a dictionary that was looked at makes its owner slower."""
    probe = Probe(lambda event: None)
    held = [probe.watch.here]
    look = Look(user_frames()[0])
    assert id(held) in look._seen and not {id(probe), id(probe.watch), id(held[0])} & look._seen


def test_a_tensor_beyond_the_bounds_has_no_holder():
    far = [[[[[torch.ones(2, requires_grad=True)]]]]]
    with probed() as seen:
        far[0][0][0][0][0].sum().backward()
        assert seen.probe.names.all() == ("leaf0[2]",)


def test_a_program_that_makes_new_leaves_for_ever_is_searched_less_and_less():
    made = []
    with probed() as seen:
        for _ in range(70):
            inner = [torch.ones(2, requires_grad=True)]
            inner[0].sum().backward()
            made.append(seen.probe.names.of(inner[0]))
        x = torch.ones(2, requires_grad=True)
        x.sum().backward()
    assert set(made[:60]) == {"inner[0]"} and made[-1].startswith("leaf") and seen.probe.names.of(x) == "x"


def test_another_thread_that_changes_what_is_searched():
    shared, stop = {}, threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            shared[n % 500] = n
            shared.pop((n * 7) % 500, None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        w = torch.ones(2, requires_grad=True)
        for _ in range(200):
            assert "w" in [name for name, t in Look(user_frames()[0]).tensors if t is w]
    finally:
        stop.set()
        thread.join()


# -- what is kept --------------------------------------------------------------------------------


class Thing:
    pass


def test_the_frames_keep_nothing_that_the_search_saw():
    """Before Python 3.13 a look at a frame's locals leaves a copy of them in the frame."""
    thing = Thing()
    model, gone = nn.Linear(2, 2), weakref.ref(thing)
    with probed() as seen:
        model(torch.ones(1, 2)).sum().backward()
        del thing
        gc.collect()
        assert gone() is None and seen.probe.names.all() == ("weight", "bias")


def test_a_dictionary_of_locals_that_the_program_holds_stays_full():
    number, model = 7, nn.Linear(2, 2)
    mine = locals()
    with probed():
        model(torch.ones(1, 2)).sum().backward()
    assert mine["number"] == number and mine["model"] is model


def test_a_program_that_runs_at_the_top_of_a_file_or_in_a_class():
    code = "from torch import nn, ones\nnet = nn.Linear(2, 2)\nclass Config:\n    inner = ones(2, requires_grad=True)\n"
    code += "    loss = net(ones(1, 2)).sum() + inner.sum()\n    loss.backward()\n"
    code += "    found.extend(names.all())\n    assert names.resolve('net.weight') == 'weight'\n"
    with probed() as seen:
        found = []
        names = seen.probe.names
        exec(compile(code, "/home/user/train.py", "exec"), {"__name__": "__main__", "names": names, "found": found})
    assert found == ["weight", "bias", "inner"]


def test_the_program_is_found_below_the_frames_of_libraries():
    """The outermost frames here are the test runner's: they win nothing."""
    theirs, libraries = user_frames()
    assert libraries and not any("_pytest" in frame.f_code.co_filename for frame in theirs)
    assert theirs[-1].f_code.co_filename == __file__


def test_walk_gives_the_order_of_the_owner():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1), nn.Tanh()), nn.Tanh())
    assert [path for path, _ in walk(model)] == [path for path, _ in model.named_modules()]
    assert outermost([("a", model[1]), ("b", model), ("c", nn.Tanh())]) == [("b", model)]

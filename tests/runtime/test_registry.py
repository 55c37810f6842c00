import textwrap
from dataclasses import dataclass
from functools import partial

import pytest

from vsa.runtime import registry
from vsa.runtime.errors import InputError
from vsa.runtime.registry import Registry, announce


def double(x):
    return 2 * x


@pytest.fixture
def losses():
    return Registry("loss", "losses-of-the-tests")


@pytest.fixture
def plugin(tmp_path, monkeypatch, losses):
    monkeypatch.setattr(registry, "_LOADED", set())
    monkeypatch.setattr(registry, "TESTED", losses, raising=False)

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text("from vsa.runtime import registry\n" + textwrap.dedent(text))
        monkeypatch.setenv("VSA_PLUGINS", str(path))
        return path

    return write


def test_what_was_registered_is_found_by_its_name_in_order(losses):
    assert losses.register("double", double) is double

    @losses.register("triple", version=3)
    def triple(x):
        return 3 * x

    assert list(losses) == ["double", "triple"]
    assert losses["triple"](2) == 6
    assert len(losses) == 2
    assert losses.identity("triple").startswith("triple v3 ")


def test_an_unknown_name_is_answered_with_the_nearest(losses):
    losses.register("per query", double)
    with pytest.raises(InputError, match="Did you mean per query"):
        losses["per qurey"]
    with pytest.raises(InputError, match="Choose one of per query"):
        losses["contrastive"]


def test_a_taken_name_is_refused_and_a_redefinition_is_not(losses):
    losses.register("double", double)
    with pytest.raises(InputError, match="there is a loss 'double' already"):
        losses.register("double", lambda x: x)
    losses.register("double", double)  # a cell that was run again
    losses.register("of torch", partial(double, 1))
    with pytest.raises(InputError, match="no name"):
        losses.register(" ", double)


def test_the_check_of_a_kind(losses):
    def check(name, entry):
        if not callable(entry):
            raise InputError(f"{name} cannot be called", cure="Register a function")

    strict = Registry("loss", "others", check)
    with pytest.raises(InputError, match="cannot be called"):
        strict.register("mine", 3)
    assert "mine" not in strict


def test_a_plug_in_registers_like_anybody(plugin, losses):
    plugin("""
        @registry.TESTED.register("mine")
        def mine(x):
            return x + 1
    """)
    assert losses["mine"](1) == 2
    assert not losses.is_own("mine")


def test_the_identity_of_a_plug_in_changes_with_its_source(plugin, losses, monkeypatch):
    text = """
        FACTOR = {factor}

        def helper(x):
            return FACTOR * x {comment}

        registry.TESTED.register("mine", lambda x: helper(x))
    """
    found = []
    for number, (factor, comment) in enumerate(((1, ""), (2, ""), (1, "# a comment"), (1, ""))):
        monkeypatch.setattr(losses, "_entries", {})
        plugin(text.format(factor=factor, comment=comment), f"mine{number}.py")
        found.append(losses.identity("mine"))
    assert found[0] == found[3]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError"),
        ("registry.TESTED.register('double', print)", "there is a loss 'double' already"),
        ("raise SystemExit", "SystemExit"),
        ("def", "SyntaxError"),
    ],
)
def test_a_plug_in_that_fails_is_named_and_leaves_nothing(plugin, losses, text, told):
    losses.register("double", double)
    path = plugin("registry.TESTED.register('before', print)\n" + text)
    for _ in range(2):  # and once more: it is not forgotten
        with pytest.raises(InputError, match="VSA_PLUGINS") as failure:
            losses["before"]
        assert told in str(failure.value)
        assert str(path) in str(failure.value)
    assert list(losses._entries) == ["double"]


def test_a_plug_in_that_is_not_there(monkeypatch, losses):
    monkeypatch.setenv("VSA_PLUGINS", "/nowhere/mine.py")
    with pytest.raises(InputError, match="is not there"):
        list(losses)


def test_an_announced_object_is_loaded_when_it_is_asked_for():
    announce("tested-kinds", "root", "math:sqrt")
    announce("tested-kinds", "broken", "math:no_such_thing")
    kinds = Registry("kind", "tested-kinds")
    assert list(kinds) == ["root", "broken"]
    assert kinds["root"](9) == 3
    with pytest.raises(InputError, match="cannot be loaded from math:no_such_thing"):
        kinds["broken"]


@dataclass(frozen=True)
class Holder:
    make: object
    size: int = 3


def test_an_object_is_known_by_what_it_holds(losses):
    losses.register("a", Holder(double))
    losses.register("b", Holder(double, 4))
    first, second = (losses.identity(name).split()[-1] for name in ("a", "b"))
    assert first != second


def test_our_own_are_known_by_their_version_alone(losses):
    from vsa.metrics import box_iou

    losses.register("iou", box_iou, version=2)
    assert losses.identity("iou") == "iou v2"
    assert losses.is_own("iou")

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from functools import partial

import pytest

import vsa
from vsa.runtime import registry
from vsa.runtime.errors import InputError
from vsa.runtime.fingerprint import source_digest
from vsa.runtime.paths import ROOT
from vsa.runtime.registry import Registry, announce, plugin_files


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


def test_a_taken_name_is_refused(losses):
    losses.register("double", double)
    for again in (double, lambda x: x):
        with pytest.raises(InputError, match="there is a loss 'double' already"):
            losses.register("double", again)
    losses.register("of torch", partial(double, 1))
    with pytest.raises(InputError, match="no name"):
        losses.register(" ", double)


CELL = """
@losses.register("mine")
def {name}(x):
    return {factor} * x
"""


@pytest.mark.parametrize(
    "surroundings", [{}, {"__file__": "launcher.py", "get_ipython": None}], ids=["prompt", "cell"]
)
def test_a_cell_that_is_run_again_takes_its_own_place_and_no_other(losses, surroundings):
    names = {"__name__": "__main__", "losses": losses} | surroundings
    exec(CELL.format(name="mine", factor=1), names)
    exec(CELL.format(name="mine", factor=2), names)
    assert losses["mine"](3) == 6
    with pytest.raises(InputError, match="there is a loss 'mine' already"):
        exec(CELL.format(name="another", factor=2), names)
    losses.register("double", double)
    with pytest.raises(InputError, match="there is a loss 'double' already"):
        exec(CELL.format(name="double", factor=2).replace('"mine"', '"double"'), names)


@pytest.mark.parametrize("module", ["vsa_plugin_mine", "somebody", "__main__"])
def test_a_file_that_registers_a_name_twice_is_refused(losses, module):
    names = {"__name__": module, "__file__": "mine.py", "losses": losses}
    with pytest.raises(InputError, match="there is a loss 'mine' already"):
        exec(CELL.format(name="mine", factor=1) * 2, names)


def test_plug_ins_of_one_file_name_do_not_replace_each_other(plugin, losses, tmp_path, monkeypatch):
    paths = []
    for folder in ("d1", "d2"):
        (tmp_path / folder).mkdir()
        text = "\n@registry.TESTED.register('mine')\ndef mine(x):\n    return x\n"
        paths.append(plugin(text, f"{folder}/mine.py"))
    monkeypatch.setenv("VSA_PLUGINS", os.pathsep.join(map(str, paths)))
    for _ in range(2):
        with pytest.raises(InputError, match="there is a loss 'mine' already") as told:
            list(losses)
        assert str(paths[1]) in str(told.value)


def test_none_is_an_entry_like_any_other(losses):
    assert losses.register("nothing", None) is None
    assert list(losses) == ["nothing"]
    assert losses["nothing"] is None
    kinds = [entry for entry in map(vars(vsa).get, vsa.__all__) if isinstance(entry, Registry)]
    for kind in kinds:
        with pytest.raises(InputError):
            kind.register("nothing", None)


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


def registered_by(module, losses, name, entry, **options):
    names = {"__name__": module, "losses": losses, "given": (name, entry), "options": options}
    exec("losses.register(*given, **options)", names)


def test_our_own_are_known_by_their_version_alone(losses):
    from vsa.metrics import box_iou

    registered_by("vsa.metrics", losses, "iou", partial(box_iou, 3), version=2)
    assert losses.identity("iou") == "iou v2"
    assert losses.is_own("iou")


def test_a_function_of_ours_with_somebody_s_arguments_is_somebody_s(losses):
    from vsa.metrics import box_iou

    for number in (1, 2):
        registered_by("somebody", losses, f"iou{number}", partial(box_iou, number))
        assert not losses.is_own(f"iou{number}")
    assert losses.identity("iou1")[3:] != losses.identity("iou2")[3:]


def test_what_is_registered_besides_does_not_change_who_uses_a_registry(losses):
    def mine(x):
        return losses["double"](x)

    before = source_digest(mine)
    losses.register("double", double)
    assert source_digest(mine) == before


# Entry points ----------------------------------------------------------------------------------


def install(folder, *packages, group="vsa.losses-of-the-tests", entries="mine = {}:mine"):
    """Packages, named so, that offer losses by entry points."""
    for package in packages:
        (folder / f"{package}.py").write_text("def mine(x):\n    return x\n")
        about = folder / f"{package}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        text = f"[{group}]\n" + textwrap.dedent(entries).format(package)
        (about / "entry_points.txt").write_text(text)


def test_every_listing_tells_of_a_clash(tmp_path, monkeypatch, losses):
    install(tmp_path, "package_one", "package_two", entries="a = {0}:mine\nz{0} = {0}:mine")
    monkeypatch.syspath_prepend(tmp_path)
    losses.register("double", double)
    for look in (list, list, len, lambda losses: losses["double"], lambda losses: "a" in losses):
        with pytest.raises(InputError, match="there is a loss 'a' already, and package_"):
            look(losses)


def test_an_edit_of_an_installed_package_changes_its_identity(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    install(folder, "package_three")
    monkeypatch.syspath_prepend(folder)
    found = []
    for returned in ("x", "2 * x"):
        (folder / "package_three.py").write_text(f"def mine(x):\n    return {returned}\n")
        sys.modules.pop("package_three", None)
        losses = Registry("loss", "losses-of-the-tests")
        assert not losses.is_own("mine")
        assert "package_three" not in sys.modules
        found.append(losses.identity("mine"))
    assert found[0] != found[1]


# Where plug-ins are ----------------------------------------------------------------------------


def test_a_relative_path_holds_wherever_the_process_goes(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("import vsa\nvsa.datasets.register('mine', print)\n")
    (tmp_path / "elsewhere").mkdir()
    code = (
        "import os, subprocess, sys, vsa\n"
        "os.chdir('elsewhere')\n"
        "if 'again' not in sys.argv:\n"
        "    print('mine' in vsa.datasets, flush=True)\n"
        "    os.mkdir('elsewhere')\n"
        "    subprocess.run([sys.executable, '-c', sys.orig_argv[2], 'again'], check=True)\n"
        "else:\n"
        "    print('mine' in vsa.datasets)\n"
    )
    environment = os.environ | {"VSA_PLUGINS": "mine.py", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_relative_path_is_of_the_working_directory_or_else_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    work = tmp_path / "notebooks"
    work.mkdir()
    monkeypatch.chdir(work)
    for path in (tmp_path / "mine.py", tmp_path / "both.py", work / "both.py"):
        path.write_text("")
    monkeypatch.setenv("VSA_PLUGINS", os.pathsep.join(["mine.py", " both.py ", ""]))
    expected = [tmp_path / "mine.py", work / "both.py"]
    assert plugin_files() == expected
    assert os.environ["VSA_PLUGINS"] == os.pathsep.join(map(str, expected))
    monkeypatch.chdir(tmp_path)
    assert plugin_files() == expected


@pytest.mark.parametrize("named", ["none.py", "~no-such-person/mine.py", "x" * 5000])
def test_a_path_to_nothing_is_told_when_plug_ins_are_needed(named):
    code = "import vsa\ntry:\n    list(vsa.datasets)\nexcept vsa.InputError as e:\n    print(e)"
    environment = os.environ | {"VSA_PLUGINS": named, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "VSA_PLUGINS names a file that is not there" in done.stdout, done.stderr

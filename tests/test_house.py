"""The house: who may know whom. All imports of the package are read and held to it.

    csrc <- _core <- encoder <- simulator <- graph <- vectors <- cli

with errors, sizes, extras, lazy, stdlib, version and files on the ground floor, known by all above.
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

#: The floor of each part; a part knows only what is on floors below its own.
FLOORS = {
    "errors": 0, "lazy": 0,
    "extras": 1, "sizes": 1, "stdlib": 1, "version": 1,
    "files": 2, "_core": 2,
    "encoder": 3,
    "simulator": 4,
    "graph": 5,
    "vectors": 6,
    "cli": 7,
    "": 8, "__main__": 8,  # the package itself
}  # fmt: skip

ROOT = Path(__file__).parent.parent
#: The folders of the checkout, and what they are in the package.
FOLDERS = {
    "python/cube24": "",
    "encoder": "encoder",
    "simulator": "simulator",
    "graph": "graph",
    "vectors": "vectors",
}


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = ["cube24", package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            yield ".".join(filter(None, parts)).removesuffix(".__init__"), path


FILES = dict(modules())
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(module: str) -> list[tuple[int, str, str]]:
    """(line, module that is imported from, name) of each import of something of cube24."""
    found = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found += [
                (node.lineno, name.name, "")
                for name in node.names
                if name.name.split(".")[0] == "cube24"
            ]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are written from cube24 on"
            assert node.module is not None
            if node.module.split(".")[0] == "cube24":
                found += [(node.lineno, node.module, name.name) for name in node.names]
    return found


def target(source: str, name: str) -> str:
    """The module that an import needs."""
    return f"{source}.{name}" if f"{source}.{name}" in FILES else source


def test_there_are_modules_to_read():
    assert len(FILES) > 60
    assert {part(name) for name in FILES} - FLOORS.keys() == set()


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down_and_through_fronts(module):
    for line, source, name in imports(module):
        other = part(target(source, name))
        if other == part(module):
            continue
        place = f"{FILES[module]}:{line}: {source} {name}"
        assert FLOORS[other] < FLOORS[part(module)], f"{place}: an import that goes up"
        # `from cube24 import encoder` or `from cube24.encoder import encode`: no room of another.
        if source == "cube24":
            continue
        assert source == f"cube24.{other}", f"{place}: import it from the front"
        front = import_module(source)
        if hasattr(front, "__all__"):
            assert name in front.__all__, f"{place}: the front does not name it"


@pytest.mark.parametrize("module", FILES)
def test_nothing_is_imported_inside_a_function(module):
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = [n.lineno for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
            assert not inner, f"{FILES[module]}:{inner[0]}: optional packages come from extras.need"


def test_no_modules_import_each_other_in_a_circle():
    # Those for types count too: a circle that only a type-checker walks is one all the same.
    knows = {
        module: {target(source, name) for _, source, name in imports(module)} - {module}
        for module in FILES
    }
    # A front that is lazy, or that imports its rooms, is known by no room.
    state: dict[str, int] = {}

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert state.get(module) != 1, f"a circle: {' -> '.join((*way, module))}"
        if module in state:
            return
        state[module] = 1
        for other in sorted(knows.get(module, ())):
            walk(other, (*way, module))
        state[module] = 2

    for module in FILES:
        walk(module, ())


def test_c_is_reached_through_core_alone():
    for module, tree in TREES.items():
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        wanted = part(module) == "_core"
        assert wanted or not names & {"ffi", "lib"}, module
        for _, source, name in imports(module):
            assert wanted or "_binding" not in (name, source.split(".")[-1]), module


def test_no_two_public_classes_have_one_name():
    where = defaultdict(list)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                where[node.name].append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


def test_each_name_of_a_front_is_there_once():
    for module in FILES:
        listed = [
            node
            for node in TREES[module].body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        ]
        if listed:
            front = import_module(module)
            names = Counter(front.__all__)
            assert max(names.values()) == 1, module
            missing = [name for name in names if not hasattr(front, name)]
            assert not missing, (module, missing)


def told_to_type_checkers(block: ast.If, module: str) -> dict[str, tuple[str, str]]:
    """Where each name that a lazy front imports for types is from: (module, name in it or "")."""
    said = {}
    for node in block.body:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names:
            if isinstance(node, ast.Import):
                said[name.name.split(".")[0]] = (name.name, "")
            else:
                room = node.module == module
                source = f"{module}.{name.name}" if room else str(node.module)
                said[name.name] = (source, "" if room else name.name)
    return said


def given_at_run_time(block: ast.If, module: str) -> dict[str, tuple[str, str]]:
    """The same from the table of the front."""
    said = {}
    (call,) = [node for other in block.orelse for node in ast.walk(other) if is_front(node)]
    assert ast.unparse(call.args[0]) == "__name__"
    for room, names in ast.literal_eval(call.args[1]).items():
        source = module + room if room.startswith(".") else room
        for name in names:
            own = room in ("", ".")
            said[name.split(".")[0]] = (f"{source}{name}", "") if own else (source, name)
    return said


def is_front(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "front"


FRONTS = {
    module: node
    for module, tree in TREES.items()
    for node in tree.body
    if isinstance(node, ast.If) and any(map(is_front, ast.walk(node)))
}


def test_the_packages_have_lazy_fronts():
    packages = {"cube24", "cube24.files"} | {f"cube24.{part}" for part in FOLDERS.values() if part}
    assert packages <= FRONTS.keys()


@pytest.mark.parametrize("module", FRONTS)
def test_a_lazy_front_gives_what_type_checkers_are_told(module):
    types = told_to_type_checkers(FRONTS[module], module)
    assert given_at_run_time(FRONTS[module], module) == types
    front = import_module(module)
    assert sorted(front.__all__) == sorted(types)
    for name, (source, attribute) in types.items():
        found = import_module(source)
        if source.split(".")[0] == name:  # import concurrent.futures: the name is concurrent
            found = import_module(name)
        assert getattr(front, name) is (getattr(found, attribute) if attribute else found), name


@pytest.mark.parametrize("module", FRONTS)
def test_no_room_hides_a_name_of_its_front(module):
    # Once a room is imported, its module stands in the package under its name.
    for name, place in told_to_type_checkers(FRONTS[module], module).items():
        if f"{module}.{name}" in FILES:
            assert place == (f"{module}.{name}", ""), f"{module}: {name} is a room too"


def test_no_module_is_larger_than_a_newcomer_can_hold():
    sizes = {name: len(path.read_text("utf-8").splitlines()) for name, path in FILES.items()}
    assert max(sizes.values()) <= 750, max(sizes, key=sizes.get)


@pytest.mark.parametrize("module", [name for name in FILES if "__main__" not in name])
def test_the_package_that_is_read_is_the_one_that_is_tested(module):
    installed = Path(import_module(module).__file__)
    assert installed.read_text("utf-8") == FILES[module].read_text("utf-8"), "install again"

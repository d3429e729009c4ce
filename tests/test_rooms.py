"""The house: what may import what, and how large its parts may grow (DESIGN: layout)."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "adacore"
ROOMS = [
    *("errors", "budget", "coreset", "facility", "probing", "selectors", "training", "labelling"),
    *("convex", "sklearn", "integrations", "experiments", "cli", "__main__"),
]
"""In the order of the data: a room imports only from rooms before it."""

MOST_LINES, MOST_PARAMETERS = 400, 12
PUBLIC_FACE = (
    *(
        ".facility_location",
        ".select",
        ".CoresetLoader.__init__",
        ".CoresetLoader.from_data_loader",
        ".AdaCore.__init__",
    ),
    *("._CoresetEstimator.__init__", ".CoresetClassifier.__init__", ".CoresetRegressor.__init__"),
    *(".CoresetResampler.__init__", ".CoresetSearch.__init__"),
)
"""Ends of the names of functions whose many parameters are what users set."""


def modules():
    for path in sorted(SOURCE.rglob("*.py")):
        yield ".".join(path.relative_to(SOURCE).with_suffix("").parts), path.read_text(encoding="utf-8")


def imported(tree):
    """Names of the modules of the library that are imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports within the library are absolute, so that this test can read them"
            names = [node.module or ""]
            if node.module == "adacore":
                names = [f"adacore.{alias.name}" for alias in node.names if alias.name != "__version__"]
        else:
            continue
        yield from (name.removeprefix("adacore.") for name in names if name.startswith("adacore."))


def test_a_room_imports_only_from_rooms_before_it():
    for name, source in modules():
        room = name.split(".")[0]
        if room != "__init__":  # which has the public names, of every room
            allowed = ROOMS[: ROOMS.index(room) + 1]
            wrong = [other for other in imported(ast.parse(source)) if other.split(".")[0] not in allowed]
            assert not wrong, f"{name} imports {wrong}"


def names_of_types_alone(tree):
    """Imports under ``if TYPE_CHECKING:``, which nothing waits for when the program runs."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {id(inner) for block in blocks for inner in ast.walk(block)}


def files_imported(name, source, files):
    """Modules that must have run before this one has: those it names, and what the packages around them import."""
    tree = ast.parse(source)
    skipped = names_of_types_alone(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("adacore.") and id(node) not in skipped:
            module = node.module.removeprefix("adacore.")
            # What is imported from a room may be a module of it, or a name within the module that stands there.
            inside = {file for alias in node.names if (file := f"{module}.{alias.name}") in files}
            yield from (inside or {module}) & files.keys()
            parts = module.split(".")
            for depth in range(1, len(parts) + 1):
                package = ".".join(parts[:depth])
                # A package's own modules are read while it is imported; whoever is outside waits for all of it.
                if f"{package}.__init__" in files and not name.startswith(f"{package}."):
                    yield f"{package}.__init__"


def test_no_modules_import_one_another_in_a_circle():
    files = dict(modules())
    imports = {name: {*files_imported(name, source, files)} - {name} for name, source in files.items()}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


def test_the_top_level_is_seen_at_a_glance():
    files = {path.stem for path in SOURCE.glob("*.py")}
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert files | folders <= {"__init__", *ROOMS}
    assert len(files) <= 6
    assert len(folders) <= 9


def test_a_module_has_a_size_that_can_be_read():
    assert not {name: lines for name, source in modules() if (lines := len(source.splitlines())) > MOST_LINES}


def functions(tree, prefix):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}.{node.name}", node.args
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from functions(node, f"{prefix}.{node.name}" if inside else prefix)


def test_a_function_has_as_many_parameters_as_can_be_kept_in_mind():
    counts = {
        function: len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        for name, source in modules()
        for function, arguments in functions(ast.parse(source), name)
    }
    many = {function for function, count in counts.items() if count > MOST_PARAMETERS}
    assert not {function for function in many if not function.endswith(PUBLIC_FACE)}

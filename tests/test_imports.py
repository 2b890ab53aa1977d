"""Modules import only from their own layer and lower ones, and everything public has a docstring."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import aiorooms

PACKAGE = Path(aiorooms.__file__).parent

# Ordered from the bottom up. A module may import only from its own layer and from lower ones.
LAYERS = [
    {"errors", "_problems", "_unset", "_text", "_version", "_aio"},
    {"_checks"},
    {"telemetry"},
    {"_webhook_url"},
    {"models"},
    {"_pacing"},
    {"_http"},
    {"resources"},
    {"client"},
    {"webhook_config"},
    {"__init__"},
    {"bulk"},
    {"cli", "__main__"},
]
OUTSIDE_LAYERS: dict[str, set[str]] = {
    "simulator": set(),
    "pytest_plugin": {"simulator"},
    "otel": {"telemetry"},
    "webhooks": {"errors", "models", "_aio", "_checks"},
}
"""The parts of the package that belong to no layer, each with the other parts that it may import."""
ALLOWED_IMPORTS = {("cli", "simulator"), ("cli", "webhooks")}
"""Exceptions. In each pair, the first part belongs to a layer, and may import the second, which belongs to none."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """Return the name under which LAYERS lists a module: that of its top folder, or its own if it is in no folder."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_parts(path: Path) -> set[str]:
    package = ("aiorooms", *path.relative_to(PACKAGE).parent.parts)
    parts: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, (base, node.module)))
            names = [f"{origin}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "aiorooms":
                first = rest.split(".")[0]
                parts.add(first if known(first) else "__init__")
    return parts


def known(name: str) -> bool:
    return name in OUTSIDE_LAYERS or any(name in layer for layer in LAYERS)


def level(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_layer_or_lower(path: Path) -> None:
    name = part(path)
    assert known(name), f"{name} is in no layer: add it to LAYERS"
    if name in OUTSIDE_LAYERS:
        assert imported_parts(path) <= OUTSIDE_LAYERS[name] | {name}, (
            f"{name} may not import all of {imported_parts(path)}"
        )
        return
    for imported in imported_parts(path):
        if imported in OUTSIDE_LAYERS:
            assert (name, imported) in ALLOWED_IMPORTS, f"{name} imports {imported}"
        else:
            assert level(imported) <= level(name), f"{name} imports {imported}, which is in a higher layer"


def run_time_imports(path: Path) -> set[Path]:
    """Return the modules of this package that a module imports at its top level, but not under `if TYPE_CHECKING:`."""
    package = ("aiorooms", *path.relative_to(PACKAGE).parent.parts)
    found: set[Path] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = PACKAGE.parent.joinpath(*package[: len(package) - node.level + 1], *(node.module or "").split("."))
            names = [base, *(base / alias.name for alias in node.names)]
            found |= {name.with_suffix(".py") for name in names if name.with_suffix(".py").is_file()}
    return found


def test_there_are_no_circular_imports() -> None:
    imports = {path: run_time_imports(path) for path in modules()}
    assert sum(map(len, imports.values())) > 300, "the search finds too few imports"
    order = graphlib.TopologicalSorter(imports)
    order.prepare()  # raises CycleError, which names the cycle


def test_importing_the_package_loads_neither_extras_nor_the_simulator() -> None:
    code = (
        "import sys, aiorooms; "
        "print([m for m in ('click', 'rich', 'uvloop', 'aiohttp.web_app', 'aiorooms.simulator')"
        " if m in sys.modules])"
    )
    # If importing aiohttp alone loads aiohttp's server, then aiorooms is not the cause.
    baseline = "import sys, aiohttp; print('aiohttp.web_app' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    base = subprocess.run([sys.executable, "-c", baseline], capture_output=True, text=True, check=True).stdout
    expected = "['aiohttp.web_app']" if base.strip() == "True" else "[]"
    assert loaded.strip() == expected


def loaded_by(code: str) -> set[str]:
    """Return the top-level names of the modules that a fresh interpreter has loaded after running the code."""
    code = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_loads_only_attrs_and_orjson_besides_the_packages_of_aiohttp() -> None:
    # Importing cattrs and creating the converter took 18 % of the instructions that the import adds to aiohttp's.
    beyond_aiohttp = loaded_by("import aiorooms") - loaded_by("import aiohttp") - sys.stdlib_module_names
    assert beyond_aiohttp <= {"aiorooms", "attrs", "orjson"}


def test_the_first_client_loads_the_converter_so_that_no_call_has_to() -> None:
    assert "cattrs" in loaded_by("import aiorooms; aiorooms.RoomsClient('key')")


def public(nodes: list[ast.stmt]) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    return [
        node
        for node in nodes
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
        and "overload" not in map(ast.unparse, node.decorator_list)
    ]


def test_everything_public_has_a_docstring() -> None:
    missing: list[str] = []
    for path in modules():
        tree = ast.parse(path.read_text())
        here = str(path.relative_to(PACKAGE))
        if not ast.get_docstring(tree):
            missing.append(here)
        if path.name.startswith("_") and path.name != "__init__.py":
            continue
        for node in public(tree.body):
            members = public(node.body) if isinstance(node, ast.ClassDef) else []
            missing += [f"{here}: {one.name}" for one in (node, *members) if not ast.get_docstring(one)]
    assert missing == []

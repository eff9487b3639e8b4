"""Stage one package for mutmut, which wants it at the top of a folder, beside its tests.

The staged code is the package's own, rewritten in three ways that keep its meaning. Every
statement is one line, without comments, so that a mutant has the same name however the code is
wrapped. A property is a plain method and a call of ``property``, because mutmut leaves decorated
functions alone. And ``raise`` is marked, for mutmut to pass over: it would change the text there.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = {
    "kurir_wire": "protocol",
    "kurir_billing": "protocol",
    "kurir_crypto": "crypto",
}
GETTER: Final = "__get"
"""Ends the name of a method that was a property."""
LEFT_ALONE: Final = "mutmut: leave alone"
"""Marks a line that mutmut passes over."""


@dataclass(frozen=True)
class Package:
    """What is mutated, and what has to stand beside it.

    ``tests``: folders whose tests can kill a mutant; ``helpers``: folders that those import from;
    ``without``: test files that read source text, or take too long for what they add;
    ``without_tests``: the same for single tests, as pytest names them.
    """

    name: str
    beside: tuple[str, ...]
    tests: tuple[str, ...]
    helpers: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    without_tests: tuple[str, ...] = ()


PACKAGES: Final = (
    Package(
        "kurir_billing",
        ("kurir_wire",),
        ("protocol",),
        without=("test_cards.py", "test_domains.py", "test_links.py"),
    ),
    Package(
        "kurir_crypto",
        ("kurir_wire", "kurir_billing"),
        ("crypto", "vectors"),
        helpers=("protocol",),
        without=("test_network.py", "test_types.py"),
        without_tests=("crypto/test_hidden.py::test_modules_stay_small",),
    ),
)

CONFTEST: Final = '''"""Hypothesis: few examples, always the same, no search for a smaller one."""

from importlib import import_module
from pathlib import Path

import hypothesis
import pytest

for name in {names}:
    found = import_module(name).__file__
    assert found and Path(found).is_relative_to(Path.cwd()), f"not the staged copy: {{found}}"

FEW = 20
CHANGES = {{
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": [hypothesis.Phase.explicit, hypothesis.Phase.generate],
    "suppress_health_check": list(hypothesis.HealthCheck),
}}
hypothesis.settings.register_profile("mutants", max_examples=FEW, **CHANGES)
hypothesis.settings.load_profile("mutants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        test = getattr(item, "obj", None)
        chosen = getattr(test, "_hypothesis_internal_use_settings", None)
        if chosen is not None:
            test = getattr(test, "__func__", test)
            test._hypothesis_internal_use_settings = hypothesis.settings(
                chosen, max_examples=min(chosen.max_examples, FEW), **CHANGES
            )
'''

CONFIG: Final = """[tool.mutmut]
source_paths = ["{name}"]
also_copy = {also_copy}
pytest_add_cli_args_test_selection = {tests}
do_not_mutate_patterns = ["{left_alone}"]
use_git_change_detection = false
on_dependency_change = "ignore"
timeout_constant = 1.0
timeout_multiplier = 15.0

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--strict-markers", "-p", "no:cacheprovider"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
"""


class Plain(ast.NodeTransformer):
    """Makes properties plain methods, named so that :mod:`.results` can tell."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        body: list[ast.stmt] = []
        for statement in node.body:
            body.append(statement)
            match statement:
                case ast.FunctionDef(name=name, decorator_list=[ast.Name(id="property")]):
                    statement.name = name + GETTER
                    statement.decorator_list = []
                    body.extend(ast.parse(f"{name} = property({name}{GETTER})").body)
        node.body = body
        self.generic_visit(node)
        return node


def plain(source: str) -> str:
    """The code that mutmut gets for a module."""
    tree = Plain().visit(ast.parse(source))
    lines = ast.unparse(tree).splitlines()
    return "\n".join(
        f"{line}  # {LEFT_ALONE}" if line.lstrip().startswith("raise ") else line for line in lines
    )


def stage(package: Package, folder: Path) -> bool:
    """Bring a staged package up to date; files that did not change keep their time.

    :returns: whether something changed
    """
    wanted: dict[Path, bytes] = {
        Path("pyproject.toml"): config(package).encode(),
        Path("conftest.py"): CONFTEST.format(names=[package.name, *package.beside]).encode(),
    }
    for name in (package.name, *package.beside):
        for path in sorted((ROOT / FOLDERS[name] / name).iterdir()):
            if path.is_file():
                data = path.read_bytes()
                if name == package.name and path.suffix == ".py":
                    data = plain(data.decode()).encode()
                wanted[Path(name) / path.name] = data
    for name in (*package.tests, *package.helpers):
        for path in sorted((ROOT / "tests" / name).iterdir()):
            helper = name in package.helpers and path.name.startswith("test_")
            if path.is_file() and not helper and path.name not in package.without:
                wanted[Path("tests") / name / path.name] = path.read_bytes()
    return write(folder, wanted)


def config(package: Package) -> str:
    """The pyproject.toml of a staged package."""
    also_copy = [*package.beside, "conftest.py", "pyproject.toml"]
    return CONFIG.format(
        name=package.name,
        also_copy=also_copy,
        tests=[f"tests/{name}" for name in package.tests]
        + [f"--deselect=tests/{test}" for test in package.without_tests],
        left_alone=LEFT_ALONE,
    )


def write(folder: Path, wanted: dict[Path, bytes]) -> bool:
    """Make a folder hold these files and no others, leaving alone what mutmut made."""
    changed = False
    made = folder / "mutants"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name not in wanted and name.parts[0] not in ("mutants", "mutmut.log"):
            path.unlink()
            (made / name).unlink(missing_ok=True)  # mutmut copies, and never takes away
            changed = True
    for name, data in wanted.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            changed = True
    return changed

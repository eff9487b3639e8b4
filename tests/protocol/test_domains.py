"""No domain string has two meanings, in any package of the project."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMING = {"digest", "message_to_sign", "domain"}


def uses() -> dict[str, set[tuple[str, str]]]:
    """Each constant name, with the module and function that use it."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for path in ROOT.glob("*/kurir_*/**/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        owner: dict[ast.Call, str] = {}
        scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for scope in (tree, *scopes):  # inner functions come later and win
            for node in ast.walk(scope):
                if isinstance(node, ast.Call):
                    owner[node] = getattr(scope, "name", "")
        for call, name in owner.items():
            function = call.func
            called = function.attr if isinstance(function, ast.Attribute) else ""
            called = function.id if isinstance(function, ast.Name) else called
            if called in NAMING and call.args:
                match call.args[0]:
                    case ast.Constant(value=str(text)):
                        found[text].add((str(path.relative_to(ROOT)), name))
    return found


def test_each_name_has_one_meaning() -> None:
    found = uses()
    # The search itself works.
    for name in ("grant", "charge", "invoice", "rate-card", "rate-card-hash", "line", "leaf"):
        assert name in found
    # In public structures one function makes the bytes. Elsewhere sealing and opening may share a
    # label, within one module.
    for name, places in found.items():
        if any(module.startswith("protocol") for module, _ in places):
            assert len(places) == 1, name
    for name, places in found.items():
        assert len({module for module, _ in places}) == 1, name


def test_names_are_plain() -> None:
    for name in uses():
        assert name.isascii()
        assert "/" not in name
        assert "\0" not in name

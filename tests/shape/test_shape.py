"""The rules of the code that no linter knows. Each says why, and names the file that breaks it."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "headwater"
MODULES = sorted(SOURCE.rglob("*.py"))
PORTS = sorted(SOURCE.rglob("port.py"))
ADAPTER_ROOMS = ("log", "indexes", "sources")
#: Names for a room that hold anything, and so say nothing.
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "core"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_says_what_it_holds(path: Path) -> None:
    assert len(ast.get_docstring(tree(path)) or "") > 20, "it has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_stay_readable(path: Path) -> None:
    # A contract suite is a list of sentences and their tests: it is read by name, not from top to bottom.
    most = 800 if path.stem.endswith("_contract") else 500
    assert len(path.read_text().splitlines()) <= most, "split it: it holds two things"
    assert not EMPTY_NAMES & {path.stem, path.parent.name}, "name it for what it holds"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_stay_readable(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= 70, f"{node.name} has {lines} lines: it is two decisions, or a decision and its execution"


@pytest.mark.parametrize("path", PORTS, ids=name)
def test_ports_are_small_and_their_docstrings_are_the_contract(path: Path) -> None:
    protocols = [
        node
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Protocol" for b in node.bases)
    ]
    assert protocols
    for port in protocols:
        methods = [node for node in port.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert 2 <= len(methods) <= 6, f"{port.name} has {len(methods)} methods"
        assert ast.get_docstring(port), port.name
        for method in methods:
            assert ast.get_docstring(method), f"{port.name}.{method.name}"


@pytest.mark.parametrize("room", ADAPTER_ROOMS)
def test_adapters_of_one_room_never_import_each_other(room: str) -> None:
    technologies = ("memory", "sqlite", "kafka", "folder", "jsonl")
    for path in (SOURCE / room).glob("*.py"):
        mine = next((it for it in technologies if path.stem.startswith(it)), None)
        for module in imported(path):
            other = module.removeprefix(f"headwater.{room}.")
            if mine and module != other:
                theirs = next((it for it in technologies if other.startswith(it)), None)
                assert theirs in (None, mine), f"{name(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_broad_except_gives_its_reason(path: Path) -> None:
    lines = path.read_text().splitlines()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id == "Exception":
            assert "#" in lines[node.lineno - 1], f"line {node.lineno}: say why everything is caught"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_packages_re_export_nothing(path: Path) -> None:
    if path.name == "__init__.py" and path.parent not in (SOURCE, SOURCE / "cli"):
        assert not imported(path), "import a name from where it is defined"


def test_a_linter_exception_has_its_reason_beside_it() -> None:
    for path in MODULES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "# noqa" in line or "# type: ignore" in line:
                assert re.search(r"#\s*(noqa|type: ignore)[^(]*(\(|- |# )\w", line), (
                    f"{name(path)}:{number}: give the reason"
                )


def test_nothing_names_a_package_host_or_a_machine_path() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    forbidden = re.compile(r"files\.python" + r"hosted|pypi\." + r"org|/wo" + r"rk/|/ro" + r"ot/")
    for tracked_name in tracked:
        path = ROOT / tracked_name
        if path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".txt"} or path.name in {"Makefile", "run"}:
            found = forbidden.findall(path.read_text())
            assert not found, f"{tracked_name} holds {found}"


def test_nobody_asks_an_admin_client_for_committed_offsets() -> None:
    # When the group's coordinator has moved, librdkafka 2.16 follows a null pointer there, and the process is gone.
    for path in MODULES:
        assert "list_consumer_group_offsets" not in path.read_text(), f"{name(path)}: use kafka_client.standing"


def imported(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
    return [module for module in modules if module.startswith("headwater")]

"""Who imports whom: read off the source, wherever in a file an import stands."""

from __future__ import annotations

import ast
import dataclasses
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Edge:
    """One import.

    Attributes:
        importer: Name of the module that imports.
        imported: Name of the module that is imported.
        line: Where.
    """

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} -> {self.imported}"


class ImportGraph:
    """All imports of some packages and scripts: of modules, of functions, for type checkers.

    `from package import name` is an import of the module that defines the name where the package is
    lazy, which its stub `__init__.pyi` tells, and of the package itself where it is not.

    Args:
        root: Folder of the packages and scripts.
        packages: Names of the packages.
        scripts: Names of scripts beside them.
    """

    def __init__(self, root: Path, packages: Iterable[str], scripts: Iterable[str] = ()) -> None:
        self.files = {name: root / f"{name}.py" for name in scripts}
        for package in packages:
            for path in sorted((root / package).rglob("*.py")):
                parts = path.relative_to(root).with_suffix("").parts
                self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self._stubs = {
            name: dict(self._names_in_stub(name, stub))
            for name, path in self.files.items()
            if path.name == "__init__.py" and (stub := path.with_suffix(".pyi")).is_file()
        }
        self.edges: list[Edge] = []
        self.foreign: list[Edge] = []
        for name in self.files:
            for edge in self._imports(name):
                known = edge.imported in self.files
                (self.edges if known else self.foreign).append(edge)

    def circle(self) -> list[str] | None:
        """Modules that import each other in a ring, the first one repeated at the end; None = none.

        What a lazy package offers counts as imported by the package.
        """
        graph: dict[str, set[str]] = {name: set() for name in self.files}
        for edge in self.edges:
            graph[edge.importer].add(edge.imported)
        for name, offered in self._stubs.items():
            graph[name] |= {module for module in offered.values() if module in graph}
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            return list(reversed(error.args[1]))
        return None

    def upward(self, floors: Iterable[Iterable[str]]) -> list[Edge]:
        """Imports of something that stands higher than the module that imports it.

        Args:
            floors: From the lowest to the highest, the packages, modules or scripts on each. The
                longest name that a module's name begins with decides.
        """
        heights = {name: height for height, names in enumerate(floors) for name in names}

        def height(module: str) -> int:
            parts = module.split(".")
            prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
            return next(heights[prefix] for prefix in prefixes if prefix in heights)

        return [edge for edge in self.edges if height(edge.imported) > height(edge.importer)]

    def _imports(self, module: str) -> Iterator[Edge]:
        tree = ast.parse(self.files[module].read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Edge(module, alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(module, node)
                for alias in node.names:
                    yield Edge(module, self._defining(origin, alias.name), node.lineno)

    def _origin(self, module: str, node: ast.ImportFrom) -> str:
        """The module behind `from`, its dots resolved."""
        if not node.level:
            return node.module or ""
        is_package = self.files[module].name.startswith("__init__.")
        parts = module.split(".")
        base = parts[: len(parts) - node.level + is_package]
        return ".".join([*base, *(node.module or "").split(".")]).rstrip(".")

    def _defining(self, origin: str, name: str) -> str:
        """The module that `from origin import name` leads to."""
        if f"{origin}.{name}" in self.files:
            return f"{origin}.{name}"
        return self._stubs.get(origin, {}).get(name, origin)

    def _names_in_stub(self, package: str, stub: Path) -> Iterator[tuple[str, str]]:
        """Names that a lazy package offers, with the modules they come from."""
        for node in ast.parse(stub.read_text("utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                origin = self._origin(package, node)
                for alias in node.names:
                    submodule = f"{origin}.{alias.name}"
                    yield (
                        alias.asname or alias.name,
                        submodule if submodule in self.files else origin,
                    )

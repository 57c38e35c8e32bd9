"""Imports run one way, and what is cheap to import stays cheap."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from import_graph import ImportGraph

ROOT = Path(__file__).parents[2]
PACKAGES = ("encoders", "ave_env", "agents")
SCRIPTS = ("train_agent", "train_encoder", "eval_agent")
FLOORS = (["encoders"], ["ave_env"], ["agents"], ["agents.commands"], ["agents.studies"], SCRIPTS)
# The file of `ave_env` that may need torch; all others run without it.
WITH_TORCH = ("ave_env.observer",)
BUILT_ON_TORCH = {"torch", "torchmetrics", "timm", "accelerate", "stable_baselines3", "safetensors"}


@pytest.fixture(scope="module")
def house() -> ImportGraph:
    return ImportGraph(ROOT, PACKAGES, SCRIPTS)


def test_no_modules_import_each_other(house):
    circle = house.circle()
    assert circle is None, " -> ".join(circle)


def test_no_import_runs_up(house):
    assert [str(edge) for edge in house.upward(FLOORS)] == []


def test_the_graph_holds_every_file_and_kind_of_import(house):
    files = {path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert files <= set(house.files.values())
    seen = {(edge.importer, edge.imported) for edge in house.edges}
    for importer, imported in (
        ("train_agent", "agents.commands.train_agent"),
        ("agents.commands.train_agent", "agents.learning.run"),  # inside a function
        ("agents.registry", "agents.learning.learner"),  # for type checkers
        ("agents.reports.files", "ave_env.rendering.figure"),  # through a lazy package
    ):
        assert (importer, imported) in seen


def test_torch_enters_the_environment_by_one_file(house):
    importers = {
        edge.importer
        for edge in house.foreign
        if edge.importer.startswith("ave_env") and edge.imported.split(".")[0] in BUILT_ON_TORCH
    }
    assert importers <= set(WITH_TORCH)


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_does_not_import_torch(package):
    heavy = BUILT_ON_TORCH | {"cv2", "h5py", "matplotlib"}
    run(f"import sys, {package}\nheavy = {heavy} & set(sys.modules)\nassert not heavy, heavy")


def test_the_environment_without_an_encoder_needs_no_torch(house):
    modules = [name for name in house.files if name.startswith("ave_env")]
    modules = [name for name in modules if name not in WITH_TORCH]
    run(
        "import importlib, sys\n"
        f"for name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "import gymnasium\n"
        "env = gymnasium.make('AVE-Synthetic-v0', encoder=None)\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())\n"
        "assert 'torch' not in sys.modules\n"
    )


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


SOUND = {
    "low/__init__.py": "",
    "low/a.py": "import os\nfrom low.b import thing\n",
    "low/b.py": "thing = 1\n",
    "high/__init__.py": "",
    "high/c.py": "from low import a\nfrom low.b import thing\n",
    "script.py": "import high.c\n",
}


@pytest.mark.parametrize(
    ("changed", "circle"),
    [
        ({}, None),
        ({"low/b.py": "from low import a\n"}, {"low.a", "low.b"}),
        ({"low/b.py": "from . import a\n"}, {"low.a", "low.b"}),
        ({"low/b.py": "def f():\n    from .a import x\n"}, {"low.a", "low.b"}),
        ({"low/b.py": "class C:\n    def f(self):\n        import low.a\n"}, {"low.a", "low.b"}),
        (
            {"low/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import low.a\n"},
            {"low.a", "low.b"},
        ),
        (  # a package that is not lazy imports all that it offers
            {"low/__init__.py": "from low.a import x\n", "low/b.py": "from low import x\n"},
            {"low", "low.a", "low.b"},
        ),
        (  # a lazy one hands on the module that the name comes from, and no other
            {
                "low/__init__.py": "",
                "low/__init__.pyi": "from .a import x as x\nfrom .d import y as y\n",
                "low/d.py": "y = 1\n",
                "low/b.py": "from low import y\n",
            },
            None,
        ),
        (
            {
                "low/__init__.py": "",
                "low/__init__.pyi": "from .a import x as x\n",
                "low/b.py": "from low import x\n",
            },
            {"low.a", "low.b"},
        ),
        (
            {
                "low/__init__.py": "",
                "low/__init__.pyi": "from .a import x as x\n",
                "low/b.py": "import low\n",
            },
            {"low", "low.a", "low.b"},
        ),
    ],
)
def test_circles_are_found(tmp_path, changed, circle):
    graph = ImportGraph(make_tree(tmp_path, SOUND | changed), ["low", "high"], ["script"])
    found = graph.circle()
    assert (found and set(found)) == circle
    if found:
        assert found[0] == found[-1]
        edges = {(edge.importer, edge.imported) for edge in graph.edges}
        ring = set(itertools.pairwise(found))
        assert ring - edges <= {("low", "low.a")}  # what a lazy package offers


@pytest.mark.parametrize(
    ("changed", "upward"),
    [
        ({}, []),
        ({"low/b.py": "def f():\n    import high.c\n"}, ["low.b:2 -> high.c"]),
        ({"low/b.py": "\nfrom high import c\n"}, ["low.b:2 -> high.c"]),
        ({"low/b.py": "from high.c import a\n"}, ["low.b:1 -> high.c"]),
        ({"high/top/x.py": "import high.c\n"}, []),
        (
            {"high/top/x.py": "", "high/c.py": "from high.top.x import y\n"},
            ["high.c:1 -> high.top.x"],
        ),
        ({"high/c.py": "import script\n"}, ["high.c:1 -> script"]),
    ],
)
def test_imports_that_run_up_are_found(tmp_path, changed, upward):
    graph = ImportGraph(make_tree(tmp_path, SOUND | changed), ["low", "high"], ["script"])
    found = graph.upward([["low"], ["high"], ["high.top"], ["script"]])
    assert [str(edge) for edge in found] == upward

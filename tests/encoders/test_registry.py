"""Names of parts: tables, decorators, entry points, places."""

from __future__ import annotations

import subprocess
import sys

import pytest

from encoders.support.registry import Registry

BUILTIN = {"ordered": "collections:OrderedDict"}


@pytest.fixture
def table():
    return Registry("thing", "tests.things", BUILTIN)


def test_a_name_of_the_table_is_imported_when_it_is_used(table):
    import collections

    assert "ordered" in table
    assert table.resolve("ordered") is collections.OrderedDict


def test_a_decorator_adds_a_name(table):
    @table.register
    class SomeThing:
        pass

    @table.register(name="other")
    def some_function():
        pass

    @table.register
    class Named:
        name = "its-own"

    assert table.names() == ["ordered", "SomeThing", "other", "its-own"]
    assert table.resolve("other") is some_function
    assert table.resolve("its-own") is Named


def test_a_place_is_imported(table):
    import fractions

    assert table.knows("fractions:Fraction")
    assert table.resolve("fractions:Fraction") is fractions.Fraction


@pytest.mark.parametrize("place", ["no_such_module:x", "fractions:NoSuch", "a b:c"])
def test_a_place_that_is_none_is_named(table, place):
    with pytest.raises(ValueError, match=r"cannot be imported .*expected package.module:name"):
        table.resolve(place)


def test_an_unknown_name_gets_the_nearest(table):
    with pytest.raises(ValueError, match=r"no thing 'orderd' \(did you mean 'ordered'\?\)"):
        table.resolve("orderd")


def test_a_name_belongs_to_one_part(table):
    def first():
        pass

    table.register(first, name="taken")
    table.register(first, name="taken")  # a module that is imported again
    with pytest.raises(ValueError, match="there is a thing 'taken' already"):
        table.register(len, name="taken")
    with pytest.raises(ValueError, match="there is a thing 'ordered' already"):
        table.register(len, name="ordered")
    with pytest.raises(ValueError, match="without a colon"):
        table.register(len, name="a:b")


def test_an_installed_package_adds_its_parts(tmp_path):
    (tmp_path / "extra_things.py").write_text("class Extra: pass\n")
    package = tmp_path / "extra-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[tests.things]\nextra = extra_things:Extra\n")
    script = (
        "from encoders.support.registry import Registry\n"
        "table = Registry('thing', 'tests.things')\n"
        "print(table.names(), table.resolve('extra').__name__)"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(tmp_path), '.']!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["['extra']", "Extra"]

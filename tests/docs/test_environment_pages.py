"""The pages of the environments say what the code says."""

import importlib.util
import inspect
import re
import shutil
from pathlib import Path

import pytest

import ave_env
from ave_env.registration import ENVIRONMENTS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def generator(tmp_path, monkeypatch):
    """The script, made to work on a copy of the pages."""
    path = DOCS / "generate_environment_pages.py"
    specification = importlib.util.spec_from_file_location("generate_environment_pages", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    shutil.copytree(module.FOLDER, tmp_path / "environments")
    monkeypatch.setattr(module, "FOLDER", tmp_path / "environments")
    return module


def check(generator):
    with pytest.raises(SystemExit) as exit_:
        generator.main(["--check"])
    return exit_.value.code


def test_the_pages_are_those_of_this_code(generator):
    assert check(generator) == 0, "run python docs/generate_environment_pages.py"


@pytest.mark.parametrize("damage", ["old", "missing", "left over"])
def test_a_page_that_is_not_is_found_and_written_again(generator, damage, capsys):
    page = generator.FOLDER / ("AVE-Gone-v0.md" if damage == "left over" else "AVE-SUN360-v0.md")
    if damage == "missing":
        page.unlink()
    else:
        page.write_text("# Something else\n")
    assert check(generator) == 1
    assert str(page) in capsys.readouterr().out
    generator.main([])
    assert check(generator) == int(damage == "left over"), "only its owner deletes a file"


@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_a_page_has_the_headings_of_cartpole_and_its_own_defaults(env_id):
    from gymnasium.envs.classic_control import CartPoleEnv

    page = (DOCS / "environments" / f"{env_id}.md").read_text()
    headings = re.findall(r"^## (.*?)\s*$", page, flags=re.MULTILINE)
    model = re.findall(r"^## (.*?)\s*$", inspect.getdoc(CartPoleEnv), flags=re.MULTILINE)
    assert [heading for heading in headings if heading in model] == model
    defaults = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", page, flags=re.MULTILINE))
    settings = ave_env.registration.configure(env_id)
    assert defaults["scenes"] == f'"{settings.scenes}"'
    assert defaults["image_size"] == str(settings.image_size)
    assert defaults["num_glimpses"] == str(settings.num_glimpses)
    assert f"`Discrete({settings.make_sensor().num_actions})`" in page

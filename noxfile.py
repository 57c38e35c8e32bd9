"""The tests under every supported version of Python, and with the oldest Gymnasium.

    nox                            # Python 3.11, 3.12 and 3.13, each with the newest Gymnasium
    nox -s minimal -- tests        # Python 3.11 with Gymnasium 1.2.2, all tests
    nox -s minimal --no-venv       # in the environment that is active: what `.ci/run` does

Versions of Python that are not on the path are passed over.
"""

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["tests"]
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.11", "3.12", "3.13"]
OLDEST_GYMNASIUM = "1.2.2"  # which Ray RLlib pins

# Tests of what Gymnasium sees of this package, and this package of Gymnasium.
WITH_GYMNASIUM = (
    "tests/ave_env/test_env.py",
    "tests/ave_env/test_vector.py",
    "tests/ave_env/test_wrappers.py",
    "tests/ave_env/test_observer.py",
    "tests/ave_env/test_golden.py",
    "tests/agents/test_agents.py",
    "tests/agents/test_ppo.py",
    "tests/docs/test_examples.py",
)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests, or those named after `--`, with the newest of everything."""
    session.run_install("python", "-m", "pip", "install", "--quiet", "-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[0])
def minimal(session: nox.Session) -> None:
    """Those tests that meet Gymnasium, or those named after `--`, with the oldest Gymnasium."""
    oldest = f"gymnasium=={OLDEST_GYMNASIUM}"
    session.run_install("python", "-m", "pip", "install", "--quiet", "-e", ".[test]", oldest)
    check = f"import gymnasium; assert gymnasium.__version__ == {OLDEST_GYMNASIUM!r}"
    session.run("python", "-c", check)
    session.run("python", "-m", "pytest", *(session.posargs or WITH_GYMNASIUM))

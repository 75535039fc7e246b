"""The rooms and the arrows between them: who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "autoload"

# Room -> what it may import at the top of a file. A room is a folder or a file of the package; every room may import
# itself. Imports inside functions may go further (below), since they neither cost at start nor close a circle.
MAY: dict[str, str] = {
    "errors": "",
    "bridge": "",
    "config": "errors",
    "configs": "errors config",
    "registry": "errors config",
    "keys": "errors",
    "commit": "errors hub",
    "hub": "errors",
    "hubcache": "errors",
    "download": "errors hubcache",
    "repository": "errors hub hubcache",
    "lock": "errors hub",
    "text": "bridge errors hub",
    "audio": "bridge errors hub",
    "processing": "bridge errors hub audio",
    "decision": "errors hub",
    "transcripts": "errors audio processing",
    "diarization": "errors processing transcripts",
    "speech_prompts": "errors audio processing",
    "layers": "bridge errors config torch",
    "losses": "errors torch",
    "outputs": "bridge torch",
    "signatures": "",
    "notebook": "",
    "generation": "errors config hub layers outputs torch",
    "adapters": "errors hub",
    "model": "adapters bridge signatures errors config keys layers losses outputs generation torch",
    "heads": "errors config layers losses outputs generation model torch",
    "models": "errors config decision keys layers losses outputs generation model heads torch",
    "saving": "commit errors config keys torch",
    "tensorfile": "errors hub torch",
    "weights": "errors hub tensorfile torch",
    "skeleton": "errors config keys model weights torch",
    "loading": "errors config keys model notebook skeleton weights torch",
    "placement": "errors torch",
    "quantization": "errors torch",
    "sharding": "errors torch",
    "auto": "bridge errors config registry hub",
    "sentence": "errors hub torch",
    "compat": "",
    "cli": "errors registry hub",
    "__main__": "cli",
    "__init__": "",
}
# What imports inside functions may add.
LATER: dict[str, str] = {
    "config": "auto commit registry saving hub notebook torch",  # from_pretrained and save_pretrained; `dtype` gives a torch.dtype
    "keys": "torch",  # where tensors are joined or cut
    "hub": "repository lock",  # only for what is no directory, and under a lock file
    "repository": "download",  # only for what is not cached
    "text": "auto commit repository registry config configs notebook torch",  # torch for return_tensors="pt"
    "audio": "commit text notebook torch",  # the writing of files; torch for return_tensors="pt"
    "processing": "audio commit text notebook",
    "transcripts": "torch",  # numbers of languages
    "generation": "auto commit hub saving registry config text",  # names of languages
    "models": "auto registry",  # of models that hold others
    "skeleton": "sharding",
    "decision": "commit",
    "saving": "adapters repository sharding",
    "adapters": "loading weights",
    "model": "auto saving loading skeleton notebook",  # from_pretrained and save_pretrained
    "auto": "adapters loading skeleton weights placement quantization generation torch",
    "sentence": "auto text weights",
    "compat": "errors hub model layers torch",
    "lock": "commit",
    "cli": "auto loading skeleton weights lock tensorfile",
}
WITHOUT_TORCH = (
    "bridge",
    "errors",
    "configs",
    "registry",
    "hub",
    "hubcache",
    "download",
    "repository",
    "lock",
)  # in functions neither
HUB_CLIENTS = {"repository", "download", "hubcache", "saving", "text/saving"}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether it does so at the top; not what is for type checkers alone."""

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                module = child.module or ""
                names = [alias.name for alias in child.names]
                yield from ((f"autoload.{name}", top) for name in names) if module == "autoload" else [(module, top)]
            yield from walk(child, top and not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def target(module: str) -> str | None:
    """The room that a module is in, or "torch"; None for others."""
    parts = module.split(".")
    if parts[0] == "torch":
        return "torch"
    if parts[0] != "autoload":
        return None
    name = parts[1] if len(parts) > 1 else "__init__"
    return name if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file() else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows(path: Path) -> None:
    here = room(path)
    assert here in MAY, f"a new room, {here}: say in MAY what it may import"
    at_top, later = {*MAY[here].split(), here}, {*MAY[here].split(), *LATER.get(here, "").split(), here, "__init__"}
    for module, top in imports(path):
        if (to := target(module)) is not None and here != "__init__":
            allowed = at_top if top else later
            assert to in allowed, f"{here} imports {module}"
        assert module.split(".")[0] != "transformers"
        if module.split(".")[0] == "huggingface_hub":
            assert path.relative_to(PACKAGE).with_suffix("").as_posix() in HUB_CLIENTS
        if to == "torch":
            assert here not in WITHOUT_TORCH


def test_arrows_go_one_way() -> None:
    assert set(TopologicalSorter({here: others.split() for here, others in MAY.items()}).static_order()) >= {*MAY}


def test_nobody_imports_a_family() -> None:
    """The registry imports the one that is needed, by name; families may share layers among themselves."""
    for path in FILES:
        if room(path) != "models":
            assert not [module for module, _ in imports(path) if module.startswith("autoload.models")], path


def test_rooms_have_a_subject() -> None:
    vague = {"utils", "util", "common", "misc", "helpers", "tools"}
    assert not [path for path in FILES if path.stem in vague or path.parent.name in vague]


def test_no_row_of_the_table_is_out_of_date() -> None:
    rooms = {room(path) for path in FILES}
    assert {*MAY, *LATER, *WITHOUT_TORCH} <= rooms
    named = {word for words in (*MAY.values(), *LATER.values()) for word in words.split()}
    assert named <= rooms | {"torch"}

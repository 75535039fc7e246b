"""The command line: `autoload inspect NAME_OR_DIRECTORY`, `autoload list` and `autoload lock NAME_OR_DIRECTORY`.

`inspect` reads config.json and the headers of the weights files: of a repository on the Hub, a few kilobytes. `lock`
writes down which commit and which content is meant, for loads with `lock=`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoload import registry
from autoload.errors import AutoloadError, CorruptCheckpoint, TaskError, did_you_mean, reading
from autoload.hub import Files, confined, open_files, read_json

if TYPE_CHECKING:
    from autoload.loading import LoadingReport

SHOWN = 8  # names in a list of parameters; --all shows the rest
Header = dict[str, tuple[tuple[int, ...], Any]]  # name -> shape, dtype


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where a model cannot be read, or its weights do not fit."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except AutoloadError as e:
        print(f"autoload: {e}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    from autoload import __version__

    parser = argparse.ArgumentParser(prog="autoload", description="What there is to load, and what is in a checkpoint.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="the model types, and the tasks of each")
    listing.add_argument("--task", help="only types with this task: CausalLM, or AutoModelForCausalLM")
    listing.set_defaults(run=_list)
    inspect = commands.add_parser("inspect", help="what a checkpoint holds; its weights are not loaded")
    inspect.add_argument("model", help="a directory, or the name of a repository on the Hub")
    inspect.add_argument("--task", help="load it for this task; by default for what it was saved as")
    inspect.add_argument("--revision", help="branch, tag or commit of the repository")
    inspect.add_argument("--subfolder", default="", help="folder inside it")
    inspect.add_argument("--variant", help="look at model.VARIANT.safetensors")
    inspect.add_argument("--all", action="store_true", help="name every parameter that is missing or left over")
    inspect.set_defaults(run=_inspect)
    lock = commands.add_parser("lock", help="write autoload.lock: commit of each repository, sha256 of each file")
    lock.add_argument("models", nargs="+", metavar="MODEL", help="directories, or names of repositories on the Hub")
    lock.add_argument("--revision", help="branch, tag or commit of the repositories; by default main")
    lock.add_argument("--output", default="autoload.lock", help="the file; its rows for other models are kept")
    lock.set_defaults(run=_lock)
    return parser


def _lock(options: argparse.Namespace) -> int:
    from autoload.lock import lock_row, read_lock, row_name, write_lock

    path = Path(options.output).absolute()
    rows = read_lock(path) if path.exists() else {}
    for model in options.models:
        files = open_files(model, revision=options.revision, lock=False)
        row = lock_row(files, options.revision)
        rows[row_name(path, model, files)] = row
        print(f"{files.where}: {row['commit'] or 'a directory'}, {len(row['files'])} files")
    write_lock(path, rows)
    return 0


def _task(name: str) -> str:
    """The task that a user means: CausalLM, ForCausalLM or AutoModelForCausalLM."""
    short = name.removeprefix("AutoModel").removeprefix("Auto").removeprefix("For") or "Model"
    if short not in registry.TASKS:
        raise TaskError(f"no task is called {name!r}{did_you_mean(short, registry.TASKS)}", task=name, available=[])
    return short


def _list(options: argparse.Namespace) -> int:
    task = None if options.task is None else _task(options.task)
    rows = {t: registry.tasks_of(t) for t in sorted(registry.MODELS)}
    rows = {t: tasks for t, tasks in rows.items() if task is None or task in tasks}
    width = max(map(len, rows), default=0)
    for model_type, tasks in rows.items():
        print(f"{model_type:{width}}  {registry.class_name(model_type, tasks[task]) if task else ' '.join(tasks)}")
    if not rows:
        print(f"No model type has a head for {task} yet.", file=sys.stderr)
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from autoload.auto import load_config

    files = open_files(options.model, revision=options.revision, subfolder=options.subfolder)
    config = load_config(options.model, files=files)
    header, used = _headers(files, options.variant)
    tasks = _tasks_of(config)
    task = _task(options.task) if options.task else _saved_as(config, tasks)
    cls = registry.class_for(config, task)
    report, parameters = _compare(cls, config, {name: shape for name, (shape, _) in header.items()})
    limit = None if options.all else SHOWN
    sizes = files.sizes()
    rows = {
        "model": files.where + (f" at {files.commit}" if files.commit else ""),
        "type": config.model_type,
        "saved as": ", ".join(getattr(config, "architectures", None) or ["(not said)"]),
        "loads as": f"{cls.__name__} ({registry.auto_class_name(task)})",
        "tasks": ", ".join(registry.auto_class_name(t) for t in tasks),
        "parameters": f"{parameters:,}",
        "stored": _stored(header),
        "missing": _names(report.missing, limit),
        "left over": _names(report.unexpected, limit),
        "shape differs": _names((f"{n} {list(f)}, expected {list(e)}" for n, f, e in report.mismatched), limit),
    }
    for label, value in rows.items():
        print(f"{label:13}  {value}")
    print("files")
    for name, size in sizes.items():
        print(f"  {_bytes(size):>9}  {name}{'  (weights)' if name in used else ''}")
    return 1 if report.mismatched or not report.sources else 0


def _tasks_of(config: Any) -> list[str]:
    """Tasks that the configuration's type has, the registered ones included."""
    found = []
    for task in registry.TASKS:
        try:
            registry.class_for(config, task)
        except TaskError:
            continue
        found.append(task)
    return found


def _saved_as(config: Any, tasks: list[str]) -> str:
    """The task of the class that `architectures` names; without one, the model without a head."""
    wanted = getattr(config, "architectures", None) or []
    for task in tasks:
        if registry.class_for(config, task).__name__ in wanted:
            return task
    return "Model" if "Model" in tasks or not tasks else tasks[0]


def _compare(cls: type, config: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[LoadingReport, int]:
    """What a load would find, and the number of parameters; tied ones count once."""
    from autoload.loading import compare
    from autoload.skeleton import build_skeleton

    model = build_skeleton(cls, config, tensors=len(shapes))
    report = compare(model, shapes)
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    return report, sum(p.numel() for p in model.parameters())


def _headers(files: Files, variant: str | None) -> tuple[Header, list[str]]:
    """Shape and dtype of every tensor, and the files that hold them; safetensors come before pickles."""
    from autoload.tensorfile import parse_header
    from autoload.weights import read_pickle

    dot = f".{variant}" if variant else ""
    present = files.sizes()
    shards: list[str] = []
    for kind, index in ((f"model{dot}.safetensors", f"model.safetensors.index{dot}.json"),
                        (f"pytorch_model{dot}.bin", f"pytorch_model.bin.index{dot}.json")):  # fmt: skip
        if kind in present:
            shards = [kind]
        elif index in present:
            shards = _shards(files, index)
        if shards:
            break
    if not shards or (absent := [name for name in shards if name not in present]):
        raise files.missing(absent if shards else [f"model{dot}.safetensors"], "the weights")
    header: Header = {}
    for name in shards:
        where = f"{files.where}/{name}"
        if name.endswith(".safetensors"):
            size = present[name]
            with reading(where, "weights file", CorruptCheckpoint):
                if size is None:  # a listing without sizes
                    size = files.require(name).stat().st_size
                rows = parse_header(lambda count, name=name: files.first(name, count), size, where)
                header |= {key: (row.shape, row.dtype) for key, row in rows.items()}
        else:  # a pickle has no header: it is downloaded, and mapped into memory
            header |= {key: (tuple(t.shape), t.dtype) for key, t in read_pickle(files.require(name)).items()}
    return header, shards


def _shards(files: Files, index: str) -> list[str]:
    content = read_json(path := files.require(index))
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise CorruptCheckpoint(f"{path}: weight_map must map names of tensors to files.", path=str(path))
    return sorted({confined(name, str(path)) for name in weight_map.values()})


def _stored(header: Header) -> str:
    tensors, size = Counter(), Counter()
    for shape, dtype in header.values():
        name = str(dtype).removeprefix("torch.")
        tensors[name] += 1
        size[name] += math.prod(shape) * dtype.itemsize
    parts = (f"{tensors[name]} x {name} ({_bytes(size[name])})" for name, _ in tensors.most_common())
    return ", ".join(parts) or "nothing"


def _names(names: Iterable[str], limit: int | None) -> str:
    all_names = list(names)
    shown = ", ".join(all_names[:limit]) or "nothing"
    return shown + (f" and {len(all_names) - limit} more" if limit and len(all_names) > limit else "")


def _bytes(size: int | None) -> str:
    if size is None:
        return "?"
    if size < 1000:
        return f"{size} B"
    power = min(int(math.log(size, 1000)), 4)
    return f"{size / 1000**power:.3g} {' kMGT'[power]}B"

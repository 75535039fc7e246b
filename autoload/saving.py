"""From a model to files: whole or not at all, readable by the reference, durable, with the permissions of the umask."""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoload.errors import ArgumentError, FileError, WeightsError
from autoload.hub import JOURNAL, read_journal

if TYPE_CHECKING:
    from torch import Tensor

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def output_directory(path: str | os.PathLike) -> Path:
    """The directory, made if need be.

    Raises:
        FileError: there is a file of that name, or the directory cannot be made.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder}: this is a file, expected a directory to save into.", path=str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise FileError(f"{folder}: the directory cannot be made: {e.strerror}.", path=str(folder)) from e
    _finish(folder)  # what an earlier save has begun
    return folder


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step."""
    staged = stage(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    os.replace(staged, path)
    _sync_directory(path.parent)


def stage(path: Path, write: Any) -> Path:
    """Write beside `path` under a name of its own, durably; the caller renames it. Nothing stays behind on failure."""
    temporary = path.with_name(f".{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp.{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
    except BaseException as e:
        temporary.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise FileError(f"{path}: cannot be written: {e.strerror or e}.", path=str(path)) from e
        if type(e).__name__ == "SafetensorError":
            raise FileError(f"{path}: cannot be written: {e}.", path=str(path)) from e
        raise
    return temporary


def save_model(
    model: Any,
    save_directory: str | os.PathLike,
    *,
    is_main_process: bool = True,
    state_dict: Mapping[str, Tensor] | None = None,
    push_to_hub: bool = False,
    max_shard_size: int | str = "50GB",
    variant: str | None = None,
    token: str | bool | None = None,
    save_peft_format: bool = True,
    save_original_format: bool = True,
    **hub: Any,
) -> None:
    """Write config.json, generation_config.json and the weights; of a model with an adapter, the adapter alone.

    Every file is first written beside its place. Then a journal says which those are: from that moment on the directory
    loads as the new model, before as the old one. Then all are renamed, and what an earlier save left is removed.

    Args:
        model: to save.
        save_directory: made if need be.
        is_main_process: False writes nothing.
        state_dict: tensors to write in place of the model's.
        push_to_hub: upload the directory afterwards; `repo_id`, `commit_message`, `private` and more go to the Hub.
        max_shard_size: bytes, or a text such as "5GB".
        variant: `model.<variant>.safetensors`.
        token: for the upload.
        save_peft_format: of an adapter, give names the prefix that they have in a `PeftModel`.
        save_original_format: write the Hub's parameter names; False keeps ours.
    """
    from autoload.keys import unmatch

    adapted = model._hf_peft_config_loaded
    if model.is_quantized and state_dict is None and not adapted:
        raise WeightsError("save_pretrained: quantized weights are not saved. Save the model that they were made of.")
    spread = getattr(model, "_device_mesh", None) is not None or any(
        hasattr(p, "placements") for p in model.parameters()
    )
    if spread:  # over several processes: each gives its part, one writes
        from autoload import sharding

        state_dict = sharding.whole(dict(state_dict) if state_dict is not None else model.state_dict())
        is_main_process = is_main_process and sharding.is_first()
    folder = output_directory(save_directory)
    if is_main_process:
        model.config.architectures = [type(model).__name__]
        model.config.dtype = str(model.dtype)
        if adapted:
            from autoload.adapters import written

            texts, state = written(model, state_dict, save_peft_format)
        else:
            state = _without_ties(model, dict(state_dict) if state_dict is not None else model.state_dict())
            if save_original_format:
                state = unmatch(state, model.variant.keys)
            texts = {"config.json": model.config.to_json_string()}
        if model.can_generate() and model.generation_config is not None:
            texts["generation_config.json"] = model.generation_config.to_json_string()
        _clear_away(folder)
        stem = "adapter_model" if adapted else "model"
        _replace_all(folder, texts, state, _size(max_shard_size), f".{variant}" if variant else "", stem)
    if spread:
        sharding.wait()
        push_to_hub = push_to_hub and is_main_process
    if push_to_hub:
        upload(folder, token=token, **hub)


def _replace_all(
    folder: Path, texts: dict[str, str], state: dict[str, Any], limit: int, dot: str, stem: str = "model"
) -> None:
    from safetensors.torch import save_file

    shards = _shards(state, limit)
    index_name, staged = f"{stem}.safetensors.index{dot}.json", []
    if len(shards) == 1:
        names = [f"{stem}{dot}.safetensors"]
    else:  # names of their own, so that the shards of an earlier save stay whole until the index is replaced
        save, n = secrets.token_hex(4), len(shards)
        names = [f"{stem}{dot}-{save}-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]
        total = sum(t.nbytes for t in state.values())
        metadata = {"total_parameters": sum(t.numel() for t in state.values()), "total_size": total}
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n"
    try:
        for name, shard in zip(names, shards, strict=True):
            tensors = {key: _own_memory(tensor) for key, tensor in shard.items()}
            path = folder / name
            staged.append((stage(path, lambda to, t=tensors: save_file(t, to, metadata={"format": "pt"})), path))
        for name, text in texts.items():
            path = folder / name
            staged.append((stage(path, lambda to, t=text: to.write_text(t, encoding="utf-8")), path))
        if len(shards) > 1:
            path = folder / index_name
            staged.append((stage(path, lambda to: to.write_text(index, encoding="utf-8")), path))
        moves = {path.name: temporary.name for temporary, path in staged}
        removed = [name for name in _older_weights(folder, dot, stem) if name not in moves]
        content = json.dumps({"moves": moves, "removed": removed}, indent=1)
        journal = stage(folder / JOURNAL, lambda to: to.write_text(content, encoding="utf-8"))
        staged.append((journal, folder / JOURNAL))
        os.replace(journal, folder / JOURNAL)  # the commit
    except BaseException:
        if not os.path.lexists(folder / JOURNAL):
            for temporary, _ in staged:
                temporary.unlink(missing_ok=True)
        raise
    _sync_directory(folder)
    _finish(folder)


def _finish(folder: Path) -> None:
    """Do what the journal of a committed save says."""
    if not os.path.lexists(folder / JOURNAL):
        return
    journal = read_journal(folder)
    try:
        for name, staged in journal.moves.items():
            with suppress(FileNotFoundError):  # done already
                os.replace(folder / staged, folder / name)
        for name in journal.removed:
            (folder / name).unlink(missing_ok=True)
        _sync_directory(folder)
        (folder / JOURNAL).unlink(missing_ok=True)
    except OSError as e:
        remedy = "Its new model is complete and loads; save again to tidy up."
        raise FileError(
            f"{folder}: files cannot be put in place: {e.strerror}.", path=str(folder), remedy=remedy
        ) from e


def _clear_away(folder: Path) -> None:
    """Remove what killed processes of this machine had written when they were killed."""
    pattern = re.compile(rf"\.{_host()}-(\d+)-[0-9a-f]{{8}}\.tmp\..+")
    for path in folder.iterdir():
        if (match := pattern.fullmatch(path.name)) and not _alive(int(match[1])):
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # where there is no question without consequences
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _host() -> str:
    """Eight digits for this machine: on a shared disk, other machines' processes have numbers too."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _older_weights(folder: Path, dot: str, stem: str) -> list[str]:
    """Weights files of the same variant: what an earlier save wrote."""
    tag = re.escape(dot)
    shard = r"(-[0-9a-f]{8})?-\d{5}-of-\d{5}"
    pattern = re.compile(rf"{stem}({tag}|{tag}{shard}|{shard}{tag})\.safetensors|{stem}\.safetensors\.index{tag}\.json")
    return [path.name for path in folder.iterdir() if pattern.fullmatch(path.name)]


def _shards(state: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Consecutive tensors, as many as fit; a larger tensor has a shard to itself."""
    shards: list[dict[str, Any]] = [{}]
    size = 0
    for name, tensor in state.items():
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _without_ties(model: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The state without names that repeat another tensor."""
    tied = model.tied_weights
    out, seen = {}, {}
    for name, tensor in state.items():
        if (name in tied and tied[name] in state) or name.endswith(model.unsaved):
            continue
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride()) if tensor.device.type != "meta" else (name,)
        if key in seen and tensor.numel():
            continue
        seen[key] = name
        out[name] = tensor
    return out


def _own_memory(tensor: Any) -> Any:
    """A plain contiguous tensor on the CPU that shares memory with no other."""
    tensor = tensor.detach().to("cpu").contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _size(limit: int | str) -> int:
    if isinstance(limit, int) and limit > 0:
        return limit
    match = re.fullmatch(r"\s*([\d.]+)\s*([KMGT]i?B)\s*", str(limit), re.IGNORECASE)
    if match is None:
        raise ArgumentError(
            f"max_shard_size is {limit!r}, expected bytes or a text such as '5GB'.", name="max_shard_size"
        )
    return int(float(match[1]) * UNITS[match[2].upper()])


def _umask() -> int:
    """The umask of this process, read without setting it where the system tells."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022


def _sync_directory(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def upload(
    folder: str | Path,
    *,
    repo_id: str | None = None,
    commit_message: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    **unknown: Any,
) -> str:
    """Upload a directory to the Hub as one commit; returns the commit's address.

    Raises:
        ArgumentError: an argument that this does not know.
    """
    from autoload.errors import unknown_argument

    for name in unknown:
        raise unknown_argument(
            "push_to_hub", name, ("repo_id", "commit_message", "private", "token", "revision", "create_pr")
        )
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    name = repo_id or Path(folder).name
    repo = api.create_repo(name, private=private, exist_ok=True).repo_id
    message = commit_message or "Upload model"
    commit = api.upload_folder(
        repo_id=repo, folder_path=os.fspath(folder), commit_message=message, revision=revision, create_pr=create_pr
    )
    from autoload.repository import forget

    forget(repo)
    return commit.commit_url

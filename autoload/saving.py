"""From a model to files, all of them or none, readable by the reference."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoload.commit import Content, output_directory, replace
from autoload.errors import ArgumentError, WeightsError

if TYPE_CHECKING:
    from torch import Tensor

UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


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
    """Write config.json, generation_config.json and the weights, as one; weights that an earlier save left are removed.

    Of a model with an adapter the adapter alone is written.

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
        texts: dict[str, Content] = {}
        if adapted:
            from autoload.adapters import written

            own, state = written(model, state_dict, save_peft_format)
            texts |= own
        else:
            state = _without_ties(model, dict(state_dict) if state_dict is not None else model.state_dict())
            if save_original_format:
                state = unmatch(state, model.variant.keys)
            texts |= {"config.json": model.config.to_json_string(), **model.further_texts()}
        if model.can_generate() and model.generation_config is not None:
            texts["generation_config.json"] = model.generation_config.to_json_string()
        stem = "adapter_model" if adapted else "model"
        files = _weights(state, _size(max_shard_size), variant, stem)
        replace(folder, {**files, **texts}, _older_weights(folder, variant, stem))
    if spread:
        sharding.wait()
        push_to_hub = push_to_hub and is_main_process
    if push_to_hub:
        upload(folder, token=token, **hub)


def _weights(state: dict[str, Any], limit: int, variant: str | None, stem: str) -> dict[str, Content]:
    """The files that hold the tensors, by name."""
    from safetensors.torch import save_file

    shards = _shards(state, limit)
    dot, save, n = f".{variant}" if variant else "", secrets.token_hex(4), len(shards)
    # names of their own, so that the shards of an earlier save stay whole until the index is replaced
    names = [f"{stem}{dot}-{save}-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]
    names = names if n > 1 else [f"{stem}{dot}.safetensors"]

    def writer(shard: dict[str, Any]) -> Callable[[Path], object]:
        return lambda to: save_file({k: _own_memory(t) for k, t in shard.items()}, to, metadata={"format": "pt"})

    files: dict[str, Content] = {name: writer(shard) for name, shard in zip(names, shards, strict=True)}
    if n > 1:
        total = sum(t.nbytes for t in state.values())
        metadata = {"total_parameters": sum(t.numel() for t in state.values()), "total_size": total}
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = json.dumps({"metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True) + "\n"
        files[f"{stem}.safetensors.index{dot}.json"] = index
    return files


def _older_weights(folder: Path, variant: str | None, stem: str) -> list[str]:
    """Weights files of the same variant: what an earlier save wrote."""
    tag = re.escape(f".{variant}" if variant else "")
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

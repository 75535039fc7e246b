"""Sentence embeddings: one vector for a text, from a sentence-transformers repository or from any text encoder.

Such a repository lists its parts in `modules.json`: the encoder, a pooling over tokens, dense layers, a normalisation
(Reimers and Gurevych 2019, arXiv:1908.10084).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError, CorruptFile, unknown_argument
from autoload.hub import Files, confined, open_files

if TYPE_CHECKING:
    import numpy as np

HUB = ("cache_dir", "force_download", "local_files_only", "lock", "proxies", "revision", "token")
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")  # joined in this order
# A fixed list: text of a file names no code to import.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "Tanh": nn.Tanh,
    "Identity": nn.Identity,
    "ReLU": nn.ReLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
}
MOST = 2**31  # tokens of a text
LONG = 20  # batches from which on progress is shown


class Pooling(nn.Module):
    """One vector from the vectors of the tokens; several modes are joined."""

    def __init__(self, modes: Sequence[str] = ("mean",), include_prompt: bool = True):
        super().__init__()
        for mode in modes:
            if mode not in MODES:
                raise ConfigError("pooling_mode", mode, f"one of {', '.join(MODES)}", where="pooling")
        self.modes, self.include_prompt = tuple(modes), include_prompt

    def forward(self, x: Tensor, mask: Tensor, prompt_length: int = 0) -> Tensor:
        """x (batch, seq, dim), mask (batch, seq) to (batch, modes * dim)."""
        first = mask.int().argmax(1)  # (batch,), where padding on the left ends
        position = torch.arange(x.shape[1], device=x.device) - first[:, None]  # (batch, seq)
        if prompt_length and not self.include_prompt:
            mask = mask * (position >= prompt_length)
        return torch.cat([self.pool(mode, x, mask, position) for mode in self.modes], -1)

    def pool(self, mode: str, x: Tensor, mask: Tensor, position: Tensor) -> Tensor:
        """The vector of one mode: (batch, dim)."""
        if mode == "cls":
            return x.take_along_dim(mask.int().argmax(1)[:, None, None], 1).squeeze(1)
        if mode == "lasttoken":
            last = (mask * torch.arange(1, mask.shape[1] + 1, device=x.device)).argmax(1)
            return x.take_along_dim(last[:, None, None], 1).squeeze(1)
        if mode == "max":
            return x.masked_fill(mask[..., None] == 0, float("-inf")).amax(1)
        weights = (mask * (position + 1) if mode == "weightedmean" else mask).float()  # (batch, seq)
        total = (x.float() * weights[..., None]).sum(1)
        count = weights.sum(1, keepdim=True).clamp(min=1e-9)
        return (total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)).to(x.dtype)


class Dense(nn.Module):
    """A linear layer and an activation."""

    def __init__(self, in_features: int, out_features: int, bias: bool, activation: str):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias)
        self.activation = ACTIVATIONS[activation.rpartition(".")[2]]()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(x))


class SentenceEmbedding(nn.Module):
    """An encoder, its tokenizer, and the way from tokens to one vector."""

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        pooling: Pooling,
        layers: Iterable[nn.Module] = (),
        normalize: bool = False,
        max_length: int | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
    ):
        super().__init__()
        self.encoder, self.tokenizer, self.pooling = encoder, tokenizer, pooling
        self.layers = nn.ModuleList(layers)
        self.normalize, self.max_length = normalize, max_length
        self.prompts, self.default_prompt_name = dict(prompts or {}), default_prompt_name

    @property
    def device(self) -> torch.device:
        return self.encoder.device

    def forward(self, features: Mapping[str, Tensor], prompt_length: int = 0) -> Tensor:
        """Vectors (batch, dim) of tokenized texts (`input_ids`, `attention_mask` ...)."""
        x = self.encoder(**features).last_hidden_state
        x = self.pooling(x, features["attention_mask"], prompt_length)
        for layer in self.layers:
            x = layer(x)
        return F.normalize(x, dim=-1) if self.normalize else x

    @torch.inference_mode()
    def encode(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 32,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize: bool | None = None,
        convert_to: Literal["numpy", "torch", "list"] = "numpy",
        show_progress: bool | None = None,
    ) -> np.ndarray | Tensor | list[list[float]]:
        """Vectors of texts; long and short ones go into batches of their own kind.

        Args:
            texts: one text, or several.
            batch_size: texts at a time.
            prompt_name: which of `prompts` is put before each text.
            prompt: what is put before each text.
            normalize: to length one; None does what the repository says.
            convert_to: "numpy" or "torch", fp32; or "list".
            show_progress: a bar; None shows one for long work.

        Returns:
            (dim,) for one text, (texts, dim) for several.

        Raises:
            ArgumentError: an unknown prompt name or conversion, or texts that are no strings.
        """
        single = isinstance(texts, str)
        rows = [texts] if isinstance(texts, str) else list(texts)
        if not all(isinstance(text, str) for text in rows):
            raise ArgumentError("encode: expected a string or a list of strings.", name="texts")
        if convert_to not in ("numpy", "torch", "list"):
            raise ArgumentError(
                f"encode: convert_to is {convert_to!r}, expected 'numpy', 'torch' or 'list'.", name="convert_to"
            )
        before = self._prompt(prompt_name, prompt)
        length = self._prompt_length(before) if before and not self.pooling.include_prompt else 0
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        vectors: list[Tensor | None] = [None] * len(rows)
        for chosen in _progress([order[i : i + batch_size] for i in range(0, len(order), batch_size)], show_progress):
            features = self._tokenize([before + rows[i] for i in chosen])
            out = self(features, length)
            if normalize and not self.normalize:
                out = F.normalize(out, dim=-1)
            for i, vector in zip(chosen, out.float().cpu(), strict=True):
                vectors[i] = vector
        result = torch.stack([v for v in vectors if v is not None]) if rows else torch.empty(0, 0)
        result = result[0] if single else result
        return result if convert_to == "torch" else result.numpy() if convert_to == "numpy" else result.tolist()

    def _tokenize(self, texts: list[str]) -> dict[str, Tensor]:
        limit = dict(truncation=True, max_length=self.max_length) if self.max_length else dict(truncation=True)
        features = self.tokenizer(texts, padding=True, return_tensors="pt", **limit)
        return {key: value.to(self.device) for key, value in features.items()}

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        if prompt is not None:
            return prompt
        name = name or self.default_prompt_name
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(self.prompts) or "none"
            raise ArgumentError(f"encode: there is no prompt {name!r}; there are: {known}.", name="prompt_name")
        return self.prompts[name]

    def _prompt_length(self, prompt: str) -> int:
        """Tokens of a prompt at the beginning of a text, without what closes a text."""
        ids = self.tokenizer(prompt)["input_ids"]
        return len(ids) - (ids[-1] in self.tokenizer.all_special_ids)


class AutoModelForSentenceEmbedding:
    """Loads a sentence-transformers repository, or any text encoder with a pooling."""

    def __init__(self) -> None:
        name = type(self).__name__
        raise TypeError(f"{name} is not instantiated; use {name}.from_pretrained(name_or_directory).")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *,
        pooling: str | Sequence[str] | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        dtype: Any = None,
        device: Any = None,
        quantization_config: Any = None,
        **keywords: Any,
    ) -> SentenceEmbedding:
        """A model whose `encode` gives vectors of texts.

        Args:
            pretrained_model_name_or_path: a directory or the name of a Hub repository.
            pooling: "mean", "cls", "lasttoken", "max", ...; None takes the repository's, or "mean" for a plain encoder.
            normalize: vectors of length one; None takes the repository's word, or no for a plain encoder.
            max_length: tokens of a text that are looked at; None takes the repository's.
            dtype, device, quantization_config: see `AutoModel.from_pretrained`.
            **keywords: for the Hub (`revision`, `token`, `cache_dir`, ...).

        Raises:
            FileError: files are missing or damaged, or the Hub failed.
            ConfigError: a part of the repository is of a kind that is not known here.
        """
        from autoload.auto import AUTO_CLASSES
        from autoload.text.auto import AutoTokenizer

        for name in keywords:
            if name not in HUB:
                own = ("pooling", "normalize", "max_length", "dtype", "device", "quantization_config")
                raise unknown_argument("from_pretrained", name, (*HUB, *own))
        name, files = pretrained_model_name_or_path, open_files(pretrained_model_name_or_path, **keywords)
        parts = _read_parts(files)
        if files.commit:
            keywords["revision"] = files.commit  # everything from one commit
        inside = parts["folder"]
        encoder = AUTO_CLASSES["AutoModel"].from_pretrained(  # type: ignore[attr-defined]
            name, subfolder=inside, dtype=dtype, device=device, quantization_config=quantization_config, **keywords
        )
        tokenizer = AutoTokenizer.from_pretrained(name, subfolder=inside, **keywords)
        chosen = parts["pooling"] if pooling is None else Pooling([pooling] if isinstance(pooling, str) else pooling)
        model = SentenceEmbedding(
            encoder,
            tokenizer,
            chosen,
            [layer.to(device=encoder.device, dtype=encoder.dtype) for layer in parts["layers"]],
            parts["normalize"] if normalize is None else normalize,
            max_length or parts["max_length"] or _encoder_limit(encoder, tokenizer),
            parts["prompts"],
            parts["default_prompt_name"],
        )
        files.confirm()
        return model.eval()


def _encoder_limit(encoder: Any, tokenizer: Any) -> int | None:
    """The shorter of what positions and tokenizer allow, or None where neither sets a limit."""
    config = encoder.config.get_text_config()
    limits = [getattr(config, "max_position_embeddings", None), tokenizer.model_max_length]
    found = [int(limit) for limit in limits if limit is not None and limit < 10**9]
    return min(found, default=None)


def _read_parts(files: Files) -> dict[str, Any]:
    """What `modules.json` and its folders say; of a plain encoder, mean pooling and nothing else."""
    parts: dict[str, Any] = dict(folder="", pooling=Pooling(), layers=[], normalize=False)
    for entry in _modules(files):
        kind, path = (
            str(entry.get("type", "")).rpartition(".")[2],
            confined(entry.get("path", ""), f"{files.where}: modules.json"),
        )
        if kind == "Transformer":
            parts["folder"] = path
        elif kind == "Pooling":
            parts["pooling"] = _pooling(files, path)
        elif kind == "Dense":
            parts["layers"].append(_dense(files, path))
        elif kind == "Normalize":
            parts["normalize"] = True
        elif kind != "Dropout":
            expected = "Transformer, Pooling, Dense, Normalize or Dropout"
            raise ConfigError("type", entry.get("type"), expected, where=f"{files.where}: modules.json")
    inside = f"{parts['folder']}/" if parts["folder"] else ""
    settings = _object(files, f"{inside}sentence_bert_config.json")
    general = _object(files, "config_sentence_transformers.json")
    where, length = f"{files.where}: {inside}sentence_bert_config.json", settings.get("max_seq_length")
    if length is not None and (type(length) is not int or not 1 <= length <= MOST):
        raise ConfigError("max_seq_length", length, f"a whole number from 1 to {MOST}", where=where)
    where, prompts = f"{files.where}: config_sentence_transformers.json", general.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ConfigError("prompts", prompts, "names and texts", where=where)
    named = general.get("default_prompt_name")
    if named is not None and not isinstance(named, str):
        raise ConfigError("default_prompt_name", named, "the name of a prompt", where=where)
    return parts | dict(max_length=length, prompts=prompts, default_prompt_name=named)


def _object(files: Files, name: str) -> dict[str, Any]:
    """A JSON file that holds an object; an empty one where there is no file."""
    found = files.json(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        where = f"{files.where}/{name}"
        raise CorruptFile(f"{where}: expected a JSON object, found {type(found).__name__}.", path=where)
    return found


def _modules(files: Files) -> list[dict[str, Any]]:
    modules = files.json("modules.json")
    if modules is None:
        return []
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        where = f"{files.where}: modules.json"
        raise CorruptFile(f"{where}: expected a list of objects with 'type' and 'path'.", path=where)
    for module in modules:
        if type(module.get("idx", 0)) is not int:
            raise ConfigError("idx", module["idx"], "a whole number", where=f"{files.where}: modules.json")
    return sorted(modules, key=lambda m: m.get("idx", 0))


def _pooling(files: Files, path: str) -> Pooling:
    config = _object(files, f"{path}/config.json")
    where, modes = f"{files.where}: {path}/config.json", config.get("pooling_mode")
    if modes is None:
        old = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "weightedmean": "weightedmean_tokens"}
        modes = [
            m for m in MODES if config.get(f"pooling_mode_{old.get(m, m)}") or config.get(f"pooling_mode_{m}_tokens")
        ]
        modes = ["lasttoken"] if config.get("pooling_mode_lasttoken") else modes or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) and mode in MODES for mode in modes):
        raise ConfigError("pooling_mode", modes, f"one of {', '.join(MODES)}, or several", where=where)
    if not isinstance(include := config.get("include_prompt", True), bool):
        raise ConfigError("include_prompt", include, "true or false", where=where)
    return Pooling(modes, include)


def _dense(files: Files, path: str) -> Dense:
    from autoload.weights import Weights

    config, where = _object(files, f"{path}/config.json"), f"{files.where}: {path}/config.json"
    for key in ("in_features", "out_features"):
        if type(config.get(key)) is not int or config[key] < 1:
            raise ConfigError(key, config.get(key), "a positive whole number", where=where)
    bias, activation = config.get("bias", True), config.get("activation_function", "Tanh")
    if not isinstance(bias, bool):
        raise ConfigError("bias", bias, "true or false", where=where)
    if not isinstance(activation, str) or activation.rpartition(".")[2] not in ACTIVATIONS:
        raise ConfigError("activation_function", activation, f"one of {', '.join(ACTIVATIONS)}", where=where)
    file = files.find(f"{path}/model.safetensors") or files.require(
        f"{path}/pytorch_model.bin", "a dense layer's weights"
    )
    weights = Weights([file])
    shapes = {"linear.weight": (config["out_features"], config["in_features"])}
    shapes |= {"linear.bias": (config["out_features"],)} if bias else {}
    found = {name: entry.shape for name, entry in weights.entries.items()}
    if shapes != found:  # before a layer of that size is made
        raise CorruptFile(f"{file}: holds {found}, expected {shapes}.", path=str(file))
    dense = Dense(config["in_features"], config["out_features"], bias, activation)
    dense.load_state_dict({name: weights.read(name) for name in shapes})
    return dense


def _progress(batches: list[list[int]], show: bool | None) -> Iterable[list[int]]:
    if not (len(batches) >= LONG if show is None else show):
        return batches
    from tqdm import tqdm

    return tqdm(batches, desc="Batches", disable=None if show is None else False)

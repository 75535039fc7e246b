"""One model for a thousand languages: each brings its adapters and its characters in a file of its own.

Pratap et al. 2023 (arXiv:2305.13516).
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from autoload.errors import ArgumentError, WeightsError
from autoload.model import init_module
from autoload.models.wav2vec2_heads import CTC


class MultilingualCTC(CTC):
    """Scores of the characters for each frame, in a language that can be changed.

    Args:
        config: of the model.
        target_lang: language whose file, adapter.<language>.safetensors, takes the place of what the checkpoint has.
    """

    def __init__(self, config: Any, target_lang: str | None = None):
        super().__init__(config)
        if target_lang is not None:
            self._stem(target_lang)
        self.target_lang = target_lang

    def read_further(self, files: Any) -> None:
        """The file of the language, from where the checkpoint is."""
        if self.target_lang is not None:
            from autoload.auto import load_part

            self._take(self.target_lang, load_part(files, self._stem(self.target_lang)))

    def load_adapter(
        self, target_lang: str, force_load: bool = True, use_safetensors: bool | None = None, **hub: Any
    ) -> None:
        """Change the language.

        Args:
            target_lang: of a file adapter.<language>.safetensors (or .bin) beside the checkpoint.
            force_load: False reads nothing where the model has that language.
            use_safetensors: True or False takes that format alone.
            **hub: keywords of `from_pretrained` that say how to reach the Hub.

        Raises:
            MissingFile: there is no file for that language.
            WeightsError: the file does not hold the model's adapters.
        """
        stem = self._stem(target_lang)
        if target_lang == self.target_lang and not force_load:
            return
        from autoload.auto import load_part, open_files

        files = open_files(self.config._name_or_path, purpose="model", **hub)
        self._take(target_lang, load_part(files, stem, use_safetensors))
        files.confirm()
        self.target_lang = target_lang

    def init_adapter_layers(self) -> None:
        """Begin anew with adapters and characters, to train them alone."""
        for path, module in self.named_modules():
            if ".adapter_layer." in path or module is self.lm_head:
                init_module(module, self.config.initializer_range)

    def _get_adapters(self) -> dict[str, Tensor]:
        """The parameters that a language brings."""
        named = self.named_parameters()
        return {name: p for name, p in named if ".adapter_layer." in name or name.startswith("lm_head.")}

    def _stem(self, language: str) -> str:
        if self.config.adapter_attn_dim is None:
            text = f"target_lang is {language!r}, expected None: this model has no adapters (adapter_attn_dim)."
            raise ArgumentError(text, name="target_lang")
        if not re.fullmatch(r"[\w-]+", language):
            raise ArgumentError(f"target_lang is {language!r}, expected a code such as 'eng'.", name="target_lang")
        return f"adapter.{language}"

    def _take(self, language: str, tensors: dict[str, Tensor]) -> None:
        own = self._get_adapters()
        missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        if missing or unknown:
            what = [f"lacks {', '.join(missing[:5])}"] * bool(missing) + [f"has {', '.join(unknown[:5])}"] * bool(
                unknown
            )
            text = (
                f"adapter.{language}: the file {' and '.join(what)}, expected the {len(own)} tensors of the adapters."
            )
            raise WeightsError(text, missing=missing, unexpected=unknown)
        characters = len(tensors["lm_head.weight"])
        for name, tensor in tensors.items():
            parameter = own[name]
            expected = (characters, *parameter.shape[1:]) if name.startswith("lm_head.") else (*parameter.shape,)
            if tuple(tensor.shape) != expected:
                text = f"adapter.{language}: {name} has the shape {tuple(tensor.shape)}, expected {expected}."
                raise WeightsError(text, missing=[], unexpected=[])
        for name, tensor in tensors.items():
            path, _, leaf = name.rpartition(".")
            value = tensor.to(own[name].device, own[name].dtype, copy=True)
            setattr(self.get_submodule(path), leaf, nn.Parameter(value, own[name].requires_grad))
        self.lm_head.out_features = self.config.vocab_size = characters

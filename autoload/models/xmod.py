"""X-MOD: XLM-RoBERTa with a small adapter for each language in each layer.

Pfeiffer et al. 2022 (arXiv:2205.06266).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Attention, Encoder, Layer, Model, Spec


class NormedOutput(nn.Module):
    """Projection, dropout, residual; its norm is applied by the caller, before or after."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.dropout(self.dense(x)) + residual


class XmodAttention(Attention):
    """Norm first or last."""

    output_class = NormedOutput

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.pre_norm = config.pre_norm

    def forward(self, x: Tensor, context: Context) -> Tensor:
        norm = self.output.LayerNorm
        if self.pre_norm:
            return self.output(self.self(norm(x), context), x)
        return norm(self.output(self.self(x, context), x))


class Adapter(nn.Module):
    """Down, activation, and up again."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size // config.adapter_reduction_factor
        self.dense1 = nn.Linear(config.hidden_size, size)
        self.dense2 = nn.Linear(size, config.hidden_size)
        self.adapter_act_fn = Activation(config.hidden_act)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense2(self.adapter_act_fn(self.dense1(x)))


class AdapterOutput(NormedOutput):
    """Then the adapter of each text's language."""

    def __init__(self, config: Any, size: int):
        super().__init__(config, size)
        norms = config.adapter_layer_norm
        self.adapter_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if norms else None
        self.reuses, self.norm_in_stream = config.adapter_reuse_layer_norm, config.ln_before_adapter
        self.adapter_modules = nn.ModuleDict({str(language): Adapter(config) for language in config.languages})

    def adapt(self, x: Tensor, languages: Tensor) -> Tensor:
        """languages: (batch,), numbers in the order of `config.languages`."""
        normed = x
        if self.adapter_layer_norm is not None:
            normed = self.adapter_layer_norm(x)
        elif self.reuses:
            normed = self.LayerNorm(x)
        out = torch.zeros_like(normed)
        for number, adapter in enumerate(self.adapter_modules.values()):
            chosen = languages == number
            out[chosen] = adapter(normed[chosen])
        return self.dropout(out) + (normed if self.norm_in_stream else x)


class XmodLayer(Layer):
    """Norm first or last; an adapter at the end."""

    attention_class = XmodAttention
    output_class = AdapterOutput

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.pre_norm = config.pre_norm

    def feed_forward(self, x: Tensor, context: Context) -> Tensor:
        norm = self.output.LayerNorm
        wide = self.intermediate(norm(x) if self.pre_norm else x)
        x = self.output.adapt(self.output(wide, x), context.extra["lang_ids"])
        return x if self.pre_norm else norm(x)


class XmodEncoder(Encoder):
    """Ends with a norm where norms come first."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        if config.pre_norm:
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor) -> Tensor:
        return self.LayerNorm(x) if hasattr(self, "LayerNorm") else x


class XmodModel(Model):
    """X-MOD without a head; `lang_ids` (batch,) are the texts' languages, else all are in the default language."""

    def set_default_language(self, language: str) -> None:
        """The language of texts of which nothing is said."""
        if language not in self.config.languages:
            known = ", ".join(self.config.languages)
            raise ArgumentError(f"set_default_language: {language!r} is not one of {known}.", name="language")
        self.config.default_language = language

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        if context.extra["lang_ids"] is None:
            languages, default = list(self.config.languages), self.config.default_language
            if default not in languages:
                text = "forward: pass lang_ids, or set config.default_language to one of " + ", ".join(languages)
                raise ArgumentError(text, name="lang_ids")
            context.extra["lang_ids"] = torch.full((len(x),), languages.index(default), device=x.device)
        return super().begin(x, context, past)


VARIANTS = {
    "xmod": Variant(
        lambda c: Spec(
            padded_from=c.pad_token_id, inputs=("lang_ids",), layer=XmodLayer, encoder=XmodEncoder, packs=False
        ),
        members={"base_model_prefix": "roberta"},
    ),
}
TASKS = bert_heads.ROBERTA_TASKS | {"Model": XmodModel}

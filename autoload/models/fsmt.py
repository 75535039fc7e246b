"""FSMT: fairseq's translators, with a vocabulary for each language.

Ng et al. 2019 (arXiv:1907.06616).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from autoload.model import Variant
from autoload.models import bart, seq2seq_heads
from autoload.models.gpt_fairseq import sinusoids


class Positions(nn.Embedding):
    """Sines and cosines that files may lack; the padding token's row is zero."""

    def __init__(self, config: Any):
        count = config.max_position_embeddings + config.pad_token_id + 1
        super().__init__(count, config.d_model, config.pad_token_id)
        self.init_own(0.0)

    @torch.no_grad()
    def init_own(self, std: float) -> None:
        count, size = self.weight.shape
        half = size // 2
        place = torch.arange(count, device=self.weight.device)
        steps = torch.arange(half, device=self.weight.device).float()
        table = sinusoids(place, torch.exp(steps * -(math.log(10000) / (half - 1))))
        self.weight.copy_(nn.functional.pad(table, (0, size % 2)))
        self.weight[self.padding_idx] = 0


class FSMTEncoder(bart.Encoder):
    """Reads the source's vocabulary, and scales given embeddings too."""

    def vocabulary(self, config: Any) -> int:
        return config.src_vocab_size

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return super().embed(x * self.scale if input_ids is None else x, input_ids, past)


class FSMTDecoder(bart.PegasusDecoder):
    """Holds the layer that scores the target's vocabulary."""

    def __init__(self, config: Any, spec: bart.Spec):
        super().__init__(config, spec)
        self.output_projection = nn.Linear(config.d_model, config.tgt_vocab_size, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As elsewhere, but `last_hidden_state` are scores; without a cache, padding is told by its token."""
        caching = self.config.use_cache if use_cache is None else use_cache
        if attention_mask is None and input_ids is not None and not caching:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        out = super().forward(input_ids, attention_mask, *args, use_cache=use_cache, **kwargs)
        out.last_hidden_state = self.output_projection(out.last_hidden_state)
        return out


class FSMTModel(bart.Model):
    """Both sides; `last_hidden_state` are scores of the target's vocabulary."""

    encoder_class = FSMTEncoder
    decoder_class = FSMTDecoder
    embeddings_path = "encoder.embed_tokens"
    denoises = True
    output_path = "decoder.embed_tokens"

    def make_tables(self, config: Any, spec: bart.Spec) -> None:
        """Each side has a table of its own."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        table = "decoder.embed_tokens.weight"
        return {"encoder.embed_tokens.weight": table, "decoder.output_projection.weight": table}

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)


class FSMTLM(seq2seq_heads.LM):
    """Hands the scores on."""

    output_path = "model.decoder.embed_tokens"

    def make_head(self, config: Any, table: Any) -> None:
        """There is nothing on top."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {f"model.{k}": f"model.{v}" for k, v in self.base_model._tied_weights_keys.items()}

    def score(self, hidden: Tensor) -> Tensor:
        return hidden


VARIANTS = {
    "fsmt": Variant(
        lambda c: bart.Spec(embedding_norm=False, scaled_table=False, padded_from=c.pad_token_id, positions=Positions),
        members={"shift_right": bart.shift_last, "computed": ("embed_positions.weight",)},
    ),
}
TASKS = {"Model": FSMTModel, "Seq2SeqLM": FSMTLM}

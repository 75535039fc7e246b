"""ESM: protein language models with norms first and rotary or learnt positions.

Rives et al. 2021 (doi:10.1073/pnas.2016239118); Lin et al. 2023 (doi:10.1126/science.ade2574).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.heads import MaskedLMHead
from autoload.keys import LEGACY, Rename
from autoload.layers.attention import Context
from autoload.layers.rope import Rotary, rotate
from autoload.model import Variant
from autoload.models import bert_heads
from autoload.models.bert import Embeddings, Encoder, Layer, Model, PlainOutput, SelfAttention, Spec
from autoload.models.roberta import PreNormAttention
from autoload.outputs import MaskedLMOutput

MASKED_IN_TRAINING = 0.15 * 0.8  # share of hidden tokens that ESM-2 was trained with


class EsmEmbeddings(Embeddings):
    """Word vectors, scaled for the share of hidden tokens; nothing at padding."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        del self.LayerNorm
        before = config.emb_layer_norm_before
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if before else None
        self.token_dropout, self.mask_token = config.token_dropout, config.mask_token_id

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        self.learnt = config.position_embedding_type == "absolute"
        if self.learnt:
            super().make_positions(config, spec, size)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        position_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        past: int,
        attention_mask: Tensor | None,
    ) -> Tensor:
        if inputs_embeds is not None:  # these are taken as they are
            return inputs_embeds
        assert input_ids is not None
        x = self.word_embeddings(input_ids)
        if self.token_dropout:
            hidden = input_ids == self.mask_token
            lengths = input_ids.shape[1] if attention_mask is None else attention_mask.sum(-1)
            share = hidden.sum(-1).float() / lengths
            x = x.masked_fill(hidden[..., None], 0.0)
            x = (x * (1 - MASKED_IN_TRAINING) / (1 - share)[:, None, None]).to(x.dtype)
        if self.learnt:
            if position_ids is None:
                position_ids = self.positions(input_ids, x.shape, past, x.device)
            x = x + self.position_embeddings(position_ids)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        if attention_mask is not None and attention_mask.dim() == 2:
            x = (x * attention_mask[..., None]).to(x.dtype)
        return x


class EsmSelfAttention(SelfAttention):
    """Rotates queries and keys where positions are not learnt."""

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x, context)
        if "full" in context.rope:
            cos, sin = context.rope["full"]
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return q, k, v


class EsmAttention(PreNormAttention):
    """With ESM's attention."""

    self_class = EsmSelfAttention


class EsmIntermediate(nn.Module):
    """The wide layer, always with gelu."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.dense(x))


class EsmLayer(Layer):
    """Norms before both parts."""

    attention_class = EsmAttention
    intermediate_class = EsmIntermediate
    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def feed_forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.intermediate(self.LayerNorm(x)), x)


class EsmEncoder(Encoder):
    """Ends with a norm."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.emb_layer_norm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor) -> Tensor:
        return self.emb_layer_norm_after(x)


class SavedRotary(Rotary):
    """Its frequencies are among the saved tensors."""

    def __init__(self, theta: float, head_dim: int, max_positions: int):
        super().__init__({"rope_type": "default", "rope_theta": theta}, head_dim, max_positions)
        self._non_persistent_buffers_set.discard("inv_freq")


class ContactHead(nn.Module):
    """Which residues touch, from the attention weights of all layers."""

    def __init__(self, config: Any):
        super().__init__()
        self.regression = nn.Linear(config.num_hidden_layers * config.num_attention_heads, 1)

    def forward(self, tokens: Tensor, attentions: Tensor) -> Tensor:
        """tokens: (batch, seq); attentions: (batch, layers, heads, seq, seq); gives (batch, seq - 2, seq - 2)."""
        inside = (tokens != 2).to(attentions.dtype)  # 2 ends a protein in every ESM vocabulary
        x = (attentions * (inside[:, None] * inside[:, :, None])[:, None, None])[..., 1:-1, 1:-1].flatten(1, 2)
        x = x + x.transpose(-1, -2)
        x = x - x.sum(-1, keepdim=True) * x.sum(-2, keepdim=True) / x.sum((-1, -2), keepdim=True)
        return self.regression(x.permute(0, 2, 3, 1)).squeeze(-1).sigmoid()


class EsmModel(Model):
    """ESM without a head."""

    may_lack = ("pooler", "contact_head", "rotary_embeddings")

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)
        if config.is_folding_model:
            raise ConfigError("is_folding_model", True, "false: ESMFold is not implemented")
        self.contact_head = ContactHead(config)
        if config.position_embedding_type == "rotary":
            dim = config.hidden_size // config.num_attention_heads
            self.rotary_embeddings = SavedRotary(config.rope_theta, dim, config.max_position_embeddings)

    def make_rope(self, x: Tensor, position_ids: Tensor | None, past: int) -> dict[Any, tuple[Tensor, Tensor]]:
        if not hasattr(self, "rotary_embeddings"):
            return {}
        if position_ids is None:
            position_ids = torch.arange(past, past + x.shape[1], device=x.device)[None]
        return {"full": self.rotary_embeddings(position_ids, x.dtype)}

    def predict_contacts(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Probability that two residues touch, (batch, seq - 2, seq - 2); tokens and mask are (batch, seq)."""
        attentions = torch.stack(self(tokens, attention_mask=attention_mask, output_attentions=True).attentions, 1)
        pairs = attention_mask[:, None] * attention_mask[:, :, None]
        return self.contact_head(tokens, attentions * pairs[:, None, None])


class Predictions(nn.Module):
    """RoBERTa's scores of the vocabulary, with the bias beside the decoder."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(F.gelu(self.dense(x)))) + self.bias


class MaskedLM(MaskedLMHead):
    """ESM's hidden residues."""

    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = Predictions(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.decoder.weight": "esm.embeddings.word_embeddings.weight"}

    def after_resize(self, count: int) -> None:
        self.lm_head.bias = bert_heads.resized(self.lm_head.bias, count)

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)

    def predict_contacts(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """As the base model's."""
        return self.base_model.predict_contacts(tokens, attention_mask)  # type: ignore[operator]


# Older files have one copy of the frequencies in each layer. Newer ones have the pattern itself as the name.
FREQUENCIES = Rename("encoder.layer.*.attention.self.rotary_embeddings.inv_freq", "rotary_embeddings.inv_freq")

VARIANTS = {
    "esm": Variant(
        lambda c: Spec(
            padded_from=c.pad_token_id,
            token_types=False,
            inputs=("attention_mask",),
            embeddings=EsmEmbeddings,
            layer=EsmLayer,
            encoder=EsmEncoder,
        ),
        members={"base_model_prefix": "esm"},
        keys=(FREQUENCIES, *LEGACY[:2]),  # ESM's files keep the first spelling of norms
    ),
}
TASKS = bert_heads.ROBERTA_TASKS | {"Model": EsmModel, "MaskedLM": MaskedLM}

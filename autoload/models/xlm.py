"""XLM, which may know the language of each token, and FlauBERT: xlm, flaubert.

Lample and Conneau 2019 (arXiv:1901.07291); Le et al. 2019 (arXiv:1912.05372).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.heads import EncoderHead, MaskedLMHead, MultipleChoice, QuestionAnswering, TokenClassification
from autoload.layers.attention import Context, Mask, all_true, attend, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert_heads import Summary
from autoload.outputs import BaseModelOutput, MaskedLMOutput


class Attention(nn.Module):
    """Self-attention with its output projection."""

    def __init__(self, config: Any):
        super().__init__()
        size, self.heads = config.emb_dim, config.n_heads
        self.dim, self.dropout = size // self.heads, config.attention_dropout
        self.q_lin = nn.Linear(size, size)
        self.k_lin = nn.Linear(size, size)
        self.v_lin = nn.Linear(size, size)
        self.out_lin = nn.Linear(size, size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        projected = (self.q_lin(x), self.k_lin(x), self.v_lin(x))
        q, k, v = (t.unflatten(-1, (self.heads, self.dim)).transpose(1, 2) for t in projected)
        dropout, mask = self.dropout if self.training else 0.0, context.masks["full"]
        out = attend(q, k, v, mask, context, scale=self.dim**-0.5, dropout=dropout, weights_to=context.attentions)
        return self.out_lin(out)


class FFN(nn.Module):
    """The wide layer and back."""

    def __init__(self, config: Any):
        super().__init__()
        self.lin1 = nn.Linear(config.emb_dim, 4 * config.emb_dim)
        self.lin2 = nn.Linear(4 * config.emb_dim, config.emb_dim)
        self.act = F.gelu if config.gelu_activation else F.relu
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.lin2(self.act(self.lin1(x))))


class Model(PreTrainedModel):
    """XLM without a head. Its layers lie in four lists, side by side."""

    base_model_prefix = "transformer"
    embeddings_path = "embeddings"
    _no_split_modules = ["Attention", "FFN"]

    def __init__(self, config: Any):
        super().__init__(config)
        size, layers = config.emb_dim, range(config.n_layers)
        if not config.is_encoder:
            raise ConfigError("is_encoder", config.is_encoder, "true: XLM's decoder is not implemented")
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.speaks = config.n_langs > 1 and config.use_lang_emb
        if self.speaks:
            self.lang_embeddings = nn.Embedding(config.n_langs, size)
        self.embeddings = nn.Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.layer_norm_emb = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.attentions = nn.ModuleList(Attention(config) for _ in layers)
        self.layer_norm1 = nn.ModuleList(nn.LayerNorm(size, eps=config.layer_norm_eps) for _ in layers)
        self.ffns = nn.ModuleList(FFN(config) for _ in layers)
        self.layer_norm2 = nn.ModuleList(nn.LayerNorm(size, eps=config.layer_norm_eps) for _ in layers)
        self.pre_norm = getattr(config, "pre_norm", False)
        self.dropout = nn.Dropout(config.dropout)

    def init_own(self, std: float) -> None:
        for table in (self.embeddings, self.position_embeddings, *([self.lang_embeddings] if self.speaks else [])):
            table.weight.normal_(0.0, self.config.embed_init_std)
        if self.config.sinusoidal_embeddings:
            positions, size = self.position_embeddings.weight.shape
            steps = torch.arange(0, size, 2, device=self.device, dtype=torch.float64) / size
            angles = torch.arange(positions, device=self.device)[:, None] / 10000**steps
            self.position_embeddings.weight.copy_(torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :size])

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        langs: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        lengths: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, zero at padding.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding. Without it `lengths` tell, or else where `pad_token_id` stands.
            langs: (batch, seq), numbers of languages.
            token_type_ids: (batch, seq), tokens whose vectors are added.
            position_ids: (batch, seq).
            lengths: (batch,), of the texts.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        config = self.config
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        places = torch.arange(x.shape[1], device=x.device)[None]
        if attention_mask is None:
            if lengths is None and input_ids is not None:
                lengths = (input_ids != config.pad_token_id).sum(1)
            ends = x.new_full((len(x),), x.shape[1], dtype=torch.long) if lengths is None else lengths
            attention_mask = torch.lt(places, ends[:, None])
        x = x + self.position_embeddings(places if position_ids is None else position_ids)
        if langs is not None and self.speaks:
            x = x + self.lang_embeddings(langs)
        if token_type_ids is not None:
            x = x + self.embeddings(token_type_ids)
        real = attention_mask[..., None].to(x.dtype)
        x = self.dropout(self.layer_norm_emb(x)) * real
        attentions = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        context = Context({"full": self.make_mask(attention_mask)}, kernel=kernel_of(config))
        context.attentions = [] if attentions else None
        context.extra["real"] = real
        packing = context.packing_of(attention_mask)
        if packing is not None:
            mask = Mask(causal=True) if config.causal else Mask()
            x, context = packing.pack(x), context.packed(packing, {"full": mask})
            context.extra["real"] = packing.pack(real)
        seen = [x]
        for i in range(config.n_layers):
            x = self.run(_Layer(self, i), x, context)  # type: ignore[arg-type]
            seen.append(x)
        if packing is not None:
            x, seen = packing.unpack(x), [packing.unpack(s) for s in seen]
        shown = None if context.attentions is None else tuple(context.attentions)
        return finish(BaseModelOutput(x, tuple(seen) if states else None, shown), return_dict, config)

    def make_mask(self, attention_mask: Tensor) -> Mask:
        """Padding, or what follows where `causal`: then padding is not looked at."""
        if self.config.causal:
            return Mask(causal=True)
        return Mask() if all_true(attention_mask) else Mask((attention_mask != 0)[:, None, None, :])

    def layer(self, i: int, x: Tensor, context: Context) -> Tensor:
        attention, ffn = self.attentions[i], self.ffns[i]
        first, second, real = self.layer_norm1[i], self.layer_norm2[i], context.extra["real"]
        if self.pre_norm:
            x = x + self.dropout(attention(first(x), context))
            return (x + ffn(second(x))) * real
        x = first(x + self.dropout(attention(x, context)))
        return second(x + ffn(x)) * real


class _Layer:
    """One layer of the lists, callable as a module is."""

    def __init__(self, model: Model, i: int):
        self.model, self.i = model, i

    def __call__(self, x: Tensor, context: Context) -> Tensor:
        return self.model.layer(self.i, x, context)


class Predictions(nn.Module):
    """Scores of the vocabulary."""

    def __init__(self, config: Any):
        super().__init__()
        if config.asm:
            raise ConfigError("asm", config.asm, "false: the adaptive softmax is not implemented")
        self.proj = nn.Linear(config.emb_dim, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class LMHead(MaskedLMHead):
    """XLM's tokens, hidden or next: its model does both."""

    base_options = {}
    output_class = MaskedLMOutput
    output_path = "pred_layer.proj"

    def __init__(self, config: Any):
        super().__init__(config)
        self.pred_layer = Predictions(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"pred_layer.proj.weight": "transformer.embeddings.weight"}

    def scores(self, out: Any) -> Tensor:
        return self.pred_layer(out.last_hidden_state)


class Classification(EncoderHead):
    """Labels from a summary of the text."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.sequence_summary = Summary(config)

    def scores(self, out: Any) -> Tensor:
        return self.sequence_summary(out.last_hidden_state)


class TokenLabels(TokenClassification):
    """A label for each token."""

    base_options = {}

    def __init__(self, config: Any):
        super(TokenClassification, self).__init__(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.emb_dim, config.num_labels)


class Answer(QuestionAnswering):
    """Where an answer begins and ends."""

    base_options = {}


class Choice(MultipleChoice):
    """The best of several continuations, from their summaries."""

    def __init__(self, config: Any):
        super(MultipleChoice, self).__init__(config)
        self.sequence_summary = Summary(config)
        self.logits_proj = nn.Linear(config.num_labels, 1)

    def scores(self, out: Any) -> Tensor:
        return self.logits_proj(self.sequence_summary(out.last_hidden_state))


XLM = Variant(members={"base_model_prefix": "transformer"})

VARIANTS = {"xlm": XLM, "flaubert": XLM}
TASKS = {
    "Model": Model,
    "MaskedLM": LMHead,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": Answer,
    "MultipleChoice": Choice,
}

"""Llama's wiring looking both ways: eurobert, ultrabert, esmc.

Boizard et al. 2025 (arXiv:2503.05500); Hayes et al. 2025 (doi:10.1126/science.ads0018).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ConfigError
from autoload.heads import (
    DecoderQuestionAnswering,
    DecoderTokenClassification,
    EncoderHead,
    FirstTokenClassification,
    MaskedLMHead,
    TokenClassification,
)
from autoload.keys import Prefix
from autoload.layers.attention import Context, Mask, decoder_mask
from autoload.model import Variant
from autoload.models import decoder
from autoload.models.decoder import Spec, layer_kinds
from autoload.models.modernbert import average
from autoload.outputs import MaskedLMOutput


class Model(decoder.Model):
    """Looks both ways, and keeps no cache."""

    def forward(self, *args: Any, use_cache: bool | None = None, **kwargs: Any) -> Any:
        """As the decoder's, but for the cache."""
        return super().forward(*args, use_cache=False, **kwargs)

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"attention_mask": kwargs["attention_mask"]}

    def climb(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The stream after the last layer, and before each; padding is left out."""
        packing = context.packing_of(context.extra["attention_mask"])
        if packing is None:
            return self.rise(x, context)
        masks = self.make_masks(None, x, 0, None, None)
        last, seen = self.rise(packing.pack(x), context.packed(packing, masks))
        return packing.unpack(last), [packing.unpack(s) for s in seen]

    def rise(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        """The same, with or without padding."""
        return super().climb(x, context)

    def make_masks(
        self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Tensor | None
    ) -> dict[str, Mask]:
        """One mask for each kind of layer; a window reaches as far to either side."""
        masks, seq = {}, x.shape[1]
        for kind in dict.fromkeys(layer_kinds(self.config)):
            window = self.config.sliding_window + 1 if kind == "sliding_attention" else None
            masks[kind] = decoder_mask(attention_mask, seq, seq, 0, 0, x.device, window=window, bidirectional=True)
        return masks


def esmc_norm(size: int, eps: float) -> nn.LayerNorm:
    return nn.LayerNorm(size)  # whatever the configuration says


def esmc_unbiased_norm(size: int, eps: float) -> nn.LayerNorm:
    return nn.LayerNorm(size, bias=False)


class EsmcModel(Model):
    """ESM C; `sequence_id` (batch, seq) tells chains apart that must not see each other."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.embed_tokens.padding_idx = None  # padding has a trained vector
        self.norm = nn.LayerNorm(config.hidden_size, bias=False)

    def forward(self, *args: Any, sequence_id: Tensor | None = None, **kwargs: Any) -> Any:
        """As the decoder's, but for the cache."""
        if sequence_id is not None:
            kwargs["attention_mask"] = (sequence_id[:, :, None] == sequence_id[:, None, :])[:, None]
            args = args[:1]
        return super().forward(*args, **kwargs)


class MaskedLM(MaskedLMHead):
    """EuroBERT's hidden tokens."""

    base_options = {}
    accumulates = True
    output_class = MaskedLMOutput
    output_path = "lm_head"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=config.mlp_bias)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.weight": "model.embed_tokens.weight"}

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class UltraTransform(nn.Module):
    """To another width and back."""

    def __init__(self, config: Any):
        super().__init__()
        self.linear1 = nn.Linear(config.hidden_size, config.prediction_head_size, bias=False)
        self.linear2 = nn.Linear(config.prediction_head_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.linear1(x), approximate="tanh")
        return F.gelu(self.linear2(x), approximate="tanh")


class UltraPredictions(UltraTransform):
    """Scores of the vocabulary follow."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(super().forward(x))


class UltraMaskedLM(MaskedLMHead):
    """UltraBERT's hidden tokens."""

    base_options = {}
    accumulates = True
    output_class = MaskedLMOutput
    output_path = "head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.head = UltraPredictions(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"head.decoder.weight": "model.embed_tokens.weight"}

    def scores(self, out: Any) -> Tensor:
        return self.head(out.last_hidden_state)


class EsmcPredictions(nn.Module):
    """Dense layer, gelu, norm, and scores of the vocabulary."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(F.gelu(self.dense(x))))


class EsmcMaskedLM(MaskedLMHead):
    """ESM C's hidden residues; nothing is tied."""

    base_options = {}
    accumulates = True
    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = EsmcPredictions(config)

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class Classification(EncoderHead):
    """EuroBERT's labels: from the first token, from the mean, or the mean of all tokens' ("late")."""

    def __init__(self, config: Any):
        super().__init__(config)
        if config.classifier_pooling not in ("bos", "mean", "late"):
            raise ConfigError("classifier_pooling", config.classifier_pooling, "'bos', 'mean' or 'late'")
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def select(self, out: Any, attention_mask: Tensor | None) -> Tensor:
        hidden, pooling = out.last_hidden_state, self.config.classifier_pooling
        if pooling == "late":  # the last matrix is linear: its mean is that of the mean
            return average(F.gelu(self.dense(hidden)), attention_mask)
        pooled = hidden[:, 0] if pooling == "bos" else average(hidden, attention_mask)
        return F.gelu(self.dense(pooled))

    def scores(self, out: Tensor) -> Tensor:
        return self.classifier(out)


class UltraClassification(EncoderHead):
    """UltraBERT's labels, from the first token or the mean."""

    def __init__(self, config: Any):
        super().__init__(config)
        if config.classifier_pooling not in ("cls", "mean"):
            raise ConfigError("classifier_pooling", config.classifier_pooling, "'cls' or 'mean'")
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def select(self, out: Any, attention_mask: Tensor | None) -> Tensor:
        hidden = out.last_hidden_state
        return average(hidden, attention_mask) if self.config.classifier_pooling == "mean" else hidden[:, 0]

    def scores(self, out: Tensor) -> Tensor:
        return self.classifier(self.drop(out))


class EsmcClassification(FirstTokenClassification):
    """ESM C's labels."""

    base_options = {}


class TokenLabels(TokenClassification):
    """A label for each token."""

    base_options = {}

    def __init__(self, config: Any):
        super(TokenClassification, self).__init__(config)
        self.dropout = nn.Dropout(getattr(config, "classifier_dropout", 0.0))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)


def llama(c: Any) -> Spec:
    return Spec(qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias)


VARIANTS = {
    "eurobert": Variant(llama),
    "ultrabert": Variant(
        llama,
        heads={"MaskedLM": UltraMaskedLM, "SequenceClassification": UltraClassification},
        keys=(Prefix("ultrabert.", "model."), Prefix("cls.", "head.decoder.")),
    ),
    "esmc": Variant(
        lambda c: Spec(
            norm=esmc_norm,
            qk_norm="full",
            qk_norm_class=esmc_unbiased_norm,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            residual_scale=(c.num_hidden_layers / 36) ** -0.5,
        ),
        heads={
            "Model": EsmcModel,
            "MaskedLM": EsmcMaskedLM,
            "SequenceClassification": EsmcClassification,
            "TokenClassification": DecoderTokenClassification,
        },
        members={"base_model_prefix": "esmc"},
    ),
}
TASKS = {
    "Model": Model,
    "MaskedLM": MaskedLM,
    "SequenceClassification": Classification,
    "TokenClassification": TokenLabels,
    "QuestionAnswering": DecoderQuestionAnswering,
}

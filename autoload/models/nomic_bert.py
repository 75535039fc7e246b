"""BERT with rotary positions: nomic_bert, gte, jina_embeddings_v3.

Nussbaum et al. 2024 (arXiv:2402.01613); Zhang et al. 2024 (arXiv:2407.19669); Sturua et al. 2024 (arXiv:2409.10173).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.heads import FirstTokenClassification, MaskedLMHead, PooledClassification
from autoload.keys import Prefix, Rename, Split
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.rope import Rotary, rotate
from autoload.model import Variant
from autoload.models import bert, bert_heads
from autoload.models.bert_heads import Predictions, TiedHead, Transform
from autoload.outputs import MaskedLMOutput


@dataclass(frozen=True)
class Spec(bert.Spec):
    """What tells one of these encoders from another."""

    bias: bool = True  # of the projections of attention
    mlp: Literal["gated", "plain"] = "gated"
    down_bias: bool = True  # of the gated MLP's last matrix
    mlp_dropout: float = 0.0


class Embeddings(bert.Embeddings):
    """Word and token type vectors, normalised."""

    def make_positions(self, config: Any, spec: bert.Spec, size: int) -> None:
        pass

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        return x


class Attention(bert.SelfAttention):
    """With rotary positions and its output."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        self.biased = spec.bias
        super().__init__(config, layer_idx)

    def make_projections(self, config: Any, size: int) -> None:
        self.q_proj = nn.Linear(config.hidden_size, size, bias=self.biased)
        self.k_proj = nn.Linear(config.hidden_size, size, bias=self.biased)
        self.v_proj = nn.Linear(config.hidden_size, size, bias=self.biased)
        self.o_proj = nn.Linear(size, config.hidden_size, bias=self.biased)

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.split(self.q_proj(x)), self.split(self.k_proj(x)), self.split(self.v_proj(x))
        cos, sin = context.rope["full"]
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.o_proj(super().forward(x, context))


class GatedMLP(nn.Module):
    """A gate and a value, multiplied."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=spec.down_bias)
        self.act_fn = Activation(config.hidden_act)
        self.dropout = nn.Dropout(spec.mlp_dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.dropout(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


class PlainMLP(nn.Module):
    """Wide and back."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.activation_fn = Activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(x)))


class Layer(nn.Module):
    """Attention and MLP; norms after the residuals."""

    def __init__(self, config: Any, spec: Spec, layer_idx: int):
        super().__init__()
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.post_mlp_dropout = nn.Dropout(config.hidden_dropout_prob)
        self.mlp = (GatedMLP if spec.mlp == "gated" else PlainMLP)(config, spec)
        self.self_attn = Attention(config, spec, layer_idx)
        self.post_mlp_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        x = self.post_attention_layernorm(x + self.post_attention_dropout(self.self_attn(x, context)))
        return self.post_mlp_layernorm(x + self.post_mlp_dropout(self.mlp(x)))


class Model(bert.Model):
    """An encoder with rotary positions; without a pooler unless it is asked for."""

    def __init__(self, config: Any, add_pooling_layer: bool = False):
        super().__init__(config, add_pooling_layer)
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.rotary_emb = Rotary(config.rope_parameters, dim, config.max_position_embeddings)

    def make_layers(self, config: Any, spec: Any) -> None:
        self.layers = nn.ModuleList(Layer(config, spec, i) for i in range(config.num_hidden_layers))

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        return x

    def stack(self) -> list[nn.Module]:
        return list(self.layers)

    def end(self, x: Tensor) -> Tensor:
        return x

    def make_rope(self, x: Tensor, position_ids: Tensor | None, past: int) -> dict[Any, tuple[Tensor, Tensor]]:
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        return {"full": self.rotary_emb(position_ids, x.dtype)}


class PooledModel(Model):
    """With a pooler unless it is refused."""

    def __init__(self, config: Any, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer)


class NomicTransform(Transform):
    """Under another name for the norm."""

    def __init__(self, config: Any, size: int):
        super().__init__(config, size)
        del self.LayerNorm
        self.layer_norm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer_norm(self.transform_act_fn(self.dense(x)))


class NomicPredictions(Predictions):
    """With Nomic's transform."""

    transform_class = NomicTransform


class NomicMaskedLM(bert_heads.MaskedLM):
    """Nomic's hidden tokens."""

    predictions_class = NomicPredictions


class GtePredictions(nn.Module):
    """RoBERTa's scores of the vocabulary, with one bias."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.layer_norm(F.gelu(self.dense(x))))


class GteMaskedLM(TiedHead, MaskedLMHead):
    """GTE's hidden tokens."""

    output_class = MaskedLMOutput
    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = GtePredictions(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"lm_head.decoder.weight": "gte.embeddings.word_embeddings.weight"}

    def after_resize(self, count: int) -> None:
        pass

    def scores(self, out: Any) -> Tensor:
        return self.lm_head(out.last_hidden_state)


class Classification(PooledClassification):
    """Asks for the pooler."""

    base_options: ClassVar[dict[str, Any]] = {"add_pooling_layer": True}


QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
NOMIC_KEYS = (
    Rename("encoder.layers", "layers"),
    Rename("emb_ln", "embeddings.LayerNorm"),
    Rename("attn.out_proj", "self_attn.o_proj"),
    Rename("fc11", "up_proj"),
    Rename("fc12", "gate_proj"),
    Rename("fc2", "down_proj"),
    Rename("norm1", "post_attention_layernorm"),
    Rename("norm2", "post_mlp_layernorm"),
    Split("attn.Wqkv", QKV),
)
GTE_KEYS = (
    Prefix("new.", saved=False),
    Rename("encoder.layer", "layers"),
    Rename("attention.o_proj", "self_attn.o_proj"),
    Rename("attn_ln", "post_attention_layernorm"),
    Rename("mlp_ln", "post_mlp_layernorm"),
    Rename("lm_head.norm", "lm_head.layer_norm"),
    Split("attention.qkv_proj", QKV),
    Split("mlp.up_gate_proj", ("mlp.up_proj", "mlp.gate_proj")),
)
JINA_KEYS = (
    Rename("emb_ln", "embeddings.LayerNorm"),
    Rename("encoder.layers", "layers"),
    Rename("mixer.out_proj", "self_attn.o_proj"),
    Rename("norm1", "post_attention_layernorm"),
    Rename("norm2", "post_mlp_layernorm"),
    Split("mixer.Wqkv", QKV),
)

VARIANTS = {
    "nomic_bert": Variant(
        lambda c: Spec(embeddings=Embeddings, bias=False, down_bias=False),
        heads={"MaskedLM": NomicMaskedLM},
        members={"base_model_prefix": "nomic_bert", "ties": True},
        keys=NOMIC_KEYS,
    ),
    "gte": Variant(
        lambda c: Spec(embeddings=Embeddings, token_types=bool(c.type_vocab_size), mlp_dropout=c.hidden_dropout_prob),
        heads={"MaskedLM": GteMaskedLM},
        members={"base_model_prefix": "gte"},
        keys=GTE_KEYS,
    ),
    "jina_embeddings_v3": Variant(
        lambda c: Spec(embeddings=Embeddings, mlp="plain"),
        heads={
            "Model": PooledModel,
            "MaskedLM": bert_heads.RobertaMaskedLM,
            "SequenceClassification": FirstTokenClassification,
        },
        members={"base_model_prefix": "roberta"},
        keys=JINA_KEYS,
    ),
}
TASKS = bert_heads.TASKS | {"Model": Model, "SequenceClassification": Classification}

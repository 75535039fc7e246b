"""Encoders that change one thing in BERT: norms, tables, inputs, or only the head.

ernie, megatron-bert, rembert, roc_bert, roformer, bert-generation, splinter, dpr.

Sun et al. 2019 (arXiv:1904.09223); Shoeybi et al. 2019 (arXiv:1909.08053); Chung et al. 2020 (arXiv:2010.12821);
Su et al. 2021 (arXiv:2104.09864); Rothe et al. 2019 (arXiv:1907.12461); Ram et al. 2021 (arXiv:2101.00438);
Karpukhin et al. 2020 (arXiv:2004.04906).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.heads import EncoderCausalLM, FirstTokenClassification, MultipleChoice, TwoLayerClassifier
from autoload.layers.activations import Activation
from autoload.layers.attention import Context
from autoload.layers.rope import rotate_pairs
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import bert_heads, splinter
from autoload.models.bert import (
    Attention,
    Embeddings,
    Encoder,
    Layer,
    Model,
    PlainOutput,
    ProjectedModel,
    SelfAttention,
    Spec,
)
from autoload.models.bert_heads import SizedPredictions, Summary, TiedHead
from autoload.models.roc_bert import RoCBertEmbeddings, RoCBertPreTraining
from autoload.outputs import ModelOutput, States


@dataclass
class DPRQuestionEncoderOutput(ModelOutput):
    """`pooler_output` (batch, dim), the question's vector."""

    pooler_output: Any = None
    hidden_states: States = None
    attentions: States = None


class ErnieEmbeddings(Embeddings):
    """Also says which task a text belongs to."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.asks = config.use_task_id
        if self.asks:
            self.task_type_embeddings = nn.Embedding(config.task_type_vocab_size, config.hidden_size)

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        x = super().place(x, position_ids)
        if not self.asks:
            return x
        task = inputs["task_type_ids"]
        if task is None:
            task = torch.zeros(1, 1, dtype=torch.int64, device=x.device)
        return x + self.task_type_embeddings(task)


class MegatronAttention(Attention):
    """Normalises first."""

    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.self(self.ln(x), context), x)


class MegatronLayer(Layer):
    """Norms before both parts."""

    attention_class = MegatronAttention
    output_class = PlainOutput

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def feed_forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.intermediate(self.ln(x)), x)


class MegatronEncoder(Encoder):
    """Ends with a norm."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def end(self, x: Tensor) -> Tensor:
        return self.ln(x)


# -- RemBERT: tables of their own size at both ends


class RemBertEncoder(Encoder):
    """Begins with a projection from the size of the tables."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.embedding_hidden_mapping_in = nn.Linear(config.input_embedding_size, config.hidden_size)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        return self.embedding_hidden_mapping_in(x)


class RemBertPredictions(nn.Module):
    """Scores of the vocabulary from a wider table than that of the inputs."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.output_embedding_size)
        self.decoder = nn.Linear(config.output_embedding_size, config.vocab_size)
        self.activation = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.output_embedding_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.LayerNorm(self.activation(self.dense(x))))


class RemBertMaskedLM(bert_heads.MaskedLM):
    """RemBERT's hidden tokens; nothing is tied."""

    predictions_class = RemBertPredictions
    _tied_weights_keys = {}  # type: ignore[assignment]

    def after_resize(self, count: int) -> None:
        pass


class RemBertCausalLM(bert_heads.CausalLM):
    """RemBERT's next token; nothing is tied."""

    predictions_class = RemBertPredictions
    _tied_weights_keys = {}  # type: ignore[assignment]

    def after_resize(self, count: int) -> None:
        pass


# -- RoFormer: rotary positions from a saved table


class UnplacedEmbeddings(Embeddings):
    """Without positions."""

    def make_positions(self, config: Any, spec: Spec, size: int) -> None:
        pass

    def place(self, x: Tensor, position_ids: Tensor, **inputs: Tensor | None) -> Tensor:
        return x


class SinusoidTable(nn.Embedding):
    """Sines in the first half, cosines in the second; not trained."""

    def __init__(self, positions: int, dim: int):
        super().__init__(positions, dim)
        self.weight.requires_grad_(False)

    def init_own(self, std: float) -> None:
        positions, dim = self.weight.shape
        steps = torch.arange(0, dim, 2, device=self.weight.device, dtype=torch.float64) / dim
        angles = torch.arange(positions, device=self.weight.device)[:, None] / 10000**steps
        self.weight.copy_(torch.cat([angles.sin(), angles.cos()[:, : dim // 2]], 1))


class RoFormerSelfAttention(SelfAttention):
    """Rotates queries and keys, and values where the configuration asks for it."""

    def __init__(self, config: Any, layer_idx: int, cross: bool = False):
        super().__init__(config, layer_idx, cross)
        self.rotary_value = config.rotary_value

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = super().project(x, context)
        cos, sin = context.rope["full"]
        return (
            rotate_pairs(q, cos, sin),
            rotate_pairs(k, cos, sin),
            rotate_pairs(v, cos, sin) if self.rotary_value else v,
        )


class RoFormerAttention(Attention):
    """With RoFormer's attention."""

    self_class = RoFormerSelfAttention


class RoFormerLayer(Layer):
    """With RoFormer's attention."""

    attention_class = RoFormerAttention


class RoFormerEncoder(Encoder):
    """Holds the table of positions."""

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        dim = config.hidden_size // config.num_attention_heads
        self.embed_positions = SinusoidTable(config.max_position_embeddings, dim)

    def begin(self, x: Tensor, context: Context, past: int) -> Tensor:
        table = self.embed_positions(torch.arange(past, past + x.shape[1], device=x.device))[None]
        sin, cos = (half.repeat_interleave(2, -1) for half in table.chunk(2, -1))  # (1, seq, dim)
        context.rope["full"] = (cos, sin)
        return x


class RoFormerMaskedLM(bert_heads.MaskedLM):
    """RoFormer's hidden tokens."""

    predictions_class = SizedPredictions


class RoFormerCausalLM(bert_heads.CausalLM):
    """RoFormer's next token."""

    predictions_class = SizedPredictions


class RoFormerClassifier(TwoLayerClassifier):
    """With the model's activation."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.act = Activation(config.hidden_act)

    def activation(self, x: Tensor) -> Tensor:
        return self.act(x)


class RoFormerClassification(FirstTokenClassification):
    """RoFormer's labels."""

    classifier_class = RoFormerClassifier


class RoFormerMultipleChoice(MultipleChoice):
    """RoFormer's choice, from a summary of the text."""

    def __init__(self, config: Any):
        super().__init__(config)
        del self.dropout
        self.sequence_summary = Summary(config)

    def scores(self, out: Any) -> Tensor:
        return self.classifier(self.sequence_summary(out.last_hidden_state))


# -- BERT for generation


class GenerationPredictions(nn.Module):
    """Scores of the vocabulary, nothing between."""

    def __init__(self, config: Any):
        super().__init__()
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(x)


class GenerationDecoder(TiedHead, EncoderCausalLM):
    """BERT as a decoder."""

    output_path = "lm_head.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.lm_head = GenerationPredictions(config)

    def score(self, hidden: Tensor) -> Tensor:
        return self.lm_head(hidden)


# -- DPR: one vector for a question


class PlainBert(Model):
    """BERT without a pooler, as a part."""

    variant = Variant(lambda c: Spec(pooler=None))


class QuestionEncoder(nn.Module):
    """BERT, and a projection where the configuration has one."""

    def __init__(self, config: Any):
        super().__init__()
        self.bert_model = PlainBert(config)
        if config.projection_dim > 0:
            self.encode_proj = nn.Linear(config.hidden_size, config.projection_dim)


class DPRQuestionEncoder(PreTrainedModel):
    """A question's vector: the first token's, projected."""

    base_model_prefix = "question_encoder"
    embeddings_path = "question_encoder.bert_model.embeddings.word_embeddings"

    def __init__(self, config: Any):
        super().__init__(config)
        self.question_encoder = QuestionEncoder(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """`pooler_output` (batch, dim). Without a mask, `pad_token_id` is taken for padding."""
        if attention_mask is None and input_ids is not None:
            attention_mask = input_ids != self.config.pad_token_id
        encoder = self.question_encoder
        out = encoder.bert_model(
            input_ids, attention_mask, token_type_ids, inputs_embeds=inputs_embeds, return_dict=True, **kwargs
        )
        pooled = out.last_hidden_state[:, 0]
        if hasattr(encoder, "encode_proj"):
            pooled = encoder.encode_proj(pooled)
        return finish(DPRQuestionEncoderOutput(pooled, out.hidden_states, out.attentions), return_dict, self.config)


VARIANTS = {
    "ernie": Variant(
        lambda c: Spec(embeddings=ErnieEmbeddings, inputs=("task_type_ids",)), members={"base_model_prefix": "ernie"}
    ),
    "megatron-bert": Variant(
        lambda c: Spec(embedding_norm=False, layer=MegatronLayer, encoder=MegatronEncoder),
        members={"base_model_prefix": "bert", "empty_cross_attentions": False},
    ),
    "rembert": Variant(
        lambda c: Spec(embedding_size=c.input_embedding_size, encoder=RemBertEncoder),
        heads={"MaskedLM": RemBertMaskedLM, "CausalLM": RemBertCausalLM},
        members={"base_model_prefix": "rembert", "empty_cross_attentions": False},
    ),
    "roc_bert": Variant(
        lambda c: Spec(embeddings=RoCBertEmbeddings, inputs=("input_shape_ids", "input_pronunciation_ids")),
        heads={"PreTraining": RoCBertPreTraining},
        members={"base_model_prefix": "roc_bert"},
    ),
    "roformer": Variant(
        lambda c: Spec(
            pooler=None,
            embedding_size=c.embedding_size,
            embeddings=UnplacedEmbeddings,
            encoder=RoFormerEncoder,
            layer=RoFormerLayer,
        ),
        heads={
            "Model": ProjectedModel,
            "MaskedLM": RoFormerMaskedLM,
            "CausalLM": RoFormerCausalLM,
            "SequenceClassification": RoFormerClassification,
            "MultipleChoice": RoFormerMultipleChoice,
        },
        members={"base_model_prefix": "roformer", "empty_cross_attentions": False},
    ),
    "bert-generation": Variant(
        lambda c: Spec(pooler=None, token_types=False),
        heads={"CausalLM": GenerationDecoder},
        members={"base_model_prefix": "bert"},
    ),
    "splinter": Variant(
        lambda c: Spec(pooler=None),
        heads={"QuestionAnswering": splinter.QuestionAnswering, "PreTraining": splinter.PreTraining},
        members={"base_model_prefix": "splinter"},
    ),
    "dpr": Variant(heads={"Model": DPRQuestionEncoder}),
}
TASKS = bert_heads.TASKS | {"Model": Model}

"""T5 and the encoder-decoders that share its wiring: norms without centring, no biases, relative positions.

Raffel et al. 2019 (arXiv:1910.10683).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from autoload import heads
from autoload.layers.attention import Mask, biased
from autoload.layers.relative import distances, relative_buckets
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import seq2seq, seq2seq_heads
from autoload.models.t5_layer import (  # noqa: F401  (all of them, for the families that build on this one)
    MLP,
    Attention,
    Block,
    GatedMLP,
    Linear,
    Norm,
    Part,
    Table,
)
from autoload.outputs import BaseModelOutputWithPastAndCrossAttentions, TokenClassifierOutput


@dataclass(frozen=True)
class Spec:
    """What tells one T5-like model from another."""

    output_scale: float = 1.0  # of the decoder's states before they are scored
    own_positions: bool = False  # each layer has a table of relative positions; else the first layer's serves all


class Side(seq2seq.Stack):
    """The parameters of either side."""

    block_class: ClassVar[type] = Block
    crosses: ClassVar[bool] = False
    _no_split_modules = ["Block"]

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config)
        self.embed_tokens = Table(config.vocab_size, config.d_model, config.initializer_factor)
        self.block = nn.ModuleList(
            self.block_class(config, i, crosses=self.crosses, table=i == 0 or spec.own_positions)
            for i in range(self.depth(config))
        )
        self.final_layer_norm = Norm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.own_positions = spec.own_positions
        if spec.own_positions:
            for i, attention in enumerate(self.attentions()):
                attention.kind = i

    def attentions(self) -> list[Any]:
        """Of each layer, the one that looks at its own side."""
        blocks: Any = self.block
        return [block.layer[0].inner for block in blocks]

    def depth(self, config: Any) -> int:
        """Number of layers."""
        return config.num_layers

    @property
    def layers(self) -> nn.ModuleList:  # type: ignore[override]
        return self.block

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x)

    def close(self, x: Tensor) -> Tensor:
        return self.dropout(self.final_layer_norm(x))

    def with_biases(self, mask: Mask, queries: int, keys: int, past: Any, x: Tensor) -> dict[Any, Mask]:
        count, farthest = self.config.relative_attention_num_buckets, self.config.relative_attention_max_distance
        distance = distances(queries, keys, x.device) - past
        buckets = relative_buckets(distance, count, farthest, both=not self.crosses)  # (queries, keys)
        masks: dict[Any, Mask] = {}
        for attention in self.attentions() if self.own_positions else self.attentions()[:1]:
            bias = attention.relative_attention_bias(buckets).permute(2, 0, 1)[None]  # (1, heads, queries, keys)
            masks[attention.kind] = biased(mask, bias.to(x.dtype), queries)
        return masks


class Encoder(Side, seq2seq.Encoder):
    """Reads the source."""


class Decoder(Side, seq2seq.Decoder):
    """Writes the target."""

    crosses = True

    def depth(self, config: Any) -> int:
        return config.num_decoder_layers


class Model(seq2seq.Model):
    """T5-like encoder and decoder without a head."""

    base_model_prefix = "transformer"
    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: Spec) -> None:
        self.shared = Table(config.vocab_size, config.d_model, config.initializer_factor)


def encoder_alone(config: Any) -> Any:
    """The configuration of a model that only reads."""
    config = copy.deepcopy(config)  # it is another model's too
    config.is_encoder_decoder = config.use_cache = False
    return config


class EncoderModel(PreTrainedModel):
    """Hidden states of the source, by the encoder alone."""

    base_model_prefix = "transformer"
    embeddings_path = "shared"
    encoder_class: ClassVar[type] = Encoder
    passes_over = ("decoder", "lm_head")
    marks_config: ClassVar[bool] = True  # that there is no decoder

    def __init__(self, config: Any, spec: Any = None):
        super().__init__(encoder_alone(config) if self.marks_config else config)
        self.shared = Table(config.vocab_size, config.d_model, config.initializer_factor)
        self.encoder = self.encoder_class(self.config, self.variant.spec(config) if spec is None else spec)

    def get_encoder(self) -> Any:
        return self.encoder

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"encoder.embed_tokens.weight": "shared.weight"}

    def set_input_embeddings(self, value: nn.Module) -> None:
        super().set_input_embeddings(value)
        self.encoder.set_input_embeddings(value)

    def forward(self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        """Hidden states; arguments are the encoder's."""
        return_dict = kwargs.pop("return_dict", None)
        out = self.encoder(input_ids, attention_mask, return_dict=True, **kwargs)
        looks = () if out.attentions is not None else None  # named, though it looks at nothing, as clients expect
        return finish(
            BaseModelOutputWithPastAndCrossAttentions(**out, cross_attentions=looks), return_dict, self.config
        )


# -- heads


class Flat:
    """A head whose sides hang on itself: the names of parameters have no prefix."""

    def make_base(self, config: Any) -> None:
        """The sides are the model's own."""

    def states(self, *inputs: Any, **kwargs: Any) -> Any:
        return Model.forward(self, *inputs, return_dict=True, **kwargs)  # type: ignore[arg-type]

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        sides = {f"{side}.embed_tokens.weight": "shared.weight" for side in ("encoder", "decoder")}
        output = getattr(self, "output_path", None)
        return sides if output is None else {**sides, f"{output}.weight": "shared.weight"}


class LM(Flat, seq2seq_heads.LM, Model):
    """Scores of the target's next token."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.output_scale = self.variant.spec(config).output_scale

    def score(self, hidden: Tensor) -> Tensor:
        return super().score(hidden * self.output_scale)


class QuestionAnswering(Flat, seq2seq_heads.QuestionAnswering, Model):
    """Where an answer begins and ends in the target, which is the source where none is given."""

    denoises = True
    may_lack = ("qa_outputs",)


class SequenceClassification(seq2seq_heads.SequenceClassification):
    """A label from the decoder's state at the last end of text; the decoder reads the source, shifted right by one."""

    base_model_prefix = "transformer"

    def __init__(self, config: Any):
        super().__init__(config)
        self.base_model.denoises = True


class TokenClassification(heads.Head):
    """A label for each token of the source, by the encoder alone."""

    base_model_prefix = "transformer"
    passes_over = EncoderModel.passes_over
    marks_config: ClassVar[bool] = True

    def __init__(self, config: Any):
        super().__init__(encoder_alone(config) if self.marks_config else config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.d_model, config.num_labels)

    def make_base(self, config: Any) -> None:
        self.transformer = EncoderModel(config, self.variant.spec(config))

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"transformer.encoder.embed_tokens.weight": "transformer.shared.weight"}

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels: (batch, seq)."""
        out = self.transformer(input_ids, attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **kwargs)
        logits = self.classifier(self.dropout(out.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels)
        return finish(self.hand_on(TokenClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)


def output_scale(config: Any) -> float:
    """Where embeddings are tied, states are brought back to their size before they are scored."""
    return config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", True) else 1.0


HALF = {"keep_fp32_in_fp16": ("wo",)}
VARIANTS = {
    "t5": Variant(lambda c: Spec(output_scale(c)), members=HALF),
    "mt5": Variant(lambda c: Spec(), members=HALF),
    "umt5": Variant(lambda c: Spec(output_scale(c), own_positions=True), members=HALF | {"marks_config": False}),
}
TASKS = {
    "Model": Model,
    "Seq2SeqLM": LM,
    "SequenceClassification": SequenceClassification,
    "TokenClassification": TokenClassification,
    "QuestionAnswering": QuestionAnswering,
    "TextEncoding": EncoderModel,
}

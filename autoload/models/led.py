"""LED: BART whose encoder sees windows, as Longformer does.

Beltagy et al. 2020 (arXiv:2004.05150).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from autoload.layers.attention import Context
from autoload.model import Variant, finish
from autoload.models import bart, seq2seq_heads
from autoload.models.gpt_decoder import reorder
from autoload.models.longformer import LongSelfAttention, make_scope, spread_windows
from autoload.outputs import (
    BaseModelOutput,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
    Seq2SeqQuestionAnsweringModelOutput,
    States,
)


@dataclass
class LEDEncoderBaseModelOutput(BaseModelOutput):
    """LED's encoder; `global_attentions` are the weights of the tokens that see everything."""

    global_attentions: States = None


@dataclass
class LEDSeq2SeqModelOutput(Seq2SeqModelOutput):
    """Hidden states of LED."""

    encoder_global_attentions: States = None


@dataclass
class LEDSeq2SeqLMOutput(Seq2SeqLMOutput):
    """`logits` (batch, target, vocabulary) of LED."""

    encoder_global_attentions: States = None


@dataclass
class LEDSeq2SeqQuestionAnsweringModelOutput(Seq2SeqQuestionAnsweringModelOutput):
    """`start_logits` and `end_logits` (batch, target) of LED."""

    encoder_global_attentions: States = None


class LEDAttention(nn.Module):
    """Longformer's attention and a projection."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.longformer_self_attn = LongSelfAttention(config, layer_idx)
        self.output = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.longformer_self_attn(x, context))


class LEDLayer(bart.Layer):
    """With Longformer's attention."""

    def make_attention(self, config: Any, heads: int, layer_idx: int, cross: bool = False) -> nn.Module:
        return LEDAttention(config, layer_idx)


class LEDEncoder(bart.Encoder):
    """Reads the source in windows; `global_attention_mask` (batch, source) is 1 at tokens that see everything."""

    layer_class = LEDLayer

    def __init__(self, config: Any, spec: bart.Spec):
        spread_windows(config)
        super().__init__(config, spec)

    def make_positions(self, config: Any, spec: bart.Spec) -> nn.Module:
        return nn.Embedding(config.max_encoder_position_embeddings, config.d_model)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        x = self.lookup(input_ids, inputs_embeds)
        context = self.context(None, output_attentions, output_hidden_states)
        shows, period = context.attentions is not None, max(self.config.attention_window)
        scope = context.extra["scope"] = make_scope(attention_mask, global_attention_mask, x, period, shows)
        x, seen = self.run_layers(self.embed(x, input_ids, 0), context)
        out = LEDEncoderBaseModelOutput(
            last_hidden_state=x,
            hidden_states=(*seen, x) if context.states else None,
            attentions=tuple(context.attentions) if context.attentions is not None else None,
            global_attentions=tuple(scope.weights) if scope.weights else None,
        )
        return finish(out, return_dict, self.config)


class LEDDecoder(bart.Decoder):
    """Has as many positions as its own setting says."""

    def make_positions(self, config: Any, spec: bart.Spec) -> nn.Module:
        return nn.Embedding(config.max_decoder_position_embeddings, config.d_model)


class LEDModel(bart.Model):
    """LED without a head."""

    encoder_class = LEDEncoder
    decoder_class = LEDDecoder
    denoises = True

    def make_output(self, out: Any, source: Any) -> Any:
        weights = getattr(source, "global_attentions", None)
        return LEDSeq2SeqModelOutput(**super().make_output(out, source), encoder_global_attentions=weights)


class LEDLM(seq2seq_heads.BiasedLM):
    """Scores of the target's next token."""

    output_class = LEDSeq2SeqLMOutput


class LEDQuestionAnswering(seq2seq_heads.QuestionAnswering):
    """Where an answer begins and ends in the target."""

    output_class = LEDSeq2SeqQuestionAnsweringModelOutput


SOURCE = "attention_mask decoder_input_ids decoder_attention_mask encoder_outputs global_attention_mask"
EMBEDS = "inputs_embeds decoder_inputs_embeds"
ANSWER = "start_positions end_positions"
VARIANTS = {"led": Variant(lambda c: bart.Spec(), members={"base_model_prefix": "led"})}
TASKS = {
    "Model": reorder(LEDModel, f"{SOURCE} past_key_values {EMBEDS} use_cache"),
    "Seq2SeqLM": reorder(LEDLM, f"{SOURCE} past_key_values {EMBEDS} labels use_cache"),
    "QuestionAnswering": reorder(LEDQuestionAnswering, f"{SOURCE} {ANSWER} {EMBEDS} use_cache"),
}

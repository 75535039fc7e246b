"""LXMERT: a stack for words, one for regions of an image, and one in which both look at each other.

Tan and Bansal 2019 (arXiv:1908.07490).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, encoder_mask, kernel_of
from autoload.losses import token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert import Attention, Intermediate, Layer, Pooler, SelfAttention
from autoload.models.bert_heads import resized
from autoload.outputs import ALWAYS, ModelOutput, States


@dataclass
class LxmertModelOutput(ModelOutput):
    """`language_output` (batch, seq, dim), `vision_output` (batch, regions, dim), `pooled_output` (batch, dim)."""

    language_output: Tensor = ALWAYS
    vision_output: Tensor = ALWAYS
    pooled_output: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


@dataclass
class LxmertForPreTrainingOutput(ModelOutput):
    """Scores of words (batch, seq, vocabulary), of text and image together (batch, 2), of answers (batch, answers)."""

    loss: Any = None
    prediction_logits: Tensor = ALWAYS
    cross_relationship_score: Tensor = ALWAYS
    question_answering_score: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


@dataclass
class LxmertForQuestionAnsweringOutput(ModelOutput):
    """`question_answering_score` (batch, answers)."""

    loss: Any = None
    question_answering_score: Tensor = ALWAYS
    language_hidden_states: States = None
    vision_hidden_states: States = None
    language_attentions: States = None
    vision_attentions: States = None
    cross_encoder_attentions: States = None


EPS = 1e-12  # of all norms; the configuration has none
STATES = (
    "language_hidden_states",
    "vision_hidden_states",
    "language_attentions",
    "vision_attentions",
    "cross_encoder_attentions",
)


class Embeddings(nn.Module):
    """Sum of word, position and token type vectors, normalised; row 0 of each table is never trained."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size, padding_idx=0)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size, padding_idx=0)
        self.LayerNorm = nn.LayerNorm(size, eps=EPS)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor | None, token_type_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        places = torch.arange(x.shape[1], device=x.device)[None]
        types = torch.zeros_like(places) if token_type_ids is None else token_type_ids
        return self.dropout(self.LayerNorm(x + self.position_embeddings(places) + self.token_type_embeddings(types)))


class RegionEmbeddings(nn.Module):
    """Mean of what a region shows and where it is."""

    def __init__(self, config: Any):
        super().__init__()
        self.visn_fc = nn.Linear(config.visual_feat_dim, config.hidden_size)
        self.visn_layer_norm = nn.LayerNorm(config.hidden_size, eps=EPS)
        self.box_fc = nn.Linear(config.visual_pos_dim, config.hidden_size)
        self.box_layer_norm = nn.LayerNorm(config.hidden_size, eps=EPS)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        shown, where = self.visn_layer_norm(self.visn_fc(features)), self.box_layer_norm(self.box_fc(boxes))
        return self.dropout((shown + where) / 2)


class Output(nn.Module):
    """Projection, dropout, residual, norm."""

    def __init__(self, config: Any, size: int):
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=EPS)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class OwnAttention(Attention):
    """Words look at words, regions at regions."""

    output_class = Output


class CrossAttention(nn.Module):
    """Words look at regions, and with the same weights regions at words."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.att = SelfAttention(config, layer_idx, cross=True)
        self.output = Output(config, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.output(self.att(x, context), x)


class OwnLayer(Layer):
    """Of words or regions alone."""

    attention_class = OwnAttention
    output_class = Output


class CrossLayer(nn.Module):
    """Both look at each other, then at themselves; a wide layer for each."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__()
        self.visual_attention = CrossAttention(config, layer_idx)
        self.lang_self_att, self.visn_self_att = OwnAttention(config, layer_idx), OwnAttention(config, layer_idx)
        self.lang_inter, self.visn_inter = Intermediate(config), Intermediate(config)
        self.lang_output = Output(config, config.intermediate_size)
        self.visn_output = Output(config, config.intermediate_size)

    def forward(self, x: tuple[Tensor, Tensor], contexts: tuple[Context, Context]) -> tuple[Tensor, Tensor]:
        (words, regions), (of_words, of_regions) = x, contexts
        of_words.encoder, of_regions.encoder = regions, words
        words, regions = self.visual_attention(words, of_words), self.visual_attention(regions, of_regions)
        words, regions = self.lang_self_att(words, of_words), self.visn_self_att(regions, of_regions)
        return self.lang_output(self.lang_inter(words), words), self.visn_output(self.visn_inter(regions), regions)


class Encoder(nn.Module):
    """The three stacks."""

    def __init__(self, config: Any):
        super().__init__()
        self.visn_fc = RegionEmbeddings(config)
        self.layer = nn.ModuleList(OwnLayer(config, i) for i in range(config.l_layers))
        self.x_layers = nn.ModuleList(CrossLayer(config, i) for i in range(config.x_layers))
        self.r_layers = nn.ModuleList(OwnLayer(config, i) for i in range(config.r_layers))


class Model(PreTrainedModel):
    """LXMERT without a head."""

    embeddings_path = "embeddings.word_embeddings"
    _no_split_modules = ["OwnLayer", "CrossLayer", "Embeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of words and of regions.

        Args:
            input_ids: (batch, seq).
            visual_feats: (batch, regions, visual_feat_dim), what the regions show.
            visual_pos: (batch, regions, visual_pos_dim), where they are: boxes on a scale from 0 to 1.
            attention_mask: (batch, seq), 0 at padding.
            visual_attention_mask: (batch, regions), 0 at padding.
            token_type_ids: (batch, seq), 0 for the first text and 1 for the second.
            inputs_embeds: (batch, seq, dim), in place of input_ids.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ArgumentError("forward: pass input_ids or inputs_embeds, one of them.", name="input_ids")
        for name, given in (("visual_feats", visual_feats), ("visual_pos", visual_pos)):
            if given is None:
                raise ArgumentError(f"forward: {name} is missing; regions of an image belong to every text.", name=name)
        config, encoder = self.config, self.encoder
        asked = config.output_attentions if output_attentions is None else output_attentions
        states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        masks = encoder_mask(attention_mask), encoder_mask(visual_attention_mask)
        kernel = kernel_of(config)
        language, vision = (Context({"full": mask}, kernel=kernel, attentions=[] if asked else None) for mask in masks)
        crossing = tuple(
            Context({"full": own}, kernel=kernel, encoder_mask=other) for own, other in (masks, masks[::-1])
        )
        crossing[0].cross_attentions = [] if asked else None

        words, regions = (
            self.embeddings(input_ids, token_type_ids, inputs_embeds),
            encoder.visn_fc(visual_feats, visual_pos),
        )
        word_states, region_states = [], []
        for layer in encoder.layer:
            words = self.run(layer, words, language)
            word_states.append(words)
        for layer in encoder.r_layers:
            regions = self.run(layer, regions, vision)
            region_states.append(regions)
        for layer in encoder.x_layers:
            words, regions = self.run(layer, (words, regions), crossing)  # type: ignore[arg-type]
            word_states.append(words)
            region_states.append(regions)
        kept = (word_states if states else None, region_states if states else None)
        kept += (language.attentions, vision.attentions, crossing[0].cross_attentions)
        further = (None if found is None else tuple(found) for found in kept)
        return finish(LxmertModelOutput(words, regions, self.pooler(words), *further), return_dict, config)


class Transform(nn.Module):
    """Dense layer, activation, norm."""

    def __init__(self, config: Any):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.transform_act_fn = Activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.transform_act_fn(self.dense(x)))


class Predictions(nn.Module):
    """Scores of the vocabulary, with a bias beside the tied table."""

    def __init__(self, config: Any):
        super().__init__()
        self.transform = Transform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def init_own(self, std: float) -> None:
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.transform(x)) + self.bias


class PreTrainingHeads(nn.Module):
    """Hidden words, and whether text and image belong together."""

    def __init__(self, config: Any):
        super().__init__()
        self.predictions = Predictions(config)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)


class AnswerHead(nn.Module):
    """Scores of the answers that a data set knows."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.logit_fc = nn.Sequential(
            nn.Linear(size, 2 * size),
            nn.GELU(),
            nn.LayerNorm(2 * size, eps=EPS),
            nn.Linear(2 * size, config.num_qa_labels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.logit_fc(x)


class ObjectHead(nn.Module):
    """What a hidden region shows: its kind, its attribute, its features."""

    def __init__(self, config: Any):
        super().__init__()
        counts = dict(obj=config.num_object_labels, attr=config.num_attr_labels, feat=config.visual_feat_dim)
        wanted = dict(obj=config.visual_obj_loss, attr=config.visual_attr_loss, feat=config.visual_feat_loss)
        self.transform = Transform(config)
        self.decoder_dict = nn.ModuleDict(
            {key: nn.Linear(config.hidden_size, count) for key, count in counts.items() if wanted[key]}
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.transform(x)
        return {key: layer(x) for key, layer in self.decoder_dict.items()}


class PreTraining(Head):
    """Hidden words and regions, whether text and image belong together, and answers."""

    output_path = "cls.predictions.decoder"

    def __init__(self, config: Any):
        super().__init__(config)
        self.cls = PreTrainingHeads(config)
        if config.task_obj_predict:
            self.obj_predict_head = ObjectHead(config)
        if config.task_qa:
            self.answer_head = AnswerHead(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        return {"cls.predictions.decoder.weight": f"{self.base_model_prefix}.embeddings.word_embeddings.weight"}

    def after_resize(self, count: int) -> None:
        self.cls.predictions.bias = resized(self.cls.predictions.bias, count)

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        obj_labels: dict[str, tuple[Tensor, Tensor]] | None = None,
        matched_label: Tensor | None = None,
        ans: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the sum of the losses of what is given.

        Args:
            labels: (batch, seq), hidden words.
            obj_labels: for "obj", "attr" and "feat" what the regions show, (batch, regions) or (batch, regions, dim), and
                how much each region counts, (batch, regions).
            matched_label: (batch,), 1 where text and image belong together.
            ans: (batch,), the answer.
        """
        out = self.base_model(
            input_ids,
            visual_feats,
            visual_pos,
            attention_mask,
            visual_attention_mask,
            token_type_ids,
            inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        config, pooled = self.config, out.pooled_output
        words, fits = self.cls.predictions(out.language_output), self.cls.seq_relationship(pooled)
        answers = self.answer_head(pooled) if config.task_qa else pooled[0, 0]
        losses = []
        if labels is not None and config.task_mask_lm:
            losses.append(token_loss(words, labels))
        if matched_label is not None and config.task_matched:
            losses.append(token_loss(fits, matched_label))
        if obj_labels is not None and config.task_obj_predict:
            losses += self.region_losses(self.obj_predict_head(out.vision_output), obj_labels)
        if ans is not None and config.task_qa:
            losses.append(token_loss(answers, ans))
        given = any(x is not None for x in (labels, obj_labels, matched_label, ans))
        loss = sum(losses, words.new_zeros(())) if given else None
        result = LxmertForPreTrainingOutput(loss, words, fits, answers, *(getattr(out, name) for name in STATES))
        return finish(result, return_dict, config)

    def region_losses(self, scores: dict[str, Tensor], labels: dict[str, tuple[Tensor, Tensor]]) -> list[Tensor]:
        losses = []
        for key, found in scores.items():
            expected, counts = labels[key]
            if key == "feat":
                loss = F.smooth_l1_loss(found, expected, reduction="none").mean(-1)
            else:
                loss = F.cross_entropy(found.flatten(0, 1), expected.flatten(), reduction="none").view_as(counts)
            losses.append((loss * counts).mean() * self.config.visual_loss_normalizer)
        return losses


class Answer(Head):
    """The answer to a question on an image, among those that a data set knows."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.answer_head = AnswerHead(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        visual_feats: Tensor | None = None,
        visual_pos: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,), the answer."""
        out = self.base_model(
            input_ids,
            visual_feats,
            visual_pos,
            attention_mask,
            visual_attention_mask,
            token_type_ids,
            inputs_embeds,
            return_dict=True,
            **kwargs,
        )
        scores = self.answer_head(out.pooled_output)
        loss = None if labels is None else token_loss(scores, labels)
        result = LxmertForQuestionAnsweringOutput(loss, scores, *(getattr(out, name) for name in STATES))
        return finish(result, return_dict, self.config)


VARIANTS = {"lxmert": Variant(members={"base_model_prefix": "lxmert"})}
TASKS = {"Model": Model, "PreTraining": PreTraining, "QuestionAnswering": Answer}

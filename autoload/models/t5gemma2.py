"""T5Gemma 2: an encoder of words and images and a decoder, both of Gemma 3's layers. t5gemma2, t5gemma2_encoder.

Zhang et al. 2025 (arXiv:2512.14856).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.keys import Prefix
from autoload.layers.attention import Context, Mask, attend, band, decoder_mask
from autoload.layers.norms import ZeroCentredRMSNorm
from autoload.layers.selection import additive, explicit, narrowed
from autoload.losses import classification_loss, token_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models import decoder_layer, gpt_decoder, seq2seq, seq2seq_heads, t5gemma
from autoload.models.decoder_gemma import rotary_by_kind
from autoload.models.decoder_layer import ScaledEmbedding, Spec
from autoload.models.encoder_decoder import make_part
from autoload.models.gpt_decoder import reorder
from autoload.models.modernvbert import Model as ImageTextModel
from autoload.models.vit import grid_of
from autoload.outputs import SequenceClassifierOutput, TokenClassifierOutput


class EoiEmbedding(ScaledEmbedding):
    """The token that ends an image has a vector of its own, which nothing multiplies."""

    def __init__(self, count: int, size: int, padding: int | None, eoi: int):
        super().__init__(count, size, padding)
        self.eoi = eoi
        self.eoi_embedding = nn.Parameter(torch.zeros(size))

    def init_own(self, std: float) -> None:
        self.weight.normal_(0.0, std)
        if self.padding_idx is not None:
            self.weight[self.padding_idx].zero_()
        self.eoi_embedding.zero_()

    def forward(self, input: Tensor) -> Tensor:
        x = super().forward(input)
        return torch.where((input == self.eoi)[..., None], self.eoi_embedding.to(x.dtype), x)


class MergedAttention(decoder_layer.Attention):
    """Looks at the target so far and at the encoder's states at once, through the same matrices."""

    source = gpt_decoder.Attention.source

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the encoder's states: without positions."""
        k, v = (t.unflatten(-1, (self.kv_heads, -1)) for t in (self.k_proj(x), self.v_proj(x)))
        return self.k_norm(k).transpose(1, 2), v.transpose(1, 2)  # (batch, heads, source, dim)

    def look(self, q: Tensor, k: Tensor, v: Tensor, context: Context, sinks: Tensor | None = None) -> Tensor:
        far_k, far_v = self.source(context)  # type: ignore[arg-type]
        k, v = torch.cat([k, far_k], 2), torch.cat([v, far_v], 2)
        weights: list[Tensor] | None = None if context.attentions is None else []
        dropout = self.dropout if self.training else 0.0
        mask = context.masks[self.kind]
        out = attend(q, k, v, mask, context, scale=self.scale, dropout=dropout, weights_to=weights)
        if weights:
            own, cross = weights[0].tensor_split([-far_k.shape[2]], -1)
            context.attentions.append(own)  # type: ignore[union-attr]
            context.cross_attentions.append(cross)  # type: ignore[union-attr]
        return out


class Side(t5gemma.Side):
    """Queries and keys are normalised, and each kind of layer has its own rotary table."""

    def make_spec(self, config: Any) -> Spec:
        return replace(t5gemma.spec_of(config), qk_norm="head", softcap=None)

    def make_table(self, config: Any) -> nn.Embedding:
        return EoiEmbedding(config.vocab_size, config.hidden_size, config.pad_token_id, self.whole.eoi_token_index)

    def make_rotary(self, config: Any) -> nn.Module:
        return rotary_by_kind(config)

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[Any, Any]:
        return {kind: table(positions, x.dtype) for kind, table in self.rotary_emb.items()}  # type: ignore[operator]

    def told_padding(self, attention_mask: Tensor | None, input_ids: Tensor | None) -> Tensor | None:
        """Nothing but the mask tells it."""
        return attention_mask

    def embed(self, x: Tensor, input_ids: Tensor | None, past: Any) -> Tensor:
        return self.dropout(x)


class TextEncoder(Side, t5gemma.Encoder):
    """Reads words, and what images became."""

    part = "text_config"

    def make_masks(self, attention_mask: Tensor | None, x: Tensor) -> dict[Any, Mask]:
        """By kind of layer; of a window of even size, one more token lies ahead than behind."""
        size = x.shape[1]
        full = decoder_mask(attention_mask, size, size, 0, 0, x.device, bidirectional=True)
        behind, ahead = (self.config.sliding_window + 1) // 2, self.config.sliding_window // 2 + 1
        narrow = size > min(behind, ahead)
        near = narrowed(explicit(full, size, size, x.device), band(size, behind, ahead, x.device)) if narrow else None
        return {"full_attention": full, "sliding_attention": full if near is None else Mask(near)}


class Projector(nn.Module):
    """From the patches of an image to a few tokens of the text's width."""

    def __init__(self, config: Any):
        super().__init__()
        image = config.vision_config
        self.grid, side = grid_of(image), int(config.mm_tokens_per_image**0.5)
        self.square = self.grid[0] // side
        if not self.square:
            text = f"at most the {self.grid[0] * self.grid[1]} patches of an image"
            raise ConfigError("mm_tokens_per_image", config.mm_tokens_per_image, text)
        self.mm_input_projection_weight = nn.Parameter(torch.zeros(image.hidden_size, config.text_config.hidden_size))
        self.mm_soft_emb_norm = ZeroCentredRMSNorm(image.hidden_size, image.layer_norm_eps)

    def init_own(self, std: float) -> None:
        self.mm_input_projection_weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """(images, patches, dim) to (images, tokens, dim of the text)."""
        squares = F.avg_pool2d(x.transpose(1, 2).unflatten(2, self.grid), self.square)
        return self.mm_soft_emb_norm(squares.flatten(2).transpose(1, 2)) @ self.mm_input_projection_weight


class Encoder(PreTrainedModel):
    """Reads a text in which images may take places."""

    input_modalities = ("image", "text")
    embeddings_path = "text_model.embed_tokens"
    fill = ImageTextModel.fill

    def __init__(self, config: Any):
        super().__init__(config)
        self.text_model = TextEncoder(config, None)
        self.vision_tower = make_part(config, config.vision_config, "Model")
        self.multi_modal_projector = Projector(config)
        self._no_split_modules = [*self.text_model._no_split_modules, *self.vision_tower._no_split_modules]

    def get_image_features(self, pixel_values: Tensor, return_dict: bool | None = None, **kwargs: Any) -> Any:
        """What the image tower gives; `pooler_output` are the tokens of each image, (images, tokens, dim).

        Args:
            pixel_values: (images, channels, height, width).
            return_dict: False gives a tuple.
            **kwargs: further inputs of the tower.
        """
        out = self.vision_tower(pixel_values=pixel_values, return_dict=True, **kwargs)
        out.pooler_output = self.multi_modal_projector(out.last_hidden_state)
        return finish(out, return_dict, self.config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the source.

        Args:
            input_ids: (batch, source); `image_token_index` stands where a token of an image goes.
            attention_mask: (batch, source), 0 at padding.
            position_ids: (batch, source).
            inputs_embeds: (batch, source, dim), in place of input_ids.
            pixel_values: (images, channels, height, width), of all images in the order of the texts.
            output_attentions, output_hidden_states: also give these, of every layer.
            return_dict: False gives a tuple.
        """
        x = self.text_model.lookup(input_ids, inputs_embeds)
        if pixel_values is not None:
            images = self.get_image_features(pixel_values, return_dict=True).pooler_output.to(x)
            x = self.fill(x, input_ids, images.flatten(0, 1))  # type: ignore[arg-type]
        return self.text_model(
            inputs_embeds=x,
            attention_mask=attention_mask,
            position_ids=position_ids,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=self.config.return_dict if return_dict is None else return_dict,
        )


class Decoder(Side, t5gemma.Decoder):
    """Writes the target; one attention sees it and the source."""

    layer_class = t5gemma.EncoderLayer

    def make_spec(self, config: Any) -> Spec:
        return replace(super().make_spec(config), attention=MergedAttention)

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        context.masks = {kind: self.merge(mask, x, context) for kind, mask in context.masks.items()}
        return super().run_layers(x, context)

    def merge(self, own: Mask, x: Tensor, context: Context) -> Mask:
        """A mask for the keys of the target, followed by those of the source."""
        assert context.encoder is not None and context.encoder_mask is not None
        if not own.causal and own.allowed is None and context.encoder_mask.allowed is None:
            return Mask()
        queries, source = x.shape[1], context.encoder.shape[1]
        keys = queries if own.allowed is None else own.allowed.shape[-1]
        if own.allowed is None and context.cache is not None:
            keys += context.cache.get_seq_length()
        masks: list[Any] = [
            explicit(own, queries, keys, x.device),
            explicit(context.encoder_mask, queries, source, x.device),
        ]
        if any(mask.dtype != torch.bool for mask in masks):
            masks = [additive(mask, x.dtype).allowed for mask in masks]
        batch = max(map(len, masks))
        return Mask(torch.cat([mask.expand(batch, 1, queries, -1) for mask in masks], -1))


class Model(seq2seq.Model):
    """T5Gemma 2 without a head; both sides have one table of tokens."""

    input_modalities = ("image", "text")
    embeddings_path = "encoder.text_model.embed_tokens"

    def make_sides(self, config: Any) -> None:
        self.encoder = make_part(config, config.encoder, "Model")
        self.decoder = Decoder(config, None)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        names = ("weight", "eoi_embedding")
        return {f"decoder.embed_tokens.{name}": f"{self.embeddings_path}.{name}" for name in names}

    @property
    def ties_weights(self) -> bool:
        return self.config.tie_word_embeddings

    def shift_right(self, ids: Tensor) -> Tensor:
        decoder = self.config.decoder
        return seq2seq.shift_tokens_right(ids, decoder.pad_token_id, decoder.bos_token_id)

    def after_resize(self, count: int) -> None:
        """Each configuration names the size of the table, which is one."""
        for config in (self.config, self.config.decoder, self.config.encoder.text_config):
            config.vocab_size = count


# -- heads


class Head(seq2seq_heads.Head):
    """A model of both sides and something on top of it."""

    input_modalities = ("image", "text")

    @property
    def ties_weights(self) -> bool:
        return self.config.tie_word_embeddings

    def shift_right(self, ids: Tensor) -> Tensor:
        return self.base_model.shift_right(ids)

    after_resize = Model.after_resize


class LM(Head, seq2seq_heads.LM):
    """Scores of the target's next token, squashed where the decoder's configuration says so."""

    output_path = "lm_head.out_proj"
    loss_caches = True
    make_head = t5gemma.LM.make_head
    score = t5gemma.LM.score
    loss = t5gemma.LM.loss

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> Any:
        """See the encoder's."""
        return self.get_encoder().get_image_features(pixel_values, **kwargs)

    def result(self, out: Any, labels: Tensor | None, inputs: dict[str, Any]) -> Any:
        kept = inputs.get("logits_to_keep") or 0
        hidden = out.last_hidden_state[:, slice(-kept, None) if isinstance(kept, int) else kept]
        logits = self.score(hidden)
        loss = None if labels is None else self.loss(logits, labels, inputs)
        return self.hand_on(self.output_class, out, loss=loss, logits=logits)


class TokenClassification(Head):
    """A label for each token of the target, which is the source shifted right by one unless another is given."""

    output_class: ClassVar[Any] = TokenClassifierOutput

    def __init__(self, config: Any):
        super().__init__(config)
        self.score = t5gemma.ClassificationHead(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores, and the loss when there are labels.

        Args:
            input_ids: (batch, source).
            attention_mask: (batch, source), 0 at padding.
            decoder_input_ids: (batch, target).
            decoder_attention_mask: (batch, target), 0 at padding.
            encoder_outputs: what the encoder gave.
            labels: one per text or per token of the target, as the head asks.
            return_dict: False gives a tuple.
            **kwargs: further inputs of the model without a head.
        """
        if input_ids is None:
            text = f"{type(self).__name__}: pass input_ids; embeddings do not say what the decoder reads."
            raise ArgumentError(text, name="input_ids")
        if decoder_input_ids is None:
            decoder_input_ids = self.shift_right(input_ids)
        out = self.base_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            return_dict=True,
            **kwargs | {"use_cache": False},
        )
        logits = self.select(self.score(out.last_hidden_state), decoder_input_ids)
        loss = None if labels is None else self.loss(logits, labels)
        result = self.output_class(loss, logits, out.decoder_hidden_states, out.decoder_attentions)
        return finish(result, return_dict, self.config)

    def select(self, logits: Tensor, target: Tensor) -> Tensor:
        """Of the scores of all tokens those that are asked for."""
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return token_loss(logits, labels)


class SequenceClassification(TokenClassification):
    """A label from the last token of the target that is no padding."""

    output_class = SequenceClassifierOutput

    def select(self, logits: Tensor, target: Tensor) -> Tensor:
        places = torch.arange(target.shape[1], device=target.device)
        last = (places * (target != self.config.pad_token_id)).argmax(-1)
        return logits[torch.arange(len(logits), device=logits.device), last]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return classification_loss(logits, labels, self.config)


def keys_at(place: str) -> tuple[Prefix, ...]:
    """Files have the text part where its encoder stands, and the image tower in a box of its own."""
    text = (Prefix(f"{place}{part}.", f"{place}text_model.{part}.") for part in ("embed_tokens", "layers", "norm"))
    return (*text, Prefix(f"{place}vision_tower.vision_model.", f"{place}vision_tower.", saved=False))


BOTH = "pixel_values attention_mask position_ids decoder_input_ids decoder_attention_mask decoder_position_ids"
EMBEDS = "inputs_embeds decoder_inputs_embeds"
VARIANTS = {
    "t5gemma2": Variant(keys=(*keys_at("model.encoder."), *keys_at("encoder."))),
    "t5gemma2_encoder": Variant(heads={"Model": Encoder}, keys=keys_at("")),
}
TASKS = {
    "Model": reorder(Model, f"{BOTH} encoder_outputs past_key_values {EMBEDS} use_cache"),
    "Seq2SeqLM": reorder(LM, f"{BOTH} encoder_outputs past_key_values {EMBEDS} labels use_cache logits_to_keep"),
    "SequenceClassification": reorder(SequenceClassification, f"{BOTH} encoder_outputs {EMBEDS} labels"),
    "TokenClassification": reorder(TokenClassification, f"{BOTH} encoder_outputs {EMBEDS} labels"),
}

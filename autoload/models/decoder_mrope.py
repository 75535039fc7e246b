"""Text parts of models that see: positions have several axes (time, height, width), and layers take visual features.

cohere_compass_text, cosmos3_edge_text, glm4v_text, glm_image_text, glm_ocr_text, granite_docling_text, hunyuan_vl_text,
qwen2_vl_text, qwen2_5_vl_text, qwen3_vl_text. M-RoPE: Wang et al. 2024 (arXiv:2409.12191).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from autoload import heads
from autoload.errors import ConfigError
from autoload.layers.attention import Context, Mask
from autoload.layers.norms import LayerNormFP32
from autoload.layers.rope import Rotary
from autoload.losses import classification_loss
from autoload.model import Variant, finish
from autoload.models import decoder
from autoload.models.decoder import Spec, head_dim
from autoload.models.decoder_gated import Glm4Layer, NormAfterRotation
from autoload.models.decoder_plain import NumberedMLP
from autoload.outputs import SequenceClassifierOutputWithPast

Layout = Literal["halves", "pairs", "woven", "whole"]


def axes_of(sections: Sequence[int], count: int, layout: Layout) -> list[int]:
    """Which axis of the position turns each dimension of a head.

    Args:
        sections: number of frequencies of each axis.
        count: number of frequencies, half of the rotated dimensions.
        layout: "halves": sections follow each other in both halves of the head; "pairs": the same, dimensions 2i and
            2i + 1 being a pair; "woven": the axes take turns, and what is left over belongs to the first; "whole":
            sections of double size follow each other over the whole head.
    """
    if layout == "woven":
        axes = [0] * count
        for axis in (1, 2):
            for i in range(axis, min(3 * sections[axis], count), 3):
                axes[i] = axis
        return axes * 2
    if sum(sections) != count:
        raise ConfigError("rope_parameters.mrope_section", list(sections), f"numbers that add up to {count}")
    size = 2 if layout == "whole" else 1
    axes = [i % len(sections) for i, section in enumerate(sections) for _ in range(size * section)]
    return {"halves": axes * 2, "pairs": [axis for axis in axes for _ in range(2)]}.get(layout, axes)


class AxisRotary(Rotary):
    """Each dimension of a head turns with one axis of the position."""

    def __init__(
        self, rope: Mapping[str, Any], head_dim: int, max_positions: int, sections: Sequence[int], layout: Layout
    ):
        super().__init__(rope, head_dim, max_positions, layout == "pairs")
        count = len(self.inv_freq)
        axes = axes_of(sections, count, layout) if sections else [0] * (2 * count)
        self.count = max(len(sections), 1)
        self.axes = torch.tensor(axes, device="cpu")

    def _apply(self, fn: Any, recurse: bool = True) -> AxisRotary:
        super()._apply(fn, recurse)
        self.axes = self.axes.to(self.inv_freq.device)
        return self

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and sin for positions (batch, seq), or (axes, batch, seq)."""
        if positions.dim() == 2:
            positions = positions.expand(self.count, -1, -1)
        freqs = self.inv_freq.to(positions.device)
        freqs = freqs.repeat_interleave(2) if self.interleaved else torch.cat([freqs, freqs])
        angles = positions[self.axes.to(positions.device)].movedim(0, -1).float() * freqs  # (batch, seq, dims)
        return (angles.cos() * self.scale).to(dtype), (angles.sin() * self.scale).to(dtype)


class AxisModel(decoder.Model):
    """Positions are (batch, seq), (axes, batch, seq), or (1 + axes, batch, seq), the first being the text's."""

    layout: ClassVar[Layout] = "halves"
    sections: ClassVar[tuple[int, ...]] = (16, 24, 24)  # where the configuration has none

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        return nn.ModuleDict({"all": self.make_table(config, config.rope_parameters)})

    def make_table(self, config: Any, rope: Mapping[str, Any]) -> AxisRotary:
        sections = rope.get("mrope_section", self.sections)
        return AxisRotary(rope, head_dim(config), config.max_position_embeddings, sections, self.layout)

    def axes(self) -> int:
        return next((table.count for table in self.rotary_emb.values()), 3)  # type: ignore[union-attr]

    def make_rope(self, positions: Tensor, x: Tensor) -> dict[str, Any]:
        has_text = positions.dim() == 3 and positions.shape[0] == self.axes() + 1
        return super().make_rope(positions[1:] if has_text else positions, x)

    def make_masks(
        self, attention_mask: Any, x: Tensor, past: Any, cache: Any, position_ids: Tensor | None
    ) -> dict[str, Mask]:
        return super().make_masks(attention_mask, x, past, cache, self.text_positions(position_ids))

    def text_positions(self, position_ids: Tensor | None) -> Tensor | None:
        """What tells packed sequences apart: only positions that are said to be the text's."""
        if position_ids is not None and position_ids.dim() == 3 and position_ids.shape[0] == self.axes() + 1:
            return position_ids[0]
        return None


class GlmImageModel(AxisModel):
    """Other sections."""

    sections = (8, 12, 12)


class PairedAxisModel(AxisModel):
    """Dimensions 2i and 2i + 1 of a head are a pair."""

    layout = "pairs"
    sections = (8, 12, 12)


class WholeAxisModel(AxisModel):
    """Sections follow each other over the whole head; `alpha` stretches the base once and for all."""

    layout = "whole"
    sections = ()

    def make_table(self, config: Any, rope: Mapping[str, Any]) -> AxisRotary:
        dim = head_dim(config)
        if rope["rope_type"] == "dynamic" and rope.get("alpha"):
            base = rope["rope_theta"] * rope["alpha"] ** (dim / (dim - 2))
            rope = {**rope, "rope_type": "default", "rope_theta": base}
        return super().make_table(config, rope)


class Deepstack(decoder.Model):
    """Visual features are added to what the first layers give (arXiv:2406.04334).

    `forward` takes `visual_pos_masks` (batch, seq), True where a token stands for a piece of an image, and
    `deepstack_visual_embeds`, for each of the first layers a tensor (visual tokens, dim).
    """

    reads = ("visual_pos_masks", "deepstack_visual_embeds")

    def read(self, input_ids: Tensor | None, embeds: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"where": kwargs.get("visual_pos_masks"), "features": kwargs.get("deepstack_visual_embeds") or ()}

    def climb(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        where, features = context.extra["where"], context.extra["features"]
        seen = [x]
        for layer_idx, layer in enumerate(self.layers):
            x = self.run(layer, x, context)
            if context.states:
                seen.append(x)
            if layer_idx < len(features):
                places = where.to(x.device)[..., None].expand_as(x)  # (batch, seq, dim)
                x = x + torch.zeros_like(x).masked_scatter(places, features[layer_idx].to(x.device, x.dtype))
        return x, seen[:-1]


class DeepstackModel(Deepstack, AxisModel):
    """The axes take turns over the frequencies."""

    layout = "woven"
    sections = (24, 20, 20)

    def text_positions(self, position_ids: Tensor | None) -> Tensor | None:
        plain = position_ids is not None and position_ids.dim() == 2
        return position_ids if plain else super().text_positions(position_ids)


class CompassModel(DeepstackModel):
    """Rotary settings for each kind of layer; a kind without settings does not rotate."""

    def make_rotary(self, config: Any, spec: Spec) -> nn.ModuleDict:
        tables = {}
        for kind in dict.fromkeys(config.layer_types):
            if kind not in config.rope_parameters:
                raise ConfigError(f"rope_parameters.{kind}", None, "rotary settings, or null, for each kind of layer")
            if config.rope_parameters[kind] is not None:
                tables[kind] = self.make_table(config, config.rope_parameters[kind])
        return nn.ModuleDict(tables)


class CompassClassification(heads.LastTokenClassification):
    """Labels from the last token, the first, or the mean of all, as `pooling` says."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        given = (input_ids, attention_mask, position_ids, past_key_values, inputs_embeds)
        if self.config.pooling in (None, "eos"):
            return super().forward(*given, labels, use_cache, return_dict, **kwargs)
        out = self.base_model(*given, use_cache=use_cache, return_dict=True, **kwargs)
        logits = self.score(out.last_hidden_state)  # (batch, seq, labels)
        logits = logits[:, 0] if self.config.pooling == "bos" else self.mean(logits, input_ids, attention_mask)
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        out = SequenceClassifierOutputWithPast(loss, logits, out.past_key_values, out.hidden_states, out.attentions)
        return finish(out, return_dict, self.config)

    def mean(self, logits: Tensor, input_ids: Tensor | None, attention_mask: Tensor | None) -> Tensor:
        """Over the tokens that are no padding."""
        if attention_mask is None and input_ids is not None and self.config.pad_token_id is not None:
            attention_mask = input_ids != self.config.pad_token_id
        if attention_mask is None:
            return logits.mean(1)
        weights = (attention_mask != 0).to(logits.device, logits.dtype)[..., None]
        return (logits * weights).sum(1) / weights.sum(1).clamp(min=1)


def qwen2(c: Any) -> Spec:
    return Spec(qkv_bias=True)


def glm(bias: bool, interleaved: bool = True) -> Spec:
    return Spec(layer=Glm4Layer, mlp=decoder.FusedGatedMLP, qkv_bias=bias, interleaved=interleaved)


VARIANTS = {
    "qwen2_vl_text": Variant(qwen2, heads={"Model": AxisModel}),
    "qwen2_5_vl_text": Variant(qwen2, heads={"Model": AxisModel}),
    "qwen3_vl_text": Variant(
        lambda c: Spec(qk_norm="head", qkv_bias=c.attention_bias, o_bias=c.attention_bias),
        heads={"Model": DeepstackModel},
    ),
    "glm4v_text": Variant(lambda c: glm(True), heads={"Model": PairedAxisModel}),
    "glm_image_text": Variant(lambda c: glm(c.attention_bias, False), heads={"Model": GlmImageModel}),
    "glm_ocr_text": Variant(lambda c: glm(False), heads={"Model": PairedAxisModel}, ignores=decoder.next_token_layers),
    "cosmos3_edge_text": Variant(
        lambda c: Spec(mlp=NumberedMLP, qkv_bias=c.attention_bias, o_bias=c.attention_bias, mlp_bias=c.mlp_bias),
        heads={"Model": DeepstackModel},
    ),
    "hunyuan_vl_text": Variant(
        lambda c: Spec(attention=NormAfterRotation, qkv_bias=c.attention_bias, o_bias=c.attention_bias, turn_fp32=True),
        heads={"Model": WholeAxisModel},
    ),
    "granite_docling_text": Variant(
        lambda c: Spec(
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            mlp_bias=c.mlp_bias,
            scale=c.attention_multiplier,
            embedding_scale=c.embedding_multiplier,
            residual_scale=c.residual_multiplier,
        ),
        heads={"Model": Deepstack},
    ),
    "cohere_compass_text": Variant(
        lambda c: Spec(
            norm=LayerNormFP32,
            layer=decoder.ParallelLayer,
            qkv_bias=c.attention_bias,
            o_bias=c.attention_bias,
            logits_scale=c.logit_scale,
            no_rope=frozenset(i for i, kind in enumerate(c.layer_types) if c.rope_parameters.get(kind) is None),
        ),
        heads={"Model": CompassModel, "SequenceClassification": CompassClassification},
    ),
}
TASKS = decoder.TASKS

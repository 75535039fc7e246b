"""UDOP: T5 that reads a page: its words, where they stand, and the image, cut into patches.

Tang et al. 2022 (arXiv:2212.02623).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.attention import Context, Mask, biased
from autoload.layers.relative import relative_buckets
from autoload.model import Variant
from autoload.models import t5
from autoload.models.gpt_decoder import reorder
from autoload.outputs import BaseModelOutputWithAttentionMask


class Patches(nn.Module):
    """A vector for each square of the image."""

    def __init__(self, config: Any):
        super().__init__()
        size, patch = config.image_size, config.patch_size
        self.size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
        patch = tuple(patch) if isinstance(patch, (list, tuple)) else (patch, patch)
        self.proj = nn.Conv2d(config.num_channels, config.d_model, kernel_size=patch, stride=patch)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, patches, dim)."""
        if tuple(pixel_values.shape[-2:]) != self.size:
            found, expected = ("x".join(map(str, s)) for s in (pixel_values.shape[-2:], self.size))
            raise ArgumentError(f"pixel_values: found {found} pixels, expected {expected}.", name="pixel_values")
        return self.proj(pixel_values).flatten(2).transpose(1, 2)


class CellEmbeddings(nn.Module):
    """Vectors of the four sides of a box, added up."""

    def __init__(self, config: Any):
        super().__init__()
        self.steps = config.max_2d_position_embeddings - 1
        self.x_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, config.d_model)
        self.y_position_embeddings = nn.Embedding(config.max_2d_position_embeddings, config.d_model)

    def forward(self, boxes: Tensor) -> Tensor:
        """(batch, seq, 4), each side from 0 to 1, to (batch, seq, dim)."""
        left, top, right, bottom = (boxes.clip(0.0, 1.0) * self.steps).long().clamp(0, self.steps).unbind(-1)
        across, down = self.x_position_embeddings, self.y_position_embeddings
        return across(left) + down(top) + across(right) + down(bottom)


class Bias(nn.Module):
    """A table of distances of one kind: along the text, across the page, or down."""

    def __init__(self, config: Any, kind: str, options: dict[str, Any]):
        super().__init__()
        self.kind, usual = kind, (1, 128) if kind == "1d" else (100, 100)
        self.scale = options.get("scaling_factor", usual[0])
        self.farthest = options.get("max_distance", usual[1])
        self.both = options.get("bidirectional", True)
        self.buckets = options.get("relative_attention_num_buckets", 32)
        self.relative_attention_bias = nn.Embedding(self.buckets, config.num_heads)

    def places(self, boxes: Tensor, x: Tensor) -> Tensor:
        """Where each token stands, (batch or 1, seq)."""
        if self.kind == "1d":
            return torch.arange(x.shape[1], device=x.device)[None]
        return boxes[..., [0, 2] if self.kind == "horizontal" else [1, 3]].mean(-1)

    def forward(self, boxes: Tensor, x: Tensor) -> Tensor:
        place = self.places(boxes, x)
        distance = ((place[:, None] - place[:, :, None]).float() * self.scale).long()  # (batch or 1, queries, keys)
        buckets = relative_buckets(distance, self.buckets, self.farthest, both=self.both)
        return self.relative_attention_bias(buckets).permute(0, 3, 1, 2)  # (batch or 1, heads, queries, keys)


class Biases(nn.Module):
    """The sum of what several tables say."""

    kinds = ("1d", "horizontal", "vertical")
    refused = ("augmentation", "prefix_bucket", "expand")  # options of training runs that no published model has

    def __init__(self, config: Any):
        super().__init__()
        for options in config.relative_bias_args:
            if options.get("type") not in self.kinds or any(options.get(name) for name in self.refused):
                expected = f"a type ({', '.join(self.kinds)}) without {', '.join(self.refused)}"
                raise ConfigError("relative_bias_args", options, expected)
        self.biases = nn.ModuleList(Bias(config, options["type"], options) for options in config.relative_bias_args)

    def forward(self, boxes: Tensor | None, x: Tensor) -> Tensor:
        if boxes is None:
            raise ArgumentError("forward: pass bbox, where each token stands on the page.", name="bbox")
        return sum((bias(boxes, x) for bias in self.biases), x.new_zeros(()))


def on_page(
    x: Tensor, boxes: Tensor, patches: Tensor, patch_boxes: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Words with the patches that they stand on, and after them the patches without a word.

    Args:
        x: (batch, seq, dim), the words.
        boxes: (batch, seq, 4).
        patches: (batch, patches, dim), row by row.
        patch_boxes: (batch, patches, 4); None for an even grid.
        mask: (batch, seq), 0 at padding.

    Returns:
        The same of both: (batch, seq + patches, ...); where a row has fewer patches without a word, padding follows.
    """
    batch, count = patches.shape[:2]
    side = int(count**0.5)
    column, row = (((boxes[..., i] + boxes[..., i + 2]) / 2.0 * side).floor().long().clip(0, side - 1) for i in (0, 1))
    place = row * side + column  # (batch, seq), number of the patch
    boxes = boxes.double()
    nowhere = (boxes.mean(-1) == 0.0) | (boxes.mean(-1) == 1.0)
    under = patches.gather(1, place[..., None].expand(-1, -1, patches.shape[-1]))
    x = x + under.masked_fill(nowhere[..., None], 0.0)
    used = torch.zeros(batch, count, dtype=torch.bool, device=x.device).scatter(1, place, True)
    order = used.int().argsort(dim=1, stable=True)[..., None]  # those without a word first
    kept = torch.arange(count, device=x.device) < (~used).sum(1, keepdim=True)  # (batch, patches)
    if patch_boxes is None:
        patch_boxes = grid(side, x.device).expand(batch, -1, -1)
    free = patches.gather(1, order.expand_as(patches)).masked_fill(~kept[..., None], 0.0)
    free_boxes = patch_boxes.gather(1, order.expand_as(patch_boxes)).masked_fill(~kept[..., None], 0.0)
    mask = None if mask is None else torch.cat([mask, kept.to(mask.dtype)], 1)
    return torch.cat([x, free], 1), torch.cat([boxes, free_boxes.to(boxes.dtype)], 1), mask


def grid(side: int, device: Any) -> Tensor:
    """Boxes of the patches, row by row; (1, side * side, 4)."""
    edge = torch.arange(side + 1, device=device) / side
    left, right = edge[:-1].repeat(side), edge[1:].repeat(side)
    top, bottom = edge[:-1].repeat_interleave(side), edge[1:].repeat_interleave(side)
    return torch.stack([left, top, right, bottom], -1)[None]


class Encoder(t5.Encoder):
    """Reads a page."""

    packs = False  # boxes differ from text to text

    def __init__(self, config: Any, spec: t5.Spec):
        super().__init__(config, spec)
        self.embed_patches = Patches(config)
        self.cell_2d_embedding = CellEmbeddings(config)
        self.relative_bias = Biases(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        bbox: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        pixel_values: Tensor | None = None,
        visual_bbox: Tensor | None = None,
        image_embeddings: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states of the words and of the patches without a word.

        Args:
            input_ids: (batch, source).
            attention_mask: (batch, source), 0 at padding.
            bbox: (batch, source, 4): left, top, right and bottom of each token, from 0 to 1.
            inputs_embeds: (batch, source, dim), in place of input_ids.
            pixel_values: (batch, channels, height, width), the image.
            visual_bbox: (batch, patches, 4); an even grid where none is given.
            image_embeddings: (batch, patches, dim), in place of pixel_values.
            **kwargs: further inputs of T5's encoder.
        """
        x = self.lookup(input_ids, inputs_embeds)
        patches = image_embeddings if pixel_values is None else self.embed_patches(pixel_values)
        if patches is not None:
            if bbox is None:
                raise ArgumentError("forward: pass bbox, where each token stands on the page.", name="bbox")
            x, bbox, attention_mask = on_page(x, bbox, patches, visual_bbox, attention_mask)
        if bbox is not None:
            x = x + self.cell_2d_embedding(bbox)
        mask = torch.ones(x.shape[:2], device=x.device) if attention_mask is None else attention_mask
        return super().forward(None, mask, inputs_embeds=x, boxes=bbox, mask=mask, **kwargs)

    def extra(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"boxes": inputs["boxes"], "mask": inputs["mask"]}

    def with_biases(self, mask: Mask, queries: int, keys: int, past: Any, x: Tensor) -> dict[Any, Mask]:
        return {"full": mask}  # where the tokens stand is known when layers run

    def run_layers(self, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
        bias = self.relative_bias(context.extra["boxes"], x).to(x.dtype)
        context.masks["full"] = biased(context.masks["full"], bias, x.shape[1])
        return super().run_layers(x, context)

    def wrap(self, out: Any, context: Context) -> Any:
        return BaseModelOutputWithAttentionMask(**out, attention_mask=context.extra["mask"])


class Decoder(t5.Decoder):
    """Holds parts of an encoder that nothing reads, as the files do."""

    def __init__(self, config: Any, spec: t5.Spec):
        super().__init__(config, spec)
        self.embed_patches = Patches(config)
        self.relative_bias = Biases(config)


class Model(t5.Model):
    """UDOP without a head."""

    encoder_class = Encoder
    decoder_class = Decoder

    def make_tables(self, config: Any, spec: t5.Spec) -> None:
        super().make_tables(config, spec)
        self.patch_embed = Patches(config)

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        image = {f"encoder.embed_patches.proj.{name}": f"patch_embed.proj.{name}" for name in ("weight", "bias")}
        return super()._tied_weights_keys | image

    def source_mask(self, source: Any, attention_mask: Tensor | None) -> Tensor | None:
        return getattr(source, "attention_mask", attention_mask)


class LM(t5.LM, Model):
    """Scores of the target's next token."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        sides = ("encoder", "decoder")
        along = {f"{side}.relative_bias.biases.0.relative_attention_bias.weight": table for side in sides}
        return Model._tied_weights_keys.fget(self) | along | {"lm_head.weight": "shared.weight"}  # type: ignore[misc]


PAGE = "attention_mask bbox pixel_values visual_bbox decoder_input_ids decoder_attention_mask inputs_embeds"
REST = "encoder_outputs past_key_values decoder_inputs_embeds use_cache"
VARIANTS = {"udop": Variant(lambda c: t5.Spec(t5.output_scale(c)), members=t5.HALF)}
TASKS = {"Model": reorder(Model, f"{PAGE} {REST}"), "ImageTextToText": reorder(LM, f"{PAGE} {REST} labels")}

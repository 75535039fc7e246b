"""BridgeTower: a stack that looks at words and patches, fed by every one of the last layers of both towers.

Xu et al. 2022 (arXiv:2206.08657).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from autoload.errors import ArgumentError, ConfigError
from autoload.layers.activations import Activation
from autoload.layers.attention import Context, Mask, encoder_mask, kernel_of
from autoload.model import PreTrainedModel, Variant, finish
from autoload.models.bert import Attention, Embeddings, Encoder, Layer, Pooler, Spec
from autoload.models.clip import ClassEmbeddings, PackedAttention
from autoload.outputs import ALWAYS, ModelOutput


@dataclass
class BridgeTowerModelOutput(ModelOutput):
    """Words (batch, seq, dim) and patches (batch, patches, dim) that have seen each other, and both pooled."""

    text_features: Tensor = ALWAYS
    image_features: Tensor = ALWAYS
    pooler_output: Tensor = ALWAYS
    hidden_states: Any = None  # of the towers, and the pairs of the stack
    attentions: Any = None  # pairs of the stack


HEAD_DIM = 64  # of the image tower; the configuration has none


class Block(nn.Module):
    """A layer of the image tower."""

    def __init__(self, config: Any):
        super().__init__()
        size = config.hidden_size
        self.attn = PackedAttention(size, size // HEAD_DIM)
        self.ln_1 = nn.LayerNorm(size, eps=config.layer_norm_eps)
        wide, narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)
        self.mlp = nn.ModuleDict({"c_fc": wide, "gelu": Activation("quick_gelu"), "c_proj": narrow})
        self.ln_2 = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed)
        wide = self.mlp["gelu"](self.mlp["c_fc"](self.ln_2(x)))
        return x + self.mlp["c_proj"](wide)


class Blocks(nn.Module):
    """The stack of layers."""

    def __init__(self, config: Any):
        super().__init__()
        count = config.num_hidden_layers - config.remove_last_layer
        self.resblocks = nn.ModuleList(Block(config) for _ in range(count))


class ImageTower(nn.Module):
    """CLIP's embeddings and layers; the cross-modal stack reads each layer through `ln_post`."""

    def __init__(self, config: Any):
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = ClassEmbeddings(config)
        self.ln_pre = nn.LayerNorm(size, eps=eps)
        self.transformer = Blocks(config)
        self.ln_post = nn.LayerNorm(size, eps=eps)
        if not config.share_layernorm:  # files have these; nothing reads them
            self.ln_separate = nn.ModuleList(nn.LayerNorm(size, eps=eps) for _ in range(config.num_hidden_layers))


class ImageModel(nn.Module):
    """Holds the tower under the name that files have for it."""

    def __init__(self, config: Any):
        super().__init__()
        self.visual = ImageTower(config)


class TextModel(nn.Module):
    """RoBERTa."""

    def __init__(self, config: Any):
        super().__init__()
        spec = Spec(padded_from=config.pad_token_id)
        self.embeddings = Embeddings(config, spec)
        self.encoder = Encoder(config, spec)
        self.pooler = Pooler(config)  # files have it; nothing reads it


class CrossLayer(Layer):
    """Looks at its own tower's stream, then at the other's."""

    def __init__(self, config: Any, layer_idx: int):
        super().__init__(config, layer_idx)
        self.crosses = True
        self.crossattention = Attention(config, layer_idx, cross=True)


class Link(nn.Module):
    """Brings a tower's layer into the cross-modal stream: their sum, normalised."""

    def __init__(self, config: Any):
        super().__init__()
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def join(self, tower: Tensor, stream: Tensor) -> Tensor:
        return tower + stream

    def forward(self, tower: Tensor, stream: Tensor) -> Tensor:
        return self.LayerNorm(self.join(tower, stream))


class ScaledLink(Link):
    """The tower's layer counts by a learned factor."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.scaled_factor = nn.Parameter(torch.tensor(1.0))

    def init_own(self, std: float) -> None:
        self.scaled_factor.fill_(1.0)

    def join(self, tower: Tensor, stream: Tensor) -> Tensor:
        return tower * self.scaled_factor + stream


class WeighedLink(Link):
    """A learned share of each."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.beta = nn.Parameter(torch.tensor(0.5))

    def init_own(self, std: float) -> None:
        self.beta.fill_(0.5)

    def join(self, tower: Tensor, stream: Tensor) -> Tensor:
        return tower * (1 - self.beta) + stream * self.beta


LINKS = {"add": Link, "scaled_add": ScaledLink, "interpolate": WeighedLink}


def linear(config: Any, size: int) -> nn.Module:
    """From a tower's width to the stack's: one matrix for all layers, or one each."""
    if config.share_cross_modal_transformer_layers:
        return nn.Linear(size, config.hidden_size)
    return nn.ModuleList(nn.Linear(size, config.hidden_size) for _ in range(config.num_hidden_layers))


def links(config: Any) -> nn.Module:
    """One link for all layers after the first, or one each."""
    if config.link_tower_type not in LINKS:
        raise ConfigError("link_tower_type", config.link_tower_type, f"one of {', '.join(LINKS)}")
    kind = LINKS[config.link_tower_type]
    if config.share_link_tower_layers:
        return kind(config)
    return nn.ModuleList(kind(config) for _ in range(config.num_hidden_layers - 1))


def at(parts: nn.Module, number: int) -> nn.Module:
    """The part of a layer; what is no list serves all."""
    return parts[number] if isinstance(parts, nn.ModuleList) else parts


class Model(PreTrainedModel):
    """BridgeTower without a head."""

    input_modalities = ("image", "text")
    embeddings_path = "text_model.embeddings.word_embeddings"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block", "Layer", "CrossLayer", "Embeddings", "ClassEmbeddings"]

    def __init__(self, config: Any):
        super().__init__(config)
        text, vision, size, count = (
            config.text_config,
            config.vision_config,
            config.hidden_size,
            config.num_hidden_layers,
        )
        self.first = text.num_hidden_layers - count + 1  # layers of each tower before the stack begins
        layers = vision.num_hidden_layers - vision.remove_last_layer
        if self.first < 1 or layers < text.num_hidden_layers:
            expected = f"at most {min(layers, text.num_hidden_layers)}, the layers of the shorter tower"
            raise ConfigError("num_hidden_layers", count, expected)
        if text.hidden_size != size:
            raise ConfigError("text_config.hidden_size", text.hidden_size, f"hidden_size ({size})")
        self.cross_modal_text_transform = linear(config, text.hidden_size)
        self.cross_modal_image_transform = linear(config, vision.hidden_size)
        self.token_type_embeddings = nn.Embedding(2, size)
        self.vision_model = ImageModel(vision)
        self.text_model = TextModel(text)
        self.cross_modal_image_layers = nn.ModuleList(CrossLayer(text, i) for i in range(count))
        self.cross_modal_text_layers = nn.ModuleList(CrossLayer(text, i) for i in range(count))
        self.cross_modal_image_pooler, self.cross_modal_text_pooler = Pooler(config), Pooler(config)
        self.cross_modal_text_layernorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.cross_modal_image_layernorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.cross_modal_text_link_tower, self.cross_modal_image_link_tower = links(config), links(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        image_embeds: Tensor | None = None,
        image_token_type_idx: int | None = None,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What the stack makes of the words and of the image.

        `hidden_states` are always given: those of the text tower, of the image tower (patches, batch, dim), and the
        stack's pairs. So are `attentions`, the pairs of the stack, unless a kernel other than "eager" was chosen.

        Args:
            input_ids: (batch, seq).
            attention_mask: (batch, seq), 0 at padding.
            token_type_ids, pixel_mask, labels, output_hidden_states: change nothing.
            pixel_values: (batch, channels, height, width).
            inputs_embeds: not taken.
            image_embeds: (batch, 1 + patches, dim), in place of pixel_values.
            image_token_type_idx: row of the table that tells the image from the text; 1.
            interpolate_pos_encoding: stretch the places over images of another size.
            output_attentions: give the weights whatever the kernel.
            return_dict: False gives a tuple.
        """
        config = self.config
        if input_ids is None or inputs_embeds is not None:
            raise ArgumentError("forward: pass input_ids; BridgeTower does not take inputs_embeds.", name="input_ids")
        visual = self.vision_model.visual
        image: Tensor = (
            visual.ln_pre(visual.embeddings(pixel_values, interpolate_pos_encoding))
            if image_embeds is None
            else image_embeds
        )
        if len(image) != len(input_ids):
            message = f"forward: {len(input_ids)} texts and {len(image)} images, expected as many."
            raise ArgumentError(message, name="pixel_values")
        mask, kernel = encoder_mask(attention_mask), kernel_of(config)
        asked = config.output_attentions if output_attentions is None else output_attentions
        wanted = asked or config._attn_implementation in (None, "eager")
        types = self.token_type_embeddings.weight[[0, image_token_type_idx or 1]]  # of words and patches
        towers = Context({"full": mask}, kernel=kernel)
        text = self.text_model.embeddings(input_ids, None, None, None, 0)
        seen: tuple[list[Any], ...] = [text], [image.transpose(0, 1)], []
        streams, weights = None, []
        floors = zip(self.text_model.encoder.layer, visual.transformer.resblocks, strict=False)
        for number, (layer, block) in enumerate(floors):
            text, image = self.run(layer, text, towers), self.run(block, image, towers)
            seen[0].append(text)
            seen[1].append(image.transpose(0, 1))
            if (step := number + 1 - self.first) < 0:
                continue
            streams, shown = self.cross(step, (text, visual.ln_post(image)), streams, types, mask, kernel, wanted)
            seen[2].append(streams)
            weights.append(shown)
        assert streams is not None  # the stack has a layer
        pooled = self.cross_modal_text_pooler(streams[0]), self.cross_modal_image_pooler(streams[1])
        out = BridgeTowerModelOutput(
            *streams, torch.cat(pooled, -1), tuple(tuple(states) for states in seen), tuple(weights)
        )
        return finish(out, return_dict, config)

    def cross(
        self,
        step: int,
        towers: tuple[Tensor, Tensor],
        streams: tuple[Tensor, Tensor] | None,
        types: Tensor,
        mask: Mask,
        kernel: str,
        wanted: bool,
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None]]:
        """One layer of the stack: both streams, and the weights of both.

        Args:
            step: number of the layer.
            towers: what the towers' layers gave, (batch, seq, dim) and (batch, patches, dim).
            streams: what the layer before gave; None before the first.
            types: vectors of words and patches, (2, dim).
            mask: of the words.
            kernel: of attention.
            wanted: whether weights are.
        """
        words = at(self.cross_modal_text_transform, step)(towers[0]) + types[0]
        patches = at(self.cross_modal_image_transform, step)(towers[1]) + types[1]
        if streams is None:
            words, patches = self.cross_modal_text_layernorm(words), self.cross_modal_image_layernorm(patches)
        else:
            words = at(self.cross_modal_text_link_tower, step - 1)(words, streams[0])
            patches = at(self.cross_modal_image_link_tower, step - 1)(patches, streams[1])
        of_words = Context({"full": mask}, kernel=kernel, encoder=patches, encoder_mask=Mask())
        of_patches = Context({"full": Mask()}, kernel=kernel, encoder=words, encoder_mask=mask)
        lists: tuple[list[Tensor], list[Tensor]] = [], []
        if wanted:
            of_words.attentions, of_patches.attentions = lists
        streams = (
            self.run(self.cross_modal_text_layers[step], words, of_words),
            self.run(self.cross_modal_image_layers[step], patches, of_patches),
        )
        return streams, (lists[0][0], lists[1][0]) if wanted else (None, None)


VARIANTS = {"bridgetower": Variant(members={"base_model_prefix": "bridgetower"})}
TASKS = {"Model": Model}

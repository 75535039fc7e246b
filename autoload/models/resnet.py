"""ResNet: convolutions with residuals, in stages that grow coarser and wider.

He et al. 2015 (arXiv:1512.03385).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from autoload.errors import ArgumentError
from autoload.heads import Head
from autoload.layers.activations import Activation
from autoload.losses import classification_loss
from autoload.model import PreTrainedModel, Variant, finish
from autoload.outputs import BackboneOutput, BaseModelOutputWithPooling, ImageClassifierOutput

NARROWER = 4  # a bottleneck's share of a layer's width


class Convolution(nn.Conv2d):
    """Of odd size, without bias."""

    def __init__(self, inner: int, outer: int, size: int, stride: int):
        super().__init__(inner, outer, size, stride, padding=size // 2, bias=False)

    def init_own(self, std: float) -> None:
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")


class ConvLayer(nn.Module):
    """Convolution, norm, and an activation where one is named."""

    def __init__(self, inner: int, outer: int, size: int = 3, stride: int = 1, activation: str | None = "relu"):
        super().__init__()
        self.convolution = Convolution(inner, outer, size, stride)
        self.normalization = nn.BatchNorm2d(outer)
        self.activation = Activation(activation) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.normalization(self.convolution(x)))


class Shortcut(nn.Module):
    """What came in, in the shape of what goes out."""

    def __init__(self, inner: int, outer: int, stride: int):
        super().__init__()
        self.convolution = Convolution(inner, outer, 1, stride)
        self.normalization = nn.BatchNorm2d(outer)

    def forward(self, x: Tensor) -> Tensor:
        return self.normalization(self.convolution(x))


class BasicLayer(nn.Module):
    """Two convolutions; what came in is added."""

    def __init__(self, config: Any, inner: int, outer: int, stride: int = 1):
        super().__init__()
        self.shortcut = Shortcut(inner, outer, stride) if inner != outer or stride != 1 else nn.Identity()
        self.layer = nn.Sequential(*self.convolutions(config, inner, outer, stride))
        self.activation = Activation(config.hidden_act)

    def convolutions(self, config: Any, inner: int, outer: int, stride: int) -> list[nn.Module]:
        return [ConvLayer(inner, outer, stride=stride), ConvLayer(outer, outer, activation=None)]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layer(x) + self.shortcut(x))


class BottleneckLayer(BasicLayer):
    """Three: narrow, look around, widen."""

    def convolutions(self, config: Any, inner: int, outer: int, stride: int) -> list[nn.Module]:
        narrow = outer // NARROWER
        first, second = (stride, 1) if config.downsample_in_bottleneck else (1, stride)
        return [
            ConvLayer(inner, narrow, 1, first),
            ConvLayer(narrow, narrow, 3, second),
            ConvLayer(narrow, outer, 1, activation=None),
        ]


LAYERS = {"basic": BasicLayer, "bottleneck": BottleneckLayer}


class Stem(nn.Module):
    """From pixels to maps of a quarter of the size."""

    def __init__(self, config: Any):
        super().__init__()
        self.channels = config.num_channels
        self.embedder = ConvLayer(config.num_channels, config.embedding_size, 7, 2, config.hidden_act)
        self.pooler = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, pixels: Tensor | None) -> Tensor:
        if pixels is None or pixels.dim() != 4 or pixels.shape[1] != self.channels:
            found = None if pixels is None else tuple(pixels.shape)
            text = f"forward: pixel_values is {found}, expected (batch, {self.channels}, height, width)."
            raise ArgumentError(text, name="pixel_values")
        return self.pooler(self.embedder(pixels))


class Stage(nn.Module):
    """Layers of one width, the first of which may halve the map."""

    def __init__(self, config: Any, inner: int, outer: int, stride: int, depth: int):
        super().__init__()
        layer = LAYERS[config.layer_type]
        rest = (layer(config, outer, outer) for _ in range(depth - 1))
        self.layers = nn.Sequential(layer(config, inner, outer, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Encoder(nn.Module):
    """The stages."""

    def __init__(self, config: Any):
        super().__init__()
        sizes = [config.embedding_size, *config.hidden_sizes]
        first = 2 if config.downsample_in_first_stage else 1
        self.stages = nn.ModuleList(
            Stage(config, inner, outer, first if i == 0 else 2, depth)
            for i, (inner, outer, depth) in enumerate(zip(sizes, sizes[1:], config.depths, strict=False))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The stem's map, then that of each stage."""
        maps = [x]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return tuple(maps)


class Trunk(PreTrainedModel):
    """Stem and stages."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    base_model_prefix = "resnet"
    embeddings_path = "embedder"
    supports_gradient_checkpointing = False
    _no_split_modules = ["ConvLayer", "Shortcut"]

    def __init__(self, config: Any):
        super().__init__(config)
        self.embedder = Stem(config)
        self.encoder = Encoder(config)

    def maps(self, pixel_values: Tensor | None, output_hidden_states: bool | None) -> tuple[tuple[Tensor, ...], bool]:
        """The maps of all stages, and whether they are asked for."""
        asked = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return self.encoder(self.embedder(pixel_values)), asked


class Model(Trunk):
    """ResNet without a head."""

    def __init__(self, config: Any):
        super().__init__(config)
        self.pooler = nn.AdaptiveAvgPool2d((1, 1))

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The last map, and its mean.

        Args:
            pixel_values: (batch, channels, height, width).
            output_hidden_states: also give the maps of all stages, that of the stem first.
            return_dict: False gives a tuple.
        """
        maps, asked = self.maps(pixel_values, output_hidden_states)
        out = BaseModelOutputWithPooling(maps[-1], self.pooler(maps[-1]), maps if asked else None)
        return finish(out, return_dict, self.config)


class Backbone(Trunk):
    """The maps of the stages that the configuration names in `out_features`."""

    @property
    def stage_names(self) -> list[str]:
        return self.config.stage_names

    @property
    def num_features(self) -> list[int]:
        """Channels of the stem's map and of each stage's."""
        return [self.config.embedding_size, *self.config.hidden_sizes]

    @property
    def out_features(self) -> list[str]:
        return self.config.out_features

    @property
    def out_indices(self) -> list[int]:
        return self.config.out_indices

    @property
    def out_feature_channels(self) -> dict[str, int]:
        return dict(zip(self.stage_names, self.num_features, strict=True))

    @property
    def channels(self) -> list[int]:
        """Channels of the maps that are given."""
        return [self.out_feature_channels[name] for name in self.out_features]

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Feature maps (batch, channels, height, width), the finest first; see `Model.forward`."""
        maps, asked = self.maps(pixel_values, output_hidden_states)
        chosen = tuple(maps[i] for i in self.out_indices)
        return finish(BackboneOutput(chosen, maps if asked else None), return_dict, self.config)


class ImageClassification(Head):
    """A label for an image, from the mean of the last map."""

    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = False

    def __init__(self, config: Any):
        super().__init__(config)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(config.hidden_sizes[-1], config.num_labels))

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """labels: (batch,) class numbers, or (batch, labels)."""
        out = self.base_model(pixel_values, output_hidden_states=output_hidden_states, return_dict=True)
        logits = self.classifier(out.pooler_output)
        loss = None if labels is None else classification_loss(logits, labels, self.config)
        return finish(self.hand_on(ImageClassifierOutput, out, loss=loss, logits=logits), return_dict, self.config)


VARIANTS = {"resnet": Variant(members={"base_model_prefix": "resnet"})}
TASKS = {"Model": Model, "Backbone": Backbone, "ImageClassification": ImageClassification}

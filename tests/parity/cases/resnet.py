"""ResNet."""

from tests.parity.harness import Case

TINY = dict(num_channels=2, embedding_size=6, hidden_sizes=[8, 12, 16], depths=[2, 1, 2], hidden_act="silu")
SKIP = {"attentions": "convolutions have none"}
CASES = [
    Case("resnet", TINY | dict(out_features=["stem", "stage2"]), image=(2, 37, 50), skip=SKIP),
    Case(
        "resnet",
        TINY | dict(layer_type="basic", downsample_in_first_stage=True, out_indices=[-3, 3]),
        image=(2, 32, 32),
        skip=SKIP,
        label="basic",
    ),
    Case("resnet", TINY | dict(downsample_in_bottleneck=True), image=(2, 32, 32), skip=SKIP, label="early"),
]

"""Look into a checkpoint from a program: its configuration, where each weight came from, how large its parts are.

python examples/inspect_checkpoint.py [NAME_OR_DIRECTORY]      # see also: python -m autoload inspect ...
"""

from __future__ import annotations

import sys
from collections import Counter

from quickstart import bundled_model

from autoload import AutoConfig, AutoModelForMaskedLM
from autoload.errors import WeightsError


def main(arguments: list[str] | None = None) -> dict[str, int]:
    """Print what is there; the number of parameters of each part."""
    given = sys.argv[1:] if arguments is None else arguments
    name = given[0] if given else bundled_model()

    config = AutoConfig.from_pretrained(name)  # reads one file, imports no torch
    print(f"{config.model_type}: {config.num_hidden_layers} layers, {config.hidden_size} wide")

    try:
        AutoModelForMaskedLM.from_pretrained(name, strict=True)
        print("complete for masked language modelling")
    except WeightsError as e:  # facts are attributes, the text need not be parsed
        print(f"for masked language modelling it lacks {', '.join(e.missing)}")

    model = AutoModelForMaskedLM.from_pretrained(name)  # as it is, with a new head
    for source, count in Counter(model.loading_report.sources.values()).most_common():
        print(f"  {count:4} parameters and buffers: {source}")

    sizes: Counter[str] = Counter()
    for path, parameter in model.named_parameters():
        sizes[".".join(path.split(".")[:2])] += parameter.numel()
    for part, count in sizes.most_common():
        print(f"  {count:12,}  {part}")
    return dict(sizes)


if __name__ == "__main__":
    main()

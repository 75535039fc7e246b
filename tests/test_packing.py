"""Encoders leave padding out: the same results, fewer tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import autoload
from autoload import registry
from autoload.layers.packing import Packing
from tests.checkpoints import tiny
from tests.parity.cases import all_cases
from tests.parity.harness import Case, perturb

LENGTHS = [[7, 3, 3, 5], [7, 1, 1, 1], [7, 7, 7, 2]]
PADDED = {
    "big_bird": "blocks of a padded text",
    "bros": "scores of boxes differ from text to text",
    "canine": "it looks at blocks of characters, not at texts",
    "convbert": "a convolution looks beyond the text's end",
    "deberta": "heads may read what stands at padding",
    "deberta-v2": "heads may read what stands at padding",
    "ibert": "scales of activations are those of the padded batch",
    "fnet": "a transform over the batch's length",
    "funnel": "pools along the text",
    "layoutlmv3": "the image follows the words",
    "lilt": "two streams",
    "longformer": "windows and global tokens",
    "luke": "entities follow the words",
    "lxmert": "a second stream of regions",
    "mra": "blocks of the batch's length",
    "nystromformer": "landmarks of the batch's length",
    "perceiver": "latents in place of tokens",
    "reformer": "chunks of a padded text",
    "visual_bert": "the image follows the words",
    "xlnet": "padding is on the left",
    "xmod": "one language for each text",
    "yoso": "hashes of the batch's length",
}
DECODERS = ("modernbert-decoder",)
FAMILIES = (
    "bert bert_kin nomic_bert modernbert eurobert two_way layoutlm layoutlmv3 lilt canine visual_bert xlnet".split()
)


def first_cases() -> list[Case]:
    """One case of each type that reads text in both directions."""
    cases: dict[str, Case] = {}
    for case in all_cases():
        row = registry.MODELS[case.model_type]
        reads = ("MaskedLM" in row.tasks or row.family in FAMILIES) and "Seq2SeqLM" not in row.tasks
        if reads and case.model_type not in DECODERS:
            cases.setdefault(case.model_type, case)
    return list(cases.values())


PACKED = [case for case in first_cases() if case.model_type not in PADDED]


def batch(lengths: list[int]) -> dict[str, torch.Tensor]:
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, mask.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": (ids % 2) * mask}


def tokens_seen(model: Any) -> list[int]:
    """Tokens that each call of the first layer's query gets."""
    seen: list[int] = []
    query = model.base_model.encoder.layer[0].attention.self.query
    query.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[:-1].numel()))
    return seen


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_each_text_is_as_if_it_were_alone(lengths: list[int]) -> None:
    model, inputs = tiny("bert"), batch(lengths)
    seen = tokens_seen(model)
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
        assert seen == [sum(lengths)]
        for row, length in enumerate(lengths):
            alone = model(
                **{name: value[row : row + 1, :length] for name, value in inputs.items()}, output_hidden_states=True
            )
            for found, expected in zip(out.hidden_states, alone.hidden_states, strict=True):
                assert torch.allclose(found[row, :length], expected[0], atol=1e-6)
            assert torch.allclose(out.pooler_output[row], alone.pooler_output[0], atol=1e-6)


@pytest.mark.parametrize("case", PACKED, ids=str)
def test_every_type(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the padded pass, with windows, biases and positions of all kinds; every layer sees the tokens alone."""
    lengths = [12, 7, 3, 7]
    torch.manual_seed(0)
    model = autoload.AutoModel.from_config(autoload.AutoConfig.for_model(case.model_type, **case.config)).eval()
    perturb(model)
    mask = (torch.arange(12)[None] < torch.tensor(lengths)[:, None]).long()
    config = model.config.get_text_config()
    pad = config.pad_token_id or 0
    ids = torch.randint(max(3, pad + 1), config.vocab_size, mask.shape).masked_fill(mask == 0, pad)
    inputs = {"input_ids": ids, "attention_mask": mask} | (case.inputs(ids) if case.inputs is not None else {})
    rows: list[torch.Size] = []
    run = type(model).run
    monkeypatch.setattr(
        autoload.model.PreTrainedModel,
        "run",
        lambda self, layer, x, context: rows.append(x.shape[:2]) or run(self, layer, x, context),
    )
    with torch.no_grad():
        packed = model(**inputs, output_hidden_states=True)
        assert rows and set(rows) == {torch.Size([1, sum(lengths)])}
        model.set_attn_implementation("eager")
        padded = model(**inputs, output_hidden_states=True)
    assert rows[-1] == mask.shape
    for found, expected in zip(packed.hidden_states, padded.hidden_states, strict=True):
        assert (found - expected)[mask == 1].abs().max() <= 1e-5 * expected.abs().max()
    if "pooler_output" in padded:
        assert torch.allclose(packed.pooler_output, padded.pooler_output, atol=1e-5)


@pytest.mark.parametrize("case", [case for case in first_cases() if case.model_type in PADDED], ids=str)
def test_types_that_keep_padding(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """They never ask; so the reasons above stay true."""
    monkeypatch.setattr(Packing, "pack", lambda *unused: pytest.fail(PADDED[case.model_type]))
    model = autoload.AutoModel.from_config(autoload.AutoConfig.for_model(case.model_type, **case.config)).eval()
    mask = (torch.arange(12)[None] < torch.tensor([12, 7, 3])[:, None]).long()
    ids = torch.randint(3, 60, mask.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        given = case.inputs(ids) if case.inputs is not None else {}
        model(**given | {"input_ids": ids, "attention_mask": mask})


def test_gradients_are_those_of_the_padded_pass() -> None:
    inputs = batch([7, 3, 2, 5])
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    grads = []
    for kernel in ("sdpa", "eager"):
        model = tiny("bert", "MaskedLM", attn_implementation=kernel)
        seen = tokens_seen(model)
        model(**inputs, labels=labels).loss.backward()
        assert seen == [17 if kernel == "sdpa" else 28]
        grads.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_when_padding_stays() -> None:
    mask = batch([7, 3, 3, 5])["attention_mask"]
    assert Packing.of(mask) is not None
    assert Packing.of(None) is None and Packing.of(torch.ones(2, 9)) is None
    assert Packing.of(mask.flip(1)) is None, "on the left"
    assert Packing.of(mask[:, None, None]) is None, "a ready mask"
    assert Packing.of(torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])) is None, "holes"
    assert Packing.of(torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])) is None, "an empty text"
    model, inputs = tiny("bert"), batch([7, 3, 3, 5])
    seen = tokens_seen(model)
    with torch.no_grad():
        model(**inputs, output_attentions=True)
    assert seen == [28], "weights are asked for"


def test_texts_of_one_length_become_neighbours() -> None:
    packing = Packing.of(torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]))
    assert packing is not None and packing.runs == [(1, 1), (2, 2)]
    x = torch.arange(12.0).reshape(3, 4, 1)
    assert packing.pack(x).flatten().tolist() == [4, 0, 1, 8, 9]
    assert packing.pack(x[:1]).flatten().tolist() == [0, 0, 1, 0, 1], "a table that all texts share"
    assert packing.unpack(packing.pack(x)).flatten().tolist() == [0, 1, 0, 0, 4, 0, 0, 0, 8, 9, 0, 0]

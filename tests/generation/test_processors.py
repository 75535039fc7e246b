"""Every processor against the reference's on random scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers.generation.logits_process as theirs
from torch import Tensor

from autoload.errors import GenerationError
from autoload.generation import guidance, processors, warpers, watermarking

VOCABULARY = 40


def scores(seed: int = 0, infinite: bool = False) -> Tensor:
    x = torch.randn(4, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * 3
    if infinite:
        x[0, :30] = -math.inf
    return x


def tokens(length: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 6, (4, length), generator=generator)  # few different ones, so that sequences repeat


SOURCE = torch.arange(24).view(4, 6) % 7
EOS = torch.tensor([3, 5])
CASES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "min length, too short": ("MinLengthLogitsProcessor", (12, EOS)),
    "min length, reached": ("MinLengthLogitsProcessor", (9, 3)),
    "min new, too short": ("MinNewTokensLengthLogitsProcessor", (6, 4, [3, 5])),
    "min new, reached": ("MinNewTokensLengthLogitsProcessor", (5, 4, EOS)),
    "temperature": ("TemperatureLogitsWarper", (0.7,)),
    "repetition": ("RepetitionPenaltyLogitsProcessor", (1.3,)),
    "repetition, reward": ("RepetitionPenaltyLogitsProcessor", (0.6,)),
    "repetition, part": ("RepetitionPenaltyLogitsProcessor", (1.3, 6)),
    "repetition, rows": ("RepetitionPenaltyLogitsProcessor", (1.3, torch.tensor([0, 3, 5, 8]))),
    "encoder repetition": ("EncoderRepetitionPenaltyLogitsProcessor", (1.3, SOURCE)),
    "encoder repetition, beams": ("EncoderRepetitionPenaltyLogitsProcessor", (1.3, SOURCE[:2])),
    "top k": ("TopKLogitsWarper", (5,)),
    "top k, all": ("TopKLogitsWarper", (500,)),
    "top k, keep": ("TopKLogitsWarper", (1, -50.0, 3)),
    "top p": ("TopPLogitsWarper", (0.7,)),
    "top p, keep": ("TopPLogitsWarper", (0.1, -math.inf, 4)),
    "top h": ("TopHLogitsWarper", (0.4,)),
    "min p": ("MinPLogitsWarper", (0.1,)),
    "min p, keep": ("MinPLogitsWarper", (0.9, -math.inf, 3)),
    "typical": ("TypicalLogitsWarper", (0.6,)),
    "typical, keep": ("TypicalLogitsWarper", (0.1, -math.inf, 3)),
    "epsilon": ("EpsilonLogitsWarper", (0.02,)),
    "epsilon, keep": ("EpsilonLogitsWarper", (0.9, -math.inf, 3)),
    "eta": ("EtaLogitsWarper", (0.05,)),
    "n-grams 1": ("NoRepeatNGramLogitsProcessor", (1,)),
    "n-grams 2": ("NoRepeatNGramLogitsProcessor", (2,)),
    "n-grams, too long": ("NoRepeatNGramLogitsProcessor", (30,)),
    "encoder n-grams": ("EncoderNoRepeatNGramLogitsProcessor", (2, SOURCE)),
    "encoder n-grams, beams": ("EncoderNoRepeatNGramLogitsProcessor", (2, SOURCE[:2])),
    "bias": ("SequenceBiasLogitsProcessor", ({(3,): 2.0, (1, 2): -4.0, (5, 0, 4): 9.0, (2, 7): math.inf},)),
    "bias, lists": ("SequenceBiasLogitsProcessor", ([[[3], 2.0], [[1, 2], -4.0]],)),
    "bad words": ("NoBadWordsLogitsProcessor", ([[3], [4], [1, 2], [5, 0, 4]], EOS)),
    "suppressed": ("SuppressTokensLogitsProcessor", ([1, 7, 39],)),
    "suppressed first": ("SuppressTokensAtBeginLogitsProcessor", ([1, 7], 9)),
    "suppressed first, later": ("SuppressTokensAtBeginLogitsProcessor", ([1, 7], 8)),
    "allowed": ("PrefixConstrainedLogitsProcessor", (lambda row, ids: [row, int(ids[-1]) + 3], 2)),
    "forced begin, later": ("ForcedBOSTokenLogitsProcessor", (4,)),
    "forced end": ("ForcedEOSTokenLogitsProcessor", (10, [4, 6])),
    "forced end, before": ("ForcedEOSTokenLogitsProcessor", (11, 4)),
    "numbers": ("InfNanRemoveLogitsProcessor", ()),
    "decay": ("ExponentialDecayLengthPenalty", ((3, 1.2), EOS, 4)),
    "decay, before": ("ExponentialDecayLengthPenalty", ((6, 1.2), EOS, 4)),
    "normal": ("LogitNormalization", ()),
    "watermark left": ("WatermarkLogitsProcessor", (VOCABULARY, "cpu", 0.4, 3.0, 15485863, "lefthash", 1)),
    "watermark self": ("WatermarkLogitsProcessor", (VOCABULARY, "cpu", 0.4, 3.0, 15485863, "selfhash", 3)),
}


def ours(name: str) -> Any:
    homes = (processors, warpers, guidance, watermarking)
    return next(vars(home)[name] for home in homes if name in vars(home))


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case: str, infinite: bool) -> None:
    name, arguments = CASES[case]
    given = scores(infinite=infinite)
    kept = given.clone()
    mine = ours(name)(*arguments)(tokens(), given)
    assert torch.equal(given, kept), "scores were changed in place"
    torch.testing.assert_close(mine, getattr(theirs, name)(*arguments)(tokens(), kept.clone()), rtol=1e-6, atol=1e-6)


def test_forced_begin() -> None:
    mine = processors.ForcedBOSTokenLogitsProcessor(4)(tokens(1), scores())
    assert mine.argmax(-1).tolist() == [4] * 4 and mine[:, 5].isneginf().all()


def test_not_a_number() -> None:
    x = scores()
    x[0, 0], x[1, 1], x[2, 2] = math.nan, math.inf, -math.inf
    mine = processors.InfNanRemoveLogitsProcessor()(tokens(), x)
    assert torch.equal(mine, theirs.InfNanRemoveLogitsProcessor()(tokens(), x))


def test_synthid_over_steps() -> None:
    arguments = (4, [5, 17, 900, 31], 2**10, 3, 8, "cpu", True)
    mine = watermarking.SynthIDTextWatermarkLogitsProcessor(*arguments)
    reference = theirs.SynthIDTextWatermarkLogitsProcessor(*arguments)
    for length in range(3, 20):
        given = scores(length)
        torch.testing.assert_close(mine(tokens(length), given), reference(tokens(length), given), rtol=1e-5, atol=1e-5)


def test_a_list_runs_in_order() -> None:
    both = processors.LogitsProcessorList(
        [warpers.TemperatureLogitsWarper(0.5), warpers.TopKLogitsWarper(3), processors.LogitNormalization()]
    )
    out = both(tokens(), scores()).exp()
    assert ((out > 0).sum(-1) == 3).all()
    torch.testing.assert_close(out.sum(-1), torch.ones(4))


def test_an_unsatisfiable_constraint() -> None:
    with pytest.raises(GenerationError, match="row 1.*at least one token"):
        processors.PrefixConstrainedLogitsProcessor(lambda row, ids: [1] * (1 - row), 2)(tokens(), scores())


@pytest.mark.parametrize(
    "name,value",
    [
        ("TemperatureLogitsWarper", 0),
        ("TemperatureLogitsWarper", "1"),
        ("TopKLogitsWarper", 0),
        ("TopPLogitsWarper", 1.5),
        ("MinPLogitsWarper", -0.1),
        ("TypicalLogitsWarper", 1.0),
        ("EpsilonLogitsWarper", 0),
        ("EtaLogitsWarper", 1),
        ("RepetitionPenaltyLogitsProcessor", -1.0),
        ("NoRepeatNGramLogitsProcessor", 0),
        ("SequenceBiasLogitsProcessor", {}),
        ("NoBadWordsLogitsProcessor", []),
    ],
)
def test_refused(name: str, value: Any) -> None:
    with pytest.raises(GenerationError) as e:
        ours(name)(value)
    assert e.value.field in str(e.value) and name in str(e.value)

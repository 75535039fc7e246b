"""The table of deviations from the reference: `python -m tests.tools` writes DEVIATIONS.md anew."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.parity.cases import all_cases

TABLE = Path(__file__).parent / "DEVIATIONS.md"
HEADER = """\
# Where models differ from the reference

Every model type is compared with the reference, release 5.23.0, in every head (`test_parity.py`). Two kinds of exceptions
stand here; `python -m tests.tools` writes them.

## Other results, on purpose

Here a published model, its paper or the library that it was trained with says what is right. Each row has a test.

| what | the reference | here | test |
|---|---|---|---|
"""
SECOND = """
## Checks that a case leaves out

From `Case.skip`; where the reason names no test, the check has nothing to look at.

| cases | check | reason |
|---|---|---|
"""
# What, what the reference does, what is done here, and the test that shows it.
ON_PURPOSE = (
    (
        "all, a keyword of `forward` that no model knows",
        "passes over it in silence",
        "an `ArgumentError`, with the name that may be meant",
        "../test_powers.py",
    ),
    (
        "all, an adapter whose tensors do not fit",
        "logs a warning, and leaves random numbers in their place",
        "a `WeightsError`, and the model as it was",
        "../clients/test_adapters.py",
    ),
    (
        "nllb-moe",
        "takes a mask of zeros and ones for numbers of experts: experts 0 and 1 always run",
        "the two experts that the router chooses, as in fairseq and in release 4; the parity suite puts that into the "
        "reference too",
        "test_nllb_moe.py",
    ),
    (
        "nllb-moe, training",
        "masks numbers within an expert's output, and makes the others larger; evaluation makes them smaller",
        "masks whole outputs and makes none larger (arXiv:2207.04672), so that both agree on average",
        "test_nllb_moe.py",
    ),
    (
        "nllb-moe, a batch after evaluation",
        "training goes on with the room that experts had in evaluation",
        "the configuration's `expert_capacity`",
        "test_nllb_moe.py",
    ),
    (
        "nemotron_asr_streaming, nemotron3_5_asr, `labels`",
        "looks for the loss under another name, and fails",
        "the loss of a transducer",
        "test_nemotron_asr.py",
    ),
    (
        "nemotron_asr_streaming_encoder, eager",
        "takes the mask's zeros for what is hidden; the parity suite gives it the mask of the other kernels",
        "all kernels hide the same",
        "test_nemotron_asr.py",
    ),
    (
        "parakeet_tdt, `generate`",
        "takes a duration for a token where no setting suppresses it, and goes on by its place in the list",
        "a duration is no token; the list says how far to go on (arXiv:2304.06795)",
        "test_transducer.py",
    ),
    (
        "prophetnet, `output_attentions`",
        "gives scores before the softmax as the encoder's weights and those of cross-attention",
        "weights",
        "test_prophetnet.py",
    ),
    (
        "mra",
        "has attention in CUDA alone, takes one text's mask for another's, and whole blocks only",
        "plain PyTorch, each text's own mask, any length; the parity suite gives the reference its CUDA functions",
        "test_hidden_padding.py",
    ),
    ("yoso", "sees padding: its mask becomes all ones", "padding is hidden", "test_hidden_padding.py"),
    (
        "big_bird, bigbird_pegasus",
        "turn to full attention for good once they have seen a short text",
        "each text by its own length",
        "test_big_bird.py",
    ),
    (
        "ibert, training",
        "gives the gradient of a residual to its scale",
        "gives it to the residual",
        "test_ibert.py",
    ),
    (
        "gemma4_vision with `pooling_kernel_size` 1",
        "gives the padding in place of the patches",
        "the patches",
        "test_embedding_gemma2.py",
    ),
    (
        "fsmt",
        "with a cache looks ahead in a pass over several tokens, and in embeddings",
        "never looks ahead",
        "test_seq2seq.py",
    ),
    (
        "t5gemma2_encoder by itself",
        "takes token 256000 for the end of an image, whatever its configuration says",
        "the configuration's `eoi_token_index`, as inside t5gemma2",
        "test_t5gemma2.py",
    ),
    (
        "moonshine_streaming",
        "adds positions to the encoder's states in place: states that are given twice, or looked at without a cache, get "
        "them again",
        "given states stay as they are",
        "test_moonshine_streaming.py",
    ),
    (
        "blt, a cache",
        "cuts patches within the bytes of each call and forgets the bytes and patches before, so that a text goes on as "
        "it would not without a cache; a published configuration has no `num_hidden_layers`, without which it makes no "
        "cache",
        "steps give the scores of the full pass, as the model was trained and as its authors' program decodes",
        "test_blt.py",
    ),
    (
        "blt, a cache and `max_patch_length`",
        "the last byte of a row looks one patch too far back, or at a patch without bytes, if its own is full",
        "looks where it looks once the text goes on; without a cache as the reference",
        "test_blt.py",
    ),
)


def table() -> str:
    """The whole file."""
    cases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in all_cases():
        for check, reason in case.skip.items():
            cases[reason, check].append(str(case))
    skips = sorted((", ".join(f"`{name}`" for name in names), *key[::-1]) for key, names in cases.items())
    rows = ["".join(f"| {cell} " for cell in row) + "|\n" for row in ON_PURPOSE]
    return "".join([HEADER, *rows, SECOND, *(f"| {names} | {check} | {reason} |\n" for names, check, reason in skips)])

"""Every tokenizer class: its files, special tokens, template and defaults, as data.

`BertTokenizer` and the like are made from this table when they are first asked for, so that
`from autoload.text.classes import BertTokenizer` works, and so does pickle.
"""

# No postponed annotations here: a NamedTuple would compile each of them when it is made, for 1.5 ms of start-up.

from importlib import import_module
from typing import Any, NamedTuple

from autoload.errors import did_you_mean

TYPES = ["input_ids", "token_type_ids", "attention_mask"]
PLAIN = ["input_ids", "attention_mask"]


class Recipe(NamedTuple):
    """How to make the tokenizers of a class where no tokenizer.json says it."""

    build: str = ""  # "module:function" in this package, from files and settings to a pipeline
    files: dict[str, str] = {}  # argument -> file name
    tokens: dict[str, str] = {}  # named special tokens
    single: str = ""  # template; words that name tokens ("cls") stand for them
    pair: str = ""
    roberta: bool = False  # the template is the pipeline's RobertaProcessing, which trims offsets
    language_model: bool = False  # the template follows add_bos_token and add_eos_token
    fixed: bool = False  # add_bos_token and add_eos_token never change the template
    lstrip_mask: bool = False  # the mask token takes the space before it
    strip_named: bool = False  # named tokens take the white space around them
    keep: bool = False  # a save writes the vocabulary files too: the reference reads no tokenizer.json of this class
    names: list[str] = PLAIN
    side: str = "right"
    pad_type: int = 0
    defaults: dict[str, Any] = {}
    base: str = "autoload.text.fast:PreTrainedTokenizerFast"


def _tokens(**tokens: str) -> dict[str, str]:
    return {f"{name}_token": text for name, text in tokens.items()}


BRACKETS = _tokens(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
FAIRSEQ = _tokens(bos="<s>", eos="</s>", unk="<unk>", sep="</s>", pad="<pad>", cls="<s>", mask="<mask>")
SENTENCE = _tokens(bos="<s>", eos="</s>", unk="<unk>")
VOCAB_TXT = {"vocab_file": "vocab.txt"}
VOCAB_MERGES = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
SPIECE = {"vocab_file": "spiece.model"}
SPM_BPE = {"vocab_file": "sentencepiece.bpe.model"}
TOKENIZER_MODEL = {"vocab_file": "tokenizer.model"}

BERT = Recipe(
    build="pipelines:wordpiece",
    files=VOCAB_TXT,
    tokens=BRACKETS,
    single="cls $A sep",
    pair="cls $A sep $B:1 sep:1",
    fixed=True,
    names=TYPES,
    defaults={"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None},
)
GPT2 = Recipe(
    build="pipelines:bytelevel",
    files=VOCAB_MERGES,
    tokens=_tokens(bos="<|endoftext|>", eos="<|endoftext|>", unk="<|endoftext|>"),
    language_model=True,
    defaults={"add_prefix_space": False},
)
ROBERTA = Recipe(
    build="pipelines:bytelevel",
    files=VOCAB_MERGES,
    tokens=FAIRSEQ,
    roberta=True,
    fixed=True,
    lstrip_mask=True,
    single="cls $A sep",
    pair="cls $A sep sep $B sep",
    defaults={"add_prefix_space": False, "trim_offsets": True},
)
NEOX = GPT2._replace(
    build="pipelines:neox",
    tokens=_tokens(bos="<|endoftext|>", eos="<|endoftext|>", unk="<|endoftext|>", pad="<|padding|>"),
)
QWEN2 = Recipe(
    build="pipelines:qwen2",
    files=VOCAB_MERGES,
    tokens=_tokens(eos="<|endoftext|>", unk="<|endoftext|>", pad="<|endoftext|>"),
    language_model=True,
    defaults={"add_prefix_space": False},
)
T5 = Recipe(
    build="sentencepiece:t5",
    files=SPIECE,
    tokens=_tokens(eos="</s>", unk="<unk>", pad="<pad>"),
    single="$A eos",
    pair="$A eos $B eos",
    fixed=True,
    defaults={"extra_ids": 100},
)
ALBERT = Recipe(
    build="sentencepiece:albert",
    files=SPIECE,
    tokens=_tokens(bos="[CLS]", eos="[SEP]", unk="<unk>", sep="[SEP]", pad="<pad>", cls="[CLS]", mask="[MASK]"),
    single="cls $A sep",
    pair="cls $A sep $B:1 sep:1",
    lstrip_mask=True,
    defaults={"do_lower_case": True, "keep_accents": False},
)
XLM_R = Recipe(
    build="sentencepiece:fairseq",
    files=SPM_BPE,
    tokens=FAIRSEQ,
    single="cls $A sep",
    pair="cls $A sep sep $B sep",
    fixed=True,
    lstrip_mask=True,
)
LLAMA = Recipe(
    build="sentencepiece:plain",
    files=TOKENIZER_MODEL,
    tokens=SENTENCE,
    language_model=True,
    side="left",
)
GEMMA = Recipe(
    build="sentencepiece:gemma",
    files=TOKENIZER_MODEL,
    tokens=_tokens(bos="<bos>", eos="<eos>", unk="<unk>", pad="<pad>", mask="<mask>"),
    language_model=True,
    side="left",
)
MBART = Recipe(
    build="sentencepiece:mbart",
    files=SPM_BPE,
    tokens=FAIRSEQ,
    fixed=True,
    lstrip_mask=True,
    base="autoload.text.translation:MBartTokenizer",
)
BIG_BIRD = Recipe(
    build="sentencepiece:plain",
    files=SPIECE,
    tokens=_tokens(bos="<s>", eos="</s>", unk="<unk>", sep="[SEP]", pad="<pad>", cls="[CLS]", mask="[MASK]"),
    single="cls $A sep",
    pair="cls $A sep $B:1 sep:1",
    fixed=True,
    lstrip_mask=True,
)
PHOBERT = Recipe(
    files={"vocab_file": "vocab.txt", "merges_file": "bpe.codes"},
    tokens=FAIRSEQ,
    single="cls $A sep",
    pair="cls $A sep sep $B sep",
    base="autoload.text.subwords:PhobertTokenizer",
)
LAYOUT = {"only_label_first_subword": True, "pad_token_label": -100}

RECIPES: dict[str, Recipe] = {
    "AlbertTokenizer": ALBERT,
    "BarthezTokenizer": XLM_R,
    "BartphoTokenizer": Recipe(
        files={"vocab_file": "sentencepiece.bpe.model", "monolingual_vocab_file": "dict.txt"},
        tokens=FAIRSEQ,
        single="cls $A sep",
        pair="cls $A sep sep $B sep",
        base="autoload.text.marian:BartphoTokenizer",
    ),
    "BartTokenizer": ROBERTA,
    "BertGenerationTokenizer": Recipe(
        build="sentencepiece:plain",
        base="autoload.text.pieces:PieceTokenizer",
        keep=True,
        files=SPIECE,
        tokens={**SENTENCE, **_tokens(pad="<pad>", sep="<::::>")},
        fixed=True,
    ),
    "BertJapaneseTokenizer": BERT._replace(
        build="pipelines:bert_japanese",
        keep=True,
        names=PLAIN,
        defaults={"do_lower_case": False, "word_tokenizer_type": "basic", "subword_tokenizer_type": "wordpiece"},
    ),
    "BertTokenizer": BERT,
    "BertweetTokenizer": PHOBERT._replace(base="autoload.text.subwords:BertweetTokenizer"),
    "BigBirdTokenizer": BIG_BIRD,
    "BioGptTokenizer": Recipe(
        files=VOCAB_MERGES,
        tokens={**SENTENCE, **_tokens(sep="</s>", pad="<pad>")},
        single="sep $A",
        pair="sep $A sep $B",
        base="autoload.text.subwords:BioGptTokenizer",
    ),
    "BlenderbotSmallTokenizer": Recipe(
        files=VOCAB_MERGES,
        tokens=_tokens(bos="__start__", eos="__end__", unk="__unk__", pad="__null__"),
        base="autoload.text.subwords:BlenderbotSmallTokenizer",
    ),
    "BlenderbotTokenizer": ROBERTA._replace(
        single="$A sep", pair="$A $B sep", roberta=False, defaults={"add_prefix_space": True}
    ),
    "ByT5Tokenizer": Recipe(
        tokens=_tokens(eos="</s>", unk="<unk>", pad="<pad>"),
        single="$A eos",
        pair="$A eos $B eos",
        defaults={"extra_ids": 125},
        base="autoload.text.bytewise:ByT5Tokenizer",
    ),
    "CamembertTokenizer": XLM_R._replace(build="sentencepiece:camembert"),
    "CanineTokenizer": Recipe(
        tokens=_tokens(bos="\ue000", eos="\ue001", sep="\ue001", cls="\ue000", pad="\x00", mask="\ue003"),
        single="cls $A sep",
        pair="cls $A sep $B sep",
        names=["input_ids", "attention_mask", "token_type_ids"],
        defaults={"model_max_length": 2048},
        base="autoload.text.bytewise:CanineTokenizer",
    ),
    "CLIPTokenizer": Recipe(
        build="pipelines:clip",
        files=VOCAB_MERGES,
        tokens=_tokens(bos="<|startoftext|>", eos="<|endoftext|>", unk="<|endoftext|>", pad="<|endoftext|>"),
        single="bos $A eos",
        pair="bos $A eos eos $B eos",
        roberta=True,
        fixed=True,
        defaults={"trim_offsets": False},
        base="autoload.text.clip:CLIPTokenizer",
    ),
    "CodeGenTokenizer": GPT2._replace(base="autoload.text.codegen:CodeGenTokenizer"),
    "CodeLlamaTokenizer": LLAMA._replace(
        tokens={
            **SENTENCE,
            **_tokens(prefix="▁<PRE>", middle="▁<MID>", suffix="▁<SUF>", eot="▁<EOT>", fill="<FILL_ME>"),
        },
        defaults={"add_bos_token": True},
    ),
    "CohereTokenizer": Recipe(
        build="pipelines:cohere",
        files=VOCAB_MERGES,
        tokens=_tokens(
            bos="<BOS_TOKEN>",
            eos="<|END_OF_TURN_TOKEN|>",
            unk="<UNK>",
            sep="<SEP>",
            pad="<PAD>",
            cls="<CLS>",
            mask="<MASK_TOKEN>",
        ),
        language_model=True,
        side="left",
        defaults={"add_prefix_space": False},
    ),
    "ConvBertTokenizer": BERT,
    "CTRLTokenizer": Recipe(
        files=VOCAB_MERGES, tokens=_tokens(unk="<unk>"), base="autoload.text.subwords:CTRLTokenizer"
    ),
    "DebertaTokenizer": Recipe(
        build="pipelines:bytelevel",
        files=VOCAB_MERGES,
        tokens={"bos_token": "[CLS]", "eos_token": "[SEP]", **BRACKETS},
        single="cls $A sep",
        pair="cls $A sep $B:1 sep:1",
        fixed=True,
        lstrip_mask=True,
        names=["input_ids", "attention_mask", "token_type_ids"],
        defaults={"add_prefix_space": False},
    ),
    "DebertaV2Tokenizer": Recipe(
        build="sentencepiece:deberta",
        files={"vocab_file": "spm.model"},
        tokens={"bos_token": "[CLS]", "eos_token": "[SEP]", **BRACKETS},
        single="cls $A sep",
        pair="cls $A sep $B:1 sep:1",
        fixed=True,
        names=["input_ids", "attention_mask", "token_type_ids"],
        defaults={"do_lower_case": False, "split_by_punct": False},
    ),
    "DiaTokenizer": Recipe(tokens=_tokens(pad="<pad>", unk="<pad>"), base="autoload.text.bytewise:DiaTokenizer"),
    "DistilBertTokenizer": BERT._replace(names=PLAIN),
    "DPRContextEncoderTokenizer": BERT,
    "DPRQuestionEncoderTokenizer": BERT,
    "DPRReaderTokenizer": BERT,
    "ElectraTokenizer": BERT,
    "EsmcTokenizer": Recipe(
        tokens=_tokens(unk="<unk>", cls="<cls>", pad="<pad>", mask="<mask>", eos="<eos>", chain_break="|")
    ),
    "EsmTokenizer": Recipe(
        files=VOCAB_TXT,
        tokens=_tokens(unk="<unk>", cls="<cls>", pad="<pad>", mask="<mask>", eos="<eos>"),
        single="cls $A eos",
        pair="cls $A eos $B eos",
        base="autoload.text.lookup:EsmTokenizer",
    ),
    "FNetTokenizer": ALBERT._replace(
        tokens=_tokens(unk="<unk>", sep="[SEP]", pad="<pad>", cls="[CLS]", mask="[MASK]"),
        names=["input_ids", "token_type_ids"],
        defaults={"do_lower_case": False, "keep_accents": True},
    ),
    "FunnelTokenizer": BERT._replace(
        tokens=_tokens(bos="<s>", eos="</s>", unk="<unk>", sep="<sep>", pad="<pad>", cls="<cls>", mask="<mask>"),
        single="cls:2 $A sep",
        pair="cls:2 $A sep $B:1 sep:1",
    ),
    "GemmaTokenizer": GEMMA,
    "GPT2Tokenizer": GPT2,
    "GPTNeoXJapaneseTokenizer": Recipe(
        files={"vocab_file": "vocab.txt", "emoji_file": "emoji.json"},
        tokens=_tokens(unk="<|endoftext|>", pad="<|endoftext|>", bos="<|startoftext|>", eos="<|endoftext|>"),
        defaults={"do_clean_text": False},
        base="autoload.text.japanese:GPTNeoXJapaneseTokenizer",
    ),
    "GPTNeoXTokenizer": NEOX,
    "GPTSw3Tokenizer": Recipe(
        build="sentencepiece:gpt_sw3",
        base="autoload.text.pieces:PieceTokenizer",
        keep=True,
        files=SPIECE,
        tokens=_tokens(pad="<pad>", unk="<unk>", eos="<|endoftext|>", bos="<s>"),
        fixed=True,
    ),
    "HerbertTokenizer": Recipe(
        build="pipelines:herbert",
        files=VOCAB_MERGES,
        tokens=_tokens(unk="<unk>", sep="</s>", pad="<pad>", cls="<s>", mask="<mask>"),
        single="cls $A sep",
        pair="cls $A sep $B:1 sep:1",
        fixed=True,
    ),
    "LasrTokenizer": T5._replace(base="autoload.text.parakeet:ParakeetTokenizer"),
    "LayoutLMTokenizer": BERT,
    "LayoutLMv2Tokenizer": BERT._replace(
        base="autoload.text.layout:LayoutTokenizer",
        defaults={
            **BERT.defaults,
            **LAYOUT,
            "cls_token_box": [0, 0, 0, 0],
            "sep_token_box": [1000, 1000, 1000, 1000],
            "pad_token_box": [0, 0, 0, 0],
        },
        names=["input_ids", "attention_mask", "token_type_ids"],
    ),
    "LayoutLMv3Tokenizer": ROBERTA._replace(
        base="autoload.text.layout:LayoutTokenizer",
        names=["input_ids", "attention_mask", "bbox"],
        defaults={
            "add_prefix_space": True,
            "trim_offsets": True,
            **LAYOUT,
            "cls_token_box": [0, 0, 0, 0],
            "sep_token_box": [0, 0, 0, 0],
            "pad_token_box": [0, 0, 0, 0],
        },
    ),
    "LayoutXLMTokenizer": XLM_R._replace(
        base="autoload.text.layout:LayoutTokenizer",
        defaults={
            **LAYOUT,
            "cls_token_box": [0, 0, 0, 0],
            "sep_token_box": [1000, 1000, 1000, 1000],
            "pad_token_box": [0, 0, 0, 0],
        },
    ),
    "LEDTokenizer": ROBERTA,
    "LlamaTokenizer": LLAMA,
    "LongformerTokenizer": ROBERTA,
    "LukeTokenizer": ROBERTA._replace(base="autoload.text.entities:EntityTokenizer"),
    "LxmertTokenizer": BERT,
    "M2M100Tokenizer": Recipe(
        files={"vocab_file": "vocab.json", "spm_file": "sentencepiece.bpe.model"},
        tokens={**SENTENCE, **_tokens(sep="</s>", pad="<pad>")},
        base="autoload.text.marian:M2M100Tokenizer",
    ),
    "MarianTokenizer": Recipe(
        files={
            "source_spm": "source.spm",
            "target_spm": "target.spm",
            "vocab_file": "vocab.json",
            "target_vocab_file": "target_vocab.json",
        },
        tokens=_tokens(eos="</s>", unk="<unk>", pad="<pad>"),
        single="$A eos",
        pair="$A $B eos",
        defaults={"model_max_length": 512},
        base="autoload.text.marian:MarianTokenizer",
    ),
    "MarkupLMTokenizer": ROBERTA._replace(
        base="autoload.text.layout:MarkupTokenizer",
        roberta=False,
        pair="cls $A sep $B sep",
        names=TYPES,
        defaults={
            "add_prefix_space": False,
            "trim_offsets": False,
            **LAYOUT,
            "tags_dict": {},
            "max_depth": 50,
            "max_width": 1000,
            "pad_width": 1001,
        },
    ),
    "MBart50Tokenizer": MBART._replace(
        build="sentencepiece:mbart50",
        tokens={key: value for key, value in FAIRSEQ.items() if key != "bos_token"},
        base="autoload.text.translation:MBart50Tokenizer",
    ),
    "MBartTokenizer": MBART,
    "MgpstrTokenizer": Recipe(
        files={"vocab_file": "vocab.json"},
        tokens=_tokens(unk="[GO]", bos="[GO]", eos="[s]", pad="[GO]"),
        base="autoload.text.lookup:MgpstrTokenizer",
    ),
    "MLukeTokenizer": XLM_R._replace(base="autoload.text.entities:EntityTokenizer"),
    "MobileBertTokenizer": BERT,
    "MPNetTokenizer": BERT._replace(
        tokens={**FAIRSEQ, "unk_token": "[UNK]"},
        single="cls $A sep",
        pair="cls $A sep sep $B sep",
        lstrip_mask=True,
        names=PLAIN,
    ),
    "MvpTokenizer": ROBERTA,
    "NllbTokenizer": Recipe(
        build="sentencepiece:nllb",
        files=SPM_BPE,
        tokens=FAIRSEQ,
        fixed=True,
        lstrip_mask=True,
        base="autoload.text.translation:NllbTokenizer",
    ),
    "NougatTokenizer": Recipe(
        build="pipelines:nougat",
        files=VOCAB_MERGES,
        tokens=_tokens(bos="<s>", eos="</s>", unk="<unk>", pad="<pad>"),
        single="bos $A eos",
        pair="bos $A eos bos $B eos",
        fixed=True,
    ),
    "OpenAIGPTTokenizer": Recipe(
        build="pipelines:openai_gpt", files=VOCAB_MERGES, tokens=_tokens(unk="<unk>"), fixed=True
    ),
    "ParakeetTokenizer": Recipe(base="autoload.text.parakeet:ParakeetTokenizer"),
    "PegasusTokenizer": Recipe(
        build="sentencepiece:pegasus",
        files=SPIECE,
        tokens={
            **_tokens(eos="</s>", unk="<unk>", pad="<pad>", mask="<mask_2>"),
            "mask_token_sent": "<mask_1>",
        },
        single="$A eos",
        pair="$A $B eos",
        fixed=True,
        defaults={"offset": 103},
    ),
    "PerceiverTokenizer": Recipe(
        tokens=_tokens(pad="[PAD]", bos="[BOS]", eos="[EOS]", mask="[MASK]", cls="[CLS]", sep="[SEP]"),
        single="cls $A sep",
        pair="cls $A sep $B sep",
        defaults={"model_max_length": 2048},
        base="autoload.text.bytewise:PerceiverTokenizer",
    ),
    "Phi3Tokenizer": LLAMA,
    "PhobertTokenizer": PHOBERT,
    "PLBartTokenizer": MBART._replace(
        build="sentencepiece:plbart",
        keep=True,
        base="autoload.text.translation:PLBartTokenizer",
        defaults={"language_codes": "base"},
    ),
    "PreTrainedTokenizerFast": Recipe(build="discovery:discover", language_model=True),
    "ProphetNetTokenizer": BERT._replace(
        build="pipelines:spaced_wordpiece",
        keep=True,
        files={"vocab_file": "prophetnet.tokenizer"},
        defaults={**BERT.defaults, "clean_up_tokenization_spaces": True},
        tokens={**{key: value for key, value in BRACKETS.items() if key != "cls_token"}, "x_sep_token": "[X_SEP]"},
        single="$A sep",
        pair="$A sep $B:1 sep:1",
        names=PLAIN,
    ),
    "Qwen2Tokenizer": QWEN2,
    "Qwen3_5Tokenizer": QWEN2._replace(build="pipelines:qwen3_5"),
    "ReformerTokenizer": LLAMA._replace(
        build="sentencepiece:unnamed", files=SPIECE, tokens=_tokens(eos="</s>", unk="<unk>"), side="right"
    ),
    "RemBertTokenizer": ALBERT._replace(
        build="sentencepiece:rembert",
        files={"vocab_file": "sentencepiece.model"},
        defaults={"do_lower_case": False, "keep_accents": True},
    ),
    "RobertaTokenizer": ROBERTA,
    "RoCBertTokenizer": BERT._replace(
        build="pipelines:spaced_wordpiece", keep=True, names=PLAIN, base="autoload.text.shapes:RoCBertTokenizer"
    ),
    "SeamlessM4TTokenizer": Recipe(
        build="sentencepiece:seamless",
        files=SPM_BPE,
        tokens={key: value for key, value in FAIRSEQ.items() if key != "mask_token"},
        fixed=True,
        base="autoload.text.translation:SeamlessM4TTokenizer",
    ),
    "Siglip2Tokenizer": GEMMA._replace(build="sentencepiece:siglip2"),
    "SiglipTokenizer": Recipe(
        build="sentencepiece:siglip",
        base="autoload.text.pieces:PieceTokenizer",
        keep=True,
        files=SPIECE,
        tokens=_tokens(eos="</s>", unk="<unk>", pad="</s>"),
        single="$A eos",
        pair="$A eos $B eos",
        fixed=True,
        strip_named=True,
        defaults={"do_lower_case": True, "model_max_length": 64},
    ),
    "Speech2TextTokenizer": Recipe(
        files={"vocab_file": "vocab.json", "spm_file": "sentencepiece.bpe.model"},
        tokens={**SENTENCE, "pad_token": "<pad>"},
        base="autoload.text.marian:Speech2TextTokenizer",
    ),
    "SpeechT5Tokenizer": Recipe(
        build="sentencepiece:plain",
        base="autoload.text.pieces:PieceTokenizer",
        keep=True,
        files={"vocab_file": "spm_char.model"},
        tokens={**SENTENCE, "pad_token": "<pad>"},
        single="$A eos",
        pair="$A $B eos",
        fixed=True,
    ),
    "SplinterTokenizer": BERT._replace(
        tokens={**BRACKETS, "question_token": "[QUESTION]"},
        pair="cls $A [QUESTION] . sep $B:1 sep:1",
    ),
    "SqueezeBertTokenizer": BERT,
    "T5Tokenizer": T5,
    "TapasTokenizer": BERT._replace(
        base="autoload.text.tapas:TapasTokenizer",
        tokens={**BRACKETS, "empty_token": "[EMPTY]"},
        pair="cls $A sep $B:1",
        keep=True,
        defaults={
            **BERT.defaults,
            "model_max_length": 512,
            "clean_up_tokenization_spaces": True,
            "cell_trim_length": -1,
            "strip_column_names": False,
            "update_answer_coordinates": False,
            **dict.fromkeys(["max_column_id", "max_row_id", "min_question_length", "max_question_length"]),
        },
    ),
    "Tipsv2Tokenizer": Recipe(
        build="sentencepiece:tipsv2",
        files=TOKENIZER_MODEL,
        tokens=_tokens(unk="<unk>", pad="<pad>"),
        fixed=True,
        defaults={"do_lower_case": True, "model_max_length": 64},
    ),
    "UdopTokenizer": T5._replace(
        tokens={**T5.tokens, "sep_token": "</s>"},
        base="autoload.text.layout:LayoutTokenizer",
        defaults={"extra_ids": 0, **LAYOUT, "sep_token_box": [1000, 1000, 1000, 1000], "pad_token_box": [0, 0, 0, 0]},
    ),
    "VideoPrismTokenizer": T5._replace(single="$A", pair="$A $B"),
    "VitsTokenizer": Recipe(
        files={"vocab_file": "vocab.json"},
        tokens=_tokens(pad="<pad>", unk="<unk>"),
        defaults={"add_blank": True, "normalize": True, "phonemize": True, "is_uroman": False, "language": None},
        base="autoload.text.speech:VitsTokenizer",
    ),
    "Wav2Vec2CTCTokenizer": Recipe(
        files={"vocab_file": "vocab.json"},
        tokens={**SENTENCE, "pad_token": "<pad>", "word_delimiter_token": "|"},
        defaults={"replace_word_delimiter_char": " ", "do_lower_case": False, "target_lang": None},
        base="autoload.text.ctc:Wav2Vec2CTCTokenizer",
    ),
    "Wav2Vec2PhonemeCTCTokenizer": Recipe(
        files={"vocab_file": "vocab.json"},
        tokens={**SENTENCE, "pad_token": "<pad>"},
        defaults={
            "phone_delimiter_token": " ",
            "word_delimiter_token": None,
            "do_phonemize": True,
            "phonemizer_lang": "en-us",
            "phonemizer_backend": "espeak",
        },
        base="autoload.text.speech:Wav2Vec2PhonemeCTCTokenizer",
    ),
    "WhisperTokenizer": Recipe(
        build="pipelines:bytelevel",
        files=VOCAB_MERGES,
        tokens=_tokens(bos="<|endoftext|>", eos="<|endoftext|>", unk="<|endoftext|>"),
        fixed=True,
        defaults={"add_prefix_space": False, "language": None, "task": None, "predict_timestamps": False},
        base="autoload.text.whisper:WhisperTokenizer",
    ),
    "XGLMTokenizer": XLM_R._replace(
        build="sentencepiece:xglm",
        tokens={key: value for key, value in FAIRSEQ.items() if key != "mask_token"},
        single="sep $A",
        pair="sep $A sep sep $B",
        lstrip_mask=False,
    ),
    "XLMRobertaTokenizer": XLM_R,
    "XLNetTokenizer": Recipe(
        build="sentencepiece:xlnet",
        files=SPIECE,
        tokens=_tokens(bos="<s>", eos="</s>", unk="<unk>", sep="<sep>", pad="<pad>", cls="<cls>", mask="<mask>"),
        single="$A sep cls:2",
        pair="$A sep $B:1 sep:1 cls:2",
        fixed=True,
        lstrip_mask=True,
        side="left",
        pad_type=3,
        defaults={"do_lower_case": False, "keep_accents": False},
    ),
}
ALIASES = {"TokenizersBackend": "PreTrainedTokenizerFast", "MistralCommonBackend": "PreTrainedTokenizerFast"}

_made: dict[str, type] = {}


def tokenizer_class(name: str) -> type | None:
    """The class of that name, with or without "Fast" at its end; None where there is none."""
    for known in (name, ALIASES.get(name, ""), name.removesuffix("Fast")):
        if known in _made:
            return _made[known]
        if known in RECIPES:
            return _make(known, RECIPES[known])
    return None


def _make(name: str, recipe: Recipe) -> type:
    module, _, base = recipe.base.partition(":")
    parent = getattr(import_module(module), base)
    if name == "PreTrainedTokenizerFast":
        parent.recipe = recipe
        return _made.setdefault(name, parent)
    members = {
        "__module__": __name__,
        "__doc__": f"Tokenizer of the {name.removesuffix('Tokenizer')} models.",
        "recipe": recipe,
        "vocab_files_names": {**recipe.files, "tokenizer_file": "tokenizer.json"},
        "model_input_names": list(recipe.names),
        "padding_side": recipe.side,
        "_pad_type": recipe.pad_type,
    }
    return _made.setdefault(name, type(name, (parent,), members))


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # what the import system asks of every module; no name to look for
        raise AttributeError(name)
    found = tokenizer_class(name)
    if found is None:
        raise AttributeError(f"{__name__} has no {name!r}{did_you_mean(name, RECIPES)}")
    return found

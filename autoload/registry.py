"""Which family implements a model type, under which class names, with which tasks.

`MODELS` is a plain table: what is not in it does not load, and no text from a config.json reaches an import. A row
names the family (a file in `autoload/models/` and one in `autoload/configs/`), the prefix of the class names, and the
tasks. `A=B` in a list of tasks says that the Auto class of task A gives the class of task B.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from autoload.config import PreTrainedConfig, make_config_class
from autoload.errors import TaskError, UnknownModelType, nearest

logger = logging.getLogger("autoload")


class Row(NamedTuple):
    """One model type."""

    family: str
    prefix: str  # of the class names
    tasks: str
    config: str = ""  # prefix of the configuration's name, where the classes are another type's


LM = "Model CausalLM"
LM_S = LM + " SequenceClassification"
LM_ST = LM_S + " TokenClassification"
LM_STQ = LM_ST + " QuestionAnswering"
ENCODER_MST = "Model MaskedLM SequenceClassification TokenClassification"
ENCODER = ENCODER_MST + " QuestionAnswering MultipleChoice"
ENCODER_LM = ENCODER + " CausalLM PreTraining=MaskedLM"
TEXT = " TextEncoding=Model"
DOCUMENT = " QuestionAnswering DocumentQuestionAnswering=QuestionAnswering"
SEQ2SEQ = "Model Seq2SeqLM"
SEQ2SEQ_LM = SEQ2SEQ + " CausalLM"
DEBERTA = ENCODER_MST + " QuestionAnswering PreTraining=MaskedLM" + TEXT
T5 = SEQ2SEQ + " SequenceClassification TokenClassification QuestionAnswering TextEncoding"
T5GEMMA = SEQ2SEQ + " SequenceClassification TokenClassification TextEncoding PreTraining=Seq2SeqLM"
T5GEMMA2 = (
    SEQ2SEQ + " SequenceClassification TokenClassification PreTraining=Seq2SeqLM"
    " ImageTextToText=Seq2SeqLM MultimodalLM=Seq2SeqLM"
)
SPEECH = "Model CTC AudioClassification"
SPEECH_FX = SPEECH + " AudioFrameClassification AudioXVector"
BART = SEQ2SEQ_LM + " SequenceClassification QuestionAnswering MaskedLM=Seq2SeqLM PreTraining=Seq2SeqLM"

# fmt: off
MODELS: dict[str, Row] = {
    "afmoe": Row("moe_sigmoid", "Afmoe", LM),
    "albert": Row("albert", "Albert", ENCODER + " PreTraining" + TEXT),
    "apertus": Row("decoder_plain", "Apertus", LM + " TokenClassification"),
    "arcee": Row("decoder_plain", "Arcee", LM_STQ),
    "aria_text": Row("moe_wirings", "AriaText", LM),
    "audio-spectrogram-transformer": Row("audio_spectrogram_transformer", "AST", "Model AudioClassification"),
    "axk1": Row("mla", "AXK1", LM_ST),
    "axk2": Row("mla_indexed", "AXK2", LM_ST),
    "bart": Row("bart", "Bart", BART),
    "beam": Row("moe_attention", "Beam", LM),
    "bert": Row("bert", "Bert", ENCODER + " CausalLM PreTraining NextSentencePrediction" + TEXT),
    "bert-generation": Row("bert_kin", "BertGeneration", LM),
    "big_bird": Row("big_bird", "BigBird", ENCODER + " CausalLM PreTraining" + TEXT),
    "bigbird_pegasus": Row("bigbird_pegasus", "BigBirdPegasus", SEQ2SEQ_LM + " SequenceClassification QuestionAnswering"),
    "biogpt": Row("gpt_fairseq", "BioGpt", LM_ST),
    "bitnet": Row("decoder_gated", "BitNet", LM),
    "blenderbot": Row("bart", "Blenderbot", SEQ2SEQ_LM),
    "blenderbot-small": Row("bart", "BlenderbotSmall", SEQ2SEQ_LM),
    "bloom": Row("gpt_alibi", "Bloom", LM_STQ + " PreTraining=CausalLM"),
    "blt": Row("blt", "Blt", LM),
    "bridgetower": Row("bridgetower", "BridgeTower", "Model"),
    "bros": Row("layoutlm", "Bros", "Model TokenClassification"),
    "camembert": Row("roberta", "Camembert", ENCODER_LM),
    "canary": Row("canary", "Canary", "Model SpeechSeq2Seq"),
    "canine": Row("canine", "Canine", "Model SequenceClassification TokenClassification QuestionAnswering MultipleChoice"),
    "clap": Row("clap", "Clap", "Model"),
    "clip_vision_model": Row("clip", "CLIPVision", "Model"),
    "codegen": Row("gpt_rotary", "CodeGen", LM),
    "cohere": Row("decoder", "Cohere", LM),
    "cohere2": Row("decoder_windows", "Cohere2", LM),
    "cohere2_moe": Row("moe_windows", "Cohere2Moe", LM),
    "cohere_asr": Row("canary", "CohereAsr", "Model SpeechSeq2Seq"),
    "cohere_compass_text": Row("decoder_mrope", "CohereCompassText", LM_S),
    "colmodernvbert": Row("modernvbert", "ColModernVBert", "PreTraining"),
    "convbert": Row("electra", "ConvBert", ENCODER),
    "cosmos3_edge_text": Row("decoder_mrope", "Cosmos3EdgeText", "Model"),
    "cpmant": Row("cpmant", "CpmAnt", LM),
    "ctrl": Row("gpt_fairseq", "CTRL", LM_S + " PreTraining=CausalLM"),
    "cwm": Row("decoder_windows", "Cwm", LM),
    "data2vec-audio": Row("wav2vec2_kin", "Data2VecAudio", SPEECH_FX),
    "data2vec-text": Row("roberta", "Data2VecText", ENCODER_LM + TEXT),
    "dbrx": Row("moe_dbrx", "Dbrx", LM),
    "deberta": Row("deberta", "Deberta", DEBERTA),
    "deberta-v2": Row("deberta", "DebertaV2", DEBERTA + " MultipleChoice"),
    "decision_transformer": Row("gpt_decision", "DecisionTransformer", "Model"),
    "deepseek_v2": Row("mla", "DeepseekV2", LM_S),
    "deepseek_v3": Row("mla", "DeepseekV3", LM_ST),
    "deepseek_v32": Row("mla_indexed", "DeepseekV32", LM),
    "deepseek_v4": Row("mla_compressed", "DeepseekV4", LM),
    "diffllama": Row("decoder_gated", "DiffLlama", LM_STQ),
    "distilbert": Row("distilbert", "DistilBert", ENCODER + " PreTraining=MaskedLM" + TEXT),
    "doge": Row("moe_doge", "Doge", LM_S),
    "dots1": Row("moe_sigmoid", "Dots1", LM),
    "dots3_note_text": Row("mla_indexed", "Dots3NoteText", LM),
    "dpr": Row("bert_kin", "DPR", "Model"),
    "electra": Row("electra", "Electra", ENCODER + " CausalLM PreTraining" + TEXT),
    "embedding_gemma2": Row("embedding_gemma2", "EmbeddingGemma2", "Model"),
    "embedding_gemma2_text": Row("two_way", "EmbeddingGemma2Text", "Model"),
    "encoder-decoder": Row("encoder_decoder", "EncoderDecoder", "Seq2SeqLM"),
    "ernie": Row("bert_kin", "Ernie", ENCODER + " CausalLM PreTraining NextSentencePrediction"),
    "ernie4_5": Row("decoder_gated", "Ernie4_5", LM),
    "ernie4_5_moe": Row("moe_sigmoid", "Ernie4_5_Moe", LM),
    "esm": Row("esm", "Esm", ENCODER_MST),
    "esmc": Row("eurobert", "Esmc", ENCODER_MST),
    "eurobert": Row("eurobert", "EuroBert", ENCODER_MST),
    "exaone4": Row("decoder_windows", "Exaone4", LM_STQ + " PreTraining=CausalLM"),
    "exaone_moe": Row("moe_sigmoid", "ExaoneMoe", LM + " PreTraining=CausalLM"),
    "falcon": Row("gpt_alibi", "Falcon", LM_STQ),
    "flaubert": Row("xlm", "Flaubert", ENCODER + " PreTraining=MaskedLM" + TEXT),
    "flex_olmo": Row("moe", "FlexOlmo", LM),
    "flint": Row("moe_windows", "Flint", LM),
    "fnet": Row("fnet", "FNet", ENCODER + " PreTraining NextSentencePrediction"),
    "fsmt": Row("fsmt", "FSMT", SEQ2SEQ + " PreTraining=Seq2SeqLM"),
    "funnel": Row("funnel", "Funnel", ENCODER + " PreTraining"),
    "gemma": Row("decoder", "Gemma", LM_ST),
    "gemma2": Row("decoder", "Gemma2", LM_ST),
    "gemma3_text": Row("decoder_windows", "Gemma3Text", LM_S),
    "gemma3n_text": Row("decoder_altup", "Gemma3nText", LM),
    "gemma4_assistant": Row("decoder_drafts", "Gemma4Assistant", "CausalLM"),
    "gemma4_audio": Row("gemma4_audio", "Gemma4Audio", "Model"),
    "gemma4_text": Row("decoder_gemma", "Gemma4Text", LM),
    "gemma4_unified_assistant": Row("decoder_drafts", "Gemma4UnifiedAssistant", "CausalLM"),
    "gemma4_unified_text": Row("decoder_gemma", "Gemma4UnifiedText", LM),
    "gemma4_vision": Row("gemma4_vision", "Gemma4Vision", "Model"),
    "glm": Row("decoder_gated", "Glm", LM_ST),
    "glm4": Row("decoder_gated", "Glm4", LM_ST),
    "glm4_moe": Row("moe_sigmoid", "Glm4Moe", LM),
    "glm4_moe_lite": Row("mla", "Glm4MoeLite", LM),
    "glm4v_moe_text": Row("moe_mrope", "Glm4vMoeText", "Model"),
    "glm4v_text": Row("decoder_mrope", "Glm4vText", "Model"),
    "glm_image_text": Row("decoder_mrope", "GlmImageText", "Model"),
    "glm_moe_dsa": Row("mla_indexed", "GlmMoeDsa", LM),
    "glm_ocr_text": Row("decoder_mrope", "GlmOcrText", "Model"),
    "gpt2": Row("gpt", "GPT2", LM_STQ + " PreTraining=CausalLM"),
    "gpt_bigcode": Row("gpt", "GPTBigCode", LM_ST + " PreTraining=CausalLM"),
    "gpt_neo": Row("gpt", "GPTNeo", LM_STQ),
    "gpt_neox": Row("gpt_rotary", "GPTNeoX", LM_STQ),
    "gpt_neox_japanese": Row("gpt_rotary", "GPTNeoXJapanese", LM),
    "gpt_oss": Row("moe", "GptOss", LM_ST),
    "gptj": Row("gpt_rotary", "GPTJ", LM_S + " QuestionAnswering"),
    "granite": Row("decoder", "Granite", LM),
    "granite_docling_text": Row("decoder_mrope", "GraniteDoclingText", "Model"),
    "granite_speech5_ctc": Row("granite_speech5", "GraniteSpeech5", "Model=CTC CTC", "GraniteSpeech5CTC"),
    "granite_speech5_encoder": Row("granite_speech5", "GraniteSpeech5Encoder", "Model"),
    "granite_swa": Row("decoder_windows", "GraniteSWA", LM),
    "granitemoe": Row("moe", "GraniteMoe", LM),
    "granitemoe_swa": Row("moe_windows", "GraniteMoeSWA", LM),
    "granitemoeshared": Row("moe", "GraniteMoeShared", LM),
    "gte": Row("nomic_bert", "Gte", ENCODER_MST),
    "helium": Row("decoder_gated", "Helium", LM_ST),
    "hrm_text": Row("decoder_attention_gate", "HrmText", LM),
    "hubert": Row("wav2vec2", "Hubert", SPEECH),
    "hunyuan_v1_dense": Row("decoder_gated", "HunYuanDenseV1", LM_S),
    "hunyuan_v1_moe": Row("moe_wirings", "HunYuanMoEV1", LM_S),
    "hunyuan_vl_text": Row("decoder_mrope", "HunYuanVLText", "Model"),
    "hy_v3": Row("moe_sigmoid", "HYV3", LM),
    "hy_v4": Row("mla_streams", "HYV4", LM),
    "hyperclovax": Row("decoder_gated", "HyperCLOVAX", LM),
    "ibert": Row("ibert", "IBert", ENCODER + " PreTraining=MaskedLM" + TEXT),
    "imagegpt": Row("gpt", "ImageGPT", "Model ImageClassification"),
    "internlm3": Row("decoder_gated", "Llama", LM, "InternLM3"),
    "iquestcoder": Row("decoder_gated", "Llama", LM, "IQuestCoder"),
    "jais2": Row("decoder_plain", "Jais2", LM),
    "jetmoe": Row("moe_wirings", "JetMoe", LM_S),
    "jev": Row("jev", "Jev", "Decision"),
    "jina_embeddings_v3": Row("nomic_bert", "JinaEmbeddingsV3", ENCODER_MST + " QuestionAnswering"),
    "kolibri1": Row("moe_windows", "Kolibri1", LM),
    "laguna": Row("moe_attention", "Laguna", LM),
    "lasr_ctc": Row("lasr", "Lasr", "Model=CTC CTC", "LasrCTC"),
    "lasr_encoder": Row("lasr", "LasrEncoder", "Model"),
    "layoutlm": Row("layoutlm", "LayoutLM", ENCODER_MST + " DocumentQuestionAnswering PreTraining=MaskedLM"),
    "layoutlmv2": Row("layoutlmv2", "LayoutLMv2", "Model SequenceClassification TokenClassification" + DOCUMENT),
    "layoutlmv3": Row("layoutlmv3", "LayoutLMv3", "Model SequenceClassification TokenClassification" + DOCUMENT),
    "led": Row("led", "LED", SEQ2SEQ + " QuestionAnswering"),
    "lilt": Row("lilt", "Lilt", "Model SequenceClassification TokenClassification QuestionAnswering"),
    "llama": Row("decoder", "Llama", LM_STQ),
    "llama4_text": Row("moe_attention", "Llama4Text", LM),
    "longcat_flash": Row("mla_shortcut", "LongcatFlash", LM),
    "longformer": Row("longformer", "Longformer", ENCODER + " PreTraining=MaskedLM" + TEXT),
    "longt5": Row("longt5", "LongT5", SEQ2SEQ),
    "luke": Row("luke", "Luke", ENCODER + " PreTraining=MaskedLM"),
    "lxmert": Row("lxmert", "Lxmert", "Model PreTraining QuestionAnswering"),
    "m2m_100": Row("bart", "M2M100", SEQ2SEQ),
    "marian": Row("bart", "Marian", SEQ2SEQ_LM),
    "markuplm": Row("layoutlm", "MarkupLM", "Model SequenceClassification TokenClassification QuestionAnswering"),
    "mbart": Row("bart", "MBart", SEQ2SEQ_LM + " SequenceClassification QuestionAnswering MaskedLM=Seq2SeqLM"),
    "megatron-bert": Row("bert_kin", "MegatronBert", ENCODER + " CausalLM PreTraining NextSentencePrediction"),
    "mellum": Row("moe_windows", "Mellum", LM),
    "mimo_v2_flash": Row("moe_attention", "MiMoV2Flash", LM),
    "minicpm3": Row("mla", "MiniCPM3", LM_S),
    "minimax_m2": Row("moe_sigmoid", "MiniMaxM2", LM),
    "minimax_m3_vl_text": Row("moe_blocks", "MiniMaxM3VLText", LM),
    "ministral": Row("decoder_windows", "Ministral", LM_STQ),
    "ministral3": Row("decoder_windows", "Ministral3", LM_STQ),
    "mistral": Row("decoder", "Mistral", LM_STQ),
    "mistral_large4_text": Row("mla_lent", "MistralLarge4Text", "Model"),
    "mixtral": Row("moe", "Mixtral", LM_STQ),
    "mobilebert": Row("mobilebert", "MobileBert", ENCODER + " PreTraining NextSentencePrediction" + TEXT),
    "modernbert": Row("modernbert", "ModernBert", ENCODER),
    "modernbert-decoder": Row("modernbert", "ModernBertDecoder", LM_S),
    "modernvbert": Row("modernvbert", "ModernVBert", ENCODER_MST),
    "molmo2_text": Row("decoder_text", "Molmo2Text", "Model" + TEXT),
    "moonshine": Row("moonshine", "Moonshine", "Model SpeechSeq2Seq"),
    "moonshine_streaming": Row("moonshine_streaming", "MoonshineStreaming", "Model SpeechSeq2Seq"),
    "mpnet": Row("mpnet", "MPNet", ENCODER + " PreTraining=MaskedLM"),
    "mpt": Row("gpt_alibi", "Mpt", LM_STQ + " PreTraining=CausalLM"),
    "mra": Row("mra", "Mra", ENCODER + " PreTraining=MaskedLM"),
    "mt5": Row("t5", "MT5", T5),
    "muse_glimmer_assistant": Row("decoder_drafts", "MuseGlimmerAssistant", "Model"),
    "muse_glimmer_text": Row("decoder_attention_gate", "MuseGlimmerText", "Model"),
    "muse_spark_text": Row("moe_spark", "MuseSparkText", "Model"),
    "mvp": Row("bart", "Mvp", BART),
    "nanochat": Row("decoder_plain", "NanoChat", LM + " PreTraining=CausalLM"),
    "nemotron": Row("decoder_plain", "Nemotron", LM_STQ),
    "nemotron3_5_asr": Row("nemotron_asr", "Nemotron3_5Asr", "Model=RNNT RNNT"),
    "nemotron3_diarization": Row("nemotron_diarization", "Nemotron3Diarization", "Model AudioFrameClassification"),
    "nemotron3_diarization_audio": Row("nemotron_diarization", "Nemotron3DiarizationAudio", "Model"),
    "nemotron_asr_streaming": Row("nemotron_asr", "NemotronAsrStreaming", "Model=RNNT RNNT"),
    "nemotron_asr_streaming_encoder": Row("nemotron_asr", "NemotronAsrStreamingEncoder", "Model"),
    "neomme": Row("neomme", "NeoMME", "Model MaskedLM"),
    "nllb-moe": Row("nllb_moe", "NllbMoe", SEQ2SEQ + " PreTraining=Seq2SeqLM"),
    "nomic_bert": Row("nomic_bert", "NomicBert", ENCODER_MST),
    "nystromformer": Row("nystromformer", "Nystromformer", ENCODER + TEXT),
    "olmo": Row("decoder_gated", "Olmo", LM_S),
    "olmo2": Row("decoder", "Olmo2", LM_S),
    "olmo3": Row("decoder_windows", "Olmo3", LM_S),
    "olmoe": Row("moe", "Olmoe", LM),
    "openai-gpt": Row("gpt", "OpenAIGPT", LM_S + " PreTraining=CausalLM"),
    "openai_privacy_filter": Row("two_way", "OpenAIPrivacyFilter", "Model TokenClassification"),
    "opt": Row("gpt_fairseq", "OPT", LM_S + " QuestionAnswering"),
    "parakeet_ctc": Row("parakeet", "Parakeet", "Model=CTC CTC", "ParakeetCTC"),
    "parakeet_encoder": Row("parakeet", "ParakeetEncoder", "Model"),
    "parakeet_rnnt": Row("transducer", "Parakeet", "Model=RNNT RNNT", "ParakeetRNNT"),
    "parakeet_tdt": Row("transducer", "Parakeet", "Model=TDT TDT", "ParakeetTDT"),
    "pegasus": Row("bart", "Pegasus", SEQ2SEQ_LM),
    "pegasus_x": Row("pegasus_x", "PegasusX", SEQ2SEQ),
    "perceiver": Row("perceiver", "Perceiver", "Model MaskedLM SequenceClassification ImageClassification"),
    "persimmon": Row("decoder_plain", "Persimmon", LM_ST),
    "phi": Row("decoder_plain", "Phi", LM_ST),
    "phi3": Row("decoder", "Phi3", LM_ST),
    "phimoe": Row("moe_wirings", "Phimoe", LM_S),
    "pix2struct": Row("pix2struct", "Pix2Struct", "ImageTextToText MultimodalLM=ImageTextToText"),
    "plbart": Row("bart", "PLBart", SEQ2SEQ_LM + " SequenceClassification"),
    "pop2piano": Row("pop2piano", "Pop2Piano", "SpeechSeq2Seq"),
    "prophetnet": Row("prophetnet", "ProphetNet", SEQ2SEQ_LM),
    "qwen2": Row("decoder", "Qwen2", LM_STQ + " Decision"),
    "qwen2_5_vl_text": Row("decoder_mrope", "Qwen2_5_VLText", "Model"),
    "qwen2_moe": Row("moe", "Qwen2Moe", LM_STQ),
    "qwen2_vl_text": Row("decoder_mrope", "Qwen2VLText", "Model"),
    "qwen3": Row("decoder", "Qwen3", LM_STQ),
    "qwen3_moe": Row("moe", "Qwen3Moe", LM_STQ),
    "qwen3_vl_moe_text": Row("moe_mrope", "Qwen3VLMoeText", "Model"),
    "qwen3_vl_text": Row("decoder_mrope", "Qwen3VLText", "Model"),
    "reformer": Row("reformer", "Reformer", LM_S + " MaskedLM QuestionAnswering" + TEXT),
    "rembert": Row("bert_kin", "RemBert", ENCODER + " CausalLM" + TEXT),
    "resnet": Row("resnet", "ResNet", "Model ImageClassification Backbone"),
    "roberta": Row("roberta", "Roberta", ENCODER_LM + TEXT),
    "roberta-prelayernorm": Row("roberta", "RobertaPreLayerNorm", ENCODER_LM + TEXT),
    "roc_bert": Row("bert_kin", "RoCBert", ENCODER + " CausalLM PreTraining" + TEXT),
    "roformer": Row("bert_kin", "RoFormer", ENCODER + " CausalLM" + TEXT),
    "seed_oss": Row("decoder_gated", "SeedOss", LM_STQ),
    "sew": Row("wav2vec2_kin", "SEW", SPEECH),
    "sew-d": Row("sew_d", "SEWD", SPEECH),
    "siglip_vision_model": Row("clip", "SiglipVision", "Model"),
    "smollm3": Row("decoder_windows", "SmolLM3", LM_STQ),
    "solar_open": Row("moe_sigmoid", "SolarOpen", LM),
    "speech_to_text": Row("speech_to_text", "Speech2Text", "Model SpeechSeq2Seq"),
    "splinter": Row("bert_kin", "Splinter", "Model PreTraining QuestionAnswering"),
    "squeezebert": Row("squeezebert", "SqueezeBert", ENCODER + " PreTraining=MaskedLM" + TEXT),
    "stablelm": Row("decoder_gated", "StableLm", LM_ST),
    "starcoder2": Row("decoder_plain", "Starcoder2", LM_ST),
    "switch_transformers": Row("switch_transformers", "SwitchTransformers", SEQ2SEQ + " PreTraining=Seq2SeqLM"),
    "t5": Row("t5", "T5", T5 + " PreTraining=Seq2SeqLM"),
    "t5gemma": Row("t5gemma", "T5Gemma", T5GEMMA),
    "t5gemma2": Row("t5gemma2", "T5Gemma2", T5GEMMA2),
    "t5gemma2_encoder": Row("t5gemma2", "T5Gemma2Encoder", "Model"),
    "tapas": Row("tapas", "Tapas", "Model MaskedLM SequenceClassification PreTraining=MaskedLM TableQuestionAnswering"),
    "trocr": Row("bart", "TrOCR", "CausalLM"),
    "tvp": Row("tvp", "Tvp", "Model"),
    "udop": Row("udop", "Udop", "Model ImageTextToText MultimodalLM=ImageTextToText"),
    "ultrabert": Row("eurobert", "Ultrabert", ENCODER_MST + " QuestionAnswering"),
    "ultravbert": Row("modernvbert", "UltraVBert", ENCODER_MST),
    "umt5": Row("t5", "UMT5", T5),
    "unispeech": Row("wav2vec2_kin", "UniSpeech", SPEECH + " PreTraining"),
    "unispeech-sat": Row("wav2vec2_kin", "UniSpeechSat", SPEECH_FX + " PreTraining"),
    "vaultgemma": Row("decoder_windows", "VaultGemma", LM),
    "vilt": Row("vilt", "Vilt", "Model VisualQuestionAnswering"),
    "visual_bert": Row("visual_bert", "VisualBert", "Model PreTraining"),
    "vit": Row("vit", "ViT", "Model ImageClassification MaskedImageModeling"),
    "voxtral_realtime_text": Row("decoder_text", "VoxtralRealtimeText", "Model"),
    "wav2vec2": Row("wav2vec2", "Wav2Vec2", SPEECH_FX + " PreTraining"),
    "wav2vec2-bert": Row("wav2vec2_conformer", "Wav2Vec2Bert", SPEECH_FX),
    "wav2vec2-conformer": Row("wav2vec2_conformer", "Wav2Vec2Conformer", SPEECH_FX + " PreTraining"),
    "wavlm": Row("wavlm", "WavLM", SPEECH_FX),
    "whisper": Row("whisper", "Whisper", "Model AudioClassification CausalLM SpeechSeq2Seq"),
    "xglm": Row("gpt_fairseq", "XGLM", LM),
    "xlm": Row("xlm", "XLM", ENCODER + " CausalLM=MaskedLM PreTraining=MaskedLM" + TEXT),
    "xlm-roberta": Row("roberta", "XLMRoberta", ENCODER_LM + TEXT),
    "xlm-roberta-xl": Row("roberta", "XLMRobertaXL", ENCODER_LM + TEXT),
    "xlnet": Row("xlnet", "XLNet", "Model CausalLM SequenceClassification TokenClassification QuestionAnswering MultipleChoice PreTraining=CausalLM"),
    "xmod": Row("xmod", "Xmod", ENCODER_LM),
    "yoso": Row("yoso", "Yoso", ENCODER),
    "youtu": Row("mla", "Youtu", LM),
}
# Other names for a model type. What loads under such a name has the type's own in its configuration.
ALIASES: dict[str, str] = {"gpt-sw3": "gpt2"}
# Further classes of a task, which a checkpoint's `architectures` choose; by the name that the family has for each.
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    ("funnel", "Model"): ("BaseModel",),
    ("perceiver", "ImageClassification"): ("ImageClassificationFourier", "ImageClassificationConvProcessing"),
}
# Class names that are not prefix + "For" + task.
IRREGULAR: dict[tuple[str, str], str] = {
    ("audio-spectrogram-transformer", "AudioClassification"): "ASTForAudioClassification",
    ("bert", "CausalLM"): "BertLMHeadModel",
    ("bert-generation", "CausalLM"): "BertGenerationDecoder",
    ("bert-generation", "Model"): "BertGenerationEncoder",
    ("canary", "SpeechSeq2Seq"): "CanaryForConditionalGeneration",
    ("cohere_asr", "SpeechSeq2Seq"): "CohereAsrForConditionalGeneration",
    ("cohere_compass_text", "CausalLM"): "CohereCompassForCausalLM",
    ("colmodernvbert", "PreTraining"): "ColModernVBertForRetrieval",
    ("ctrl", "CausalLM"): "CTRLLMHeadModel",
    ("dots3_note_text", "CausalLM"): "Dots3NoteForCausalLM",
    ("dpr", "Model"): "DPRQuestionEncoder",
    ("encoder-decoder", "Seq2SeqLM"): "EncoderDecoderModel",
    ("flaubert", "MaskedLM"): "FlaubertWithLMHeadModel",
    ("flaubert", "QuestionAnswering"): "FlaubertForQuestionAnsweringSimple",
    ("funnel", "BaseModel"): "FunnelBaseModel",
    ("gemma3_text", "CausalLM"): "Gemma3ForCausalLM",
    ("gemma3n_text", "CausalLM"): "Gemma3nForCausalLM",
    ("gemma4_text", "CausalLM"): "Gemma4ForCausalLM",
    ("gemma4_unified_text", "CausalLM"): "Gemma4UnifiedForCausalLM",
    ("gpt2", "CausalLM"): "GPT2LMHeadModel",
    ("granite_speech5_encoder", "Model"): "GraniteSpeech5Encoder",
    ("lasr_encoder", "Model"): "LasrEncoder",
    ("layoutlm", "DocumentQuestionAnswering"): "LayoutLMForQuestionAnswering",
    ("llama4_text", "CausalLM"): "Llama4ForCausalLM",
    ("marian", "Seq2SeqLM"): "MarianMTModel",
    ("minimax_m3_vl_text", "CausalLM"): "MiniMaxM3VLForCausalLM",
    ("moonshine", "SpeechSeq2Seq"): "MoonshineForConditionalGeneration",
    ("moonshine_streaming", "SpeechSeq2Seq"): "MoonshineStreamingForConditionalGeneration",
    ("nemotron_asr_streaming_encoder", "Model"): "NemotronAsrStreamingEncoder",
    ("openai-gpt", "CausalLM"): "OpenAIGPTLMHeadModel",
    ("parakeet_encoder", "Model"): "ParakeetEncoder",
    ("perceiver", "ImageClassification"): "PerceiverForImageClassificationLearned",
    ("pix2struct", "ImageTextToText"): "Pix2StructForConditionalGeneration",
    ("pop2piano", "SpeechSeq2Seq"): "Pop2PianoForConditionalGeneration",
    ("reformer", "CausalLM"): "ReformerModelWithLMHead",
    ("speech_to_text", "SpeechSeq2Seq"): "Speech2TextForConditionalGeneration",
    ("t5gemma2_encoder", "Model"): "T5Gemma2Encoder",
    ("tapas", "TableQuestionAnswering"): "TapasForQuestionAnswering",
    ("udop", "ImageTextToText"): "UdopForConditionalGeneration",
    ("vilt", "VisualQuestionAnswering"): "ViltForQuestionAnswering",
    ("whisper", "AudioClassification"): "WhisperForAudioClassification",
    ("whisper", "SpeechSeq2Seq"): "WhisperForConditionalGeneration",
    ("xlm", "MaskedLM"): "XLMWithLMHeadModel",
    ("xlm", "QuestionAnswering"): "XLMForQuestionAnsweringSimple",
    ("xlnet", "CausalLM"): "XLNetLMHeadModel",
    ("xlnet", "QuestionAnswering"): "XLNetForQuestionAnsweringSimple",
}
# fmt: on

# A type that has the class of another one for a task: a head that holds any model.
LENT = {("qwen2", "Decision"): "jev"}

# What a class name ends with, where it is not "For" and the task.
SUFFIXES = {
    "AudioClassification": "ForSequenceClassification",
    "AudioXVector": "ForXVector",
    "Backbone": "Backbone",
    "Model": "Model",
    "Seq2SeqLM": "ForConditionalGeneration",
    "TextEncoding": "EncoderModel",
}

# The Auto classes: `AutoModelFor` + name, but for "Model" (AutoModel) and "Backbone" (AutoBackbone).
TASKS: dict[str, str] = {
    "Model": "hidden states, without a head",
    "AudioClassification": "a label for a recording",
    "AudioFrameClassification": "a label for each frame of a recording",
    "AudioTokenization": "codes for a recording, and back",
    "AudioXVector": "a speaker vector",
    "Backbone": "feature maps of an image",
    "CTC": "a character for each frame of speech",
    "CausalLM": "the next token",
    "Decision": "a decision on a text",
    "DepthEstimation": "a depth for each pixel",
    "DocumentQuestionAnswering": "an answer's place in a document image",
    "ImageClassification": "a label for an image",
    "ImageMatting": "an opacity for each pixel",
    "ImageSegmentation": "masks of an image",
    "ImageTextToText": "text from images and text",
    "ImageToImage": "an image from an image",
    "InstanceSegmentation": "a mask for each object",
    "KeypointDetection": "points of interest",
    "KeypointMatching": "pairs of points in two images",
    "MaskGeneration": "masks for prompts",
    "MaskedImageModeling": "hidden patches of an image",
    "MaskedLM": "hidden tokens of a text",
    "MultimodalLM": "text from any mix of inputs",
    "MultipleChoice": "the best of several continuations",
    "NextSentencePrediction": "whether a sentence follows another",
    "NormalEstimation": "a surface normal for each pixel",
    "ObjectDetection": "boxes and labels",
    "PointmapEstimation": "a point in space for each pixel",
    "PoseEstimation": "joints of a body",
    "PreTraining": "the heads of pre-training",
    "QuestionAnswering": "an answer's place in a text",
    "RNNT": "a transcript, by a transducer",
    "SemanticSegmentation": "a class for each pixel",
    "Seq2SeqLM": "a text from a text",
    "SequenceClassification": "a label for a text",
    "SpeechSeq2Seq": "a text from speech",
    "TDT": "a transcript, by a token-and-duration transducer",
    "TableQuestionAnswering": "cells that answer a question",
    "TableRecognition": "the structure of a table image",
    "TextEncoding": "hidden states of the text encoder",
    "TextRecognition": "the text in an image",
    "TextToSpectrogram": "a spectrogram from a text",
    "TextToWaveform": "sound from a text",
    "TimeSeriesPrediction": "the continuation of a series",
    "TokenClassification": "a label for each token",
    "UniversalSegmentation": "semantic, instance and panoptic masks",
    "VideoClassification": "a label for a video",
    "VisualQuestionAnswering": "an answer to a question on an image",
    "ZeroShotImageClassification": "which text fits an image",
    "ZeroShotObjectDetection": "boxes for texts",
}


@dataclass
class Registration:
    """A model type that a user or an installed package brought."""

    config: Any  # class, or "package.module:Class"
    heads: dict[str, Any]  # task -> class, or "package.module:Class"


_registered: dict[str, Registration] = {}
_heads_by_config: dict[tuple[type, str], type] = {}  # AutoModelForX.register(Config, Class)
_config_classes: dict[str, type[PreTrainedConfig]] = {}
_classes: dict[tuple[str, str], type] = {}
_lock = threading.RLock()
_entry_points_read = False


def auto_class_name(task: str) -> str:
    """ "AutoModelForCausalLM" for "CausalLM"."""
    return {"Model": "AutoModel", "Backbone": "AutoBackbone"}.get(task, f"AutoModelFor{task}")


def tasks_of(model_type: str) -> dict[str, str]:
    """Each task of a built-in model type, and the task whose class it gives."""
    pairs = (part.partition("=") for part in MODELS[model_type].tasks.split())
    return {task: same or task for task, _, same in pairs}


def classes_of(model_type: str) -> list[str]:
    """The tasks of a type that have a class of their own, and the further classes of a task."""
    further = (name for (owner, _), names in CHOICES.items() if owner == model_type for name in names)
    return [*dict.fromkeys(tasks_of(model_type).values()), *further]


def class_name(model_type: str, task: str) -> str:
    """Name of the class for a task, as in the reference: LlamaForCausalLM."""
    prefix = MODELS[LENT.get((model_type, task), model_type)].prefix
    return IRREGULAR.get((model_type, task)) or prefix + SUFFIXES.get(task, f"For{task}")


def known_types() -> list[str]:
    """All model types, built in and registered."""
    return sorted({*MODELS, *ALIASES, *_registered})


def config_class(model_type: Any, where: str = "config.json", raw: Mapping[str, Any] | None = None) -> Any:
    """The configuration class of a model type.

    Args:
        model_type: what the file says.
        where: the file, for the message.
        raw: the parsed file, for the message.

    Raises:
        UnknownModelType: nothing has that name; the message says what is near and what the repository says of itself.
    """
    if isinstance(model_type, str):
        if model_type in _registered:
            return _load_object(_registered[model_type].config)
        if ALIASES.get(model_type, model_type) in MODELS:
            return _built_in_config(ALIASES.get(model_type, model_type))
        _read_entry_points()
        if model_type in _registered:
            return _load_object(_registered[model_type].config)
    raise _unknown(model_type, where, raw or {})


def _built_in_config(model_type: str) -> type[PreTrainedConfig]:
    with _lock:
        if model_type not in _config_classes:
            row = MODELS[model_type]
            spec = _entry(f"autoload.configs.{row.family}", "CONFIGS", model_type)
            _config_classes[model_type] = make_config_class((row.config or row.prefix) + "Config", model_type, spec)
        return _config_classes[model_type]


def _entry(module: str, table: str, model_type: str) -> Any:
    """What a family's file says of a type; a row of `MODELS` without it is a mistake in this package."""
    entries = getattr(importlib.import_module(module), table)
    if model_type not in entries:
        path = module.replace(".", "/") + ".py"
        raise LookupError(f"MODELS has a row for {model_type!r}, but {table} of {path} has no entry for it. Add one.")
    return entries[model_type]


def _unknown(model_type: Any, where: str, raw: Mapping[str, Any]) -> UnknownModelType:
    named = raw.get("architectures")
    architectures = [str(a) for a in named] if isinstance(named, list) else []
    close = nearest(str(model_type), known_types())
    parts = [f"{where}: model_type {model_type!r} is not known."]
    if close:
        parts.append(f"Near: {', '.join(close)}.")
    if architectures:
        parts.append(f"The checkpoint calls itself {', '.join(architectures)}.")
    if raw.get("auto_map"):
        parts.append("The repository brings its own code (auto_map), which is never run.")
    parts.append(f"Register it: autoload.register({str(model_type)!r}, config=..., heads={{'Model': ...}}).")
    return UnknownModelType(" ".join(parts), model_type=model_type, nearest=close, architectures=architectures)


def resolve(model_type: str, task: str) -> type:
    """The class of a model type for a task; imports the family's file, and torch with it.

    Raises:
        UnknownModelType: no such type.
        TaskError: the type has no head for the task.
    """
    if model_type in _registered:
        heads = _registered[model_type].heads
        if task in heads:
            return _load_object(heads[task])
        raise _no_head(model_type, task, list(heads), [])
    model_type = ALIASES.get(model_type, model_type)
    if model_type not in MODELS:
        raise _unknown(model_type, "resolve", {})
    same = tasks_of(model_type).get(task)
    if same is None:
        raise _no_head(model_type, task, list(tasks_of(model_type)), [])
    return _built_in(model_type, same)


def class_for(config: Any, task: str) -> type:
    """The class for a configuration: registered for its class, or resolved by its type."""
    for cls in type(config).__mro__:
        if (cls, task) in _heads_by_config:
            return _heads_by_config[cls, task]
    model_type = getattr(config, "model_type", "")
    if model_type not in _registered and model_type not in MODELS:
        raise _no_head(model_type or type(config).__name__, task, [], [])
    for other in CHOICES.get((model_type, task), ()) if model_type not in _registered else ():
        if class_name(model_type, other) in (getattr(config, "architectures", None) or ()):
            return _built_in(model_type, other)
    try:
        return resolve(model_type, task)
    except TaskError as e:
        raise _no_head(model_type, task, e.available, getattr(config, "architectures", None) or []) from None


def _no_head(model_type: str, task: str, available: list[str], architectures: list[str]) -> TaskError:
    offers = ", ".join(auto_class_name(t) for t in available) or "none"
    text = f"{model_type} has no head for {task} ({auto_class_name(task)}). It has: {offers}."
    for architecture in architectures:
        fit = next((t for t in available if architecture.endswith(t) or architecture.endswith(f"For{t}")), None)
        if fit is not None:
            text += f" This checkpoint is a {architecture}: load it with {auto_class_name(fit)}."
    if not any(task in tasks_of(t) for t in MODELS):
        text += " No registered type has this task yet."
    return TaskError(text, model_type=model_type, task=task, available=available)


def _built_in(model_type: str, task: str) -> type:
    """Make the class of a type and task from its family's head and its variant, once."""
    with _lock:
        key = (model_type, task)
        if key not in _classes and (owner := LENT.get(key) or _owner(model_type)) != model_type:
            _classes[key] = _built_in(owner, task)
        if key not in _classes:
            family = importlib.import_module(f"autoload.models.{MODELS[model_type].family}")
            variant = _entry(f"autoload.models.{MODELS[model_type].family}", "VARIANTS", model_type)
            head = variant.heads.get(task) or family.TASKS[task]
            name = class_name(model_type, task)
            members: dict[str, Any] = {
                "__module__": "autoload",
                "__qualname__": name,
                "__doc__": head.__doc__,
                "config_class": _built_in_config(model_type),
                "variant": variant,
                **variant.members,
            }
            headless = ("Model", *CHOICES.get((model_type, "Model"), ()))
            if task not in headless and tasks_of(model_type).get("Model") == "Model":
                members["base_class"] = _built_in(model_type, "Model")
            _classes[key] = type(name, (head,), members)
        return _classes[key]


def find_name(name: str) -> Any:
    """The class behind a concrete name, `LlamaForCausalLM` or `BertConfig`; None when there is none."""
    if name.endswith("Config"):
        stem = name[: -len("Config")]
        model_type = next((t for t, row in MODELS.items() if (row.config or row.prefix) == stem), None)
        return _part_config(name) if model_type is None else _built_in_config(model_type)
    for model_type in _owners():
        for task in classes_of(model_type):
            if class_name(model_type, task) == name:
                return _built_in(model_type, task)
    return None


def part_configs(model_type: str) -> list[type[PreTrainedConfig]]:
    """Classes of configurations that stand in those of a type, and are no type of their own."""
    parts = _built_in_config(model_type).spec.sub_configs.values()
    return [cls for cls in parts if isinstance(cls, type) and cls.__module__ == "autoload"]


def _part_config(name: str) -> type[PreTrainedConfig] | None:
    """One of these by its name; how that begins says in which families to look."""
    families = {row.family for row in MODELS.values() if name.startswith(row.config or row.prefix)}
    parts = (cls for t, row in MODELS.items() if row.family in families for cls in part_configs(t))
    return next((cls for cls in parts if cls.__name__ == name), None)


def _owner(model_type: str) -> str:
    """The type whose classes a type has: its own, or those of the type whose names it goes by."""
    row = MODELS[model_type]
    same = (t for t, other in MODELS.items() if other.prefix == row.prefix and not other.config)
    return next(same, model_type) if row.config else model_type


def _owners() -> list[str]:
    """All types, those first whose class names are their own: some use the names of another type's."""
    return sorted(MODELS, key=lambda model_type: MODELS[model_type].config != "")


def concrete_names() -> Iterator[tuple[str, str, str]]:
    """(class name, model type, task) of every built-in class; a name that several types share comes once."""
    seen = set()
    for model_type in _owners():
        for task in classes_of(model_type):
            name = class_name(model_type, task)
            if name not in seen:
                seen.add(name)
                yield name, model_type, task


def register(model_type: str, *, config: Any, heads: Mapping[str, Any], exist_ok: bool = True) -> None:
    """Teach the Auto classes a model type.

    Args:
        model_type: the value of `model_type` in config.json.
        config: a configuration class, or "package.module:Class", imported when first needed.
        heads: task ("Model", "CausalLM", or "ForCausalLM") to class, or "package.module:Class". Any `nn.Module` whose
            constructor takes the configuration will do.
        exist_ok: False makes a second registration of the same type an error.

    Raises:
        ValueError: the type is registered already and `exist_ok` is False.
    """
    clean = {task.removeprefix("AutoModel").removeprefix("For") or "Model": cls for task, cls in heads.items()}
    for task in clean:
        if task not in TASKS:
            close = nearest(task, TASKS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TaskError(
                f"register({model_type!r}): there is no task {task!r}.{hint}", task=task, available=[*TASKS]
            )
    with _lock:
        if model_type in _registered and not exist_ok:
            raise ValueError(f"model type {model_type!r} is registered already; pass exist_ok=True to replace it.")
        if model_type in MODELS:
            logger.warning("register: %r replaces the built-in model type of that name.", model_type)
        old = _registered.get(model_type)
        _registered[model_type] = Registration(config, {**(old.heads if old else {}), **clean})


def register_config(model_type: str, cls: Any, exist_ok: bool = False) -> None:
    """`AutoConfig.register`."""
    own = getattr(cls, "model_type", None)
    if own != model_type:
        raise ValueError(f"the configuration class {cls.__name__} has model_type {own!r}, expected {model_type!r}.")
    with _lock:
        if model_type in MODELS and not exist_ok:
            raise ValueError(
                f"{model_type!r} is already used by a built-in configuration; pass exist_ok=True to replace it."
            )
        old = _registered.get(model_type)
        _registered[model_type] = Registration(cls, old.heads if old else {})


def register_head(task: str, config_cls: type, model_cls: type, exist_ok: bool = False) -> None:
    """`AutoModelForX.register`."""
    own = getattr(model_cls, "config_class", None)
    if own is not None and own.__name__ != config_cls.__name__:
        raise ValueError(
            f"{model_cls.__name__} is made for {own.__name__}, but is registered for {config_cls.__name__}."
        )
    with _lock:
        model_type = getattr(config_cls, "model_type", "")
        built_in = model_type in MODELS and config_cls is _built_in_config(model_type)
        taken = (config_cls, task) in _heads_by_config or (built_in and task in tasks_of(model_type))
        if taken and not exist_ok and _heads_by_config.get((config_cls, task)) is not model_cls:
            raise ValueError(
                f"{config_cls.__name__} already has a model for {auto_class_name(task)}; pass exist_ok=True."
            )
        _heads_by_config[config_cls, task] = model_cls


def _load_object(where: Any) -> Any:
    """A class, or what "package.module:Class" names. Only ever called with what a user or a package registered."""
    if not isinstance(where, str):
        return where
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _read_entry_points() -> None:
    """Let installed packages register their types; looked for once, when a type is unknown."""
    global _entry_points_read
    with _lock:
        if _entry_points_read:
            return
        _entry_points_read = True
        from importlib.metadata import entry_points

        for point in entry_points(group="autoload.models"):
            found: Any = point.load()
            description: Any = found() if callable(found) else found
            register(point.name, **description)
            found = found() if callable(found) else found
            register(point.name, config=found["config"], heads=found["heads"])

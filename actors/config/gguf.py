"""Configuration of a GGUF model that reads text and, with an mmproj, images.

Parameters have llama.cpp's names. The setter names of Spark NLP's AutoGGUFModel (without "set",
first letter lowercase) are accepted in the same place; SPARK_NAMES is the table. Sampling defaults
are llama.cpp's, except that ``temperature`` and ``seed`` are 0, so that an extraction is
reproducible.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from actors.config.base import ConfigSection, LabelFilter, Stated, Weights
from actors.config.gguf_parts import gguf_parts
from actors.config.merge import OverlapPolicy
from actors.config.onnx import Windowing
from actors.config.prompt import PromptSection
from actors.config.vision import ImageOptions

_log = logging.getLogger(__name__)

DEFAULT_LENGTH, DEFAULT_SLOTS = 4096, 8
"""Default n_ctx and sequences if neither the model file nor a GPU share determines them."""

_LLAMA_CPP = "llama_cpp."
_PLACEMENT = {"main_gpu", "split_mode", "tensor_split"}

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]

SPARK_NAMES = {
    "nCtx": "context.n_ctx",
    "batchSize": "context.sequences",
    "nGpuLayers": "context.n_gpu_layers",
    "nBatch": "context.n_batch",
    "nUbatch": "context.n_ubatch",
    "flashAttention": "context.flash_attn",
    "mainGpu": "context.llama_cpp.main_gpu",
    "gpuSplitMode": "context.llama_cpp.split_mode",
    "tensorSplit": "context.llama_cpp.tensor_split",
    "ropeFreqBase": "context.llama_cpp.rope_freq_base",
    "ropeFreqScale": "context.llama_cpp.rope_freq_scale",
    "ropeScalingType": "context.llama_cpp.rope_scaling_type",
    "yarnExtFactor": "context.llama_cpp.yarn_ext_factor",
    "yarnAttnFactor": "context.llama_cpp.yarn_attn_factor",
    "yarnBetaFast": "context.llama_cpp.yarn_beta_fast",
    "yarnBetaSlow": "context.llama_cpp.yarn_beta_slow",
    "yarnOrigCtx": "context.llama_cpp.yarn_orig_ctx",
    "noKvOffload": "context.offload_kqv",
    "useMmap": "context.use_mmap",
    "useMlock": "context.use_mlock",
    "nPredict": "sampling.n_predict",
    "temperature": "sampling.temperature",
    "topK": "sampling.top_k",
    "topP": "sampling.top_p",
    "minP": "sampling.min_p",
    "typicalP": "sampling.typical_p",
    "minKeep": "sampling.min_keep",
    "repeatPenalty": "sampling.repeat_penalty",
    "repeatLastN": "sampling.repeat_last_n",
    "frequencyPenalty": "sampling.frequency_penalty",
    "presencePenalty": "sampling.presence_penalty",
    "dynamicTemperatureRange": "sampling.dynatemp_range",
    "dynamicTemperatureExponent": "sampling.dynatemp_exponent",
    "seed": "sampling.seed",
    "ignoreEos": "sampling.ignore_eos",
    "stopStrings": "sampling.stop",
    "nProbs": "sampling.n_probs",
    "tfsZ": "sampling.tfs_z",
    "penalizeNl": "sampling.penalize_nl",
    "nKeep": "sampling.n_keep",
    "cachePrompt": "sampling.cache_prompt",
    "loraAdapters": "weights.lora",
    "systemPrompt": "prompt.system",
    "chatTemplate": "prompt.chat_template",
    "reasoningBudget": "prompt.reasoning_budget",
}
"""Spark NLP's name to the section and name used here; docs/gguf-parameters.md has the table with
the meanings. ``noKvOffload`` is inverted; ``useChatTemplate: false`` is ``chat_template: none``."""

SPARK_ELSEWHERE = {
    "nThreads": "the thread count is the pool's num_cpus: set that",
    "nThreadsBatch": "the thread count is the pool's num_cpus: set that",
    "grammar": "each prompt.format has its own grammar; disable it with prompt.constrained",
    "inputPrefix": "put it in prompt.instruction or in an inline prompt.chat_template",
    "inputSuffix": "put it in prompt.instruction or in an inline prompt.chat_template",
    "removeThinkingTag": "the thinking block is always separated from the answer; remove this key",
    "miroStat": "mirostat is not supported; use temperature, top_k, top_p, min_p or typical_p",
    "defragmentationThreshold": "llama.cpp no longer has this parameter; remove this key",
    "samplers": "the sampler order is fixed to llama.cpp's default; remove this key",
}
"""Spark NLP's names that are not supported here, with the alternative."""

_NO_EFFECT = {
    "tfs_z": "llama.cpp no longer has this parameter",
    "penalize_nl": "llama.cpp no longer has this parameter",
    "n_keep": "the context is never shifted; long documents are split into windows",
    "cache_prompt": "shared prompt prefixes are always computed once",
}


def spark_place(key: str, value: Any) -> tuple[str, str, Any] | None:
    """Map a Spark NLP parameter to section, name and value here; None if it is unknown."""
    section, _, name = SPARK_NAMES.get(key, "").partition(".")
    if not section:
        return None
    return section, name, (not value) if key == "noKvOffload" else value


def _renamed(section: str, content: Any) -> Any:
    """Replace Spark NLP's names in the content of a section with llama.cpp's."""
    if not isinstance(content, dict):
        return content
    result: dict[str, Any] = {}
    for key, value in content.items():
        if key in SPARK_ELSEWHERE:
            raise ValueError(f"{key}: {SPARK_ELSEWHERE[key]}")
        place, name, value = spark_place(key, value) or (section, key, value)
        if place != section:
            raise ValueError(f"{key} belongs under {place}, as {name}")
        if name.startswith(_LLAMA_CPP):
            inner = result.setdefault("llama_cpp", dict(content.get("llama_cpp") or {}))
            inner[name.removeprefix(_LLAMA_CPP)] = value
            continue
        if name in result and key == "llama_cpp":
            continue  # already merged with Spark NLP's names that came earlier
        if name in result or (name != key and name in content):
            raise ValueError(f"{name} is set twice, once as {key}")
        result[name] = value
    return result


class GgufContext(ConfigSection):
    """Settings for loading and running the model with llama.cpp."""

    n_ctx: Annotated[int, Field(ge=64)] | Literal["auto"] = Field(
        default=DEFAULT_LENGTH,
        description="Context size in tokens of one sequence: prompt plus output. auto: 4096 if "
        "that fits (or the model's own context if that is shorter), else less, but at least 2048. "
        "With an explicit num_gpus it may grow to the model's maximum. The context size affects "
        "how long documents are split, so set a number if results must not depend on the GPU. "
        "Spark NLP: nCtx.",
    )
    sequences: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto",
        description="Documents in flight at once. auto: as many as fit in the GPU share, at most "
        "64; 8 without an explicit share. Spark NLP: batchSize.",
    )
    kv_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Size in tokens of one unified KV cache for all sequences. Saves memory if "
        "documents are short and n_predict bounds the output: a document is admitted when its "
        "prompt and n_predict tokens fit (-1: all of n_ctx), the others wait. Default: a KV cache "
        "of n_ctx tokens for each sequence and each of `prefixes`, which is faster.",
    )
    prefixes: int = Field(
        default=2, ge=0, le=32, description="Shared prompt prefixes kept in the KV cache."
    )
    n_gpu_layers: int = Field(
        default=99,
        ge=-1,
        description="Layers offloaded to the GPU; -1: all. Spark NLP: nGpuLayers.",
    )
    n_batch: int = Field(
        default=2048, ge=32, description="Maximum tokens per step. Spark NLP: nBatch."
    )
    n_ubatch: int = Field(
        default=512, ge=32, description="Maximum tokens per compute batch. Spark NLP: nUbatch."
    )
    flash_attn: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Flash attention; auto: on a GPU and with AVX-512, where it is faster. Less "
        "exact on a CPU. Spark NLP: flashAttention.",
    )
    type_k: KvType = Field(default="f16", description="Data type of the K cache.")
    type_v: KvType = Field(
        default="f16", description="Data type of the V cache; types below f16 need flash_attn."
    )
    offload_kqv: bool = Field(default=True, description="Keep the KV cache on the GPU.")
    swa_full: bool = Field(
        default=True,
        description="Keep the full KV cache of sliding-window layers; required to share prefixes.",
    )
    llama_cpp: dict[str, bool | int | float | str | tuple[float, ...]] = Field(
        default_factory=dict,
        description="Other llama.cpp context and model parameters, by llama.cpp's names, such as "
        "rope_freq_base, yarn_orig_ctx, main_gpu, split_mode, tensor_split.",
    )
    use_mmap: bool = Field(default=True, description="Memory-map the file instead of reading it.")
    use_extra_bufts: bool | None = Field(
        default=None,
        description="Repack weights for the CPU. Default: true, unless llama.cpp was built with "
        "AMX: builds by GCC 12 or older then crash at the first prompt.",
    )
    use_mlock: bool = Field(default=False, description="Lock the weights in memory.")

    RUNNING = frozenset(
        {
            *("sequences", "kv_tokens", "prefixes", "n_gpu_layers", "n_batch", "n_ubatch"),
            *("use_mmap", "use_mlock", "use_extra_bufts", "offload_kqv"),
        }
    )

    def identity(self) -> dict[str, Any]:
        """Return the section's identity without GPU placement, which does not change results."""
        content = super().identity()
        for name in _PLACEMENT & content["llama_cpp"].keys():
            del content["llama_cpp"][name]
        return content

    @model_validator(mode="before")
    @classmethod
    def _spark(cls, content: Any) -> Any:
        content = _renamed("context", content)
        if isinstance(content, dict) and isinstance(content.get("flash_attn"), bool):
            content["flash_attn"] = "on" if content["flash_attn"] else "off"
        return content

    @property
    def length(self) -> int:
        """``n_ctx`` as a number; an unresolved auto counts as the default."""
        return DEFAULT_LENGTH if self.n_ctx == "auto" else self.n_ctx

    @property
    def slots(self) -> int:
        """``sequences`` as a number; an unresolved auto counts as the default."""
        return DEFAULT_SLOTS if self.sequences == "auto" else self.sequences

    @model_validator(mode="after")
    def _fits(self) -> GgufContext:
        if self.kv_tokens is not None and self.n_ctx != "auto" and self.kv_tokens < self.n_ctx:
            raise ValueError("context.kv_tokens must be at least n_ctx")
        _warn_of(self)
        return self


class GgufSampling(ConfigSection):
    """Sampling settings, with llama.cpp's semantics; see ``actors.engine.Sampling``."""

    temperature: float = Field(default=0.0, ge=0, description="0: greedy decoding.")
    top_k: int = Field(default=40, ge=0, description="Keep only the k most likely tokens; 0: all.")
    top_p: float = Field(
        default=0.95, gt=0, le=1, description="Nucleus sampling: probability mass to keep."
    )
    min_p: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Keep tokens whose probability is at least this fraction of the best token's.",
    )
    typical_p: float = Field(
        default=1.0, gt=0, le=1, description="Locally typical sampling mass; 1: off."
    )
    min_keep: int = Field(
        default=0, ge=0, description="Minimum number of tokens kept by truncation."
    )
    repeat_penalty: float = Field(
        default=1.0, gt=0, description="1: off. Values over 1 damage JSON, whose keys repeat."
    )
    repeat_last_n: int = Field(
        default=64,
        ge=-1,
        description="Number of last tokens that penalties consider; 0: none, -1: all.",
    )
    frequency_penalty: float = Field(default=0.0, description="Penalty per earlier occurrence.")
    presence_penalty: float = Field(default=0.0, description="Penalty for any earlier occurrence.")
    dynatemp_range: float = Field(
        default=0.0, ge=0, description="Range of the entropy-based dynamic temperature; 0: off."
    )
    dynatemp_exponent: float = Field(
        default=1.0, gt=0, description="Exponent of the dynamic temperature."
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Base seed; combined with the document's content and the window index.",
    )
    n_predict: int = Field(
        default=-1, ge=-1, description="Maximum output tokens; -1: the rest of the context."
    )
    stop: tuple[str, ...] = Field(
        default=(),
        description="Strings that end the output. Ignored with a grammar, which ends the output "
        "itself: a document may contain such a string.",
    )
    ignore_eos: bool = Field(default=False, description="Continue after an end token.")
    n_probs: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Return the log probabilities of this many most likely tokens per position, in "
        "Extraction.choices and `medspan extract --json`; they are not written to tables. Entity "
        "scores do not need it.",
    )
    tfs_z: float | None = Field(default=None, description="No effect: removed from llama.cpp.")
    penalize_nl: bool | None = Field(default=None, description="No effect: removed from llama.cpp.")
    n_keep: int | None = Field(default=None, description="No effect: the context is never shifted.")
    cache_prompt: bool | None = Field(
        default=None, description="No effect: shared prompt prefixes are always computed once."
    )

    @property
    def limit(self) -> int | None:
        """``n_predict`` as a bound; None: the rest of the context."""
        return self.n_predict if self.n_predict >= 0 else None

    RUNNING = frozenset({"n_probs", "tfs_z", "penalize_nl", "n_keep", "cache_prompt"})

    @model_validator(mode="before")
    @classmethod
    def _spark(cls, content: Any) -> Any:
        return _renamed("sampling", content)

    @model_validator(mode="after")
    def _no_effect(self) -> GgufSampling:
        _warn_of(self)
        return self


_warned: set[str] = set()


def _warn_of(section: ConfigSection) -> None:
    """Warn once per process about parameters that are set but have no effect."""
    ineffective: dict[str, list[str]] = {}
    for name, reason in _NO_EFFECT.items():
        value = getattr(section, name, None)
        if value is not None and not (name == "cache_prompt" and value):
            ineffective.setdefault(reason, []).append(name)
    for reason, names in ineffective.items():
        message = f"{', '.join(names)}: {reason}; it has no effect"
        if message not in _warned:
            _warned.add(message)
            _log.warning("%s", message)


class Adapter(ConfigSection):
    """A LoRA adapter in GGUF form, applied on top of the model's weights."""

    model: str = Field(description="A path, file://, s3://, hf:// or https:// URI.")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the file."
    )
    scale: float = Field(default=1.0, description="Scale of the adapter; 1: as trained.")

    RUNNING = frozenset({"model", "sha256"})


class GgufWeights(Weights):
    """Location of the model's files."""

    mmproj: str | None = Field(
        default=None,
        description="A vision model's image encoder (its mmproj GGUF): a path or URI like `model`.",
    )
    mmproj_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the mmproj file."
    )
    lora: tuple[Adapter, ...] = Field(
        default=(),
        description="LoRA adapters (made by llama.cpp's convert_lora_to_gguf.py), applied "
        "together: a list of model, sha256 and scale, or a mapping of paths to scales.",
    )

    RUNNING = Weights.RUNNING | {"mmproj", "mmproj_sha256"}

    @model_validator(mode="before")
    @classmethod
    def _spark(cls, content: Any) -> Any:
        content = _renamed("weights", content)
        if isinstance(content, dict) and isinstance(lora := content.get("lora"), dict):
            content["lora"] = [{"model": path, "scale": scale} for path, scale in lora.items()]
        return content

    @model_validator(mode="after")
    def _first_part(self) -> GgufWeights:
        gguf_parts(self.model)
        return self

    @property
    def files(self) -> tuple[tuple[str, Stated], ...]:
        """Every file with its expected SHA-256; the model comes first."""
        encoder = ((self.mmproj, self.mmproj_sha256),) if self.mmproj else ()
        return (*super().files, *encoder, *((one.model, one.sha256) for one in self.lora))


class GgufModel(ConfigSection):
    """A model file of kind gguf: a language model that reads text (and images, with
    ``weights.mmproj``) and generates entities or prose."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["gguf"]
    weights: GgufWeights
    context: GgufContext = GgufContext()
    prompt: PromptSection
    images: ImageOptions | None = Field(
        default=None, description="How images are presented; requires weights.mmproj."
    )
    sampling: GgufSampling = GgufSampling()
    window: Windowing = Field(default_factory=lambda: Windowing.model_validate({}))
    labels: LabelFilter = Field(default_factory=lambda: LabelFilter.model_validate({}))
    overlaps: OverlapPolicy = Field(
        default="all",
        description="Which of the model's own overlapping entities to keep, after `labels`; use "
        "`longest` or `score` if nothing in the label set is nested.",
    )

    @model_validator(mode="after")
    def _sees(self) -> GgufModel:
        if self.images is not None and self.weights.mmproj is None:
            raise ValueError("`images` requires a vision model: weights.mmproj is missing")
        if self.weights.mmproj_sha256 and not self.weights.mmproj:
            raise ValueError("weights.mmproj_sha256 without weights.mmproj")
        return self

    @property
    def sees(self) -> bool:
        """True if the model takes images."""
        return self.weights.mmproj is not None

"""The configuration of a GGUF model that reads text, and with an mmproj also pictures.

Parameters have llama.cpp's own names. The setter names of Spark NLP's AutoGGUFModel (without
"set", first letter small) are accepted in the same place; SPARK_NAMES is the table. Sampling
defaults are llama.cpp's, except ``temperature`` and ``seed`` 0: an extraction should come
out the same twice.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from actors.config.base import LabelFilter, Section, Weights
from actors.config.merge import Policy
from actors.config.onnx import Window
from actors.config.prompt import PromptSection
from actors.config.vision import ImageOptions

_log = logging.getLogger(__name__)

USUAL_LENGTH, USUAL_SLOTS = 4096, 8
"""n_ctx and sequences where neither the model file nor a share of a card says them."""

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
"""Spark NLP's name to the section and name here; docs/gguf-parameters.md has the table with what
they do. ``noKvOffload`` is turned round; ``useChatTemplate: false`` is ``chat_template: none``."""

SPARK_ELSEWHERE = {
    "nThreads": "threads are the CPUs of the pool: set its num_cpus",
    "nThreadsBatch": "threads are the CPUs of the pool: set its num_cpus",
    "grammar": "each prompt.format has a grammar of its own; prompt.constrained turns it off",
    "inputPrefix": "write it into prompt.instruction, or into an inline prompt.chat_template",
    "inputSuffix": "write it into prompt.instruction, or into an inline prompt.chat_template",
    "removeThinkingTag": "a thinking block is always kept apart from the answer; leave it out",
    "miroStat": "mirostat is not supported; temperature, top_k, top_p, min_p and typical_p are",
    "defragmentationThreshold": "llama.cpp no longer has this parameter; leave it out",
    "samplers": "the order of samplers is llama.cpp's default one",
}
"""Spark NLP's names that have no place here, and what to do instead."""

_NO_EFFECT = {
    "tfs_z": "llama.cpp no longer has this parameter",
    "penalize_nl": "llama.cpp no longer has this parameter",
    "n_keep": "nothing is ever shifted out of a context; a long document is read in windows",
    "cache_prompt": "what prompts share is always computed once",
}


def spark_place(key: str, value: Any) -> tuple[str, str, Any] | None:
    """Section, name and value here of a parameter of Spark NLP; None where there is none."""
    section, _, name = SPARK_NAMES.get(key, "").partition(".")
    if not section:
        return None
    return section, name, (not value) if key == "noKvOffload" else value


def _renamed(section: str, content: Any) -> Any:
    """The content of a section with Spark NLP's names replaced by llama.cpp's."""
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
            continue  # Spark NLP's names before it have taken it in
        if name in result or (name != key and name in content):
            raise ValueError(f"{name} is set twice, once as {key}")
        result[name] = value
    return result


class GgufContext(Section):
    """How llama.cpp holds and runs the model."""

    n_ctx: Annotated[int, Field(ge=64)] | Literal["auto"] = Field(
        default=USUAL_LENGTH,
        description="Tokens of one sequence, prompt and output together. auto: 4096 where that "
        "fits (or the model's own context, where that is shorter), else less, but at least 2048; "
        "in a share that is stated, up to the model's own. How a long document is cut, and so "
        "what is found in it, may then depend on the share: write a number where it must not. "
        "Spark NLP: nCtx.",
    )
    sequences: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        default="auto",
        description="Documents in flight at a time. auto: as many as the share of a card has room "
        "for, at most 64; 8 where no share decides. Spark NLP: batchSize.",
    )
    kv_tokens: int | None = Field(
        default=None,
        ge=64,
        description="One common room of this many tokens for all sequences. Saves memory where "
        "documents are short and n_predict bounds what is printed, since a document is let in with "
        "room for its prompt and n_predict (-1: all of n_ctx); others wait. Default: n_ctx for "
        "each, and for each of `prefixes`, which computes faster.",
    )
    prefixes: int = Field(
        default=2, ge=0, le=32, description="Shared prompt beginnings kept computed at a time."
    )
    n_gpu_layers: int = Field(
        default=99, ge=-1, description="Layers on the card; -1 all. Spark NLP: nGpuLayers."
    )
    n_batch: int = Field(
        default=2048, ge=32, description="Tokens of one step at most. Spark NLP: nBatch."
    )
    n_ubatch: int = Field(
        default=512, ge=32, description="Tokens computed at once. Spark NLP: nUbatch."
    )
    flash_attn: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Flash attention; on a CPU it is less exact. Spark NLP: flashAttention.",
    )
    type_k: KvType = Field(default="f16", description="Type of the K cache.")
    type_v: KvType = Field(
        default="f16", description="Type of the V cache; needs flash_attn below f16."
    )
    offload_kqv: bool = Field(default=True, description="The KV cache on the card too.")
    swa_full: bool = Field(
        default=True,
        description="The whole cache for sliding-window layers: needed to share prefixes.",
    )
    llama_cpp: dict[str, bool | int | float | str | tuple[float, ...]] = Field(
        default_factory=dict,
        description="llama.cpp's own context and model parameters by their names there, such as "
        "rope_freq_base, yarn_orig_ctx, main_gpu, split_mode, tensor_split.",
    )
    use_mmap: bool = Field(default=True, description="Map the file instead of reading it.")
    use_extra_bufts: bool | None = Field(
        default=None,
        description="Repacked weights, for CPUs. Default: yes, unless llama.cpp was built with "
        "AMX: built by GCC 12 or older it then crashes at the first prompt.",
    )
    use_mlock: bool = Field(default=False, description="Keep the weights from being swapped out.")

    RUNNING = frozenset(
        {
            *("sequences", "kv_tokens", "prefixes", "n_gpu_layers", "n_batch", "n_ubatch"),
            *("use_mmap", "use_mlock", "use_extra_bufts", "offload_kqv"),
        }
    )

    def identity(self) -> dict[str, Any]:
        """As of any section; which GPU computes what changes no answer."""
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
        """``n_ctx`` as a number; of auto that no share has decided, the usual one."""
        return USUAL_LENGTH if self.n_ctx == "auto" else self.n_ctx

    @property
    def slots(self) -> int:
        """``sequences`` as a number; of auto that no share has decided, the usual one."""
        return USUAL_SLOTS if self.sequences == "auto" else self.sequences

    @model_validator(mode="after")
    def _fits(self) -> GgufContext:
        if self.kv_tokens is not None and self.n_ctx != "auto" and self.kv_tokens < self.n_ctx:
            raise ValueError("context.kv_tokens must hold at least one sequence of n_ctx")
        _warn_of(self)
        return self


class GgufSampling(Section):
    """How tokens are chosen; the meaning is llama.cpp's, see ``actors.engine.Sampling``."""

    temperature: float = Field(default=0.0, ge=0, description="0: always the likeliest token.")
    top_k: int = Field(default=40, ge=0, description="Only the k likeliest tokens; 0: all.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Only the likeliest up to mass p.")
    min_p: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Only tokens at least this likely next to the likeliest.",
    )
    typical_p: float = Field(default=1.0, gt=0, le=1, description="Locally typical mass; 1: off.")
    min_keep: int = Field(default=0, ge=0, description="Tokens that truncation leaves at least.")
    repeat_penalty: float = Field(
        default=1.0, gt=0, description="1: off. Over 1 damages JSON, whose keys repeat."
    )
    repeat_last_n: int = Field(
        default=64, ge=-1, description="Tokens looked at for penalties; 0 none, -1 all."
    )
    frequency_penalty: float = Field(default=0.0, description="Per earlier occurrence.")
    presence_penalty: float = Field(default=0.0, description="For any earlier occurrence.")
    dynatemp_range: float = Field(
        default=0.0, ge=0, description="How far the temperature follows the entropy; 0: not."
    )
    dynatemp_exponent: float = Field(default=1.0, gt=0, description="How steeply it does.")
    seed: int = Field(
        default=0, ge=0, description="Draws follow from the seed, the document's id and the window."
    )
    n_predict: int = Field(
        default=-1, ge=-1, description="Output tokens at most; -1: what the context has room for."
    )
    stop: tuple[str, ...] = Field(
        default=(),
        description="Strings that end the output. Not where a grammar makes it: that knows its "
        "end, and a document may hold such a string.",
    )
    ignore_eos: bool = Field(default=False, description="Go on after an end token.")
    n_probs: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Log probabilities of so many of the likeliest tokens at every place, in "
        "Extraction.choices and `medspan extract --json`; tables do not hold them. The scores of "
        "entities need none of it.",
    )
    tfs_z: float | None = Field(default=None, description="Dropped by llama.cpp; has no effect.")
    penalize_nl: bool | None = Field(default=None, description="Dropped by llama.cpp; no effect.")
    n_keep: int | None = Field(default=None, description="No effect: a context is never shifted.")
    cache_prompt: bool | None = Field(
        default=None, description="No effect: what prompts share is always computed once."
    )

    @property
    def limit(self) -> int | None:
        """``n_predict`` as a bound; None: what the context has room for."""
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


def _warn_of(section: Section) -> None:
    """Warn, once a process, of parameters that are given and have no effect."""
    given: dict[str, list[str]] = {}
    for name, reason in _NO_EFFECT.items():
        value = getattr(section, name, None)
        if value is not None and not (name == "cache_prompt" and value):
            given.setdefault(reason, []).append(name)
    for reason, names in given.items():
        said = f"{', '.join(names)}: {reason}; it has no effect"
        if said not in _warned:
            _warned.add(said)
            _log.warning("%s", said)


class Adapter(Section):
    """A LoRA adapter in GGUF form, laid over the model's weights."""

    model: str = Field(description="A path, file://, s3://, hf:// or https:// URI.")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the file."
    )
    scale: float = Field(default=1.0, description="How much of it; 1: as it was trained.")

    RUNNING = frozenset({"model", "sha256"})


class GgufWeights(Weights):
    """Where the model's files are."""

    mmproj: str | None = Field(
        default=None,
        description="A vision model's encoder (its mmproj GGUF): a path or URI as `model`.",
    )
    mmproj_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the mmproj file."
    )
    lora: tuple[Adapter, ...] = Field(
        default=(),
        description="LoRA adapters (llama.cpp's convert_lora_to_gguf.py makes them), applied "
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

    @property
    def files(self) -> tuple[tuple[str, str | None], ...]:
        """Every file with its expected SHA-256, the model first."""
        encoder = ((self.mmproj, self.mmproj_sha256),) if self.mmproj else ()
        return (*super().files, *encoder, *((one.model, one.sha256) for one in self.lora))


class GgufModel(Section):
    """A model file of kind gguf: a language model that reads text (with ``weights.mmproj`` also
    pictures) and prints entities or prose."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["gguf"]
    weights: GgufWeights
    context: GgufContext = GgufContext()
    prompt: PromptSection
    images: ImageOptions | None = Field(
        default=None, description="How pictures are shown; only with weights.mmproj."
    )
    sampling: GgufSampling = GgufSampling()
    window: Window = Field(default_factory=lambda: Window.model_validate({}))
    labels: LabelFilter = Field(default_factory=lambda: LabelFilter.model_validate({}))
    overlaps: Policy = Field(
        default="all",
        description="Which of the model's own overlapping entities stay, after `labels`; for label "
        "sets in which nothing is nested, `longest` or `score`.",
    )

    @model_validator(mode="after")
    def _sees(self) -> GgufModel:
        if self.images is not None and self.weights.mmproj is None:
            raise ValueError("`images` is for vision models: weights.mmproj is missing")
        if self.weights.mmproj_sha256 and not self.weights.mmproj:
            raise ValueError("weights.mmproj_sha256 without weights.mmproj")
        return self

    @property
    def sees(self) -> bool:
        """Whether the model is shown a document's pictures."""
        return self.weights.mmproj is not None

"""Configuration of an ONNX token classifier."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config.base import ConfigSection, LabelFilter, Weights


class Windowing(ConfigSection):
    """Windowing of a long document: overlapping windows, each token labelled in its best one."""

    size: int | None = Field(
        None,
        ge=8,
        description="Tokens per window, including an encoder's special tokens; default: the "
        "model's maximum length, or what fits in a language model's context.",
    )
    overlap: int | None = Field(
        None,
        ge=0,
        description="Tokens shared by neighbouring windows; default: a quarter of the size, for a "
        "language model an eighth.",
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Windowing:
        if self.size is not None and self.overlap is not None and self.overlap > self.size // 2:
            raise ValueError("window.overlap must be at most half of window.size")
        return self


class Decode(ConfigSection):
    """Decoding of token predictions into spans."""

    scheme: Literal["auto", "bio", "bioes", "io", "plain"] = Field(
        "auto",
        description="auto: inferred from the majority of labels in the model's id2label: B-Drug, "
        "b_drug, Drug-B, or plain B. Labels that do not fit are logged.",
    )
    outside: tuple[str, ...] = Field(
        (),
        description="Extra labels that mean no entity, besides O, OUTSIDE, NONE, Non-Entity and "
        "the like.",
    )
    algorithm: Literal["viterbi", "greedy"] = Field(
        "viterbi",
        description="viterbi: the most likely sequence that the scheme allows. greedy: the best "
        "label of each token, then repair.",
    )
    pieces: Literal["first", "mean", "each"] = Field(
        "each",
        description="How a word's label is chosen: from its first piece, from the mean of its "
        "pieces, or each piece separately.",
    )


class OnnxSession(ConfigSection):
    """Settings of the onnxruntime session."""

    provider: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="auto: CUDA if a GPU is visible, else the CPU; the choice is logged.",
    )
    batch_tokens: int = Field(
        1024, ge=64, description="Tokens per batch, padding included; windows are packed by length."
    )
    threads_per_batch: int = Field(
        1,
        ge=1,
        description="CPU threads per batch; an actor with more threads runs several batches in "
        "parallel. 1 maximises throughput; more reduces the latency of a single document.",
    )
    gpu_memory_gb: float | None = Field(
        None, gt=0, description="Limit of the CUDA arena; default: the actor's share of the GPU."
    )


class FolderWeights(Weights):
    """Location of an ONNX model's folder."""

    file: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_./-]*\.onnx$",
        description="The ONNX file in the folder, such as onnx/model_int8.onnx; default: the first "
        "of model.onnx, model_quantized.onnx, onnx/model.onnx, onnx/model_quantized.onnx and "
        "onnx/model_int8.onnx that is there.",
    )

    RUNNING = Weights.RUNNING | {"file"}

    @model_validator(mode="after")
    def _inside(self) -> FolderWeights:
        if self.file is not None and ".." in self.file.split("/"):
            raise ValueError("weights.file must lie within the folder")
        return self


class OnnxModel(ConfigSection):
    """A model file of kind onnx: a token classifier as exported by optimum."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["onnx"]
    weights: FolderWeights
    window: Windowing = Windowing()
    decode: Decode = Decode()
    labels: LabelFilter = LabelFilter()
    session: OnnxSession = OnnxSession()

    RUNNING = frozenset({"session"})

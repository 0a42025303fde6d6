"""The configuration of an ONNX token classifier."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actors.config.base import LabelFilter, Section, Weights


class Window(Section):
    """How a long document is read: overlapping windows, each token decided in its best one."""

    size: int | None = Field(
        None,
        ge=8,
        description="Tokens a window; default: the model's own length, or what the context of a "
        "language model has room for. An encoder's special tokens are among them.",
    )
    overlap: int | None = Field(
        None,
        ge=0,
        description="Tokens two neighbours share; default: a quarter of the size, of a language "
        "model an eighth.",
    )

    @model_validator(mode="after")
    def _overlap_fits(self) -> Window:
        if self.size is not None and self.overlap is not None and self.overlap > self.size // 2:
            raise ValueError("window.overlap must be at most half of window.size")
        return self


class Decode(Section):
    """How token predictions become spans."""

    scheme: Literal["auto", "bio", "bioes", "io", "plain"] = Field(
        "auto",
        description="auto reads it from what most labels of the model's id2label say: B-Drug, "
        "b_drug, Drug-B, or B alone. A label that does not fit is named in the log.",
    )
    outside: tuple[str, ...] = Field(
        (),
        description="Labels that mean no entity, beside O, OUTSIDE, NONE, Non-Entity and the like.",
    )
    algorithm: Literal["viterbi", "greedy"] = Field(
        "viterbi",
        description="viterbi: the likeliest sequence that the scheme allows. "
        "greedy: the best label of each, then repair.",
    )
    pieces: Literal["first", "mean", "each"] = Field(
        "each",
        description="Who decides a word's label: its first piece, their mean, or each its own.",
    )


class OnnxSession(Section):
    """How onnxruntime runs the model."""

    provider: Literal["auto", "cuda", "cpu"] = Field(
        "auto",
        description="auto: CUDA where a card is visible, else the CPU, said once in the log.",
    )
    batch_tokens: int = Field(
        1024, ge=64, description="Tokens a batch, padding included; windows are packed by length."
    )
    threads_per_batch: int = Field(
        1,
        ge=1,
        description="CPU threads that share a batch; an actor of more runs several batches at a "
        "time. 1 gives the most documents a second; more, a quicker answer to a single one.",
    )
    gpu_memory_gb: float | None = Field(
        None, gt=0, description="Limit of the CUDA arena; default: the actor's share of the card."
    )


class OnnxModel(Section):
    """A model file of kind onnx: a token classifier as optimum exports it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: Literal["onnx"]
    weights: Weights
    window: Window = Window()
    decode: Decode = Decode()
    labels: LabelFilter = LabelFilter()
    session: OnnxSession = OnnxSession()

    RUNNING = frozenset({"session"})

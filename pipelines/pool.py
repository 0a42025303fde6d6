"""The actors of one stage, and what each may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.config import ConfigError, Section


class Pool(Section):
    """The actors of one step, and what each may take."""

    min_actors: int = Field(1, ge=1)
    max_actors: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, gt=0, description="CPUs an actor; also its threads, rounded down.")
    num_gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0,
        description="The fraction of a card an actor takes; auto: what its model needs, from its "
        "file. A fraction that is too small is an error before work starts.",
    )
    card_gb: float | None = Field(
        None, gt=0, description="Memory of a card (10^9 bytes); default: the cluster is asked."
    )
    fill: bool = Field(
        False,
        description="Use all of num_gpus: as many sequences (GGUF) or as large batches (ONNX) as "
        "fit, at least the model file's. Answers do not depend on it.",
    )
    cpu_fallback: bool = Field(
        False,
        description="Run on the CPU, and say so, where the cluster has no GPU or the runtime "
        "cannot use it.",
    )
    units_in_flight: int = Field(
        3, ge=1, description="Units an actor holds at a time, so that its model is never idle."
    )

    recycle_documents: int | None = Field(
        None,
        ge=1,
        description="Begin an actor anew, between units, after so many documents. Online: replace "
        "a replica after so many to a quarter more, so that not all go at once.",
    )
    recycle_growth_mb: float | None = Field(
        None,
        gt=0,
        description="Begin an actor anew, between units, when its main memory has grown by so much "
        "since its first unit. Online: replace a replica, as by recycle_documents.",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Pool:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors must be at least min_actors")
        if self.fill and self.num_gpus in (0, "auto"):
            raise ValueError("fill needs num_gpus as a number: auto is the least that fits")
        return self

    @property
    def gpus(self) -> float:
        """``num_gpus`` as a number; raises ConfigError where auto was not resolved."""
        if self.num_gpus == "auto":
            raise ConfigError("pool.num_gpus is auto, and no card's memory is known")
        return self.num_gpus

    @property
    def threads(self) -> int:
        """CPU threads of an actor's model."""
        return max(1, int(self.num_cpus))

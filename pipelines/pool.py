"""The actors of one stage, and what each may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from actors.config import ConfigError, ConfigSection


class Pool(ConfigSection):
    """The actors of one stage, and the resources of each."""

    min_actors: int = Field(1, ge=1)
    max_actors: int = Field(1, ge=1)
    num_cpus: float = Field(
        1.0, gt=0, description="CPUs per actor; also its threads, rounded down."
    )
    num_gpus: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        0.0,
        description="GPU fraction per actor; auto: computed from the model file. A fraction that "
        "is too small is an error before work starts.",
    )
    gpu_memory_gb: float | None = Field(
        None,
        gt=0,
        description="Memory of a GPU in GB (10^9 bytes); default: query the cluster.",
    )
    fill_gpu: bool = Field(
        False,
        description="Use all of num_gpus: raise the sequences (GGUF) or the batch size (ONNX) of "
        "the model file to what fits. Results do not depend on it.",
    )
    cpu_fallback: bool = Field(
        False,
        description="Run on the CPU, with a warning, if the cluster has no GPU or the runtime "
        "cannot use it.",
    )
    units_in_flight: int = Field(
        3, ge=1, description="Concurrent units per actor, so that its model is never idle."
    )

    recycle_documents: int | None = Field(
        None,
        ge=1,
        description="Recycle an actor between units after this many documents. Online: replace a "
        "replica after up to a quarter more, so that not all are replaced at once.",
    )
    recycle_growth_mb: float | None = Field(
        None,
        gt=0,
        description="Recycle an actor between units when its main memory has grown by this much "
        "since its first unit. Online: replace a replica, as with recycle_documents.",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Pool:
        if self.max_actors < self.min_actors:
            raise ValueError("max_actors must be at least min_actors")
        if self.fill_gpu and self.num_gpus in (0, "auto"):
            raise ValueError(
                "fill_gpu needs num_gpus as a number: auto is already the minimum that fits"
            )
        return self

    @property
    def gpus(self) -> float:
        """``num_gpus`` as a number; raises ConfigError if auto is not resolved yet."""
        if self.num_gpus == "auto":
            raise ConfigError("pool.num_gpus is auto, but no GPU memory is known")
        return self.num_gpus

    @property
    def threads(self) -> int:
        """CPU threads per actor."""
        return max(1, int(self.num_cpus))

"""A model file in onnxruntime, and one session of a token classifier: token ids in, logits out.

The only file that imports onnxruntime.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.config import ConfigError, OnnxSession
from actors.memory import CUDA_CONTEXT, card_memory, cores, onnx_cuda_problem
from actors.model_folder import ModelFileError

_LOG = logging.getLogger(__name__)
_KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_INTEGERS: dict[str, np.dtype[Any]] = {
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
}
_FLOATS = {"tensor(float)", "tensor(float16)"}
# A card that fails like this fails for every later call of the process too.
_FATAL = (
    "illegal memory access",
    "misaligned address",
    "device-side assert",
    "unspecified launch failure",
    "ECC error",
)
_said_cpu = False


class Loaded:
    """A model file in onnxruntime.

    ``parallel``: how many calls of ``run`` at a time fill the threads that it was given.
    """

    def __init__(
        self,
        file: Path,
        settings: OnnxSession,
        threads: int | None,
        gpu: float | None,
        cpu_fallback: bool = False,
        part: bytes | None = None,
    ) -> None:
        """``threads``: CPU threads, None for all of this process. ``gpu``: the share of one card, 0
        for none, None for whatever is visible. ``part``: a model that was made of the file, to be
        loaded in its place. Raises ConfigError or ModelFileError."""
        import onnxruntime  # here: medspan's commands that run no model need not wait for it

        providers = _providers(settings, gpu, cpu_fallback)
        options = onnxruntime.SessionOptions()
        self._quiet = onnxruntime.RunOptions()
        self._quiet.log_severity_level = 4
        threads, on_card = threads or cores(), len(providers) > 1
        # Threads that share a batch wait for each other at every operator, and lose a core's time
        # whenever one of them is interrupted. Batches of a thread each do not.
        shared = min(settings.threads_per_batch, threads)
        options.intra_op_num_threads = shared
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Patterns are kept per input shape, and shapes are as many as lengths of text.
        options.enable_mem_pattern = False
        # Where threads do share: an actor's CPUs are its own, and one that spins between two
        # operators burns nobody else's; 8% more tokens/s on an idle machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        if on_card:
            onnxruntime.preload_dlls()  # CUDA and cuDNN out of NVIDIA's own packages
        try:
            self._session = onnxruntime.InferenceSession(
                part or str(file), options, providers=providers
            )
        except Exception as error:  # onnxruntime's own hierarchy is private
            raise ModelFileError(f"{file}: onnxruntime cannot load it: {error}") from error
        self.provider = str(self._session.get_providers()[0])
        if on_card and self.provider == "CPUExecutionProvider":
            problem = onnx_cuda_problem()
            if settings.provider == "cuda":
                raise ConfigError(f"session.provider is cuda, but {problem}")
            _fall_back(problem, gpu, cpu_fallback)
        self.on_card = self.provider == "CUDAExecutionProvider"
        self.parallel = 1 if self.on_card else threads // shared
        # Two calls at a time would take twice the memory that its share was planned for.
        self._turn: AbstractContextManager[Any] = (
            threading.Lock() if self.on_card else nullcontext()
        )
        self.inputs = self._session.get_inputs()
        self.outputs = self._session.get_outputs()

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, Any], quiet: bool = False
    ) -> list[Any]:
        """The outputs of these names. ``quiet``: onnxruntime does not print what fails.

        Raises whatever it raises; see ``is_fatal``.
        """
        with self._turn:
            return list(self._session.run(outputs, feed, self._quiet if quiet else None))


class Session:
    """A loaded token classifier.

    ``rows`` and ``length``: the batch size and the sequence length where the file fixes them.
    ``parallel``: how many calls of ``run`` at a time fill the threads that it was given.
    ``masked``: whether the file is told what is padding; where it is not, padding changes the
    logits, so every row of a batch must be of one length.
    """

    def __init__(
        self,
        file: Path,
        settings: OnnxSession,
        threads: int | None,
        gpu: float | None,
        cpu_fallback: bool = False,
    ) -> None:
        self._loaded = Loaded(file, settings, threads, gpu, cpu_fallback)
        self.provider, self.on_card = self._loaded.provider, self._loaded.on_card
        self.parallel = self._loaded.parallel
        self._inputs = _inputs(self._loaded, file)
        self._output = _output(self._loaded, file)
        shape = self._loaded.inputs[0].shape
        self.rows = shape[0] if isinstance(shape[0], int) else None
        self.length = shape[1] if isinstance(shape[1], int) else None
        self.masked = "attention_mask" in self._inputs
        if self.length is not None and not self.masked:
            raise ModelFileError(
                f"{file}: takes sequences of {self.length} tokens only and has no attention_mask, "
                "so shorter texts would be read with their padding; export it with an attention "
                "mask or with a sequence length of any size"
            )

    def run(
        self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], quiet: bool = False
    ) -> npt.NDArray[np.float32]:
        """Logits of shape (rows, length, labels) for ids and mask of shape (rows, length).

        ``quiet``: onnxruntime does not print what fails. Raises whatever it raises; see
        ``is_fatal``.
        """
        given, zeros = {"input_ids": ids, "attention_mask": mask}, np.zeros_like(ids)
        feed = {
            name: given.get(name, zeros).astype(kind, copy=False)
            for name, kind in self._inputs.items()
        }
        (logits,) = self._loaded.run([self._output], feed, quiet)
        return np.asarray(logits, np.float32)


def is_fatal(error: Exception) -> bool:
    """Whether the card is lost to this process, so that no further batch can succeed."""
    return any(sign in str(error) for sign in _FATAL)


def _providers(settings: OnnxSession, gpu: float | None, cpu_fallback: bool = False) -> list[Any]:
    """onnxruntime's providers in order of preference; CPU alone where there is no card to use."""
    cpu = "CPUExecutionProvider"
    if settings.provider == "cpu" or gpu == 0:
        if settings.provider == "cuda":
            raise ConfigError("session.provider is cuda, but the actor has no share of a card")
        return [cpu]
    memory = card_memory()
    if memory is None:
        if settings.provider == "cuda":
            raise ConfigError("session.provider is cuda, but no CUDA card is visible")
        if gpu:
            _fall_back("no CUDA card is visible to this process", gpu, cpu_fallback)
        else:
            _say_cpu("no CUDA card is visible")
        return [cpu]
    limit: float = memory
    if gpu is not None:
        # The limit is of the arena alone; CUDA's own memory is out of the same share.
        limit = memory * min(1.0, gpu) - CUDA_CONTEXT
    if settings.gpu_memory_gb is not None:
        limit = settings.gpu_memory_gb * 1e9
    if limit <= 0:
        raise ConfigError(
            f"a share of {gpu:g} of a card of {memory / 1e9:.1f} GB leaves nothing beside CUDA's "
            f"own {CUDA_CONTEXT / 1e9:.2f} GB"
        )
    cuda = {"gpu_mem_limit": str(int(limit)), "arena_extend_strategy": "kSameAsRequested"}
    return [("CUDAExecutionProvider", cuda), cpu]


def _fall_back(problem: str, gpu: float | None, cpu_fallback: bool) -> None:
    """Say that the CPU is used; an error where a share of a card was given to be used."""
    if gpu and not cpu_fallback:
        raise ConfigError(
            f"the model has {gpu:g} of a GPU and would run on the CPU: {problem}; or set "
            "pool.cpu_fallback to run on the CPU"
        )
    _say_cpu(problem, logging.WARNING)


def _say_cpu(reason: str, level: int = logging.INFO) -> None:
    """Say once a process that the CPU is used though no one asked for it."""
    global _said_cpu
    if not _said_cpu:
        _LOG.log(level, "%s: ONNX models run on the CPU", reason)
        _said_cpu = True


def _inputs(session: Loaded, file: Path) -> dict[str, np.dtype[Any]]:
    """The model's inputs and their integer types."""
    types = {item.name: item.type for item in session.inputs}
    unknown = sorted(set(types) - _KNOWN_INPUTS)
    if unknown or "input_ids" not in types:
        raise ModelFileError(
            f"{file}: its inputs are {', '.join(sorted(types))}; a text token classifier has "
            "input_ids, and may have attention_mask and token_type_ids"
        )
    for name, kind in types.items():
        if kind not in _INTEGERS:
            raise ModelFileError(f"{file}: input {name} is {kind}, not int64 or int32")
    return {name: _INTEGERS[kind] for name, kind in types.items()}


def _output(session: Loaded, file: Path) -> str:
    """The name of the logits."""
    outputs = session.outputs
    for item in [o for o in outputs if o.name == "logits"] + [o for o in outputs if _is_3d(o)]:
        if _is_3d(item):
            return str(item.name)
    raise ModelFileError(
        f"{file}: none of its outputs ({', '.join(o.name for o in outputs)}) has the shape "
        "batch, sequence, labels"
    )


def _is_3d(item: Any) -> bool:
    return item.type in _FLOATS and item.shape is not None and len(item.shape) == 3

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
from actors.memory import CUDA_CONTEXT, cores, gpu_memory, onnx_cuda_problem
from actors.model_folder import ModelFileError

_LOG = logging.getLogger(__name__)
_KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_INTEGERS: dict[str, np.dtype[Any]] = {
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
}
_FLOATS = {"tensor(float)", "tensor(float16)"}
# After such a GPU error, every later call of the process fails too.
_FATAL = (
    "illegal memory access",
    "misaligned address",
    "device-side assert",
    "unspecified launch failure",
    "ECC error",
)
_logged_cpu = False


class Loaded:
    """A model file in onnxruntime.

    ``parallel``: how many concurrent calls of ``run`` keep all threads busy.
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
        """``threads``: CPU threads; None: all cores of this process. ``gpu``: the share of one GPU,
        0 for none; None: whatever is visible. ``part``: a model derived from the file, to load in
        its place. Raises ConfigError or ModelFileError."""
        import onnxruntime  # imported here: commands that run no model need not wait for it

        providers = _providers(settings, gpu, cpu_fallback)
        options = onnxruntime.SessionOptions()
        self._quiet = onnxruntime.RunOptions()
        self._quiet.log_severity_level = 4
        threads, on_gpu = threads or cores(), len(providers) > 1
        # Threads that share a batch wait for each other at every operator, and stall when one of
        # them is preempted. Single-threaded batches do not.
        shared = min(settings.threads_per_batch, threads)
        options.intra_op_num_threads = shared
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Memory patterns are cached per input shape, and there are as many shapes as text lengths.
        options.enable_mem_pattern = False
        # If threads share a batch: an actor owns its CPUs, so spinning between operators takes no
        # time from others; 8% more tokens/s on an idle machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        if on_gpu:
            onnxruntime.preload_dlls()  # CUDA and cuDNN from NVIDIA's pip packages
        try:
            self._session = onnxruntime.InferenceSession(
                part or str(file), options, providers=providers
            )
        except Exception as error:  # onnxruntime's own hierarchy is private
            raise ModelFileError(f"{file}: onnxruntime cannot load the model: {error}") from error
        self.provider = str(self._session.get_providers()[0])
        if on_gpu and self.provider == "CPUExecutionProvider":
            problem = onnx_cuda_problem()
            if settings.provider == "cuda":
                raise ConfigError(f"session.provider is cuda, but {problem}")
            _fall_back(problem, gpu, cpu_fallback)
        self.on_gpu = self.provider == "CUDAExecutionProvider"
        self.parallel = 1 if self.on_gpu else threads // shared
        # Concurrent calls would exceed the memory that the GPU share was planned for.
        self._turn: AbstractContextManager[Any] = threading.Lock() if self.on_gpu else nullcontext()
        self.inputs = self._session.get_inputs()
        self.outputs = self._session.get_outputs()

    def run(
        self, outputs: Sequence[str], feed: Mapping[str, Any], quiet: bool = False
    ) -> list[Any]:
        """Return the named outputs. ``quiet``: suppress onnxruntime's own error output.

        Raises whatever onnxruntime raises; see ``is_fatal``.
        """
        with self._turn:
            return list(self._session.run(outputs, feed, self._quiet if quiet else None))


class Session:
    """A loaded token classifier.

    ``rows`` and ``length``: batch size and sequence length if the file fixes them.
    ``parallel``: how many concurrent calls of ``run`` keep all threads busy.
    ``masked``: whether the model takes an attention mask; if not, padding changes the logits, so
    all rows of a batch must have the same length.
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
        self.provider, self.on_gpu = self._loaded.provider, self._loaded.on_gpu
        self.parallel = self._loaded.parallel
        self._inputs = _inputs(self._loaded, file)
        self._output = _output(self._loaded, file)
        shape = self._loaded.inputs[0].shape
        self.rows = shape[0] if isinstance(shape[0], int) else None
        self.length = shape[1] if isinstance(shape[1], int) else None
        self.masked = "attention_mask" in self._inputs
        if self.length is not None and not self.masked:
            raise ModelFileError(
                f"{file}: only takes sequences of {self.length} tokens and has no attention_mask, "
                "so padding would be read as text; export it with an attention mask or with a "
                "dynamic sequence length"
            )

    def run(
        self, ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], quiet: bool = False
    ) -> npt.NDArray[np.float32]:
        """Return logits of shape (rows, length, labels) for ids and mask of shape (rows, length).

        ``quiet``: suppress onnxruntime's own error output. Raises whatever onnxruntime raises; see
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
    """Return True if the GPU is lost to this process, so that no further batch can succeed."""
    return any(sign in str(error) for sign in _FATAL)


def _providers(settings: OnnxSession, gpu: float | None, cpu_fallback: bool = False) -> list[Any]:
    """Return onnxruntime's providers in order of preference; only the CPU if no GPU is usable."""
    cpu = "CPUExecutionProvider"
    if settings.provider == "cpu" or gpu == 0:
        if settings.provider == "cuda":
            raise ConfigError("session.provider is cuda, but the actor has no GPU share")
        return [cpu]
    memory = gpu_memory()
    if memory is None:
        if settings.provider == "cuda":
            raise ConfigError("session.provider is cuda, but no CUDA GPU is visible")
        if gpu:
            _fall_back("no CUDA GPU is visible to this process", gpu, cpu_fallback)
        else:
            _log_cpu("no CUDA GPU is visible")
        return [cpu]
    limit: float = memory
    if gpu is not None:
        # The limit covers the arena alone; the CUDA context comes out of the same share.
        limit = memory * min(1.0, gpu) - CUDA_CONTEXT
    if settings.gpu_memory_gb is not None:
        limit = settings.gpu_memory_gb * 1e9
    if limit <= 0:
        raise ConfigError(
            f"num_gpus {gpu:g} of a GPU with {memory / 1e9:.1f} GB leaves nothing beyond the CUDA "
            f"context of {CUDA_CONTEXT / 1e9:.2f} GB"
        )
    cuda = {"gpu_mem_limit": str(int(limit)), "arena_extend_strategy": "kSameAsRequested"}
    return [("CUDAExecutionProvider", cuda), cpu]


def _fall_back(problem: str, gpu: float | None, cpu_fallback: bool) -> None:
    """Log the fallback to the CPU; raise if a GPU share was configured without cpu_fallback."""
    if gpu and not cpu_fallback:
        raise ConfigError(
            f"the model has num_gpus {gpu:g} but would run on the CPU: {problem}; or set "
            "pool.cpu_fallback to accept that"
        )
    _log_cpu(problem, logging.WARNING)


def _log_cpu(reason: str, level: int = logging.INFO) -> None:
    """Log once per process that the CPU is used without being requested."""
    global _logged_cpu
    if not _logged_cpu:
        _LOG.log(level, "%s: ONNX models run on the CPU", reason)
        _logged_cpu = True


def _inputs(session: Loaded, file: Path) -> dict[str, np.dtype[Any]]:
    """Return the model's inputs and their integer types."""
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
    """Return the name of the logits output."""
    outputs = session.outputs
    for item in [o for o in outputs if o.name == "logits"] + [o for o in outputs if _is_3d(o)]:
        if _is_3d(item):
            return str(item.name)
    raise ModelFileError(
        f"{file}: none of its outputs ({', '.join(o.name for o in outputs)}) has the shape batch, "
        "sequence, labels"
    )


def _is_3d(item: Any) -> bool:
    return item.type in _FLOATS and item.shape is not None and len(item.shape) == 3

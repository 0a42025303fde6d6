"""A GGUF model loaded by llama.cpp: vocabulary, metadata, tokenization."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp
import llguidance

from actors.config import ConfigError
from actors.config.gguf import GgufContext
from actors.engine import Thinking
from actors.gguf import llama_library
from actors.gguf.parameters import apply_parameters
from actors.prompts import Segment

# Control tokens kept in the output, so that thinking can be separated from the answer.
_THINK = (b"<think>", b"</think>")
_HARMONY = (b"<|start|>", b"<|channel|>", b"<|message|>", b"<|end|>")
_CONTROL = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
_UNKNOWN = llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
_USER = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED


def extra_bufts_are_safe() -> bool:
    """Return False where llama.cpp would repack weights for AMX.

    GCC up to 12 drops stores to the tile configuration in ggml's AMX code (its intrinsic declares
    that it reads 8 of the 64 bytes): SIGSEGV at the first matrix product of more than one row. The
    compiler cannot be detected, so AMX is not used.
    """
    return b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()


class LlamaModel:
    """A loaded model without a context. Read access is thread-safe."""

    def __init__(self, path: Path, options: GgufContext, gpu: bool = True) -> None:
        """Load ``path``; ``gpu`` False keeps all layers on the CPU.

        Raises FileNotFoundError, or ConfigError with llama.cpp's own message if it cannot load the
        file.
        """
        if not path.is_file():
            raise FileNotFoundError(f"model file not found: {path}")
        self.path = path
        llama_library.start()
        llama_library.loading_errors()
        llama_library.buffers()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = options.n_gpu_layers if gpu else 0
        self.on_gpu = bool(params.n_gpu_layers and llama_cpp.llama_supports_gpu_offload())
        params.load_mode = _load_mode(options)
        use = options.use_extra_bufts
        params.use_extra_bufts = extra_bufts_are_safe() if use is None else use
        self._kept = apply_parameters(params, options.llama_cpp)
        self.handle: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.handle:
            raise ConfigError(
                f"{path.name}: llama.cpp cannot load the file: {llama_library.loading_errors()}"
            )
        self.buffers = llama_library.buffers()
        self.vocab: Any = llama_cpp.llama_model_get_vocab(self.handle)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self.vocab))
        self.trained_context = int(llama_cpp.llama_model_n_ctx_train(self.handle))
        self.adapters: list[tuple[Any, float]] = []
        self._tokenizer_lock = threading.Lock()
        self._tokenizer: Any = None

    def close(self) -> None:
        """Release the weights; no context may be open on them."""
        if self.handle:
            llama_cpp.llama_model_free(self.handle)
            self.handle = None

    def attach(self, path: Path, scale: float) -> None:
        """Load a LoRA adapter for the contexts created from now on; llama.cpp frees it with the
        model. Raises ConfigError if the file is not an adapter for this model."""
        llama_library.loading_errors()
        adapter = llama_cpp.llama_adapter_lora_init(self.handle, str(path).encode())
        if not adapter:
            raise ConfigError(
                f"{path.name}: not a LoRA adapter for this model: {llama_library.loading_errors()}"
            )
        self.adapters.append((adapter, scale))

    def metadata(self, key: str) -> str | None:
        """Return a value of the GGUF metadata, or None."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1

    @cached_property
    def chat_template(self) -> str | None:
        """The Jinja chat template in the metadata."""
        return self.metadata("tokenizer.chat_template")

    @cached_property
    def bos(self) -> int | None:
        """The token to put before every prompt, or None."""
        token = int(llama_cpp.llama_vocab_bos(self.vocab))
        return token if token >= 0 and llama_cpp.llama_vocab_get_add_bos(self.vocab) else None

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end a generation."""
        is_end = llama_cpp.llama_vocab_is_eog
        return frozenset(t for t in range(self.size) if is_end(self.vocab, t))

    @cached_property
    def special_texts(self) -> tuple[str, str]:
        """Text of the BOS and EOS tokens, for a chat template; empty if there is none."""
        ids = (llama_cpp.llama_vocab_bos(self.vocab), llama_cpp.llama_vocab_eos(self.vocab))
        texts = [self._token_bytes(token) if token >= 0 else b"" for token in ids]
        return texts[0].decode("utf-8", "replace"), texts[1].decode("utf-8", "replace")

    def _token_bytes(self, token: int, buffer: Any = None) -> bytes:
        buffer = buffer or ctypes.create_string_buffer(256)
        while True:
            length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, len(buffer), 0, True)
            if length >= 0:
                return bytes(buffer[:length])
            buffer = ctypes.create_string_buffer(-length)

    @cached_property
    def _vocabulary(self) -> list[tuple[bytes, int]]:
        attribute = llama_cpp.llama_vocab_get_attr
        buffer = ctypes.create_string_buffer(256)
        return [
            (self._token_bytes(t, buffer), int(attribute(self.vocab, t))) for t in range(self.size)
        ]

    @cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes of every token in output text; empty for control tokens."""
        hidden = _CONTROL | _UNKNOWN
        shown = {*_THINK, *(_HARMONY if self._in_channels else ())}
        return tuple(
            b"" if kind & hidden and piece not in shown else piece
            for piece, kind in self._vocabulary
        )

    @cached_property
    def _in_channels(self) -> bool:
        """True if the model thinks and answers in channels ("harmony")."""
        return {*_HARMONY} <= {piece for piece, kind in self._vocabulary if kind & _CONTROL}

    @property
    def can_think(self) -> bool:
        """True if the vocabulary has a token that opens a thinking block."""
        return self._in_channels or any(piece == b"<think>" for piece, _ in self._vocabulary)

    def thinking(self, budget: int, opened: bool) -> Thinking | None:
        """Return a thinking block limited to ``budget`` tokens; None for -1. ``opened``: the prompt
        has started the block."""
        if budget < 0:
            return None
        if self._in_channels:
            begin, end = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
            close = f"<|end|><|start|>assistant{end}"
        else:
            begin, end, close = "" if opened else "<think>", "</think>", "\n</think>\n\n"
        return Thinking(budget, begin, end, tuple(self._tokens(close)))

    @cached_property
    def _controls(self) -> re.Pattern[str]:
        texts = {
            piece.decode("utf-8", "replace")
            for piece, kind in self._vocabulary
            if kind & (_CONTROL | _UNKNOWN) and piece
        }
        ordered = sorted(texts, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")

    def names_control(self, text: str) -> bool:
        """Return True if the text contains the text of a control token."""
        return self._controls.search(text) is not None

    def constraint_tokenizer(self) -> Any:
        """Return the ``llguidance.LLTokenizer`` of this vocabulary; built once (0.5 s at 152k
        tokens)."""
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = self._make_tokenizer()
        return self._tokenizer

    def _make_tokenizer(self) -> Any:
        def marked(piece: bytes, kind: int) -> bytes:
            # 0xff marks a special token for llguidance: it never matches text.
            looks_special = piece.startswith(b"<") and piece.endswith(b">")
            special = kind & _CONTROL or (kind & _USER and looks_special)
            return b"\xff" + piece if special else piece

        library_ = llama_cpp.llama_cpp._lib
        ends = sorted(self.ends)
        first = int(llama_cpp.llama_vocab_eos(self.vocab))
        return llguidance.LLTokenizer.from_llamacpp(
            tokens=[marked(piece, kind) for piece, kind in self._vocabulary],
            vocab_ptr=ctypes.cast(self.vocab, ctypes.c_void_p).value,
            tokenize_fptr=ctypes.cast(library_.llama_tokenize, ctypes.c_void_p).value,
            # llguidance prints the first one; every one ends an output.
            eos_token=sorted(ends, key=lambda token: token != first) or None,
            slices=None,
        )

    def tokenize(self, segments: Iterable[Segment], first: bool = True) -> list[int]:
        """Tokenize a prompt, with exactly one BOS if the model requires one. ``first``
        is False for a part that follows others.

        The segments are tokenized as one text, so the tokens are llama.cpp's own for that text. If
        a document contains the text of a control token, that text is split after its first
        character: a document cannot end its own turn.
        """
        parts, text, cut = [], "", 0
        for segment in segments:
            if not segment.special:
                for match in self._controls.finditer(segment.text):
                    place = len(text) + match.start() + 1
                    parts.append((cut, place))
                    cut = place
            text += segment.text
        parts.append((cut, len(text)))
        tokens = [token for start, end in parts for token in self._tokens(text[start:end])]
        if first and self.bos is not None:
            # The template may print a BOS as well, or even two.
            while tokens[:1] == [self.bos]:
                del tokens[0]
            tokens.insert(0, self.bos)
        return tokens

    def tokenize_text(self, text: str) -> list[int]:
        """Tokenize a document's text alone: no control tokens, nothing added."""
        return self._tokens(text, special=False)

    def _tokens(self, text: str, special: bool = True) -> list[int]:
        raw = text.encode()
        size = len(raw) + 8
        while True:
            buffer = (ctypes.c_int32 * size)()
            count = llama_cpp.llama_tokenize(
                self.vocab, raw, len(raw), buffer, size, False, special
            )
            if count >= 0:
                return list(buffer[:count])
            size = -count


def _load_mode(options: GgufContext) -> int:
    if options.use_mlock:
        return int(
            llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK
            if options.use_mmap
            else llama_cpp.LLAMA_LOAD_MODE_MLOCK
        )
    return int(
        llama_cpp.LLAMA_LOAD_MODE_AUTO if options.use_mmap else llama_cpp.LLAMA_LOAD_MODE_NONE
    )

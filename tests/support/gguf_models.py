"""Tiny GGUF models made on the spot: random weights from a seed, a true byte-level BPE vocabulary
trained on the project's samples. Architectures: qwen2, llama, gemma3 (sliding windows), and
qwen2vl, with positions of three dimensions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from support import ROOT

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ARCHITECTURES = ("qwen2", "llama", "gemma3")
WIDTH, LAYERS, HEADS, KV_HEADS, FEED = 64, 4, 4, 2, 128


@cache
def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens and merges of a BPE trained on the samples and some Vietnamese. Texts that do not
    change: what a random model says follows from its vocabulary."""
    files = sorted((ROOT / "recipes" / "samples").rglob("*.txt"))
    text = [file.read_text(encoding="utf-8") for file in files]
    text += ["Bệnh nhân nam 45 tuổi nhập viện vì đau dữ dội vùng bụng dưới, siêu âm ổ bụng."] * 20
    text += ["The patient takes metformin 500 mg daily; severe chest pain since March."] * 20
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return tokens, merges


def make(
    path: Path,
    architecture: str = "qwen2",
    seed: int = 0,
    q8_0: bool = False,
    special: tuple[str, ...] = (),
    template: str = CHATML,
) -> Path:
    """Write a model of ``architecture`` to ``path``; about 1 MB. ``q8_0``: quantised matrices.
    ``special``: control tokens after those of the vocabulary. ``template``: its chat template."""
    writer = gguf.GGUFWriter(path, architecture)
    _settings(writer, architecture)
    _tokenizer(writer, special, template)
    size = len(vocabulary()[0]) + len(special)
    _weights(writer, architecture, np.random.default_rng(seed), q8_0, size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def make_prose(folder: Path, instruction: str | None = None) -> None:
    """Write tiny.gguf and tiny.yaml: a model that prints 300 tokens of prose, one at a time."""
    make(folder / "tiny.gguf", "qwen2", seed=3)
    asked = "" if instruction is None else f", instruction: {instruction}"
    (folder / "tiny.yaml").write_text(
        "name: tiny\n"
        "kind: gguf\n"
        "weights: {model: tiny.gguf}\n"
        "context: {n_ctx: 1024, sequences: 1, flash_attn: 'off'}\n"
        f"prompt: {{format: prose{asked}}}\n"
        "sampling: {n_predict: 300, ignore_eos: true}\n"
    )


def _settings(writer: gguf.GGUFWriter, architecture: str) -> None:
    writer.add_name(f"tiny-{architecture}")
    writer.add_block_count(LAYERS)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(0)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    if architecture == "gemma3":
        writer.add_sliding_window(32)
    if architecture == "qwen2vl":
        writer.add_rope_dimension_sections([2, 3, 3, 0])


def _tokenizer(writer: gguf.GGUFWriter, special: tuple[str, ...], template: str) -> None:
    tokens, merges = vocabulary()
    tokens = [*tokens, *special]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in (*SPECIAL, *special) else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)


def _weights(
    writer: gguf.GGUFWriter, architecture: str, draw: np.random.Generator, q8_0: bool, size: int
) -> None:
    def matrix(name: str, out: int, into: int, scale: float | None = None) -> None:
        values = draw.standard_normal((out, into), dtype=np.float32)
        values *= np.float32(scale or into**-0.5)
        if q8_0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    def ones(name: str, size: int) -> None:
        writer.add_tensor(name, np.ones(size, np.float32))

    head = WIDTH // HEADS
    # Gemma multiplies embeddings by sqrt(width) and ties the output to them.
    gemma = architecture == "gemma3"
    matrix("token_embd.weight", size, WIDTH, 0.04 if gemma else 1.0)
    ones("output_norm.weight", WIDTH)
    if not gemma:
        matrix("output.weight", size, WIDTH, 0.3)
    for i in range(LAYERS):
        block = f"blk.{i}."
        ones(block + "attn_norm.weight", WIDTH)
        ones(block + "ffn_norm.weight", WIDTH)
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            matrix(f"{block}attn_{name}.weight", heads * head, WIDTH, 2 * WIDTH**-0.5)
            if architecture.startswith("qwen2"):
                values = draw.standard_normal(heads * head, dtype=np.float32)
                writer.add_tensor(f"{block}attn_{name}.bias", values * np.float32(0.1))
        if gemma:
            for name in ("attn_q_norm", "attn_k_norm"):
                ones(f"{block}{name}.weight", head)
            for name in ("post_attention_norm", "post_ffw_norm"):
                ones(f"{block}{name}.weight", WIDTH)
        matrix(block + "attn_output.weight", WIDTH, HEADS * head)
        matrix(block + "ffn_gate.weight", FEED, WIDTH)
        matrix(block + "ffn_up.weight", FEED, WIDTH)
        matrix(block + "ffn_down.weight", WIDTH, FEED)

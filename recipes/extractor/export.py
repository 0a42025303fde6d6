"""Write a trained extractor as GGUF: a qwen2 model with its own vocabulary.

python export.py WORK/state.pt WORK/tokenizer.json OUT.gguf --type Q8_0
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, quants
from numpy.typing import NDArray

Array = NDArray[np.float32]

TENSORS = {
    "attention_norm.weight": "attn_norm.weight",
    "feed_norm.weight": "ffn_norm.weight",
    "attention.q.weight": "attn_q.weight",
    "attention.q.bias": "attn_q.bias",
    "attention.k.weight": "attn_k.weight",
    "attention.k.bias": "attn_k.bias",
    "attention.v.weight": "attn_v.weight",
    "attention.v.bias": "attn_v.bias",
    "attention.output.weight": "attn_output.weight",
    "gate.weight": "ffn_gate.weight",
    "up.weight": "ffn_up.weight",
    "down.weight": "ffn_down.weight",
}
"""A layer's parameter here to its tensor in a GGUF."""


def write(
    path: Path,
    shape: Mapping[str, Any],
    weights: Mapping[str, Array],
    tokenizer: Mapping[str, Any],
    chat: str,
    kind: str = "Q8_0",
    name: str = "medspan extractor",
) -> None:
    """Write a GGUF.

    ``shape``: the fields of model.Shape. ``weights``: float32 by the names of model.Decoder's
    state, but ``embeddings`` [tokens, width] as one matrix. ``tokenizer``: the content of a
    tokenizer.json. Its special tokens become control tokens, the first of them the end.
    ``kind``: F32 or Q8_0, which norms and biases never are.
    """
    writer = GGUFWriter(path, "qwen2")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_block_count(shape["layers"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["width"])
    writer.add_feed_forward_length(shape["hidden"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_freq_base(shape["rope_base"])
    writer.add_layer_norm_rms_eps(shape["epsilon"])
    writer.add_file_type(LlamaFileType.ALL_F32 if kind == "F32" else LlamaFileType.MOSTLY_Q8_0)
    _vocabulary(writer, tokenizer, chat)
    quantization = GGMLQuantizationType[kind]

    def add(tensor: str, content: Array) -> None:
        content = np.ascontiguousarray(content, np.float32)
        if content.ndim == 2 and kind != "F32":
            packed = quants.quantize(content, quantization)
            writer.add_tensor(tensor, packed, raw_dtype=quantization)
        else:
            writer.add_tensor(tensor, content)

    # Without an output.weight llama.cpp multiplies with the embeddings.
    add("token_embd.weight", weights["embeddings"])
    add("output_norm.weight", weights["norm.weight"])
    for layer in range(shape["layers"]):
        for own, theirs in TENSORS.items():
            add(f"blk.{layer}.{theirs}", weights[f"layers.{layer}.{own}"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(writer: GGUFWriter, tokenizer: Mapping[str, Any], chat: str) -> None:
    tokens = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, TokenType.NORMAL)
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    end = min(added["id"] for added in tokenizer["added_tokens"] if added["special"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([tokens[number] for number in range(len(tokens))])
    writer.add_token_types([kinds[number] for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat)


def main() -> None:
    import torch
    from model import Decoder, Embeddings, Shape
    from tokenizer import CHAT

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=("F32", "Q8_0"), default="Q8_0")
    given = parser.parse_args()
    saved = torch.load(given.checkpoint, weights_only=True)
    shape, state = saved["shape"], saved["model"]
    size, width = shape["vocabulary"], shape["width"]
    embeddings = Embeddings(
        torch.zeros(size, width), torch.zeros(size, dtype=torch.long), torch.zeros(size).bool()
    )
    model = Decoder(Shape(**shape), embeddings)
    model.load_state_dict(state)
    weights = {name: tensor.float().numpy() for name, tensor in state.items()}
    weights["embeddings"] = model.embeddings.weight().detach().numpy()
    content = json.loads(given.tokenizer.read_text("utf-8"))
    write(given.out, shape, weights, content, CHAT, given.type)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.1f} MB, {saved['tokens']:,} tokens")


if __name__ == "__main__":
    main()

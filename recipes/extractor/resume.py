"""Begin from the weights of an earlier GGUF instead of from none: `train.py --begin MODEL.gguf`.

What Q8_0 rounds away (about 1 part in 250) is learnt again within a few steps; momenta are not
kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from export import TENSORS
from gguf import GGUFReader, quants
from model import Decoder
from tokenizers import Tokenizer


@torch.no_grad()
def begin(model: Decoder, path: Path, tokenizer: Tokenizer) -> None:
    """Fill a model from a GGUF that export.py wrote of one of the same shape.

    Raises ValueError where the file has another vocabulary or other sizes.
    """
    reader = GGUFReader(path)
    names = reader.fields["tokenizer.ggml.tokens"].contents()
    if names != [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]:
        raise ValueError(f"{path} has another vocabulary than the tokenizer of this run")
    stored = {tensor.name: tensor for tensor in reader.tensors}

    def content(name: str) -> torch.Tensor:
        tensor = stored[name]
        values = quants.dequantize(tensor.data, tensor.tensor_type)
        return torch.from_numpy(np.array(values, np.float32))

    state = model.state_dict()
    pairs = {"norm.weight": "output_norm.weight"}
    for layer in range(model.shape.layers):
        for own, theirs in TENSORS.items():
            pairs[f"layers.{layer}.{own}"] = f"blk.{layer}.{theirs}"
    for own, theirs in pairs.items():
        if theirs not in stored or content(theirs).shape != state[own].shape:
            raise ValueError(f"{path} has no {theirs} of shape {tuple(state[own].shape)}")
        state[own].copy_(content(theirs))
    matrix, table = content("token_embd.weight"), model.embeddings
    spaced = table.spaced.nonzero()[:, 0]
    table.space.copy_((matrix[spaced] - matrix[table.base[spaced]]).mean(0))
    table.own.copy_(matrix)

"""transformers' side of benchmarks/vision_reference.py; needs torch and transformers, no medspan.

    python vision_reference_peer.py make FOLDER JOB    models from a seed, and what they answer
    python vision_reference_peer.py convert SOURCES MODEL FILE PRE
                                                       llama.cpp's own converter: FILE, mmproj-FILE

Pictures come to transformers as patches laid out by hand, as its image processor documents them, so
no resizer is in between.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

_FILE = Path(__file__).with_name("gguf_reference_peer.py")
_SPEC = importlib.util.spec_from_file_location("text_peer", _FILE)
assert _SPEC is not None
assert _SPEC.loader is not None
text_peer = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(text_peer)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SPECIAL += ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
}


def tokenizer_of(texts: list[str]) -> Any:
    """Qwen's way of cutting text, with the tokens around a picture."""
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=text_peer.byte_level(texts, r"\p{N}", SPECIAL),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=text_peer.CHATML,
    )


def _ids(tokenizer: Any) -> dict[str, int]:
    def id_of(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(name))

    return {
        "image_token_id": id_of("<|image_pad|>"),
        "video_token_id": id_of("<|video_pad|>"),
        "vision_start_token_id": id_of("<|vision_start|>"),
        "vision_end_token_id": id_of("<|vision_end|>"),
    }


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        **TEXT,
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def qwen25vl(tokenizer: Any) -> Any:
    """Qwen2.5-VL: window attention in all but every second layer."""
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = hf.Qwen2_5_VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope),
        vision_config={
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [1, 3],
            "out_hidden_size": 64,
            "hidden_act": "silu",
        },
        tie_word_embeddings=False,
        **_ids(tokenizer),
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config)


def qwen3vl(tokenizer: Any) -> Any:
    """Qwen3-VL: learnt positions, and features of earlier layers given to the language model.

    Its sections leave no frequency out. Where they do (the published [24, 20, 20] leaves two of
    64, the slowest but one), transformers turns by time and llama.cpp by a fourth position, which
    is 0 in a picture: with [2, 3, 3] and these few frequencies logits were 0.08 apart.
    """
    rope = {
        "rope_type": "default",
        "mrope_section": [3, 3, 2],
        "mrope_interleaved": True,
        "rope_theta": 10000.0,
    }
    config = hf.Qwen3VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope, head_dim=16),
        vision_config={
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 2],
            "out_hidden_size": 64,
            "hidden_act": "gelu_pytorch_tanh",
        },
        tie_word_embeddings=False,
        **_ids(tokenizer),
    )
    return hf.Qwen3VLForConditionalGeneration(config)


FAMILIES = {"qwen2.5vl": (qwen25vl, 14), "qwen3vl": (qwen3vl, 16)}


def patches(picture: np.ndarray, patch: int) -> tuple[torch.Tensor, list[int]]:
    """Rows of patches in the order of 2 x 2 blocks, each [colour, time, row, column] flat; and
    their grid."""
    pixels = (picture.astype(np.float32) / 255 - np.array(MEAN)) / np.array(STD)
    frames = np.repeat(pixels.astype(np.float32).transpose(2, 0, 1)[None], 2, axis=0)
    rows, columns = picture.shape[0] // patch, picture.shape[1] // patch
    shaped = frames.reshape(1, 2, 3, rows // 2, 2, patch, columns // 2, 2, patch)
    flat = shaped.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(rows * columns, -1)
    return torch.from_numpy(np.ascontiguousarray(flat)), [1, rows, columns]


def make(folder: Path, job: dict[str, Any]) -> None:
    """Each family's model folder, with answers.json and logits.npz beside the weights."""
    for name, (family, patch) in FAMILIES.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        tokenizer = tokenizer_of(job["texts"])
        model = family(tokenizer).float()
        _weights(model)
        model.eval().save_pretrained(target)
        tokenizer.save_pretrained(target)
        processor = {"image_mean": MEAN, "image_std": STD, "patch_size": patch, "merge_size": 2}
        size = {"size": {"shortest_edge": 3136, "longest_edge": 12845056}}
        (target / "preprocessor_config.json").write_text(json.dumps(processor | size))
        logits, said, prompts = {}, [], []
        for index, asked in enumerate(job["asked"]):
            rows, columns = (count * 2 * patch for count in asked["blocks"])
            draw = np.random.default_rng(index)
            picture = draw.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
            np.save(target / f"{index}.npy", picture)
            values, grid = patches(picture, patch)
            pads = "<|image_pad|>" * (grid[1] * grid[2] // 4)
            text = (
                f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{asked['words']}"
                "<|im_end|>\n<|im_start|>assistant\n"
            )
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
            more = {"pixel_values": values, "image_grid_thw": torch.tensor([grid])}
            marks = (ids == model.config.image_token_id).int()
            given = {"attention_mask": torch.ones_like(ids), "mm_token_type_ids": marks}
            out = model.generate(ids, **given, **more, do_sample=False, max_new_tokens=32)[0]
            said.append(out[ids.shape[1] :].tolist())
            whole = out[None, :-1]
            marks = (whole == model.config.image_token_id).int()
            given = {"attention_mask": torch.ones_like(whole), "mm_token_type_ids": marks}
            logits[str(index)] = model(whole, **given, **more).logits[0].numpy()
            prompts.append(ids[0].tolist())
        np.savez(target / "logits.npz", **logits)
        pad = model.config.image_token_id
        answers = {"prompts": prompts, "said": said, "pad": pad}
        (target / "answers.json").write_text(json.dumps(answers))
    versions = {"torch": torch.__version__, "transformers": hf.__version__}
    (folder / "versions.json").write_text(json.dumps(versions))


def _weights(model: Any) -> None:
    """Noise from a seed: the language model's as of the text models, the encoder's its own."""
    draw = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=draw)
        if value.dim() == 1:
            value.data = value.data + 0.1 * noise if "norm" in name else 0.1 * noise
        elif "embed_tokens" in name:
            value.data = noise
        elif "lm_head" in name:
            value.data = 0.3 * noise
        else:
            into = value[0].numel()
            value.data = noise * into**-0.5


def convert(sources: Path, model: Path, file: Path, pre: str) -> None:
    """llama.cpp's convert_hf_to_gguf.py, once for each of the two files."""
    sys.path.insert(0, str(sources))
    sys.path.insert(1, str(sources / "gguf-py"))
    from conversion.base import TextModel  # type: ignore[import-not-found, unused-ignore]

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    script = str(sources / "convert_hf_to_gguf.py")
    encoder = file.with_name(f"mmproj-{file.name}")
    for out, more in ((file, []), (encoder, ["--mmproj"])):
        sys.argv = [script, str(model), "--outfile", str(out), "--outtype", "f32", *more]
        runpy.run_path(script, run_name="__main__")


def main() -> None:
    torch.set_grad_enabled(False)
    verb, *paths = sys.argv[1:]
    if verb == "make":
        make(Path(paths[0]), json.loads(Path(paths[1]).read_text()))
    elif verb == "convert":
        convert(Path(paths[0]), Path(paths[1]), Path(paths[2]), paths[3])
    else:
        raise SystemExit(f"{verb} is neither make nor convert")


if __name__ == "__main__":
    main()

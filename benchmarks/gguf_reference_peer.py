"""transformers' side of benchmarks/gguf_reference.py; needs torch and transformers, no medspan.

    python gguf_reference_peer.py make FOLDER JOB    models from a seed, and what they answer
    python gguf_reference_peer.py convert SOURCES MODEL FILE PRE
                                                     llama.cpp's own converter on one of them
    python gguf_reference_peer.py render TEMPLATES JOB OUT
                                                     apply_chat_template over a folder of templates

JOB is a JSON file that gguf_reference.py writes: texts for the vocabulary, prompts, conversations.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers as hf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

WIDTH = 64
SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "attn_implementation": "eager",
}
# How the published vocabularies of these families cut text before they merge it.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == "
    "'assistant' else message['role']) + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def byte_level(texts: list[str], digits: str, special: list[str]) -> Any:
    """A byte-level BPE trained on ``texts``, cut as Qwen2 (one digit) or Llama 3 (three) do."""
    tokenizer: Any = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(_WORDS % digits), behavior="isolated")
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, last])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=[AddedToken(name, special=True) for name in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def piece_level(texts: list[str], folder: Path, special: list[str]) -> Any:
    """A SentencePiece BPE with bytes as its last resort, as Gemma has, trained on ``texts``."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in texts for line in text.splitlines() if line),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=1500,
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        **{f"{name}_piece": f"<{name}>" for name in ("pad", "eos", "bos", "unk")},
        control_symbols=["<mask>", *special],
        minloglevel=2,
    )
    return hf.GemmaTokenizer.from_pretrained(folder)


def qwen2(texts: list[str], folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(texts, r"\p{N}", special),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
    )
    config = hf.Qwen2Config(**SHAPE, **_ids(tokenizer), num_hidden_layers=4)
    return tokenizer, hf.Qwen2ForCausalLM(config)


def llama(texts: list[str], folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model; Llama 3.1's long rotary positions."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>"]
    special += ["<|end_header_id|>", "<|eot_id|>"]
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(texts, r"\p{N}{1,3}", special),
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        chat_template=LLAMA,
    )
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config = hf.LlamaConfig(**SHAPE, **_ids(tokenizer), num_hidden_layers=4, rope_parameters=rope)
    return tokenizer, hf.LlamaForCausalLM(config)


def gemma3(texts: list[str], folder: Path) -> tuple[Any, Any]:
    """Tokenizer and model; five layers of six see 24 tokens back, as Gemma's see 512."""
    tokenizer = piece_level(texts, folder, ["<start_of_turn>", "<end_of_turn>"])
    tokenizer.chat_template = GEMMA
    config = hf.Gemma3TextConfig(
        **SHAPE,
        **_ids(tokenizer),
        num_hidden_layers=7,
        head_dim=WIDTH // 4,
        query_pre_attn_scalar=WIDTH // 4,
        sliding_window=24,
    )
    return tokenizer, hf.Gemma3ForCausalLM(config)


FAMILIES = {"qwen2": qwen2, "llama": llama, "gemma3": gemma3}


def _ids(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def weights(model: Any) -> None:
    """Weights from a seed, large enough that the model says many different things."""
    draw = torch.Generator().manual_seed(0)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=draw)
        tied = model.config.tie_word_embeddings
        if "norm" in name:  # Gemma's are differences from one, the others the factors themselves
            value.data = value.data + 0.1 * noise
            if tied and name == "model.norm.weight":
                value.data += 6.0  # small embeddings, large logits: it does not echo its input
        elif value.dim() == 1:
            value.data = 0.1 * noise
        elif "embed" in name:
            value.data = noise * (0.04 if tied else 1.0)
        else:
            scale = 2.0 if any(part in name for part in ("q_proj", "k_proj", "v_proj")) else 1.0
            value.data = noise * (0.3 if "lm_head" in name else scale * value.shape[1] ** -0.5)


def make(folder: Path, job: dict[str, Any]) -> None:
    """Each family's model folder, with answers.json and logits.npz beside the weights."""
    for name, family in FAMILIES.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        tokenizer, model = family(job["texts"], target)
        weights(model)
        model.eval().save_pretrained(target)
        tokenizer.save_pretrained(target)
        prompts = [_render(tokenizer, turns) for turns in job["conversations"]]
        logits, said = {}, []
        for index, prompt in enumerate(prompts):
            ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=48
            )[0]
            said.append(out[ids.shape[1] :].tolist())
            logits[str(index)] = model(out[None, :-1]).logits[0].numpy()
        np.savez(target / "logits.npz", **logits)
        answers = {
            "prompts": prompts,
            "prompt_tokens": [tokenizer.encode(p, add_special_tokens=False) for p in prompts],
            "document_tokens": [
                tokenizer.encode(text, add_special_tokens=False) for text in job["documents"]
            ],
            "said": said,
        }
        (target / "answers.json").write_text(json.dumps(answers))
    versions = {"torch": torch.__version__, "transformers": hf.__version__}
    (folder / "versions.json").write_text(json.dumps(versions))


def _render(tokenizer: Any, turns: list[dict[str, str]]) -> str:
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception:  # a template that refuses a system turn: its words go to the user's
        system, user, *rest = turns
        joined = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
        turns = [joined, *rest]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def convert(sources: Path, model: Path, file: Path, pre: str) -> None:
    """llama.cpp's convert_hf_to_gguf.py, told how a vocabulary that it never saw cuts text.

    It knows pre-tokenizers by a digest over a known vocabulary's tokens; the family's own name is
    given instead. That the name is right is what the comparison of tokens shows.
    """
    sys.path.insert(0, str(sources))
    sys.path.insert(1, str(sources / "gguf-py"))
    from conversion.base import TextModel  # type: ignore[import-not-found, unused-ignore]

    TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
    sys.argv = ["convert_hf_to_gguf.py", str(model), "--outfile", str(file), "--outtype", "f32"]
    runpy.run_path(str(sources / "convert_hf_to_gguf.py"), run_name="__main__")


def render(templates: Path, job: dict[str, Any], out: Path) -> None:
    """Write the output of apply_chat_template for every conversation; null if it raises."""
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>"
    )
    printed: dict[str, list[str | None]] = {}
    for file in sorted(templates.glob("*.jinja")):
        tokenizer.chat_template = file.read_text(encoding="utf-8")
        printed[file.name] = []
        for turns in job["conversations"]:
            try:
                text = tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=True
                )
            except Exception:
                text = None
            printed[file.name].append(text)
    out.write_text(json.dumps(printed))


def main() -> None:
    torch.set_grad_enabled(False)
    verb, *paths = sys.argv[1:]
    if verb == "make":
        make(Path(paths[0]), json.loads(Path(paths[1]).read_text()))
    elif verb == "convert":
        convert(Path(paths[0]), Path(paths[1]), Path(paths[2]), paths[3])
    elif verb == "render":
        render(Path(paths[0]), json.loads(Path(paths[1]).read_text()), Path(paths[2]))
    else:
        raise SystemExit(f"{verb} is none of make, convert, render")


if __name__ == "__main__":
    main()

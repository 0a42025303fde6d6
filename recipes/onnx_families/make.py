"""Tiny models of five architectures with what transformers itself finds with them: test fixtures.

    PYTHONPATH=tests python recipes/onnx_families/make.py tests/fixtures/onnx_families

Needs torch, transformers, onnx and tokenizers. Every folder is laid out as optimum exports it:
model.onnx with the inputs that the architecture has, config.json, tokenizer.json. Beside it,
expected.json holds texts and the spans of transformers' token-classification pipeline
(aggregation_strategy="simple"), white space trimmed.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers as hf
from support import tiny_onnx

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TEXTS = [*tiny_onnx.CORPUS, "Metformin.", "naïve  café,\r\n30.7 kg/m(2)"]


class Logits(torch.nn.Module):
    """The model with the inputs and the one output that its file shall have."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The logits alone."""
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


def families(labels: dict[int, str]) -> dict[str, tuple[hf.PretrainedConfig, str, list[str]]]:
    """Configuration, kind of tokenizer and inputs, by name of the architecture."""
    names = {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}
    two, three = ["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]
    bert = {**SIZES, **names, "vocab_size": 250, "max_position_embeddings": 128}
    # positions of RoBERTa's family begin after the padding id
    offset = {**bert, "max_position_embeddings": 130, "pad_token_id": 1}
    small = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, **names}
    relative = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
    return {
        "bert": (hf.BertConfig(**bert), "wordpiece", three),
        "distilbert": (
            hf.DistilBertConfig(**small, vocab_size=250, max_position_embeddings=128),
            "wordpiece",
            two,
        ),
        "roberta": (hf.RobertaConfig(**{**offset, "vocab_size": 400}), "byte_level", two),
        "xlm-roberta": (hf.XLMRobertaConfig(**offset), "metaspace", two),
        "deberta-v2": (
            hf.DebertaV2Config(**{**bert, "pad_token_id": 1, "type_vocab_size": 0}, **relative),
            "metaspace",
            three,
        ),
    }


def make(folder: Path, config: hf.PretrainedConfig, kind: str, inputs: list[str]) -> None:
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = hf.AutoModelForTokenClassification.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data *= 4  # so that labels differ, and differ with the context
    tokenizer = tiny_onnx.FAMILIES[kind]()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    model.config.save_pretrained(folder)
    ids = torch.randint(5, 200, (2, 12))
    given = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
    }
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(
        Logits(model, inputs).eval(),
        tuple(given[name] for name in inputs),
        str(folder / "model.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=inputs,
        output_names=["logits"],
        dynamic_axes=dict.fromkeys([*inputs, "logits"], axes),
    )
    special = ["[PAD]", "[UNK]"] if kind == "wordpiece" else ["<pad>", "<unk>"]
    wrapped = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=special[0],
        unk_token=special[1],
        model_input_names=inputs,
    )
    pipe = hf.pipeline(
        "token-classification", model=model, tokenizer=wrapped, aggregation_strategy="simple"
    )
    expected = []
    for text, found in zip(TEXTS, pipe(TEXTS), strict=True):
        spans = []
        for item in found:
            start, end = item["start"], item["end"]
            words = text[start:end]
            start += len(words) - len(words.lstrip())
            end -= len(words) - len(words.rstrip())
            if start < end:
                spans.append([start, end, item["entity_group"]])
        expected.append({"text": text, "spans": spans})
    content = json.dumps(expected, ensure_ascii=False, indent=1)
    (folder / "expected.json").write_text(content + "\n", encoding="utf-8")


def main() -> None:
    warnings.simplefilter("ignore")
    for name, family in families(dict(enumerate(tiny_onnx.BIO))).items():
        make(Path(sys.argv[1]) / name, *family)


if __name__ == "__main__":
    main()

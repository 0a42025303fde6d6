"""The Hugging Face side of benchmarks/onnx.py; needs torch and transformers, and no medspan.

    python hf_peer.py export FOLDER STARTER     a fp32 BERT of the starter's shape, as ONNX too
    python hf_peer.py time FOLDER JOB           seconds of the pipeline over the job's texts

Its last line of stdout is one JSON document.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
import transformers


def export(folder: Path, starter: Path) -> dict[str, Any]:
    """A model of the starter's shape and labels, with its tokenizer, as optimum lays it out.

    The weights are untrained; the bias of O is set so that about three tokens of four are outside
    of entities, as in text: labels at random would make decoding the larger part of the work.
    """
    torch.manual_seed(0)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (starter / name).exists():
            shutil.copy(starter / name, folder / name)
    names = json.loads((starter / "config.json").read_text())["id2label"]
    config = transformers.BertConfig(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        id2label={int(index): name for index, name in names.items()},
        label2id={name: int(index) for index, name in names.items()},
        attn_implementation="eager",
    )
    model = transformers.BertForTokenClassification(config).eval()
    ids = torch.randint(1000, 20000, (4, 128))
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    with torch.no_grad():
        logits = model(*inputs).logits.flatten(0, 1)
        ahead = logits[:, 1:].max(dim=1).values - logits[:, 0]
        model.classifier.bias[0] += ahead.quantile(0.75)
    model.save_pretrained(folder)
    axes = {0: "batch", 1: "sequence"}
    named = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        Logits(model).eval(),
        inputs,
        str(folder / "model.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=named,
        output_names=["logits"],
        dynamic_axes=dict.fromkeys([*named, "logits"], axes),
    )
    return {"parameters": sum(p.numel() for p in model.parameters())}


class Logits(torch.nn.Module):  # type: ignore[misc]
    """The model with the inputs and the one output that the file has."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Any, mask: Any, types: Any) -> Any:
        """The logits alone."""
        return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits


def measure(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Seconds per repeat of transformers' own pipeline over the texts, all of each read."""
    torch.set_num_threads(job["threads"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = job["size"]
    pipe = transformers.pipeline(
        "token-classification",
        model=transformers.AutoModelForTokenClassification.from_pretrained(folder),
        tokenizer=tokenizer,
        aggregation_strategy="simple",
        stride=job["overlap"],
        batch_size=16,
        device="cpu",
    )
    pipe(job["texts"][:4])
    seconds = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        found = pipe(job["texts"])
        seconds.append(time.perf_counter() - start)
    return {
        "seconds": seconds,
        "entities": sum(map(len, found)),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def main() -> None:
    verb, folder, rest = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if verb == "export":
        print(json.dumps(export(folder, rest)))
    else:
        print(json.dumps(measure(folder, json.loads(rest.read_text()))))


if __name__ == "__main__":
    main()

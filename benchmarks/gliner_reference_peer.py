"""The other half of benchmarks/gliner_reference.py: the gliner package, in its own interpreter.

python gliner_reference_peer.py make FOLDER    # tiny models, exported, and what each one says
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from gliner import GLiNER
from gliner import __version__ as gliner_version
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

SPAN, TOKEN = {"span_mode": "markerV0"}, {"span_mode": "token_level"}
VARIANTS: dict[str, dict[str, Any]] = {
    "span": SPAN,
    "span-lstm": {**SPAN, "num_rnn_layers": 1},
    "span-marker": {"span_mode": "marker"},
    "span-markerV1": {"span_mode": "markerV1"},
    "span-markerV2": {"span_mode": "markerV2"},
    "span-query": {"span_mode": "query"},
    "span-mlp": {"span_mode": "mlp"},
    "span-conv": {"span_mode": "conv_conv"},
    "span-deberta": {**SPAN, "encoder": "deberta"},
    "span-last": {**SPAN, "subtoken_pooling": "last"},
    "span-mean": {**SPAN, "subtoken_pooling": "mean"},
    "span-max": {**SPAN, "subtoken_pooling": "max"},
    "span-name-token": {**SPAN, "embed_ent_token": False},
    "span-context": {
        **SPAN,
        "span_encoder_config": {"model_type": "deberta-v2", "num_hidden_layers": 1},
    },
    "token": TOKEN,
    "token-lstm": {**TOKEN, "num_rnn_layers": 1},
    "bi-span": {**SPAN, "two_encoders": True},
    "bi-token": {**TOKEN, "two_encoders": True},
    "bi-fused": {**SPAN, "two_encoders": True, "post_fusion_schema": "l2l-l2t-t2t"},
}


def tokenizer_of(kind: str, texts: list[str], folder: Path) -> None:
    """A tokenizer of BERT's or of DeBERTa's family, trained on the texts."""
    if kind == "deberta":
        made = tokenizers.Tokenizer(models.Unigram())
        made.normalizer = normalizers.NFKC()
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=300,
            special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
            unk_token="[UNK]",
        )
    else:
        made = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(
            vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=512,
    ).save_pretrained(folder)


def encoder(kind: str, texts: list[str], folder: Path) -> Path:
    """A tiny encoder of a kind with random weights; `folder` holds one of each."""
    path = folder / kind
    if path.exists():
        return path
    path.mkdir(parents=True)
    tokenizer_of(kind, texts, path)
    size = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "intermediate_size": 64}
    if kind == "deberta":
        config: Any = transformers.DebertaV2Config(
            **size,
            relative_attention=True,
            position_biased_input=False,
            pos_att_type=["p2c", "c2p"],
            position_buckets=32,
            max_relative_positions=-1,
            initializer_range=0.3,
        )
        model: Any = transformers.DebertaV2Model(config)
    else:
        config = transformers.BertConfig(**size, initializer_range=0.3)
        model = transformers.BertModel(config)
    model.save_pretrained(path)
    return path


def make(folder: Path, asked: dict[str, Any]) -> None:
    """Write every variant's export below `folder`, with `said.json` beside it."""
    for name, settings in VARIANTS.items():
        out = folder / name
        torch.manual_seed(7)
        kind = settings.get("encoder", "bert")
        base = str(encoder(kind, asked["corpus"], folder / "encoders"))
        config = {
            "model_name": base,
            "hidden_size": 32,
            "max_width": 6,
            "max_len": 120,
            "dropout": 0.0,
            "num_rnn_layers": 0,
            **settings,
        }
        config.pop("encoder", None)
        if config.pop("two_encoders", False):
            config["labels_encoder"] = base
        model = GLiNER.from_config(config)
        model.eval()
        spread(model, asked["requests"][0]["texts"], asked["requests"][0]["labels"])
        model.export_to_onnx(str(out))
        said = []
        for request in asked["requests"]:
            found = model.inference(
                request["texts"],
                request["labels"],
                flat_ner=request["flat"],
                multi_label=request["multi_label"],
                threshold=request["threshold"],
                batch_size=1,
            )
            said.append(
                [
                    [[e["start"], e["end"], e["label"], e["score"]] for e in entities]
                    for entities in found
                ]
            )
        (out / "said.json").write_text(json.dumps(said))
        print(name, sum(len(one) for found in said for one in found), flush=True)
    versions = {"gliner": gliner_version, "torch": torch.__version__}
    versions["transformers"] = transformers.__version__
    (folder / "versions.json").write_text(json.dumps(versions))


@torch.no_grad()  # type: ignore[untyped-decorator]
def spread(model: Any, texts: list[str], labels: list[str]) -> None:
    """Make random scores differ, with a few above one half: as they begin, all are near it.

    The last layer that a score is linear in is scaled, and its bias moved.
    """
    core = model.model
    head = core.scorer.out_mlp[3] if hasattr(core, "scorer") else core.prompt_rep_layer[3]
    for _ in range(6):
        head.weight.mul_(1.8)
        head.bias.mul_(1.8)
        logits = torch.cat([scores_of(model, text, labels).flatten() for text in texts])
        if logits.std() > 1:
            break
    if hasattr(core, "scorer"):
        # A span needs three good scores at a time.
        head.bias.add_(logits.std() - logits.mean())


def scores_of(model: Any, text: str, labels: list[str]) -> torch.Tensor:
    batch = model._build_dummy_batch(labels=labels, text=text)
    known = [
        *("input_ids", "attention_mask", "words_mask", "text_lengths", "span_idx", "span_mask"),
        *("labels_input_ids", "labels_attention_mask"),
    ]
    found = model.model(**{key: batch[key] for key in known if key in batch})
    return found.logits


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    _, verb, path = sys.argv
    if verb != "make":
        raise SystemExit(f"no verb {verb!r}")
    make(Path(path), json.loads((Path(path) / "asked.json").read_text()))

"""A folder as GLiNER's exporter writes it, with gliner_config.json validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.model_folder import MODELS, FolderFiles, ModelFileError, longest, read_json

LABELS_TOKENIZER = "labels_tokenizer.json"
"""The tokenizer of the labels' encoder, where it is not the text's; the exporter leaves it out."""

GLINER_FILES = FolderFiles(
    MODELS,
    (
        "gliner_config.json",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        LABELS_TOKENIZER,
    ),
)
"""The files of a folder that are read."""

_KINDS = {
    "gliner_uni_encoder_span",
    "gliner_uni_encoder_token",
    "gliner_bi_encoder_span",
    "gliner_bi_encoder_token",
}
_SPLITTERS = {"whitespace"}
_DEFAULT_WORDS = 384
# Where positions are only relative the words of a window are what bounds it; this bounds memory.
_PIECES_A_WORD = 4


@dataclass(frozen=True, slots=True)
class GlinerFolder:
    """A GLiNER model's folder.

    ``token_level``: scores are of words (start, end, inside), not of spans. ``two_encoders``:
    labels have an encoder of their own and stand in no prompt. ``width``: words of the longest
    span that is scored. ``most_words`` and ``longest``: words and tokens of the longest sequence.
    ``pooling``: the piece that stands for a word, all of them for mean and max. ``sees_padding``:
    whether a span's score depends on the padding behind its text. ``encoder``: the text encoder's
    own settings, empty where the file does not have them.
    """

    path: Path
    model: Path
    token_level: bool
    two_encoders: bool
    width: int
    most_words: int
    longest: int
    pooling: str
    label_mark: str
    text_mark: str
    mark_id: int
    sees_padding: bool
    encoder: Mapping[str, Any]

    @property
    def labels_tokenizer(self) -> str:
        """The file of the labels' tokenizer."""
        own = (self.path / LABELS_TOKENIZER).is_file()
        return LABELS_TOKENIZER if self.two_encoders and own else "tokenizer.json"


def read_gliner_folder(path: Path, weights_file: str | None = None) -> GlinerFolder:
    """Read a model folder, all but the weights; ``weights_file`` is ``weights.file``.

    Raises FileNotFoundError or ModelFileError; both name the file.
    """
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path}: not a folder; a GLiNER model is a folder with model.onnx, gliner_config.json "
            "and tokenizer.json"
        )
    model, *_ = GLINER_FILES.chosen(weights_file).present(path)
    file = path / "gliner_config.json"
    config = read_json(file)
    kind = _kind(config, file)
    encoder = config.get("encoder_config") or {}
    most_words = _number(config, "max_len", _DEFAULT_WORDS, file)
    splitter = str(config.get("words_splitter_type", "whitespace"))
    if splitter not in _SPLITTERS:
        raise ModelFileError(
            f"{file}: words_splitter_type {splitter!r} is not supported; only whitespace is"
        )
    if config.get("precomputed_prompts_mode"):
        raise ModelFileError(f"{file}: models with precomputed prompts are not supported")
    if _unlimited(encoder):
        encoder = {**encoder, "max_position_embeddings": _PIECES_A_WORD * most_words}
    return GlinerFolder(
        path=path,
        model=model,
        token_level=kind.endswith("_token"),
        two_encoders=kind.startswith("gliner_bi_encoder"),
        width=_number(config, "max_width", 12, file),
        most_words=most_words,
        longest=longest(encoder, path),
        pooling=str(config.get("subtoken_pooling", "first")),
        label_mark=str(config.get("ent_token", "<<ENT>>")),
        text_mark=str(config.get("sep_token", "<<SEP>>")),
        mark_id=_number(config, "class_token_index", -1, file),
        sees_padding=config.get("span_mode") in ("markerV1", "markerV2")
        or bool(config.get("span_encoder_config")),
        encoder=encoder,
    )


def _kind(config: dict[str, Any], file: Path) -> str:
    """The model's type; older exports say it by what else they hold."""
    kind = str(config.get("model_type", "gliner"))
    if kind in ("gliner", "None"):
        level = "token" if config.get("span_mode") in ("token_level", "token-level") else "span"
        encoders = "bi" if config.get("labels_encoder") else "uni"
        kind = f"gliner_{encoders}_encoder_{level}"
        if config.get("labels_decoder") or config.get("relations_layer"):
            kind += "_with_more"
    if kind not in _KINDS:
        raise ModelFileError(
            f"{file}: model_type {kind!r} is not supported; there are {', '.join(sorted(_KINDS))}"
        )
    return kind


def _unlimited(encoder: dict[str, Any]) -> bool:
    """True if positions are only relative, so that the table of them bounds nothing."""
    relative = encoder.get("relative_attention") and not encoder.get("position_biased_input", True)
    return bool(relative)


def _number(config: dict[str, Any], key: str, default: int, file: Path) -> int:
    value = config.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ModelFileError(f"{file}: {key} is not an integer")
    return value

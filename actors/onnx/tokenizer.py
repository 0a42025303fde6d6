"""Tokenization with exact offsets: a thin wrapper of the tokenizers library.

Offsets are code points of the text as given, whatever the tokenizer's normaliser does.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from actors.arrays import Int32Array
from actors.model_folder import ModelFileError, tokenizer_config
from actors.onnx.compatibility import Spelling
from actors.onnx.word_index import word_index

# Longer texts are tokenized in pieces, since the library uses about 200 bytes per token. In code
# points.
_PIECE = 200_000
_LOOK_BACK = 2_000
_WORDS = 50_000  # the same for texts given as words


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """The tokens of one text, without special tokens; all arrays have one row per token.

    ``ids``: vocabulary ids. ``starts`` and ``ends``: code points. ``words``: index of the word of
    each token, non-decreasing; see ``actors.onnx.word_index``. ``unknown``: how many tokens are
    unknown to the vocabulary.
    """

    ids: Int32Array
    starts: Int32Array
    ends: Int32Array
    words: Int32Array
    unknown: int = 0

    def __len__(self) -> int:
        return len(self.ids)


_NONE = np.zeros(0, np.int32)
NO_TOKENS = TokenizedText(_NONE, _NONE, _NONE, _NONE)


class TextTokenizer:
    """A model's tokenizer; ``before`` and ``after`` are its special tokens around a text."""

    def __init__(self, folder: Path, name: str = "tokenizer.json") -> None:
        """``name``: the tokenizer file. Raises FileNotFoundError or ModelFileError."""
        self._tokenizer, self._unknown = _load(folder, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # "[SEP]" written in a note is five characters, not the end of a sequence
        self._tokenizer.encode_special_tokens = True
        self.before, self.after = self._template()
        self._spelling = Spelling(lambda text: self._misses(self._encoded(text)))

    def encode(self, text: str) -> TokenizedText:
        """Tokenize a text, which must be encodable as UTF-8."""
        return _join([self._tokens(piece, at) for at, piece in _cut(text)])

    def encode_words(self, words: Sequence[str]) -> tuple[Int32Array, Int32Array, int]:
        """Return the ids of the pieces of all words, the number of pieces of each word, and the
        number of pieces unknown to the vocabulary.

        Each word is tokenized separately, like transformers with ``is_split_into_words``, and spelt
        out where the vocabulary lacks its characters.
        """
        ids: list[Int32Array] = [_NONE]
        counts: list[Int32Array] = [_NONE]
        unknown = 0
        for at in range(0, len(words), _WORDS):
            part = list(words[at : at + _WORDS])
            encoding = self._encoded_words(part)
            if self._misses(encoding):
                spelt = [self._spelling.spelt_out(word) for word in part]
                if any(spelt):
                    pairs = zip(part, spelt, strict=True)
                    part = [word if other is None else other[0] for word, other in pairs]
                    encoding = self._encoded_words(part)
            ids.append(np.array(encoding.ids, np.int32))
            of = np.array(encoding.word_ids, np.int32)
            counts.append(np.bincount(of, minlength=len(part)).astype(np.int32))
            unknown += self._misses(encoding)
        return np.concatenate(ids), np.concatenate(counts), unknown

    def _tokens(self, text: str, at: int) -> TokenizedText:
        """Tokenize a piece of a text that starts at offset ``at``."""
        encoding = self._encoded(text)
        unknown = self._misses(encoding)
        spelt = self._spelling.spelt_out(text) if unknown else None
        if spelt is not None:
            encoding = self._encoded(spelt[0])
            unknown = self._misses(encoding)
        offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
        starts, ends = offsets[:, 0], offsets[:, 1]
        if spelt is not None and len(spelt[1]):
            origin = np.append(spelt[1], np.int32(len(text)))
            empty = starts == ends
            ends = np.where(empty, origin[starts], origin[np.maximum(ends - 1, 0)] + np.int32(1))
            starts = origin[starts]
        # a token without a word (rare: an added token in some versions) counts as its own word
        words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int32)
        cuts = np.ones(len(words), bool)
        cuts[1:] = (words[1:] != words[:-1]) | (words[1:] < 0)
        return TokenizedText(
            ids=np.array(encoding.ids, np.int32),
            starts=starts + np.int32(at),
            ends=ends + np.int32(at),
            words=word_index(text, starts, ends, cuts),
            unknown=unknown,
        )

    def _encoded(self, text: str) -> tokenizers.Encoding:
        # One text per call: a batch would use every core of the machine, not the actor's share.
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _encoded_words(self, words: list[str]) -> tokenizers.Encoding:
        return self._tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False)

    def _misses(self, encoding: tokenizers.Encoding) -> int:
        return 0 if self._unknown is None else encoding.ids.count(self._unknown)

    def _template(self) -> tuple[list[int], list[int]]:
        """Return the ids that the post-processor puts before and after a single sequence."""
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        mask = encoding.special_tokens_mask
        content = [index for index, special in enumerate(mask) if not special]
        if not content:  # "a" is not in this vocabulary
            return list(encoding.ids[: len(mask) // 2]), list(encoding.ids[len(mask) // 2 :])
        return list(encoding.ids[: content[0]]), list(encoding.ids[content[-1] + 1 :])


def _cut(text: str) -> Iterator[tuple[int, str]]:
    """Split a long text into pieces with their offsets, before whitespace if possible."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        for at in range(end, end - _LOOK_BACK, -1):
            if text[at].isspace() and not text[at - 1].isspace():
                end = at
                break
        yield start, text[start:end]
        start = end
    yield start, text[start:]


def _join(parts: Sequence[TokenizedText]) -> TokenizedText:
    if len(parts) == 1:
        return parts[0]
    words, last = [], 0
    for part in parts:
        words.append(part.words + np.int32(last))
        last = int(words[-1][-1]) if len(part) else last
    return TokenizedText(
        ids=np.concatenate([part.ids for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        ends=np.concatenate([part.ends for part in parts]),
        words=np.concatenate(words),
        unknown=sum(part.unknown for part in parts),
    )


def _load(folder: Path, name: str) -> tuple[tokenizers.Tokenizer, int | None]:
    """Load the tokenizer and the id of its unknown token."""
    file, vocabulary = folder / name, folder / "vocab.txt"
    if file.is_file():
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            unknown = _unknown_id(content["model"])
            if _hide_special_tokens(content):
                return tokenizers.Tokenizer.from_str(json.dumps(content)), unknown
            return tokenizers.Tokenizer.from_file(str(file)), unknown
        except Exception as error:  # the library raises bare Exception
            raise ModelFileError(f"{file}: not a tokenizer: {error}") from error
    if vocabulary.is_file():
        made = _word_piece(vocabulary)
        return made, made.token_to_id("[UNK]")
    raise FileNotFoundError(f"{folder}: has neither tokenizer.json nor vocab.txt")


def _unknown_id(model: dict[str, Any]) -> int | None:
    found = model.get("unk_id")
    if found is None and isinstance(model.get("vocab"), dict):
        found = model["vocab"].get(model.get("unk_token"))
    return found if isinstance(found, int) else None


def _hide_special_tokens(content: dict[str, Any]) -> bool:
    """Rename the special tokens in the vocabulary, so that no text can spell them; return True if
    any.

    Model types that look up pieces in the vocabulary would map "<s>" written in a note to the
    special token. The new names are random per process, so nobody can write them.
    """
    model = content["model"]
    special = {one["content"] for one in content.get("added_tokens", ()) if one["special"]}
    vocabulary = model["vocab"]
    known = [piece for piece, _ in vocabulary] if isinstance(vocabulary, list) else vocabulary
    hidden = {name: f"{secrets.token_hex(16)}{name}" for name in special.intersection(known)}
    # BPE builds pieces by merges, which never produce a special token, unless it looks words up.
    if not hidden or (model.get("type") == "BPE" and not model.get("ignore_merges")):
        return False
    if isinstance(vocabulary, list):
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {hidden.get(piece, piece): index for piece, index in vocabulary.items()}
    if "unk_token" in model:
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    content["added_tokens"] = [
        one for one in content["added_tokens"] if one["content"] not in hidden
    ]
    return True


def _word_piece(file: Path) -> tokenizers.Tokenizer:
    """Build BERT's tokenizer from its word list, like transformers' BertTokenizer."""
    lines = file.read_text(encoding="utf-8").split("\n")
    vocabulary = {line.rstrip("\r"): index for index, line in enumerate(lines) if line}
    missing = [name for name in ("[UNK]", "[CLS]", "[SEP]") if name not in vocabulary]
    if missing:
        raise ModelFileError(f"{file}: has no {' '.join(missing)}: this is not a BERT word list")
    settings = tokenizer_config(file.parent)
    lower = settings.get("do_lower_case")
    if not isinstance(lower, bool):
        # not stated: a list without capital letters was made from lower-cased text
        lower = not any(
            word[:1].isupper() for word in vocabulary if word.isascii() and word[:1] != "["
        )
    strip = settings.get("strip_accents")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=strip if isinstance(strip, bool) else None,
        lowercase=lower,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer

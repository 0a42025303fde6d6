"""Text to tokens with exact offsets: the tokenizers library behind one small class.

Offsets are code points of the text as given, whatever the tokenizer's normaliser does to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from actors.model_folder import ModelFileError, tokenizer_config

Ints = npt.NDArray[np.int32]

# A longer text is tokenized in pieces, because the library holds about 200 bytes per token. In
# code points.
_PIECE = 200_000
_LOOK_BACK = 2_000
_WORDS = 50_000  # the same for texts that come in words


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, special ones left out; all arrays have one row per token.

    ``ids``: of the vocabulary. ``starts`` and ``ends``: code points. ``words``: the index of the
    word of each token, never decreasing.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    words: Ints

    def __len__(self) -> int:
        return len(self.ids)


_NONE = np.zeros(0, np.int32)
NO_TOKENS = Tokens(_NONE, _NONE, _NONE, _NONE)


class TextTokenizer:
    """A model's tokenizer: ``encode`` texts, and ``before`` and ``after``, its special tokens."""

    def __init__(self, folder: Path, name: str = "tokenizer.json") -> None:
        """``name``: the file in the folder. Raises FileNotFoundError or ModelFileError."""
        self._tokenizer = _load(folder, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        # "[SEP]" written in a note is five characters, not the end of a sequence
        self._tokenizer.encode_special_tokens = True
        self.before, self.after = self._template()

    def encode(self, text: str) -> Tokens:
        """The tokens of a text that UTF-8 can hold."""
        # One text a call: a batch would take every core of the machine, not the actor's share.
        return _join(
            [
                _tokens(self._tokenizer.encode(piece, add_special_tokens=False), at)
                for at, piece in _cut(text)
            ]
        )

    def encode_words(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """The ids of the pieces of all words, and how many pieces each word has.

        Each word is tokenized for itself, as transformers does with ``is_split_into_words``.
        """
        ids: list[Ints] = [_NONE]
        counts: list[Ints] = [_NONE]
        for at in range(0, len(words), _WORDS):
            part = list(words[at : at + _WORDS])
            encoding = self._tokenizer.encode(part, is_pretokenized=True, add_special_tokens=False)
            ids.append(np.array(encoding.ids, np.int32))
            of = np.array(encoding.word_ids, np.int32)
            counts.append(np.bincount(of, minlength=len(part)).astype(np.int32))
        return np.concatenate(ids), np.concatenate(counts)

    def token_id(self, token: str) -> int | None:
        """The id of a token of the vocabulary, special ones too; None where it has none."""
        found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def _template(self) -> tuple[list[int], list[int]]:
        """The ids that the post-processor sets before and after a single sequence."""
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        mask = encoding.special_tokens_mask
        content = [index for index, special in enumerate(mask) if not special]
        if not content:  # "a" is no token of this vocabulary
            return list(encoding.ids[: len(mask) // 2]), list(encoding.ids[len(mask) // 2 :])
        return list(encoding.ids[: content[0]]), list(encoding.ids[content[-1] + 1 :])


def _cut(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of a long text and where they begin; cut before white space where there is any."""
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


def _tokens(encoding: tokenizers.Encoding, at: int) -> Tokens:
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2) + np.int32(at)
    # a token without a word (rare: an added token in some versions) is a word of its own
    words = np.array([-1 if word is None else word for word in encoding.word_ids], np.int32)
    fresh = np.ones(len(words), bool)
    fresh[1:] = (words[1:] != words[:-1]) | (words[1:] < 0)
    return Tokens(
        ids=np.array(encoding.ids, np.int32),
        starts=offsets[:, 0],
        ends=offsets[:, 1],
        words=np.cumsum(fresh, dtype=np.int32),
    )


def _join(parts: Sequence[Tokens]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    words, last = [], 0
    for part in parts:
        words.append(part.words + np.int32(last))
        last = int(words[-1][-1]) if len(part) else last
    return Tokens(
        ids=np.concatenate([part.ids for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        ends=np.concatenate([part.ends for part in parts]),
        words=np.concatenate(words),
    )


def _load(folder: Path, name: str) -> tokenizers.Tokenizer:
    file, vocabulary = folder / name, folder / "vocab.txt"
    if file.is_file():
        try:
            return tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise ModelFileError(f"{file}: not a tokenizer: {error}") from error
    if vocabulary.is_file():
        return _word_piece(vocabulary)
    raise FileNotFoundError(f"{folder}: has neither tokenizer.json nor vocab.txt")


def _word_piece(file: Path) -> tokenizers.Tokenizer:
    """BERT's tokenizer from its word list, as in transformers' BertTokenizer."""
    lines = file.read_text(encoding="utf-8").split("\n")
    vocabulary = {line.rstrip("\r"): index for index, line in enumerate(lines) if line}
    missing = [name for name in ("[UNK]", "[CLS]", "[SEP]") if name not in vocabulary]
    if missing:
        raise ModelFileError(f"{file}: has no {' '.join(missing)}: no word list of BERT's")
    settings = tokenizer_config(file.parent)
    lower = settings.get("do_lower_case")
    if not isinstance(lower, bool):
        # unstated: a list that has no capital letter was made of lower-cased text
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

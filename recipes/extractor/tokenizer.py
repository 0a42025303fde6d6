"""The extractor's own BPE vocabulary, in the pre-tokenizer that llama.cpp calls llama-bpe.

Three things are not as usual, all so that few samples teach much:

- " metformin" and "metformin" are cut at the same places: no merge knows of the space, and the
  merges that join a space to a first piece come after all others. A word copied out of the document
  then has the pieces that it has inside a JSON string.
- The instructions of the formats, which never change, are one token each (user-defined tokens,
  which llama.cpp finds in any text before it cuts words).
- What stands between two strings of an answer is one token (`":["`, `","`).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from corpora import NAMES, training
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

CUT = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""llama.cpp's expression for llama-bpe."""

END, SYSTEM, USER, ASSISTANT = "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
CONTROL = (END, SYSTEM, USER, ASSISTANT)
CHAT = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ANSWER = ['{"', '":[{"', '":["', '":[],"', '","', '"],"', '":[]}]}', '"]}]}', '[{"', '":"']
ANSWER += ['"},{"', '"}]', "[]"]
SPACE = "Ġ"
MERGES = 6000


def fixed_texts() -> list[str]:
    """The stretches of prompts that are one token each: as the formats print them."""
    from actors.config.prompt import PromptSection
    from actors.guideline import Guideline
    from actors.prompts import chat_template, prompt_format

    texts = []
    for form in ("template", "entity-list"):
        guideline = Guideline.model_validate({"name": "x", "labels": {"AA": "", "BB": ""}})
        section = PromptSection.model_validate({"format": form, "guideline": guideline})
        rendered = prompt_format(section, chat_template(CHAT)).render("CC").text
        for mark in ("AA", "BB", "CC", *CONTROL):
            rendered = rendered.replace(mark, "\0")
        pieces = [piece for piece in rendered.split("\0") if len(piece) > 8]
        # The last words before a label or the document stay outside: a space joins what follows.
        texts += [piece.rstrip(" ") if piece.endswith(" ") else piece for piece in pieces]
    return list(dict.fromkeys(texts))


def train(texts: list[tuple[str, int]], most: int = MERGES) -> Tokenizer:
    """A tokenizer of texts, each with how many times it counts."""
    words = Split(Regex(r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+"), "isolated")
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = Sequence([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=most + 256,
        min_frequency=3,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    bare.train_from_iterator((text for text, times in texts for _ in range(times)), trainer)
    learnt = json.loads(bare.to_str())["model"]
    vocabulary: dict[str, int] = dict(learnt["vocab"])
    merges = [tuple(pair) for pair in learnt["merges"]]

    def add(left: str, right: str) -> None:
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))

    for token in ANSWER:
        for end in range(2, len(token) + 1):
            add(token[: end - 1], token[end - 1])
    firsts: Counter[str] = Counter()
    for text, times in texts:
        for word, _ in words.pre_tokenize_str(text):
            if word[0].isalpha():
                firsts[word] += times
    pieces: Counter[str] = Counter()
    for word, times in firsts.items():
        pieces[bare.encode(word).tokens[0]] += times
    for piece, times in pieces.most_common():
        if times >= 4 and not piece.startswith(SPACE):
            add(SPACE, piece)
    return assemble(vocabulary, merges)


def assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """The tokenizer of a vocabulary, with the control tokens and the instructions behind it."""
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [Split(Regex(CUT), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True) for text in CONTROL])
    made.add_tokens([AddedToken(text, normalized=False) for text in fixed_texts()])
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    weight = {"vietbioner": 4, "taught": 0, "ctro_21": 2, "notes": 0}
    counted = [
        (text.text, weight.get(name, 1))
        for name, texts in training(given.data, given.work).items()
        for text in texts
    ]
    # What stands in every prompt and answer should be few tokens.
    names = [("entity entities type", 500)]
    for label, words in ((k, v) for labels in NAMES.values() for k, v in labels.items()):
        names += [(label, 150), (" ".join(words), 20)]
    tokenizer = train([*counted, *names])
    tokenizer.save(str(given.work / "tokenizer.json"))
    print(tokenizer.get_vocab_size(), "tokens;", [text[:40] for text in fixed_texts()])

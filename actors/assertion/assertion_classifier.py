"""A published assertion model: a sequence classifier that reads a sentence with one entity marked.

The marked sentence is what such models are trained on (van Aken et al., Assertion Detection in
Clinical Notes, 2021): ``she denies any [entity] dyspnea [entity] today``. The marks are put between
the tokens, so a note that contains their text marks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from actors.arrays import Int32Array
from actors.config import ConfigError, OnnxSession
from actors.config.context import AssertionClassifier
from actors.context.clauses import Sentence
from actors.context.status import asserting
from actors.model_folder import ModelFileError, added_tokens, read_folder
from actors.onnx.packing import pack
from actors.onnx.session import Loaded
from actors.onnx.tokenizer import TextTokenizer
from actors.spans import Assertion
from actors.weights import fetch_folder


class AssertionModel:
    """A loaded classifier; threads may share it. See ``AssertionClassifier`` for its settings.

    Raises ConfigError, ModelFileError, WeightsError or FileNotFoundError if it cannot be loaded.
    """

    def __init__(self, config: AssertionClassifier) -> None:
        folder = read_folder(fetch_folder(config.weights), config.weights.file)
        self._config, self._folder = config, folder
        known = set(folder.labels)
        if unknown := sorted(config.labels.keys() - known):
            raise ConfigError(
                f"context.classifier: the model has no label {', '.join(unknown)}; its labels are "
                f"{', '.join(folder.labels)}"
            )
        if missing := sorted(known - config.labels.keys()):
            raise ConfigError(
                f"context.classifier.labels: does not mention {', '.join(missing)}; write "
                "[] for a label that sets nothing"
            )
        self._tokenizer = TextTokenizer(folder.path)
        self._marks = [self._mark(one) for one in config.marks]
        special = len(self._tokenizer.before) + len(self._tokenizer.after)
        self._budget = folder.longest - special - sum(map(len, self._marks))
        if self._budget < 1:
            raise ModelFileError(
                f"{folder.path}: {folder.longest} tokens are too few for a marked entity"
            )
        # It runs in the tasks that write units, which request no CPU.
        self._session = Loaded(folder.model, OnnxSession(provider="cpu"), 1, 0)
        self._output = self._session.outputs[0].name
        self._inputs = {one.name for one in self._session.inputs}
        self._probe()

    @property
    def decides(self) -> frozenset[str]:
        """The attributes that this model decides, by the labels that set them."""
        return frozenset(effect for effects in self._config.labels.values() for effect in effects)

    def assertions(
        self, text: str, spans: Sequence[tuple[int, int]], sentences: Sequence[Sentence]
    ) -> list[Assertion]:
        """Return the assertion of each span, in their order.

        ``sentences`` cover the text; an entity is read in the one in which it begins.
        """
        starts = np.array([sentence.start for sentence in sentences])
        rows = []
        for start, end in spans:
            at = int(np.searchsorted(starts, start, side="right")) - 1
            sentence = sentences[at]
            rows.append(self._row(text, sentence.start, start, end, max(end, sentence.end)))
        found: list[str] = [""] * len(rows)
        for batch in pack([len(row) for row in rows], self._config.batch_tokens):
            best = self._logits([rows[index] for index in batch]).argmax(axis=-1)
            for index, label in zip(batch, best.tolist(), strict=True):
                found[index] = self._folder.labels[label]
        return [
            asserting(self._config.labels[label], f"classifier.{label}", start, end)
            for label, (start, end) in zip(found, spans, strict=True)
        ]

    def _row(self, text: str, left: int, start: int, end: int, right: int) -> Int32Array:
        """The tokens of a sentence with its entity marked, cut evenly where it is too long."""
        before, entity, after = (
            self._tokenizer.encode(part).ids
            for part in (text[left:start], text[start:end], text[end:right])
        )
        entity = entity[: self._budget]
        budget = self._budget - len(entity)
        ahead = min(len(after), max(budget - len(before), budget // 2))
        behind = min(len(before), budget - ahead)
        first, last = self._marks
        return np.array(
            [
                *self._tokenizer.before,
                *before[len(before) - behind :],
                *first,
                *entity,
                *last,
                *after[:ahead],
                *self._tokenizer.after,
            ],
            np.int32,
        )

    def _logits(self, rows: Sequence[Int32Array]) -> npt.NDArray[np.float32]:
        """The model's output for rows of tokens, padded: shape (rows, labels)."""
        shape = (len(rows), max(map(len, rows)))
        feed = {
            "input_ids": np.full(shape, self._folder.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for place, row in enumerate(rows):
            feed["input_ids"][place, : len(row)] = row
            feed["attention_mask"][place, : len(row)] = 1
        given = {name: value for name, value in feed.items() if name in self._inputs}
        (logits,) = self._session.run([self._output], given)
        return np.asarray(logits, np.float32)

    def _mark(self, text: str) -> list[int]:
        """The tokens of a mark: one where the vocabulary was given it, else those of its text."""
        known = added_tokens(self._folder.path)
        return [known[text]] if text in known else self._tokenizer.encode(text).ids.tolist()

    def _probe(self) -> None:
        """Run one row, so that files that do not fit together fail at load."""
        file = self._folder.model
        try:
            row = self._row("a", 0, 0, 1, 1)
            given = {"input_ids", "attention_mask", "token_type_ids"}
            if unknown := sorted(self._inputs - given):
                raise ModelFileError(f"{file}: unknown inputs {', '.join(unknown)}")
            shape = self._logits([row]).shape
        except ModelFileError:
            raise
        except Exception as error:
            raise ModelFileError(f"{file}: onnxruntime cannot run the model: {error}") from error
        if shape != (1, len(self._folder.labels)):
            raise ModelFileError(
                f"{file}: gives logits of shape {shape} for one row, not one for each of the "
                f"{len(self._folder.labels)} labels in config.json: no sequence classifier"
            )

"""Prepared inputs of a loaded model for the labels of a guideline, made once per guideline."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.config import ConfigError, GlinerModel, LabelFilter, fingerprint, results_of
from actors.gliner_folder import GlinerFolder
from actors.guideline import Guideline
from actors.model_folder import ModelFileError, added_tokens
from actors.onnx.gliner.gliner_session import GlinerSession, label_feed
from actors.onnx.gliner.prompts import Asked, LabelPrompt, names_of, share_out, tokens_of
from actors.onnx.tokenizer import TextTokenizer
from actors.onnx.tokens.entities import EntityBuilder

_KEPT = 64  # guidelines of requests; the model file's own is kept besides


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A guideline as a model is asked. ``labels``: names of labels, by their place in it.

    ``encoded``: per prompt what the labels' encoder made of it, empty where there is none.
    """

    labels: tuple[str, ...]
    prompts: tuple[LabelPrompt, ...]
    encoded: tuple[dict[str, Any], ...]
    chooser: EntityBuilder
    fingerprint: str


class Plans:
    """The plans of a model, those of the latest guidelines kept."""

    def __init__(
        self,
        config: GlinerModel,
        folder: GlinerFolder,
        tokenizer: TextTokenizer,
        session: GlinerSession,
        *,
        budget: int,
        digests: dict[str, str],
        pad: int,
    ) -> None:
        """``budget``: tokens of a prompt; ``pad``: the padding token.

        Raises ConfigError, LabelTooLong or ModelFileError.
        """
        self._config, self._folder, self._budget, self._digests = config, folder, budget, digests
        self._pad, self._session = pad, session
        self._marks = _marks(folder)
        # Requests come from several threads.
        self._lock = threading.Lock()
        own = folder.labels_tokenizer
        self._labels = tokenizer if own == "tokenizer.json" else TextTokenizer(folder.path, own)
        self._kept: OrderedDict[str, Plan] = OrderedDict()
        guideline = config.prompt.guideline
        if isinstance(guideline, str):
            raise ConfigError(
                f"model {config.name}: prompt.guideline names a file that was not loaded"
            )
        # Checks that the filter of the model file names labels that are there.
        EntityBuilder(config.labels, guideline.labels, config.name)
        self.own = self._made(guideline)

    def of(self, guideline: Guideline | None) -> Plan:
        """The plan of a request's guideline, or the model file's own. Raises LabelTooLong."""
        if guideline is None:
            return self.own
        key = guideline.model_dump_json()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            plan = self._kept[key] = self._made(guideline)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return plan

    def _made(self, guideline: Guideline) -> Plan:
        config = self._config
        prompt = config.prompt.model_copy(update={"guideline": guideline})
        asked_with = config.model_copy(update={"prompt": prompt})
        labels = tuple(guideline.labels)
        filter_ = _narrowed(config.labels, labels)
        dropped = {*config.labels.black_list}
        if config.labels.white_list:
            dropped |= set(labels) - set(config.labels.white_list)
        asked = []
        for place, name in names_of(guideline, prompt):
            if labels[place] not in dropped:
                ids, *_ = self._labels.encode_words([name])
                asked.append(Asked(place, name, tuple(ids.tolist())))
        budget = None if self._folder.two_encoders else self._budget
        prompts, encoded = [], []
        for group in share_out(asked, budget, prompt.most_labels) if asked else []:
            floors = [filter_.thresholds.get(labels[one.label], filter_.threshold) for one in group]
            ids = tokens_of(group, *self._marks) if budget is not None else np.zeros(0, np.int32)
            prompts.append(
                LabelPrompt(
                    ids,
                    tuple(one.label for one in group),
                    np.array(floors, np.float32),
                    tuple(one.name for one in group),
                )
            )
            encoded.append(self._encoded(group) if self._folder.two_encoders else {})
        return Plan(
            labels,
            tuple(prompts),
            tuple(encoded),
            EntityBuilder(filter_, labels, config.name),
            fingerprint(
                {"model": asked_with.identity(), "results": results_of(config.kind)},
                **self._digests,
            ),
        )

    def _encoded(self, group: list[Asked]) -> dict[str, Any]:
        pieces = [np.array(one.pieces, np.int32) for one in group]
        feed = label_feed(pieces, self._labels.before, self._labels.after, self._pad)
        return self._session.encode_labels(feed)


def _narrowed(settings: LabelFilter, labels: tuple[str, ...]) -> LabelFilter:
    """The filter without the labels that a request's guideline does not have."""
    there = set(labels)
    return settings.model_copy(
        update={
            "white_list": tuple(name for name in settings.white_list if name in there),
            "black_list": tuple(name for name in settings.black_list if name in there),
            "thresholds": {k: v for k, v in settings.thresholds.items() if k in there},
            "replace": {k: v for k, v in settings.replace.items() if k in there},
        }
    )


def _marks(folder: GlinerFolder) -> tuple[int, int]:
    """The ids of the marks before a label and before the text; unused with two encoders."""
    if folder.two_encoders:
        return -1, -1
    known = added_tokens(folder.path)
    if folder.label_mark not in known or folder.text_mark not in known:
        raise ModelFileError(
            f"{folder.path / 'tokenizer.json'}: has no token {folder.label_mark} or "
            f"{folder.text_mark}, which gliner_config.json names"
        )
    label, text = known[folder.label_mark], known[folder.text_mark]
    if folder.mark_id not in (-1, label):
        raise ModelFileError(
            f"{folder.path / 'gliner_config.json'}: class_token_index is {folder.mark_id}, but "
            f"{folder.label_mark} is token {label} of tokenizer.json"
        )
    return label, text

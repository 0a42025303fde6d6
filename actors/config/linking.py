"""The `linking` section: linking entities to the codes of vocabularies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from actors.config.base import ConfigSection
from actors.config.load import STARTERS, ConfigError, resolve
from actors.config.onnx import FolderWeights

_STARTER = "starter:"


Pooling = Literal["mean", "cls"]
"""How an embedding model's vector of a text is made: the mean of its tokens' vectors, or the first
one."""


class NameEmbedding(ConfigSection):
    """A text-embedding model, the last resort for mentions that no other lookup links."""

    weights: FolderWeights = Field(
        description="A folder with the ONNX model and tokenizer.json, as given to `medspan "
        "vocabulary build --embedding`."
    )
    threshold: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Minimum cosine of a mention and a name. It depends on the model: tune it on "
        "examples.",
    )


class LinkedVocabulary(ConfigSection):
    """A vocabulary and what is looked up in it."""

    index: str = Field(
        description="A folder made by `medspan vocabulary build`, or starter:<name>."
    )
    labels: dict[str, tuple[str, ...]] = Field(
        min_length=1,
        description="Labels to link, each with the semantic types of which a concept must have "
        "one, preferred first; an empty list: any concept.",
    )
    drugs: tuple[str, ...] = Field(
        (),
        description="Those of `labels` that are drugs: salts and dose forms may differ, and "
        "strength and form from relations choose the clinical drug.",
    )
    embedding: NameEmbedding | None = Field(
        None,
        description="A model that compares a mention with all names if it matches none and "
        "resembles none.",
    )
    link: str | None = Field(
        None,
        pattern=r"^https?://[^\s{}]*\{code\}[^\s{}]*$",
        description="URL of a concept's page, with {code} for its code; shown on the page of "
        "`medspan serve`.",
    )

    RUNNING = frozenset({"index", "link"})


class Linking(ConfigSection):
    """The stage that gives entities codes."""

    vocabularies: tuple[LinkedVocabulary, ...] = Field(min_length=1)
    top_k: int = Field(
        1,
        ge=1,
        le=20,
        description="Maximum codes per entity and vocabulary, best first. A mention that combines "
        "several names (breast and lung cancer) gets a code for each, even if that is more.",
    )
    threshold: float = Field(
        0.65,
        gt=0,
        le=1,
        description="Minimum score of a code. Names that are equal after folding score 0.9 or "
        "more, similar ones less.",
    )
    parents: bool = Field(False, description="Also write the codes of a concept's parents.")


def resolve_linking(linking: Linking, holder: Path) -> Linking:
    """The same with absolute paths; ``holder`` is the file that holds it.

    Raises ConfigError for a starter that does not exist and for drugs that are no labels.
    """
    resolved = []
    for at, vocabulary in enumerate(linking.vocabularies):
        unknown = sorted(set(vocabulary.drugs) - set(vocabulary.labels))
        if unknown:
            raise ConfigError(
                f"{holder}:\n  vocabularies.{at}.drugs: {', '.join(unknown)}: not among its labels"
            )
        index = _starter(vocabulary.index) or resolve(vocabulary.index, holder)
        embedding = vocabulary.embedding
        if embedding is not None:
            model = resolve(embedding.weights.model, holder)
            weights = embedding.weights.model_copy(update={"model": model})
            embedding = embedding.model_copy(update={"weights": weights})
        resolved.append(vocabulary.model_copy(update={"index": index, "embedding": embedding}))
    return linking.model_copy(update={"vocabularies": tuple(resolved)})


def _starter(reference: str) -> str | None:
    if not reference.startswith(_STARTER):
        return None
    name = reference.removeprefix(_STARTER)
    known = sorted(path.parent.name for path in STARTERS.glob("*/vocabulary.json"))
    if name not in known:
        raise ConfigError(
            f"no starter vocabulary {name!r}; there are: {', '.join(known) or 'none'}"
        )
    return str(STARTERS / name)

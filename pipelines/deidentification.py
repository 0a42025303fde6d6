"""The pipeline file's section ``deidentify``: what the de-identified tables hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from actors.config import ConfigError
from actors.config.deidentify import Deidentify
from actors.config.load import resolve

KEY = "MEDSPAN_DEIDENTIFY_KEY"
"""Environment variable with the secret; it is read where documents are de-identified and stored
nowhere."""

Carry = Literal["keep", "hash"]


class Deidentification(Deidentify):
    """De-identify every document as the last stage, into tables of their own."""

    patient_column: str | None = Field(
        None,
        description="Column of source.extra_columns with the patient's id: all documents of a "
        "patient share surrogates and date shift. Default, and where it is null: the document's "
        "id.",
    )
    name_columns: tuple[str, ...] = Field(
        (),
        description="Columns of source.extra_columns with names of the patient, relatives or "
        "staff: every mention is replaced, in any form.",
    )
    doc_ids: Carry = Field(
        "hash",
        description="Ids of the de-identified documents: hash (keyed), or keep if source.id "
        "identifies nobody. Ids that medspan derives from a file's path are always "
        "hashed.",
    )
    extra_columns: dict[str, Carry] = Field(
        default_factory=dict,
        description="Columns of source.extra_columns that the de-identified documents have too: "
        "keep, or hash (keyed). Default: none.",
    )
    pages: bool = Field(
        False,
        description="Also write de-identified images, PDFs and DICOM files, below "
        "deidentified/pages: identifiers covered with black, no text layer, no metadata, DICOM "
        "headers by the basic profile. OCR reads each of them again for the second look.",
    )


def resolve_deidentification(section: Deidentification, holder: Path) -> Deidentification:
    """The section with absolute paths; ``holder`` is the file that holds it.

    Raises ConfigError for a list that cannot be read.
    """
    lists = {
        category: tuple(resolve(path, holder) for path in paths)
        for category, paths in section.lists.items()
    }
    resolved = section.model_copy(update={"lists": lists})
    try:
        resolved.read_lists()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{holder}:\n  deidentify.lists: {error}") from None
    return resolved


def secret_from_environment() -> bytes | None:
    """The secret in MEDSPAN_DEIDENTIFY_KEY, if it is set."""
    secret = os.environ.get(KEY)
    return None if secret is None else secret.encode()

"""The text and the page without the patient.

``Deidentifier`` finds identifiers by rules, lists and models' entities, replaces them by policy,
moves all other annotations to the new text, and looks at the result again. Pages and DICOM files
are in ``actors.deidentify.page_redaction`` and ``actors.deidentify.dicom_profile``.
"""

from __future__ import annotations

from actors.deidentify.deidentifier import Deidentified, Deidentifier, Residue
from actors.deidentify.offset_map import Edit, OffsetMap

__all__ = ["Deidentified", "Deidentifier", "Edit", "OffsetMap", "Residue"]

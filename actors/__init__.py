"""Medical information extraction: models and the types they produce. Does not depend on Ray,
storage or HTTP.

```python import actors

ex = actors.load_extractor("starter:token-classifier") ex.extract([actors.Document(id="1",
text="Metformin 500 mg daily.")])[0].entities ```
"""

from __future__ import annotations

from actors.config import ConfigError
from actors.extractor import Extractor, load_extractor
from actors.spans import (
    Box,
    Document,
    Entity,
    Extraction,
    Failure,
    Grounding,
    Mention,
    Status,
    Usage,
)

__all__ = [
    "Box",
    "ConfigError",
    "Document",
    "Entity",
    "Extraction",
    "Extractor",
    "Failure",
    "Grounding",
    "Mention",
    "Status",
    "Usage",
    "load_extractor",
]

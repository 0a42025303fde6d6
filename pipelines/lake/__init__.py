"""Sources: listing files, cutting them into units, reading units as documents.

``files`` lists, ``units`` plans, ``read`` reads, ``readings`` holds what was read of pictures.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a lake"):
    import pyarrow as _pyarrow  # noqa: F401  what every module of this room imports

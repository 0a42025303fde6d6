"""Sources: from the paths of a pipeline file to units, and from units to rows of documents.

``files`` lists, ``opening`` opens (literal paths, compression, limits), ``records`` and ``parquet``
read what is in a file, ``columns`` agrees on extra columns, ``ids`` makes ids, ``units`` plans, and
``read`` makes the rows. A row that is none, or a file that cannot be read, is a failed row.
"""

from __future__ import annotations

from actors.extras import optional_imports

with optional_imports("a source"):
    import pyarrow as _pyarrow  # noqa: F401  what every module of this room imports

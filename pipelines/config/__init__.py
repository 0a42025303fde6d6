"""The pipeline half of the configuration, a module for each section of the file.

One YAML file describes the pipeline; batch, online, plan and evaluate read the same file.
Unknown keys are errors; relative paths are relative to the file that holds them.
"""

from __future__ import annotations

from pipelines.config.load import LoadedPipeline, load_pipeline
from pipelines.config.pipeline import Enrich, Pipeline
from pipelines.config.serve import Serve, ServeLimits, UrlSource
from pipelines.config.sink import IcebergSink, Sink
from pipelines.config.source import Between, Csv, IcebergCatalog, Source
from pipelines.config.steps import Ocr, Step

__all__ = [
    "Between",
    "Csv",
    "Enrich",
    "IcebergCatalog",
    "IcebergSink",
    "LoadedPipeline",
    "Ocr",
    "Pipeline",
    "Serve",
    "ServeLimits",
    "Sink",
    "Source",
    "Step",
    "UrlSource",
    "load_pipeline",
]

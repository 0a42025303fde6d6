"""The peer of benchmarks/serve.py: a plain FastAPI over transformers' pipeline, as tutorials do it.

    python serve_peer.py FOLDER PORT THREADS SIZE OVERLAP

Needs torch, transformers, fastapi and uvicorn, and no medspan. One request's documents are one
call of the pipeline; the handler is a plain function, so FastAPI runs it in its thread pool.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import transformers
import uvicorn
from fastapi import FastAPI

folder, port, threads, size, overlap = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
tokenizer.model_max_length = size
pipe = transformers.pipeline(
    "token-classification",
    model=transformers.AutoModelForTokenClassification.from_pretrained(folder),
    tokenizer=tokenizer,
    aggregation_strategy="simple",
    stride=overlap,
    batch_size=16,
    device="cpu",
)
app = FastAPI()


@app.post("/v1/extract")
def extract(body: dict[str, Any]) -> dict[str, Any]:
    """Entities of all documents."""
    found = pipe([document["text"] for document in body["documents"]])
    return {
        "documents": [
            [
                {
                    "label": entity["entity_group"],
                    "start": entity["start"],
                    "end": entity["end"],
                    "score": float(entity["score"]),
                }
                for entity in one
            ]
            for one in found
        ]
    }


uvicorn.run(app, port=port, log_level="error")

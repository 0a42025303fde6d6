"""A peer of benchmarks/serve.py: llama-cpp-python's own server.

    python llama_peer.py MODEL PORT THREADS

Needs llama-cpp-python with its ``server`` extra, and no medspan.
"""

from __future__ import annotations

import sys

import llama_cpp
import uvicorn
from llama_cpp.server.app import create_app
from llama_cpp.server.settings import ModelSettings, ServerSettings

model, port, threads = sys.argv[1], *map(int, sys.argv[2:])
# Repacked weights are off, as in medspan: llama.cpp built by GCC 12 crashes with AMX.
params = llama_cpp.llama_model_default_params()
params.use_extra_bufts = False
llama_cpp.llama_cpp.llama_model_default_params = lambda: params
settings = ModelSettings(
    model=model,
    n_ctx=1024,
    n_batch=512,
    n_threads=threads,
    n_threads_batch=threads,
    n_gpu_layers=0,
    verbose=False,
)
app = create_app(
    server_settings=ServerSettings(interrupt_requests=False), model_settings=[settings]
)
uvicorn.run(app, port=port, log_level="error")

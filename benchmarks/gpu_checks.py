"""Checks that need a GPU: run them on one, and keep the output.

    python -m benchmarks.gpu_checks [--only onnx llama peers engine pictures fractions]
                                    [--server /path/of/llama-server] [--cpu]

onnx: the CUDA provider runs every node but shape work; its memory limit holds; four sessions at a
quarter each keep to their shares. llama: what is planned against what the driver shows, and tokens
a second at 1 to 64 sequences, for models of the shapes of Qwen2 1.5B and 7B in Q8_0 (written on the
spot: zeros cost what any weights cost). peers: int8, fp16 and fp32 against raw session.run; the
engine at 1 to 64 sequences against llama_cpp.Llama one at a time, and against llama.cpp's own
server where --server says where it is. engine: each of its switches on and off. pictures: encoded
together against one by one. fractions: four actors on one GPU under Ray. Each measurement has a
process of its own, so that what one leaves behind is not counted to the next.
Needs onnxruntime-gpu, and llama-cpp-python built with CUDA (CMAKE_ARGS=-DGGML_CUDA=on).

Without a GPU it says so and ends. ``--cpu`` (or ``--rehearse``) runs the same code on the CPU with
tiny models: it proves the code, and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from actors.config import GgufModel, OnnxModel, OnnxSession, load_model
from actors.config.gguf import GgufContext
from actors.config.load import STARTERS
from actors.memory import (
    CUDA_CONTEXT,
    GgufFile,
    estimate_gguf,
    estimate_onnx,
    gpu_memory,
    gpu_memory_used,
    open_header,
    output_rows,
    read_onnx,
)
from benchmarks import gpu_peers
from benchmarks.gpu_models import gguf_model

ROOT = Path(__file__).resolve().parent.parent
STARTER = STARTERS / "token-classifier"
SEQUENCES = (1, 8, 32, 64)
# Work that onnxruntime puts on the CPU by itself, because the GPU would be no help.
SHAPE_WORK = {
    "Shape",
    "Gather",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Slice",
    "Cast",
    "Range",
    "Where",
}
SHAPE_WORK |= {"Equal", "ConstantOfShape", "Expand", "Mul", "Add", "Sub", "Div", "Reshape"}


def apart(work: Callable[..., dict[str, Any]], *given: object) -> dict[str, Any]:
    """Return the result of ``work``, run in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(work, given)


def onnx_nodes(rehearse: bool) -> dict[str, Any]:
    """By provider, the nodes that one batch ran; those of the CPU that are no shape work."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        wanted = ["CPUExecutionProvider"] if rehearse else ["CUDAExecutionProvider"]
        session = onnxruntime.InferenceSession(str(STARTER / "model.onnx"), options, wanted)
        ids = np.ones((4, 256), np.int64)
        feed = {item.name: ids for item in session.get_inputs()}
        feed |= {name: 0 * ids for name in feed if name == "token_type_ids"}
        session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [e["args"] for e in events if "provider" in e.get("args", {})]
    providers = Counter(node["provider"] for node in nodes)
    strays = Counter(
        node["op_name"]
        for node in nodes
        if node["provider"] == "CPUExecutionProvider" and node["op_name"] not in SHAPE_WORK
    )
    return {"nodes": dict(providers), "on_cpu": dict(strays)}


def onnx_share(share: float, repeats: int, rehearse: bool) -> dict[str, Any]:
    """Documents/s of one actor with a share of the GPU, and what the driver says that it holds."""
    from actors import Document
    from actors.onnx import OnnxBackend

    config = load_model("starter:token-classifier")
    assert isinstance(config, OnnxModel)
    session = OnnxSession(provider="cpu" if rehearse else "cuda", batch_tokens=4096)
    config = config.model_copy(update={"session": session})
    backend = OnnxBackend(config, 1, 0.0 if rehearse else share)
    text = "Patients received metformin 500 mg twice daily for 12 weeks. " * (2 if rehearse else 40)
    documents = [Document(id=str(i), text=text) for i in range(8)]

    def read() -> None:
        for future in [backend.submit(document) for document in documents]:
            future.result()

    read()
    started = time.perf_counter()
    for _ in range(repeats):
        read()
    seconds = time.perf_counter() - started
    used, card = gpu_memory_used(), gpu_memory()
    backend.close()
    return {
        "documents_per_s": round(repeats * len(documents) / seconds, 2),
        "used": used,
        "planned": estimate_onnx(read_onnx(STARTER), config).device,
        "share": None if card is None else int(share * card),
    }


def onnx_quarters(rehearse: bool) -> dict[str, Any]:
    """Four at once, each with a quarter."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        asked = [pool.apply_async(onnx_share, (0.25, 4, rehearse)) for _ in range(4)]
        found = [one.get() for one in asked]
    return {"actors": found, "all_within_their_share": _held(found, found[0]["share"])}


def _held(actors: list[dict[str, Any]], share: int | None) -> bool | None:
    """Return True if all keep to their share; None if the driver does not report their memory."""
    used = [one["used"] for one in actors]
    return None if share is None or None in used else all(size <= share for size in used)


def _model(path: Path, size: str) -> GgufModel:
    content = {"name": "m", "kind": "gguf", "prompt": {"format": "prose"}}
    return GgufModel.model_validate(content | {"weights": {"model": str(gguf_model(path, size))}})


def llama_speed(size: str, sequences: int, cells: int, rehearse: bool) -> dict[str, Any]:
    """Tokens/s of prompts and of steps of so many sequences, and memory planned and held."""
    from actors.engine import Block
    from actors.gguf import LlamaModel, LlamaRunner

    with tempfile.TemporaryDirectory() as folder:
        config = _model(Path(folder) / "m.gguf", size)
        options = GgufContext(n_ctx=cells, sequences=sequences, prefixes=0, use_extra_bufts=False)
        config = config.model_copy(update={"context": options})
        need = estimate_gguf(GgufFile(open_header(Path(config.weights.model))), config)
        model = LlamaModel(Path(config.weights.model), options, gpu=not rehearse)
        vars(model).update(pieces=(), ends=frozenset())  # the file holds no vocabulary
        runner = LlamaRunner(model, options, 1, output_rows(options))
        prompt, steps = cells // 2, min(32, cells // 4)
        started = time.perf_counter()
        for s in range(sequences):
            for at in range(0, prompt, options.n_batch):
                tokens = [1] * min(options.n_batch, prompt - at)
                runner.decode([Block(s, at, tokens, 1)])
        read = time.perf_counter() - started
        started = time.perf_counter()
        for step in range(steps):
            runner.decode([Block(s, prompt + step, [1], 1) for s in range(sequences)])
        said = time.perf_counter() - started
        used = gpu_memory_used()
        memory_used = sum(buffer.size for buffer in runner.buffers if buffer.on_gpu)
        runner.close()
    return {
        "sequences": sequences,
        "prompt_tokens_per_s": round(sequences * prompt / read, 1),
        "tokens_per_s": round(sequences * steps / said, 1),
        "planned": need.device,
        "buffers_planned": need.device - need.parts["CUDA context"] - need.parts["scratch"],
        "buffers": memory_used,
        "used": used,
        "beside_buffers": None if used is None else used - memory_used,
        "planned_to_used": None if used is None else round(need.device / used, 3),
    }


def fractions_under_ray(rehearse: bool) -> dict[str, Any]:
    """Four actors of a quarter each on one GPU: what each holds against its plan and share."""
    import ray

    from pipelines.ray_cluster import cluster

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    size, cells = ("tiny", 512) if rehearse else ("1.5B", 4096)
    with cluster(num_gpus=1 if rehearse else None):
        work = ray.remote(num_cpus=0, num_gpus=0.25)(llama_speed)
        found = ray.get([work.remote(size, 8, cells, rehearse) for _ in range(4)])
    card = gpu_memory()
    share = None if card is None else int(card / 4)
    return {"share": share, "actors": found, "all_within_their_share": _held(found, share)}


def checks(only: list[str], rehearse: bool, server: str | None = None) -> dict[str, Any]:
    """All that were asked for, by name."""
    found: dict[str, Any] = {}
    if "onnx" in only:
        found["onnx"] = {
            **apart(onnx_nodes, rehearse),
            "whole_card": apart(onnx_share, 1.0, 8, rehearse),
            "quarter": apart(onnx_share, 0.25, 8, rehearse),
            "four_quarters": onnx_quarters(rehearse),
        }
    if "llama" in only:
        sizes = ("tiny",) if rehearse else ("1.5B", "7B")
        counts = SEQUENCES[:2] if rehearse else SEQUENCES
        cells = 256 if rehearse else 2048
        found["llama"] = {
            size: [apart(llama_speed, size, count, cells, rehearse) for count in counts]
            for size in sizes
        }
    if "peers" in only:
        found["peers"] = _peers(rehearse, server)
    size, slots = ("tiny", 2) if rehearse else ("1.5B", 32)
    if "engine" in only:
        switches = gpu_peers.SWITCHES
        found["engine"] = [
            apart(gpu_peers.engine_switch, size, slots, switch, rehearse) for switch in switches
        ]
    if "pictures" in only:
        found["pictures"] = [
            apart(gpu_peers.pictures_together, kind, together, rehearse)
            for kind in ("internvl", "qwen2vl")
            for together in (True, False)
        ]
    if "fractions" in only:
        found["fractions"] = apart(fractions_under_ray, rehearse)
    return found


def _peers(rehearse: bool, server: str | None) -> dict[str, Any]:
    counts = SEQUENCES[:2] if rehearse else SEQUENCES
    found: dict[str, Any] = {
        "onnx": [apart(gpu_peers.onnx_speed, kind, rehearse) for kind in ("int8", "fp16", "fp32")],
        "server": "not asked: --server says where it is" if server is None else server,
    }
    for size in ("tiny",) if rehearse else ("1.5B", "7B"):
        rows = [apart(gpu_peers.llama_alone, size, rehearse)]
        rows += [apart(gpu_peers.engine_plain, size, count, rehearse) for count in counts]
        if server is not None:
            rows += [
                apart(gpu_peers.llama_server, size, count, server, rehearse) for count in counts
            ]
        found[size] = rows
    return found


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """The figures to look at first."""
    result: dict[str, float] = {}
    for size, rows in found.get("llama", {}).items():
        for row in rows:
            if row["used"]:
                result[f"{size} at {row['sequences']}: planned to used"] = row["planned_to_used"]
        last, first = rows[-1], rows[0]
        gain = last["tokens_per_s"] / first["tokens_per_s"]
        result[f"{size}: {last['sequences']} sequences to 1"] = round(gain, 2)
    for size, rows in found.get("peers", {}).items():
        if size == "onnx":
            result |= {f"{row['kind']}: actor to session.run": row["ratio"] for row in rows}
        elif size != "server":
            alone = rows[0]["tokens_per_s"]
            ours = {row["medspan"]: row["tokens_per_s"] for row in rows if "medspan" in row}
            for count, rate in ours.items():
                result[f"{size} at {count}: to Llama alone"] = round(rate / alone, 2)
            for row in rows:
                if "server" in row:
                    rate = ours[row["server"]] / row["tokens_per_s"]
                    result[f"{size} at {row['server']}: to llama-server"] = round(rate, 2)
    for row in found.get("engine", [])[1:]:
        rate = row["documents_per_s"] / found["engine"][0]["documents_per_s"]
        result[f"engine, {row['switch']}"] = round(rate, 2)
    for one, other in zip(*[iter(found.get("pictures", []))] * 2, strict=True):
        rate = one["pictures_per_s"] / other["pictures_per_s"]
        result[f"{one['encoder']}: together to one by one"] = round(rate, 2)
    if "onnx" in found:
        parts = found["onnx"]["four_quarters"]["actors"]
        together = sum(part["documents_per_s"] for part in parts)
        alone = found["onnx"]["whole_card"]["documents_per_s"]
        result["onnx: four quarters to one whole"] = round(together / alone, 2)
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("onnx", "llama", "peers", "engine", "pictures", "fractions")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names))
    parser.add_argument("--server", help="llama-server, built with CUDA")
    parser.add_argument("--rehearse", "--cpu", action="store_true", dest="rehearse")
    given = parser.parse_args(arguments)
    card = gpu_memory()
    if card is None and not given.rehearse:
        print("no CUDA card is visible here: there is nothing to check (--cpu runs on the CPU)")
        print(json.dumps({"benchmark": "gpu_checks", "parse_gpu": None, "ratios": {}}))
        return
    found = checks(given.only, given.rehearse, given.server)
    result = {
        "benchmark": "gpu_checks",
        "rehearsal": given.rehearse,
        "parse_gpu": card,
        "assumed_cuda_context": CUDA_CONTEXT,
        "machine": platform.machine(),
        "versions": {n: version(n) for n in ("llama-cpp-python", "ray", "numpy")},
        "checks": found,
        "ratios": ratios(found),
    }
    if not given.rehearse:
        target = ROOT / "benchmarks" / "results" / "gpu_checks.json"
        target.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""medspan beside its peers on a GPU: ``peers``, ``engine`` and ``pictures`` of ``gpu_checks``.

Everything that is compared runs one after the other on the same GPU, with models of zeros or noise
(``gpu_models``): what is compared is the cost, not what is said.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_models import STARTER, gguf_model, onnx_folder

NOTE = "Patients received metformin 500 mg twice daily for 12 weeks, and their HbA1c fell by 1.1%. "
SWITCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all on": ({}, {}),
    "no shared prefix": ({"share": False}, {}),
    "no forced tokens": ({"forced": False}, {}),
    "verbatim off": ({}, {"verbatim": "off"}),
}
"""By name: what differs in the engine's techniques, and in the prompt."""


def onnx_speed(kind: str, rehearse: bool) -> dict[str, Any]:
    """Tokens/s of an actor and of bare ``session.run`` over full batches; ``kind``: int8 (what
    ships), fp16 or fp32 (random weights)."""
    import onnxruntime

    from actors import Document
    from actors.config import OnnxModel, OnnxSession, load_model
    from actors.onnx import OnnxBackend

    config = load_model("starter:token-classifier")
    assert isinstance(config, OnnxModel)
    budget, texts = (512, 4) if rehearse else (16_384, 256)
    with tempfile.TemporaryDirectory() as temporary:
        folder = STARTER
        if kind != "int8":
            folder = onnx_folder(Path(temporary) / "m", kind == "fp16", 2 if rehearse else 12)
        weights = config.weights.model_copy(update={"model": str(folder), "sha256": None})
        session = OnnxSession(provider="cpu" if rehearse else "cuda", batch_tokens=budget)
        config = config.model_copy(update={"session": session, "weights": weights})
        backend = OnnxBackend(config, 1, 0.0 if rehearse else 1.0)
        documents = [Document(id=str(i), text=NOTE * (4 + i % 9)) for i in range(texts)]

        def read() -> int:
            futures = [backend.submit(document) for document in documents]
            return sum(future.result().usage.prompt_tokens for future in futures)

        tokens, seconds = _median(read)
        backend.close()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        wanted = ["CPUExecutionProvider"] if rehearse else ["CUDAExecutionProvider"]
        bare = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=wanted)
        ids = np.full((budget // 256 or 1, 256), 5, np.int64)
        feed = {item.name: ids * 0 + 1 for item in bare.get_inputs()}
        feed["input_ids"] = ids

        def run() -> int:
            bare.run(None, feed)
            return int(ids.size)

        full, memory_used = _median(run)
    rate, ceiling = tokens / seconds, full / memory_used
    return {
        "kind": kind,
        "actor_tokens_per_s": round(rate, 1),
        "session_tokens_per_s": round(ceiling, 1),
        "ratio": round(rate / ceiling, 3),
    }


def _median(work: Callable[[], int], repeats: int = 3) -> tuple[int, float]:
    """Return the result of ``work``, and its median seconds after one warm-up run."""
    done, seconds = work(), []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return done, statistics.median(seconds)


def _sizes(rehearse: bool) -> tuple[int, int, int]:
    """Requests, tokens of a prompt, and tokens printed."""
    return (4, 48, 8) if rehearse else (64, 600, 128)


def engine_plain(size: str, slots: int, rehearse: bool) -> dict[str, Any]:
    """Tokens/s printed by the engine with so many sequences, without a grammar."""
    from actors.config import GgufContext
    from actors.engine import Engine, Request, Sampling
    from actors.gguf import LlamaModel, LlamaRunner
    from actors.memory import output_rows

    count, prompt, answer = _sizes(rehearse)
    options = GgufContext(n_ctx=1024, sequences=slots, prefixes=0, use_extra_bufts=False)
    with tempfile.TemporaryDirectory() as folder:
        path = gguf_model(Path(folder) / "m.gguf", size)
        model = LlamaModel(path, options, gpu=not rehearse)
        engine = Engine(LlamaRunner(model, options, 1, output_rows(options)), slots)
        sampling = Sampling(ignore_eos=True)
        requests = [
            Request((), _prompt(i, prompt), sampling=sampling, max_tokens=answer)
            for i in range(count)
        ]

        def run() -> int:
            futures = [engine.submit(request) for request in requests]
            return sum(len(future.result().tokens) for future in futures)

        tokens, seconds = _median(run, 1 if rehearse else 3)
        engine.close()
    return {"medspan": slots, "tokens": tokens, "tokens_per_s": round(tokens / seconds, 1)}


def _prompt(number: int, length: int) -> tuple[int, ...]:
    return tuple(300 + (number * 31 + i * 7) % 1000 for i in range(length))


def llama_alone(size: str, rehearse: bool) -> dict[str, Any]:
    """The same prompts by llama_cpp.Llama, one at a time."""
    import llama_cpp

    from actors.gguf.model import extra_bufts_are_safe
    from benchmarks.plain_llama import extra_bufts

    count, prompt, answer = _sizes(rehearse)
    count = min(count, 8)
    with tempfile.TemporaryDirectory() as folder:
        path = gguf_model(Path(folder) / "m.gguf", size)
        layers = 0 if rehearse else -1
        with extra_bufts(extra_bufts_are_safe()):
            llama = llama_cpp.Llama(
                str(path),
                n_ctx=1024,
                n_gpu_layers=layers,
                n_threads=1,
                n_threads_batch=1,
                verbose=False,
            )

        def run() -> int:
            printed = 0
            for i in range(count):
                llama.reset()
                stream = llama.generate(list(_prompt(i, prompt)), temp=0.0)
                printed += sum(1 for _, _ in zip(range(answer), stream, strict=False))
            return printed

        tokens, seconds = _median(run, 1)
        llama.close()
    return {"llama": 1, "tokens": tokens, "tokens_per_s": round(tokens / seconds, 1)}


def llama_server(size: str, slots: int, binary: str, rehearse: bool) -> dict[str, Any]:
    """The same prompts by llama.cpp's own server with as many slots."""
    count, prompt, answer = _sizes(rehearse)
    port = 18_300 + slots
    with tempfile.TemporaryDirectory() as folder:
        path = gguf_model(Path(folder) / "m.gguf", size)
        command = [binary, "-m", str(path), "-np", str(slots), "-c", str(slots * 1024)]
        command += ["-ngl", "0" if rehearse else "99", "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)

            def one(number: int) -> int:
                body = {"prompt": _prompt(number, prompt), "n_predict": answer, "temperature": 0}
                told = _ask(port, "POST", "/completion", body | {"ignore_eos": True})
                return int(json.loads(told)["tokens_predicted"])

            def run() -> int:
                with ThreadPoolExecutor(slots) as pool:
                    return sum(pool.map(one, range(count)))

            tokens, seconds = _median(run, 1 if rehearse else 3)
        finally:
            process.terminate()
            process.wait()
    return {"server": slots, "tokens": tokens, "tokens_per_s": round(tokens / seconds, 1)}


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _ask(port, "GET", "/health", None)
            return
        except (OSError, RuntimeError):
            time.sleep(0.5)
    raise RuntimeError("llama-server did not start")


def _ask(port: int, method: str, path: str, body: dict[str, Any] | None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    payload = None if body is None else json.dumps(body)
    connection.request(method, path, payload, {"Content-Type": "application/json"})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"llama-server answered {response.status}")
    return content


def engine_switch(size: str, slots: int, switch: str, rehearse: bool) -> dict[str, Any]:
    """Documents/s of the whole backend with one of its SWITCHES."""
    from actors import Document
    from actors.config import GgufModel
    from actors.engine import Techniques
    from actors.gguf import GenerativeBackend

    techniques, prompt = SWITCHES[switch]
    count, _, answer = _sizes(rehearse)
    labels: dict[str, Any] = {
        name: {} for name in ("Drug", "Dose", "Duration", "Disease", "Finding")
    }
    with tempfile.TemporaryDirectory() as folder:
        content = {
            "name": "m",
            "kind": "gguf",
            "weights": {"model": str(gguf_model(Path(folder) / "m.gguf", size))},
            "context": {"n_ctx": 1024, "sequences": slots, "use_extra_bufts": False},
            "prompt": {
                "format": "template",
                "guideline": {"name": "check", "labels": labels},
                "chat_template": "chatml",
                **prompt,
            },
            "sampling": {"n_predict": answer},
        }
        backend = GenerativeBackend(
            GgufModel.model_validate(content), 1, 0.0 if rehearse else 1.0, Techniques(**techniques)
        )
        documents = [Document(id=str(i), text=NOTE * (1 + i % 3)) for i in range(count)]

        def run() -> int:
            answers = [future.result() for future in map(backend.submit, documents)]
            failed = [one.failure for one in answers if one.failure is not None]
            if failed:
                raise RuntimeError(f"{len(failed)} documents failed: {failed[0].type}")
            return sum(one.usage.completion_tokens for one in answers)

        tokens, seconds = _median(run, 1 if rehearse else 3)
        backend.close()
    return {
        "switch": switch,
        "sequences": slots,
        "documents_per_s": round(count / seconds, 2),
        "tokens_per_s": round(tokens / seconds, 1),
    }


def pictures_together(kind: str, together: bool, rehearse: bool) -> dict[str, Any]:
    """Pictures/s of an encoder that may take several at a time, or one by one, and how often it
    ran. ``kind``: internvl (which can) or qwen2vl (which cannot in this llama.cpp)."""
    from support.encoder_models import EncoderShape, write_encoder
    from support.gguf_models import make
    from support.vision_models import picture

    from actors.config import GgufContext, ImageOptions
    from actors.gguf import LlamaModel
    from actors.vision.image_budget import pixels_of
    from actors.vision.projector import EncodedImage, Projector

    width, layers = (64, 2) if rehearse else (1024, 24)
    side = 112 if rehearse else 448
    shape = EncoderShape(kind, width, 4 * width, 4 if rehearse else 16, layers, 64, side=side)
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder) / "m.gguf", "qwen2vl" if kind.startswith("qwen") else "qwen2")
        options = GgufContext(n_ctx=256, sequences=1, use_extra_bufts=False)
        model = LlamaModel(path, options, gpu=not rehearse)
        tokens = 4096 if together else 1
        images = ImageOptions.model_validate({"encode_tokens": tokens})
        encoder = write_encoder(Path(folder) / "e.gguf", shape)
        projector = Projector(encoder, model, images, 1, flash=1)
        (pixels,) = pixels_of(picture(1, side, side), images)
        count = 4 if rehearse else 64

        def run() -> int:
            parts = [p for _ in range(count) for p in projector.prepare(pixels)]
            shown = [part for part in parts if isinstance(part, EncodedImage)]
            for one in shown:
                if one.embeddings is None:  # not encoded beside an earlier one
                    projector.encode(one)
            return len(shown)

        done, seconds = _median(run, 1 if rehearse else 3)
        rounds = projector.rounds / projector.encoded
        projector.close()
        model.close()
    return {
        "encoder": kind,
        "together": together,
        "pictures_per_s": round(done / seconds, 2),
        "rounds_per_picture": round(rounds, 3),
    }

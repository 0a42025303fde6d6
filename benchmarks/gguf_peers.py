"""The peers of the GGUF benchmark: llama_cpp.Llama one document at a time, and llama-server."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from actors.gguf.model import extra_bufts_are_safe
from benchmarks.gguf_work import OcrJob, schema
from benchmarks.plain_llama import extra_bufts

VERSION = llama_cpp.__version__


def sources(cache: Path) -> Path:
    """llama.cpp's sources as llama-cpp-python's sdist carries them, unpacked in the cache."""
    root = cache / f"llama_cpp_python-{VERSION}"
    if not root.is_dir():
        archive = cache / f"llama_cpp_python-{VERSION}.tar.gz"
        if not archive.exists():
            wanted = [
                "--no-deps",
                "--no-binary",
                "llama-cpp-python",
                f"llama-cpp-python=={VERSION}",
            ]
            subprocess.run(
                [sys.executable, "-m", "pip", "download", *wanted, "-d", str(cache)], check=True
            )
        with tarfile.open(archive) as packed:
            packed.extractall(cache, filter="data")
    return root / "vendor" / "llama.cpp"


def build_server(cache: Path) -> Path:
    """llama-server built from the same sdist; minutes, once."""
    folder = cache / "build-server"
    server = folder / "bin" / "llama-server"
    if not server.exists():
        off = ["CURL", "OPENSSL", "BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_UI", "USE_PREBUILT_UI"]
        switches = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF"]
        switches += [f"-DLLAMA_{name}=OFF" for name in off]
        subprocess.run(
            ["cmake", "-S", str(sources(cache)), "-B", str(folder), *switches],
            check=True,
        )
        subprocess.run(
            ["cmake", "--build", str(folder), "--target", "llama-server", "-j", "2"], check=True
        )
    return server


class Alone:
    """llama_cpp.Llama, one document at a time; it keeps the common beginning of prompts itself."""

    def __init__(self, model: Path, threads: int) -> None:
        with extra_bufts(extra_bufts_are_safe()):
            self._llama = llama_cpp.Llama(
                str(model),
                n_ctx=1536,
                n_batch=512,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )

    def run(self, jobs: Sequence[OcrJob], grammar: bool) -> float:
        """Seconds for all jobs, each printing its own answer, with a GBNF grammar or without."""
        compiled = None
        began = time.perf_counter()
        if grammar:
            compiled = llama_cpp.LlamaGrammar.from_json_schema(schema(), verbose=False)
        for job in jobs:
            answer = iter([*job.answer_tokens, self._llama.token_eos()])

            def script(_: Any, logits: Any, answer: Any = answer) -> Any:
                logits[next(answer)] = 1e9
                return logits

            out = self._llama.create_completion(
                list(job.prompt_tokens),
                max_tokens=len(job.answer_tokens) + 1,
                temperature=0.0,
                grammar=compiled,
                logits_processor=llama_cpp.LogitsProcessorList([script]),
            )
            if out["choices"][0]["text"] != job.answer:
                raise RuntimeError("the peer did not print the answer")
        return time.perf_counter() - began

    def complete(self, prompts: Sequence[list[int]], limit: int) -> list[dict[str, Any]]:
        """The model's own answers to prompts, one after the other, under the GBNF grammar."""
        compiled = llama_cpp.LlamaGrammar.from_json_schema(schema(), verbose=False)
        answers: list[dict[str, Any]] = [
            self._llama.create_completion(
                prompt, max_tokens=limit, temperature=0.0, grammar=compiled
            )["choices"][0]
            for prompt in prompts
        ]
        return answers

    def close(self) -> None:
        """Release the model."""
        self._llama.close()


class Server:
    """llama-server with continuous batching and ``slots`` documents in flight."""

    def __init__(
        self, binary: Path, model: Path, slots: int, threads: int, *flags: str, log: Path
    ) -> None:
        self._slots, self._port = slots, 18100 + slots + len(flags)
        command = [str(binary), "-m", str(model), "-np", str(slots), "-c", str(slots * 1024)]
        command += ["-t", str(threads), "-tb", str(threads), "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--no-warmup", *flags]
        with log.open("w") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if self._ask("GET", "/health", None)[0] == 200:
                    return
            except OSError:
                time.sleep(0.2)
        self.close()
        raise RuntimeError(f"llama-server did not start: {log}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        payload = json.dumps(body) if body else None
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def run(self, jobs: Sequence[OcrJob]) -> float:
        """Seconds for all jobs: as many tokens each as its answer has, under the JSON schema."""
        wanted = [len(job.answer_tokens) for job in jobs]
        began = time.perf_counter()
        answers = self.complete([job.prompt for job in jobs], wanted)
        seconds = time.perf_counter() - began
        counts = [answer["tokens_predicted"] for answer in answers]
        if np.sum(counts) < 0.97 * np.sum(wanted):
            raise RuntimeError(f"llama-server printed {sum(counts)} tokens of {sum(wanted)}")
        return seconds

    def complete(
        self, prompts: Sequence[str | list[int]], limits: Sequence[int]
    ) -> list[dict[str, Any]]:
        """The server's responses, each of at most so many tokens under the JSON schema."""

        def one(prompt: str | list[int], limit: int) -> dict[str, Any]:
            body = {
                "prompt": prompt,
                "n_predict": limit,
                "temperature": 0.0,
                "top_k": 1,
                "cache_prompt": True,
                "json_schema": json.loads(schema()),
            }
            status, content = self._ask("POST", "/completion", body)
            if status != 200:
                raise RuntimeError(f"llama-server answered {status}")
            answer: dict[str, Any] = json.loads(content)
            return answer

        with ThreadPoolExecutor(self._slots) as pool:
            return list(pool.map(one, prompts, limits))

    def cpu(self) -> float:
        """CPU seconds that the server has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait(20)

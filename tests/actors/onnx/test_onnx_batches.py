"""A document's entities depend on its text and the model, never on its neighbours."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny_onnx

from actors import Document, Extraction, Extractor
from actors.config import OnnxModel
from actors.extractor import Share
from actors.guideline import Guideline
from actors.memory import cores
from actors.onnx import ModelLost
from actors.spans import OnProgress, ignore_progress

WORDS = " ".join(tiny_onnx.CORPUS).split()
THREADS = min(2, cores())
documents = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=120).map(" ".join), min_size=1, max_size=12
)


def load(
    folder: Path, threads: int = 1, on_progress: OnProgress = ignore_progress, **settings: Any
) -> Extractor:
    content = {"name": "tiny", "kind": "onnx", "weights": {"model": str(folder)}, **settings}
    return Extractor(OnnxModel.model_validate(content), Share(threads=threads), on_progress)


def read(extractor: Extractor, texts: Sequence[str]) -> list[Extraction]:
    return extractor.extract(Document(str(index), text) for index, text in enumerate(texts))


def quantized(model: onnx.ModelProto, folder: Path, tokenizer: Any) -> onnx.ModelProto:
    """The model in static int8 (QDQ), as the starter is."""
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            encodings = [tokenizer.encode(line).ids for line in tiny_onnx.CORPUS]
            self.feeds = iter(
                {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
                for ids in encodings
            )

        def get_next(self) -> Any:
            return next(self.feeds, None)

    before, after = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(model, str(before))
    quantization.quantize_static(
        str(before), str(after), Calibration(), op_types_to_quantize=["MatMul", "Gather"]
    )
    made = onnx.load(str(after))
    before.unlink()
    after.unlink()
    return made


@pytest.fixture(scope="module", params=["fp32", "int8"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with logits that depend on all tokens of the window."""
    path = tmp_path_factory.mktemp(request.param)
    tokenizer = tiny_onnx.wordpiece()
    model = tiny_onnx.attention(tokenizer.get_vocab_size(), len(tiny_onnx.BIO))
    if request.param == "int8":
        model = quantized(model, path, tokenizer)
    return tiny_onnx.save(path, model, tokenizer)


@pytest.fixture(scope="module")
def extractor(folder: Path) -> Iterator[Extractor]:
    with load(folder, threads=THREADS, window={"size": 48}) as made:
        yield made


@settings(max_examples=25, deadline=None)
@given(texts=documents)
def test_entities_and_scores_do_not_follow_from_the_neighbours(
    extractor: Extractor, texts: list[str]
) -> None:
    together = [extraction.entities for extraction in read(extractor, texts)]
    alone = [read(extractor, [text])[0].entities for text in texts]
    assert together == alone
    backwards = [extraction.entities for extraction in read(extractor, texts[::-1])]
    assert together == backwards[::-1]


@settings(max_examples=25, deadline=None)
@given(texts=documents)
def test_without_a_mask_no_text_is_padded(unmasked: Extractor, texts: list[str]) -> None:
    alone = [unmasked.extract([Document("1", text)])[0].entities for text in texts]
    together = unmasked.extract(Document(str(i), text) for i, text in enumerate(texts))
    for one, other in zip(alone, together, strict=True):
        assert [(e.start, e.end, e.label) for e in one] == [
            (e.start, e.end, e.label) for e in other.entities
        ]
        scores = [e.score for e in other.entities]
        assert [e.score for e in one] == pytest.approx(scores, abs=1e-5)


@pytest.fixture(scope="module")
def unmasked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extractor]:
    """A model without the input attention_mask, so that padding would change its logits."""
    tokenizer = tiny_onnx.wordpiece()
    model = tiny_onnx.mixing(tokenizer.get_vocab_size(), len(tiny_onnx.BIO))
    path = tiny_onnx.save(tmp_path_factory.mktemp("unmasked"), model, tokenizer)
    with load(path, threads=THREADS, window={"size": 48}) as made:
        yield made


@pytest.mark.weights
def test_the_starter_gives_the_same_whatever_shares_its_batch() -> None:
    from actors import load_extractor

    texts = [" ".join(WORDS[i : i + 60]) for i in range(0, len(WORDS), 7)] + [" ".join(WORDS) * 4]
    with load_extractor("starter:token-classifier", Share(threads=THREADS)) as starter:
        together = [extraction.entities for extraction in read(starter, texts)]
        assert together == [read(starter, [text])[0].entities for text in texts]
        assert any(together)


def test_the_size_of_batches_changes_nothing(folder: Path) -> None:
    texts = [" ".join(WORDS[i : i + 40]) for i in range(len(WORDS) - 40)]
    seen = []
    for tokens in (64, 500, 4096):
        with load(folder, session={"batch_tokens": tokens}) as extractor:
            seen.append([extraction.entities for extraction in read(extractor, texts)])
    assert seen[0] == seen[1] == seen[2]


def test_windows_see_what_the_whole_document_would_show_them(tmp_path: Path) -> None:
    """A model without context gives the same in windows of any size: nothing is cut or lost."""
    tokenizer = tiny_onnx.wordpiece()
    table = tiny_onnx.random_table(tokenizer, 5)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, max_position_embeddings=100_000)
    text = "\n".join(tiny_onnx.CORPUS * 30)
    seen = []
    for size in (8, 33, 512, 100_000):
        with load(tmp_path, window={"size": size}) as extractor:
            seen.append(read(extractor, [text])[0].entities)
    assert len(seen[0]) > 1000
    assert seen[0] == seen[1] == seen[2] == seen[3]


def test_a_document_read_in_segments_has_the_same_entities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_onnx.wordpiece()
    table = tiny_onnx.random_table(tokenizer, 5)
    table[:, 0] += 4
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer)
    text = "\n".join(tiny_onnx.CORPUS * 20)
    with load(tmp_path, window={"size": 32}) as extractor:
        whole = read(extractor, [text, text[:500]])
        monkeypatch.setattr("actors.onnx.tokens.tokenized_document._SEGMENT", 100)
        assert [x.entities for x in read(extractor, [text, text[:500]])] == [
            x.entities for x in whole
        ]
    assert len(whole[0].entities) > 100


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures with /proc")
@pytest.mark.parametrize("megabytes", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_long_document_is_read_to_its_end_in_bounded_memory(
    megabytes: int, tmp_path: Path
) -> None:
    tokenizer = tiny_onnx.word_level(["note", "insulin", "."])
    labels = ["O", *(f"{side}-T{i}" for i in range(20) for side in "BI")]
    table = tiny_onnx.labelled(tokenizer, labels, {"insulin": "B-T7"})
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, labels)
    line = "note " * 399 + "insulin.\n"
    text = line * (megabytes * 1_000_000 // len(line))
    with load(tmp_path) as extractor:
        read(extractor, [line * 100])
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
        before = highest_memory()
        (extraction,) = read(extractor, [text])
    assert {entity.text for entity in extraction.entities} == {"insulin"}
    assert len(extraction.entities) == text.count("insulin")
    # every megabyte has 200,000 tokens here: their logits alone would be 33 MB
    assert highest_memory() - before < 40 + 10 * megabytes


def highest_memory() -> float:
    """Megabytes that this process had at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1e3


def test_documents_submitted_by_many_threads(extractor: Extractor) -> None:
    texts = [" ".join(WORDS[i : i + 9]) for i in range(40)]
    expected = [extraction.entities for extraction in read(extractor, texts)]
    found: dict[int, Any] = {}

    def ask(index: int) -> None:
        found[index] = extractor.submit(Document(str(index), texts[index])).result(30).entities

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(texts))] == expected


def test_a_documents_own_guideline_chooses_among_the_models_labels(tmp_path: Path) -> None:
    tokenizer = tiny_onnx.word_level(["insulin", "pain", "fever"])
    labels = ["O", "B-DRUG", "I-DRUG", "B-SIGN", "I-SIGN"]
    said = {"insulin": "B-DRUG", "pain": "B-SIGN"}
    table = tiny_onnx.labelled(tokenizer, labels, said)
    tiny_onnx.save(tmp_path, tiny_onnx.by_token(table), tokenizer, labels)
    guideline = Guideline.model_validate(
        {"name": "mine", "labels": {"Medication": {"synonyms": ["drug"]}, "Disease": {}}}
    )
    document = Document("1", "insulin pain")
    with load(tmp_path) as extractor:
        own = extractor.extract([document])[0]
        mine = extractor.submit(document, guideline).result(30)
        again = extractor.extract([document])[0]
    assert [(e.label, e.text) for e in own.entities] == [("DRUG", "insulin"), ("SIGN", "pain")]
    assert [(e.label, e.text) for e in mine.entities] == [("Medication", "insulin")]
    assert mine.fingerprint != own.fingerprint == again.fingerprint


def test_close_cancels_what_waits(folder: Path) -> None:
    extractor = load(folder)
    futures = [extractor.submit(Document(str(i), " ".join(WORDS) * 20)) for i in range(200)]
    extractor.close()
    assert futures[-1].cancelled()
    for future in futures:
        assert future.done()
    with pytest.raises(RuntimeError, match="closed"):
        extractor.submit(Document("1", "late"))


def test_a_cancelled_document_is_not_read(folder: Path) -> None:
    with load(folder) as extractor:
        futures = [extractor.submit(Document(str(i), " ".join(WORDS))) for i in range(60)]
        cancelled = futures[-1].cancel()
        assert futures[-2].result(60).document_id == "58"
        assert futures[-1].cancelled() is cancelled


def test_a_lost_model_is_an_exception_of_every_future(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(folder) as extractor:

        def fault(*_: object) -> None:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

        reader = extractor._backend._reader  # type: ignore[attr-defined]
        monkeypatch.setattr(reader, "_run", fault)
        futures = [extractor.submit(Document(str(i), "aspirin")) for i in range(3)]
        for future in futures:
            with pytest.raises(ModelLost):
                future.result(10)
        with pytest.raises(ModelLost):
            extractor.extract([Document("late", "aspirin")])


class Steps:
    """A model's batches: how many were run, each once ``go`` is set."""

    def __init__(self, extractor: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go, self.count = threading.Event(), threading.Event(), 0
        reader = extractor._backend._reader  # type: ignore[attr-defined]
        self._run = reader._run
        monkeypatch.setattr(reader, "_run", self)

    def __call__(self, sequences: Sequence[Any]) -> Any:
        self.count += 1
        self.begun.set()
        self.go.wait(30)
        return self._run(sequences)


def test_close_ends_a_document_that_is_being_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = load(folder)
    steps = Steps(extractor, monkeypatch)
    future = extractor.submit(Document("1", " ".join(WORDS) * 400))
    assert steps.begun.wait(30)
    steps.go.set()
    extractor.close()
    with pytest.raises(CancelledError):
        future.result(0)


@pytest.mark.parametrize("tokens", [200, 16_384])
def test_a_document_that_is_cancelled_while_it_is_read_frees_the_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    """Its windows take many rounds, or one round of many batches."""
    monkeypatch.setattr("actors.onnx.tokens.tokenized_document._SEGMENT", tokens)
    with load(folder, session={"batch_tokens": 128}) as extractor:
        steps = Steps(extractor, monkeypatch)
        long = extractor.submit(Document("long", " ".join(WORDS) * 200))
        assert steps.begun.wait(30)
        assert long.cancel()
        short = extractor.submit(Document("short", "aspirin"))
        steps.go.set()
        assert short.result(30).document_id == "short"
        assert steps.count < 10, "of some hundred"
        waited = wait([long], 30)
    assert waited.done == {long}


def test_progress_of_long_documents_is_reported(folder: Path) -> None:
    """They advance side by side, so that for long none is done."""
    lock, futures = threading.Lock(), list[Future[Extraction]]()
    seen: list[bool] = []

    def on_progress() -> None:
        with lock:
            seen.append(any(future.done() for future in futures))

    text = " ".join(WORDS) * 20
    with load(folder, on_progress=on_progress, session={"batch_tokens": 128}) as extractor:
        with lock:
            futures += [extractor.submit(Document(str(i), text)) for i in range(3)]
        for future in futures:
            future.result(60)
    assert seen.count(False) > 20


def test_cancelling_while_results_come_harms_nobody(folder: Path) -> None:
    with load(folder, threads=THREADS) as extractor:
        futures = [
            extractor.submit(Document(str(i), " ".join(WORDS[i % 40 :]))) for i in range(300)
        ]
        for future in futures[::2]:
            future.cancel()
            futures[1].result(30)  # the others come meanwhile
        for i, future in enumerate(futures):
            if not future.cancelled():
                assert future.result(30).document_id == str(i)
        assert not any(future.cancelled() for future in futures[1::2])

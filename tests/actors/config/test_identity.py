"""Each setting is part of a stage's identity or cannot change an answer; the lists are complete."""

from __future__ import annotations

import typing

import pytest

from actors.config import ConfigSection, GlinerModel, OnnxModel, fingerprint, results_of
from actors.config.context import Context
from actors.config.gguf import GgufModel
from actors.config.linking import Linking
from actors.config.merge import Merge
from actors.config.ocr import OcrModel
from actors.config.relations import Relations
from pipelines.config import Source

# For each section: what can change an answer, and what cannot.
ONNX = (
    """
    name kind window.size window.overlap decode.scheme decode.outside decode.algorithm
    decode.pieces labels.white_list labels.black_list labels.threshold labels.thresholds
    labels.replace
""",
    """
    weights.model weights.sha256 weights.file session
""",
)

GLINER = (
    """
    name kind prompt.guideline prompt.ask prompt.synonyms prompt.most_labels window.size
    window.overlap decode.splitter decode.overlaps decode.multi_label labels.white_list
    labels.black_list labels.threshold labels.thresholds labels.replace
""",
    """
    weights.model weights.sha256 weights.file session
""",
)

GGUF = (
    """
    name kind weights.lora.scale context.n_ctx context.flash_attn context.type_k
    context.type_v context.swa_full context.llama_cpp prompt.format prompt.guideline
    prompt.instruction prompt.chat_template prompt.template_kwargs prompt.date prompt.system
    prompt.constrained prompt.verbatim
    prompt.max_items prompt.max_length prompt.json_style prompt.reasoning_budget prompt.tables
    prompt.check prompt.examples prompt.grounding.fuzzy_threshold prompt.grounding.mark_all
    images.pages images.too_large images.text images.min_tokens images.max_tokens
    images.max_pixels images.output_tokens images.dpi images.max_pages images.max_megapixels
    sampling.temperature sampling.top_k sampling.top_p sampling.min_p sampling.typical_p
    sampling.min_keep sampling.repeat_penalty sampling.repeat_last_n
    sampling.frequency_penalty sampling.presence_penalty sampling.dynatemp_range
    sampling.dynatemp_exponent sampling.seed sampling.n_predict sampling.stop
    sampling.ignore_eos window.size window.overlap labels.white_list labels.black_list
    labels.threshold labels.thresholds labels.replace overlaps
""",
    """
    weights.model weights.sha256 weights.mmproj weights.mmproj_sha256 weights.lora.model
    weights.lora.sha256 context.sequences context.kv_tokens context.prefixes
    context.n_gpu_layers context.n_batch context.n_ubatch context.offload_kqv context.use_mmap
    context.use_extra_bufts context.use_mlock images.encode_tokens sampling.n_probs
    sampling.tfs_z sampling.penalize_nl sampling.n_keep sampling.cache_prompt
""",
)

OCR = (
    """
    name kind pages.dpi pages.text_layer pages.max_pages pages.max_megapixels
    pages.page_seconds pages.page_memory_mb detection.max_side detection.threshold
    min_confidence language recognizer
""",
    """
    weights.model weights.sha256 batch_pixels
""",
)

MERGE = (
    """
    overlaps priority
""",
    """

""",
)

SOURCE = (
    """
    encoding csv.delimiter csv.quote csv.escape markup id text image prompt max_document_mb
""",
    """
    path catalog format strict where max_inflated_mb max_markup_s on_duplicate extra_columns
    unit_rows unit_images unit_mb
""",
)

CONTEXT = (
    """
    languages labels rules.id rules.effect rules.direction rules.cues rules.patterns
    rules.reach rules.whole rules.phrase rules.ends without headings implied filters.labels
    filters.only filters.never filters.only_status filters.never_status classifier.marks
    classifier.labels stated.attribute stated.values
""",
    """
    classifier.weights classifier.batch_tokens
""",
)

RELATIONS = (
    """
    rules.type rules.head rules.tail rules.side rules.reach rules.within rules.link
    rules.pick rules.enumerated abbreviations
""",
    """

""",
)

LINKING = (
    """
    vocabularies.labels vocabularies.drugs vocabularies.embedding.threshold top_k threshold parents
""",
    """
    vocabularies.index vocabularies.link vocabularies.embedding.weights.model
    vocabularies.embedding.weights.sha256 vocabularies.embedding.weights.file
""",
)


CASES = {
    OnnxModel: ONNX,
    GlinerModel: GLINER,
    GgufModel: GGUF,
    OcrModel: OCR,
    Merge: MERGE,
    Source: SOURCE,
    Context: CONTEXT,
    Relations: RELATIONS,
    Linking: LINKING,
}


@pytest.mark.parametrize("section", CASES, ids=lambda section: section.__name__)
def test_every_setting_is_listed(section: type[ConfigSection]) -> None:
    counts, running = _settings(section)
    listed_counts, listed_running = (set(names.split()) for names in CASES[section])
    assert counts == listed_counts
    assert running == listed_running


def _settings(section: type[ConfigSection], before: str = "") -> tuple[set[str], set[str]]:
    counts: set[str] = set()
    running: set[str] = set()
    for name, field in section.model_fields.items():
        inner = _section(field.annotation)
        if name in section.RUNNING:
            running.add(before + name)
        elif inner is None:
            counts.add(before + name)
        else:
            deeper = _settings(inner, f"{before}{name}.")
            counts |= deeper[0]
            running |= deeper[1]
    return counts, running


def _section(annotation: object) -> type[ConfigSection] | None:
    if isinstance(annotation, type) and issubclass(annotation, ConfigSection):
        return annotation
    return next(filter(None, map(_section, typing.get_args(annotation))), None)


def _model(**more: object) -> OnnxModel:
    content = {"name": "m", "kind": "onnx", "weights": {"model": "here"}}
    return OnnxModel.model_validate(content | more)


def test_running_settings_leave_the_identity() -> None:
    same = _model(session={"batch_tokens": 64, "threads_per_batch": 2}, weights={"model": "there"})
    assert same.identity() == _model().identity()
    assert fingerprint(same) == fingerprint(_model())


def test_settings_that_change_answers_change_the_identity() -> None:
    other = _model(decode={"algorithm": "greedy"})
    assert fingerprint(other) != fingerprint(_model())
    assert fingerprint(_model(), weights="a") != fingerprint(_model(), weights="b")


def test_a_raised_results_number_changes_the_fingerprint() -> None:
    before = results_of("onnx")
    after = before | {"onnx": before["onnx"] + 1}
    assert fingerprint({"results": before}) != fingerprint({"results": after})
    with pytest.raises(KeyError):
        results_of("none such")

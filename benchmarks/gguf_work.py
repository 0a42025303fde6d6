"""Inputs of the GGUF benchmark: a random-weight qwen2 model and made-up clinical notes.

The vocabulary is Qwen2's own (151,936 tokens), copied from the vocabulary file that llama.cpp's
sources carry; the weights are noise from a seed, so the model costs what a trained one costs, and
its output means nothing. Notes come with the answer of a perfect model.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

LABELS = [
    "AGE",
    "CITY",
    "COUNTRY",
    "DATE",
    "DOCTOR",
    "DOSAGE",
    "DRUG",
    "DURATION",
    "CANCER",
    "FREQUENCY",
    "HOSPITAL",
    "BODY_PART",
    "PATIENT",
    "PHONE",
    "PROBLEM",
    "PROFESSION",
    "STATE",
    "STRENGTH",
    "TEST",
    "TREATMENT",
]
Answer = dict[str, list[str]]


@dataclass(frozen=True)
class OcrJob:
    """One document with its prompt and the answer that it is made to have."""

    number: int
    note: str
    prompt: str
    prompt_tokens: tuple[int, ...]
    answer: str
    answer_tokens: tuple[int, ...]


def make_model(path: Path, vocabulary: Path) -> Path:
    """Write a qwen2 model of 155M parameters, Q8_0 (165 MB), to ``path`` unless it is there."""
    if path.exists():
        return path
    width, layers, heads, kv_heads, feed = 512, 20, 8, 2, 2048
    draw = np.random.default_rng(0)
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "qwen2")
    writer.add_name("medspan-bench")
    writer.add_block_count(layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(7)
    copy_vocabulary(writer, vocabulary)

    def matrix(name: str, out: int, into: int, scale: float = 0.0) -> None:
        values = draw.standard_normal((out, into), dtype=np.float32) * (scale or into**-0.5)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def vector(name: str, size: int, scale: float = 0.0) -> None:
        noise = draw.standard_normal(size, dtype=np.float32) * np.float32(scale)
        writer.add_tensor(name, noise if scale else np.ones(size, np.float32))

    matrix("token_embd.weight", 151936, width, 1.0)
    vector("output_norm.weight", width)
    for i in range(layers):
        block = f"blk.{i}."
        vector(block + "attn_norm.weight", width)
        vector(block + "ffn_norm.weight", width)
        for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            matrix(f"{block}attn_{name}.weight", count * width // heads, width)
            vector(f"{block}attn_{name}.bias", count * width // heads, 0.1)
        matrix(block + "attn_output.weight", width, width)
        matrix(block + "ffn_gate.weight", feed, width)
        matrix(block + "ffn_up.weight", feed, width)
        matrix(block + "ffn_down.weight", width, feed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return partial.rename(path)


def copy_vocabulary(writer: gguf.GGUFWriter, vocabulary: Path) -> None:
    """Give a model the vocabulary of another GGUF file."""
    for key, field in gguf.GGUFReader(vocabulary).fields.items():
        if not key.startswith("tokenizer."):
            continue
        # <|im_end|>, as in the instruct models
        value: Any = 151645 if key == "tokenizer.ggml.eos_token_id" else field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(key, value)
        elif field.types[0] == gguf.GGUFValueType.STRING:
            writer.add_string(key, value)
        else:
            writer.add_key_value(key, value, field.types[0])
    writer.add_bool("tokenizer.ggml.add_bos_token", False)


def make_note(number: int) -> tuple[str, Answer]:
    """A note of about 275 tokens and its entities by label, each one verbatim in it."""
    draw = random.Random(number)

    def one(words: str) -> str:
        return draw.choice(words.split("|"))

    patient = (
        f"{one('John|Mary|Ahmed|Olga|Pedro|Wei|Fatima|Lars|Grace|Ivan')} "
        f"{one('Smith|Garcia|Ivanov|Chen|Kowalski|Brown|Haddad|Olsen|Novak|Patel')}"
    )
    doctor = (
        f"Dr. {one('Sarah|James|Elena|Rahul|Anna|Mark')} "
        f"{one('Johnson|Miller|Petrov|Gupta|Weber|Diaz')}"
    )
    hospital = one("Memorial Hospital|Saint Mary Medical Center|General Hospital|Lakeside Clinic")
    city, state = one("New York,NY|Boston,MA|Chicago,IL|Houston,TX|Seattle,WA").split(",")
    age, job = f"{draw.randint(30, 88)}-year-old", one("teacher|truck driver|electrician|nurse")
    date = f"{one('March|June|April|October')} {draw.randint(1, 28)}, 2024"
    problems = draw.sample(
        [
            "severe chest pain",
            "persistent cough",
            "shortness of breath",
            "night sweats",
            "lower back pain",
            "blurred vision",
            "weight loss",
            "mild nausea",
        ],
        3,
    )
    cancer, part = one(
        "non-small cell lung cancer,right upper lobe|adenocarcinoma,left lung|"
        "ductal carcinoma,left breast|melanoma,upper back"
    ).split(",")
    drug, strength = one(
        "osimertinib,80 mg|letrozole,2.5 mg|capecitabine,500 mg|metformin,1000 mg"
    ).split(",")
    often, long = one("once daily|twice daily|every 6 hours"), one("the past 3 months|six weeks")
    tests = draw.sample(["CT scan of the chest", "PET scan", "complete blood count", "biopsy"], 2)
    therapy = one("radiation therapy|targeted therapy|chemotherapy")
    phone = f"(555) {draw.randint(100, 999)}-{draw.randint(1000, 9999)}"
    text = (
        f"On {date}, patient {patient}, a {age} {job}, was admitted to {hospital} in {city}, "
        f"{state}, under the care of {doctor}. The patient presented with {problems[0]}, "
        f"{problems[1]}, and {problems[2]} that had been worsening over {long}. Medical history "
        f"revealed a 30-pack-year smoking history, and the patient had been diagnosed with "
        f"{cancer} in the {part}.\n\nInitial diagnostic workup included a {tests[0]}, which showed "
        f"a {draw.randint(2, 6)}.{draw.randint(1, 9)} cm mass with regional lymph node "
        f"involvement. A {tests[1]} was performed and results were reviewed by the tumor board. "
        f"Liver function tests were within normal limits, and the performance status was ECOG 1."
        f"\n\nTreatment was initiated with {therapy} and {drug} {strength} orally {often}. "
        f"Supportive care was given and the patient reported improvement in symptoms at "
        f"follow-up, with a 30% reduction in tumor size on imaging. The patient was advised to "
        f"continue {drug} and return for reassessment in 6 weeks. Contact information: phone "
        f"{phone}. The next appointment is scheduled in the Oncology Clinic, and the family was "
        f"informed about the plan of care and possible side effects of the therapy."
    )
    found = {
        "AGE": [age], "CITY": [city], "DATE": [date], "DOCTOR": [doctor], "DRUG": [drug],
        "DURATION": [long], "CANCER": [cancer], "FREQUENCY": [often], "HOSPITAL": [hospital],
        "BODY_PART": [part], "PATIENT": [patient], "PHONE": [phone], "PROBLEM": problems,
        "PROFESSION": [job], "STATE": [state], "STRENGTH": [strength], "TEST": tests,
        "TREATMENT": [therapy],
    }  # fmt: skip
    return text, {label: found.get(label, []) for label in LABELS}


def schema() -> str:
    """The JSON schema of the same answers, for the peers."""
    lists = {"type": "array", "items": {"type": "string"}}
    entities = {
        "type": "object",
        "properties": dict.fromkeys(LABELS, lists),
        "required": LABELS,
        "additionalProperties": False,
    }
    whole = {"type": "array", "items": entities, "minItems": 1, "maxItems": 1}
    return json.dumps(
        {
            "type": "object",
            "properties": {"entities": whole},
            "required": ["entities"],
            "additionalProperties": False,
        }
    )

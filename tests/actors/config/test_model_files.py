"""The shipped model files say what their cards say."""

from __future__ import annotations

import pytest
from support import FIXTURES, ROOT
from support.prompts import VIETNAMESE_SYSTEM

from actors.config import load_model
from actors.config.gguf import GgufModel
from actors.guideline import Guideline
from actors.prompts import chat_template, prompt_format

MODELS = ROOT / "configs" / "models"


def gguf(name: str) -> GgufModel:
    model = load_model(MODELS / f"{name}.yaml")
    assert isinstance(model, GgufModel)
    return model


def test_the_clinical_note_model_sets_what_its_card_sets() -> None:
    model = gguf("jsl_meds_ner_2b_q8_v1")
    given = model.sampling
    assert (given.n_predict, given.temperature, given.top_k, given.top_p) == (3000, 0.1, 40, 0.9)
    assert given.model_fields_set == {"n_predict", "temperature", "top_k", "top_p"}
    assert model.prompt.chat_template == "gguf"


def test_the_clinical_note_model_asks_as_its_card_does() -> None:
    prompt = (FIXTURES / "card_prompt.txt").read_text(encoding="utf-8")
    note = prompt.split("#### Clinical Note:\n")[1].split("\n#### Instructions:")[0]
    asked = prompt_format(gguf("jsl_meds_ner_2b_q8_v1").prompt, chat_template("chatml"))
    assert asked.render(note).text == (
        f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{prompt}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_vietnamese_model_sets_what_its_card_sets() -> None:
    model = gguf("Qwen2.5-7B-Vietnamese-Medical-NER")
    assert (model.sampling.temperature, model.sampling.n_predict) == (0, 256)
    assert isinstance(model.prompt.guideline, Guideline)
    assert model.prompt.guideline.language == "vi"


def test_the_vietnamese_model_file_prints_the_cards_prompt_byte_for_byte() -> None:
    asked = prompt_format(gguf("Qwen2.5-7B-Vietnamese-Medical-NER").prompt, chat_template("chatml"))
    text = "Bệnh nhân nam 45 tuổi nhập viện."
    assert asked.render(text).text == (
        f"<|im_start|>system\n{VIETNAMESE_SYSTEM}<|im_end|>\n<|im_start|>user\nText: {text}"
        "<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_vision_model_sets_what_its_card_sets() -> None:
    model = gguf("jsl_meds_vlm_3b_q4_v1")
    given = model.sampling
    assert (given.n_predict, given.temperature, given.top_k, given.top_p) == (-1, 0.05, 40, 0.95)
    assert (given.min_p, given.typical_p, given.min_keep) == (0.05, 1.0, 0)
    assert (given.repeat_penalty, given.repeat_last_n, given.n_probs) == (1.18, 256, 0)
    assert (given.tfs_z, given.penalize_nl) == (1.0, False)
    assert given.stop == ("</s>", "User:")
    context = model.context
    assert (context.n_ctx, context.sequences, context.n_gpu_layers) == (4096, 4, 99)
    assert model.sees
    asked = prompt_format(model.prompt, chat_template(model.prompt.chat_template))
    prompt = asked.render("", pictures=1)
    assert [segment.picture for segment in prompt.suffix] == [True, False, False]
    assert prompt.text == (
        "You are a helpful assistant.\n\nUSER: Extract demografig, clinical disease and medication "
        "informations\nASSISTANT:"
    )


def test_the_reasoning_model_sets_nothing_that_its_card_does_not() -> None:
    model = gguf("jsl_meds_vlm_reasoning_8b_q4_v1")
    assert model.sampling.model_fields_set == {"n_predict", "temperature"}
    assert model.prompt.reasoning_budget > 0
    assert (model.prompt.instruction or "").startswith("Analyze this clinical document. First,")


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_model_file_is_valid_and_named_as_its_file(path: object) -> None:
    assert load_model(str(path)).name == str(path).rsplit("/", 1)[-1].removesuffix(".yaml")

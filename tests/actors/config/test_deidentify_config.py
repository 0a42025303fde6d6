from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actors.config import GlinerModel, load_model
from actors.config.deidentify import Category, Deidentify, ReplacementPolicy
from actors.guideline import Guideline


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"policies": {"NAME": "shift"}}, "only to DATE"),
        ({"policies": {"AGE": "surrogate"}}, "policies.AGE"),
        ({"policies": {"CITY": "generalise"}}, "only to AGE, DATE, ZIP"),
        ({"policies": {"NICKNAME": "mask"}}, "NICKNAME|NAME"),
        ({"countries": ["usa"]}, "usa"),
        ({"max_shift_days": 0}, "max_shift_days"),
        ({"policy": {}}, "policy"),
    ],
)
def test_invalid_section_names_the_key(section: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Deidentify.model_validate(section)


@pytest.mark.parametrize(
    ("label", "category"),
    [
        ("PATIENT", Category.NAME),
        ("doctor", Category.NAME),
        ("NOMBRE_SUJETO_ASISTENCIA", Category.NAME),
        ("contact_phone", Category.PHONE),
        ("GPS", Category.GPS),
        # as GLiNER models are asked, and as types are named
        ("patient name", Category.NAME),
        ("Phone number", Category.PHONE),
        ("e-mail", Category.EMAIL),
        ("date of birth", Category.DATE),
        ("social security number", Category.NATIONAL_ID),
        ("location-other", Category.CITY),
        ("PatientName", Category.NAME),
        ("national id", Category.NATIONAL_ID),
        ("body part", None),
        ("DRUG", None),
    ],
)
def test_a_label_implies_its_category(label: str, category: Category | None) -> None:
    assert Deidentify().category(label) is category


def test_the_identifiers_of_the_starter_belong_to_categories() -> None:
    model = load_model("starter:any-labels")
    assert isinstance(model, GlinerModel)
    assert isinstance(model.prompt.guideline, Guideline)
    labels = {label for label in model.prompt.guideline.labels if Deidentify().category(label)}
    assert labels == {"patient name", "doctor name", "hospital", "date", "age", "phone number"}


def test_labels_of_the_user_come_first() -> None:
    config = Deidentify(labels={"DRUG": Category.ID, "PATIENT": Category.ID})
    assert config.category("DRUG") is Category.ID
    assert config.category("PATIENT") is Category.ID


def test_only_some_policies_need_a_key() -> None:
    assert not Deidentify().needs_key()
    assert Deidentify(policies={Category.DATE: ReplacementPolicy.SHIFT}).needs_key()


def test_a_preset_and_the_same_policies_have_one_identity() -> None:
    strict = Deidentify(preset="strict")
    written = Deidentify(policies=dict.fromkeys(Category, ReplacementPolicy.MASK))
    assert strict.identity() == written.identity()


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "staff.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"staff\.txt: not valid UTF-8 at byte 0"):
        Deidentify(lists={Category.NAME: (str(path),)}).read_lists()

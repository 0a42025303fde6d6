"""Relations: which labels belong together, how near, and on which side."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from actors.config.base import ConfigSection

LabelName = Annotated[str, StringConstraints(min_length=1)]

DRUG_LABELS = ("Drug", "Medication", "DrugName", "Chemical", "DrugIngredient", "DrugBrandName")
PROBLEM_LABELS = (
    "Problem",
    "Disease",
    "DisorderOrSyndrome",
    "DiseaseDisorder",
    "DiseaseSyndromeDisorder",
    "Condition",
    "Symptom",
    "SignSymptom",
    "Diagnosis",
)
TEST_LABELS = ("Test", "LabTest", "TestName", "DiagnosticProcedure", "Measurement", "VitalSign")


class RelationRule(ConfigSection):
    """A tail belongs to the nearest head that nothing stands in front of.

    Labels are compared without case, ``_``, ``-`` and spaces.
    """

    type: str = Field(min_length=1, description="The type of the relations it makes.")
    head: tuple[LabelName, ...] = Field(
        min_length=1, description="Labels of the head, such as Drug."
    )
    tail: tuple[LabelName, ...] = Field(
        min_length=1, description="Labels of the tail, such as Dose."
    )
    side: Literal["after", "before", "either", "either_after"] = Field(
        "either_after",
        description="Position of the tail relative to its head. either_after: both sides, "
        "preferring after if equally near.",
    )
    reach: int = Field(
        12, ge=0, description="Maximum words between the two, not counting those of other tails."
    )
    within: Literal["sentence", "line", "block"] = Field(
        "block",
        description="The unit that must contain both. block: no blank line and no new list item "
        "in between.",
    )
    link: tuple[str, ...] = Field(
        (), description="One of these words must directly precede the second of the two."
    )
    pick: Literal["nearest", "all"] = Field(
        "nearest", description="all: every head within reach, and heads do not block."
    )

    enumerated: bool = Field(
        False,
        description="A tail without a number also belongs to the heads that an enumeration joins "
        "to its own: `A, B and C were negative`.",
    )

    @model_validator(mode="after")
    def _differ(self) -> Self:
        both = {folded(one) for one in self.head} & {folded(one) for one in self.tail}
        if both:
            raise ValueError(f"relation {self.type!r}: head and tail share a label")
        return self


def folded(label: str) -> str:
    """A label as labels are compared."""
    return label.lower().replace("_", "").replace("-", "").replace(" ", "")


DEFAULT_RULES = (
    RelationRule(
        type="strength", head=DRUG_LABELS, tail=("Strength", "DoseValue", "DrugStrength"), reach=6
    ),
    RelationRule(
        type="dose", head=DRUG_LABELS, tail=("Dose", "Dosage", "Amount", "Dosing"), reach=8
    ),
    RelationRule(
        type="route", head=DRUG_LABELS, tail=("Route", "Administration", "DrugRoute"), reach=8
    ),
    RelationRule(type="form", head=DRUG_LABELS, tail=("Form", "DrugForm"), reach=6),
    RelationRule(
        type="frequency",
        head=DRUG_LABELS,
        tail=("Frequency", "DrugTime", "DrugFrequency"),
        reach=10,
    ),
    RelationRule(
        type="duration",
        head=DRUG_LABELS,
        tail=("Duration", "DrugDuration"),
        reach=8,
        within="sentence",
        link=("for", "x", "during", "durante", "por", "pour", "pendant", "f\u00fcr", "trong"),
    ),
    RelationRule(
        type="reason",
        head=DRUG_LABELS,
        tail=PROBLEM_LABELS,
        side="after",
        reach=8,
        within="sentence",
        link=("for", "to treat", "against", "por", "para", "pour", "gegen", "bei", "wegen", "vì"),
    ),
    RelationRule(
        type="value",
        head=TEST_LABELS,
        tail=("Value", "LabValue", "TestResult", "LabResult"),
        reach=6,
        within="line",
        enumerated=True,
    ),
    RelationRule(
        type="unit",
        head=("Value", "DoseValue", "LabValue", "TestResult"),
        tail=("Unit", "BioAndMedicalUnit", "Units"),
        side="after",
        reach=0,
        within="line",
    ),
    RelationRule(
        type="reference_range",
        head=TEST_LABELS,
        tail=("ReferenceRange", "Reference", "NormalRange"),
        side="after",
        reach=8,
        within="line",
    ),
    RelationRule(
        type="body_part",
        head=("Symptom", "SignSymptom", "Finding", "Problem", "DiseaseDisorder", "Disease"),
        tail=("BodyPart", "BiologicalStructure", "Anatomy", "InternalOrganOrComponent"),
        side="either",
        reach=4,
        within="sentence",
    ),
)


class Relations(ConfigSection):
    """Relations between entities, by rules over their places; and abbreviations of the text."""

    rules: tuple[RelationRule, ...] = Field(
        DEFAULT_RULES, description="Replaces the included rules, which cover common label names."
    )
    abbreviations: bool = Field(
        True, description="Find short forms that the text defines, and their long forms."
    )

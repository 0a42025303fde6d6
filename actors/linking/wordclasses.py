"""Words that medical names use in one another's place, whatever the vocabulary.

General terminology, of no corpus; what else is used for what, a vocabulary's own synonyms teach
(`substitutes`).
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.linking.term_keys import stem

_DISEASE = ("disease", "disorder", "illness", "condition")
_ANOMALY = ("abnormality", "anomaly", "malformation", "defect")
_DAMAGE = ("syndrome", "dysfunction", "impairment", "disturbance", "damage", "injury")
_GENERIC = (
    *_DISEASE, *_ANOMALY, *_DAMAGE, "lesion", "toxicity", "complication", "involvement", "problem",
    "manifestation", "symptom", "sign", "finding", "change", "affection", "event", "reaction",
    "attack", "episode",
)  # fmt: skip
_HEREDITARY = (
    "hereditary", "familial", "inherited", "genetic", "inborn", "heritable", "autosomal",
    "dominant", "recessive", "monogenic",
)  # fmt: skip
_CLASSES = (
    (65, _GENERIC),
    (75, _HEREDITARY),
    (92, _DISEASE),
    (90, (*_ANOMALY, "deformity")),
    (80, ("tumor", "cancer", "neoplasm", "malignancy")),
    (70, ("tumor", "cancer", "neoplasm", "malignancy", "carcinoma")),
    (85, ("mental", "psychiatric", "psychological")),
    (85, ("bleeding", "hemorrhage")),
    (85, ("increased", "elevated", "high", "raised", "increase", "elevation", "rise")),
    (85, ("decreased", "reduced", "low", "diminished", "decrease", "reduction")),
    (85, ("deficiency", "deficit", "lack")),
    (80, ("failure", "insufficiency")),
    (85, ("stone", "calculus", "calculi", "lithiasis")),
    (85, ("wasting", "atrophy")),
    (85, ("narrowing", "stenosis", "stricture")),
    (85, ("swelling", "edema")),
    (85, ("itching", "pruritus")),
    (85, ("palsy", "paralysis")),
    (85, ("convulsion", "seizure")),
    (85, ("clot", "thrombus", "thrombosis")),
    (85, ("absence", "agenesis", "aplasia")),
    (85, ("underdevelopment", "hypoplasia")),
    (85, ("dilatation", "dilation", "dilated", "enlargement", "enlarged")),
    (85, ("overgrowth", "hyperplasia")),
    (85, ("hardening", "sclerosis")),
    (85, ("fever", "pyrexia", "febrile")),
    (85, ("yellowing", "jaundice", "icterus")),
    (85, ("component", "factor")),
    (85, ("long", "prolonged", "prolongation")),
    (85, ("short", "shortened", "shortening")),
    (70, ("b", "beta")),
    (80, ("tolerance", "intolerance")),
)  # fmt: skip
"""(similarity in hundredths, words of like meaning)."""

_BODY = (
    ("nephr", "kidney renal"), ("hepat", "liver hepatic"), ("cardi", "heart cardiac"),
    ("neur", "nerve nervous neurologic neurological neural"), ("encephal cerebr", "brain cerebral"),
    ("arthr", "joint articular"), ("dermat derm", "skin cutaneous dermal"),
    ("ophthalm ocul", "eye ocular ophthalmic"), ("ot", "ear hearing auditory"),
    ("gastr", "stomach gastric"), ("enter", "intestine intestinal bowel"),
    ("col", "colon colonic"), ("pneum pneumon pulmon", "lung pulmonary"),
    ("my", "muscle muscular"), ("oste", "bone osseous"), ("angi vascul", "vascular vessel"),
    ("hemat hem", "blood hematologic hematological"), ("aden", "gland glandular"),
    ("cyst", "bladder vesical"), ("cholecyst", "gallbladder"), ("splen", "spleen splenic"),
    ("pancreat", "pancreas pancreatic"), ("thyr thyroid", "thyroid"), ("rhin", "nose nasal"),
    ("stomat", "mouth oral"), ("retin", "retina retinal"), ("kerat", "cornea corneal"),
    ("psych", "mental psychiatric"), ("phleb", "vein venous"), ("arteri", "artery arterial"),
    ("chondr", "cartilage"), ("spondyl", "spine spinal vertebral"), ("mast", "breast mammary"),
    ("prostat", "prostate prostatic"), ("metr", "uterus uterine"), ("orchi", "testis testicular"),
    ("oophor", "ovary ovarian"), ("coagul", "coagulation"),
    ("immun immuno", "immune immunologic immunological"),
    ("bronch", "bronchus bronchial"), ("esophag", "esophagus esophageal"),
    ("lymphaden", "lymph"), ("myel", "spinal marrow"), ("cephal", "head"),
)  # fmt: skip
"""(combining forms, words for the part of the body)."""
_WHOLES = (
    ("artery arterial vein venous", "vascular vessel"),
    ("stomach gastric", "gastrointestinal"),
    ("myocardium myocardial", "heart cardiac"),
)
"""(parts of the body, words for what they are part of): a mention of a part is one of the whole,
and not the other way round."""
_ALIKE = 85
_ENDINGS = (
    ("pathy pathic path", "disease disorder"), ("toxicity toxic", "toxicity toxic"),
    ("algia dynia", "pain"), ("megaly", "enlargement"), ("plegia", "paralysis"),
    ("rrhage rrhagia", "hemorrhage bleeding"), ("lithiasis", "stone calculi"),
    ("deficiency deficient", "deficiency"),
)  # fmt: skip
"""(endings of compounds, words for them)."""
PART, ENDING = 90, 70
"""Weights of a compound's body part and of its ending."""


def _stems(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stem(word) for word in words))


def _alike() -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for similarity, words in (*_CLASSES, *((_ALIKE, words.split()) for _, words in _BODY)):
        members = _stems(words)
        for one in members:
            others = found.setdefault(one, {})
            for other in members:
                if other != one:
                    others[other] = max(similarity, others.get(other, 0))
    for parts, wholes in _WHOLES:
        for part in _stems(parts.split()):
            found.setdefault(part, {}).update(dict.fromkeys(_stems(wholes.split()), _ALIKE))
    return found


_OF_CLASS = _alike()
_PART_WORDS = {form: _stems(words.split()) for forms, words in _BODY for form in forms.split()}
_ENDING_WORDS = {
    stem(ending): _stems(words.split()) for endings, words in _ENDINGS for ending in endings.split()
}
HEREDITARY = frozenset(_stems(_HEREDITARY))
LIGHT = frozenset(
    _stems(
        (*_DISEASE, *_ANOMALY, *_DAMAGE, *_HEREDITARY, "sporadic", "isolated", "idiopathic", "drug")
    )
)
"""Stems that say little, on either side: "sporadic breast cancer" is breast cancer, and "toxicity"
is drug toxicity before it is that of an organ."""


def alike(word: str) -> dict[str, int]:
    """Stems of like meaning, with similarities in hundredths."""
    return _OF_CLASS.get(word, {})


def compound(word: str) -> dict[str, int]:
    """Stems for the two parts of a compound: nephropathy gives kidney, renal, disease, disorder."""
    for ending, words in _ENDING_WORDS.items():
        front = word.removesuffix(ending)
        if front == word or not front:
            continue
        for form in (front, front[:-1] if front[-1] in "oi" else front):
            if form in _PART_WORDS:
                parts = dict.fromkeys(words, ENDING)
                return parts | dict.fromkeys(_PART_WORDS[form], PART)
    return {}

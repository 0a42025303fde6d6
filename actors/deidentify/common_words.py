"""Words that identify nobody, by what they are or how they stand in a text.

A model's second look takes some for names: beside a mask a form's next field looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.names import PARTICLES, TITLES

_FIELDS = """
name surname age sex gender address tel city state country zip code phone fax email date birth dob
admission discharge patient doctor physician provider department service mrn record number account
insurance history reason diagnosis
nombre apellido apellidos edad sexo pais domicilio direccion localidad provincia municipio cp nhc
nass cipa dni tfno tlf mail fecha nacimiento ingreso alta servicio especialidad medico medica ncol
nocol colegiado episodio telefono correo paciente historia informe motivo antecedentes remitido
datos asistenciales vorname nachname alter geschlecht adresse anschrift wohnort ort strasse plz
telefon datum
geburtsdatum geb aufnahme entlassung patientin arzt arztin station
nom prenom sexe adresse ville pays telephone naissance patiente medecin
woman man male female boy girl lady gentleman infant
mujer varon hombre nino nina frau mann junge madchen femme homme garcon fille
"""
_DEPARTMENTS = """
servicio unidad departamento seccion consultas medicina interna intensiva nuclear familiar cirugia
general vascular toracica pediatrica maxilofacial medica neurocirugia urologia urgencias
obstetricia ortopedia nutricion digestivo radiodiagnostico reanimacion rehabilitacion anatomia
patologica laboratorio farmacia infecciosas uci unit ward internal medicine emergency surgery
neurosurgery urology obstetrics orthopedics orthopaedics rehabilitation laboratory pharmacy
intensive care icu abteilung innere medizin chirurgie neurochirurgie urologie notaufnahme
orthopadie unfallchirurgie labor intensivstation unite reanimation urgences
"""
_SPECIALTY = re.compile(r"\w{3,}(?:olog(?:ia|ie|y)|iatr(?:ia|ie|ics|y))")
_ABBREVIATIONS = """
tac tc rm rmn rx eco ecg ekg eeg emg rtu paaf pcr vsg ct mri pet mrt bp hr rr
hta htn dm copd epoc acv cva ait tia iam icc chf cad khk irc ckd esrd itu uti gerd vih hiv vhb vhc
tep tvp dvt
"""
# Ends of international nonproprietary names (WHO's stems).
_DRUG = re.compile(
    r"\w{3,}(?:mabe?|tinib|statina?|[oa]pril|sartana?|olol|cilina?|cillin|[my][iy]cina?|azole?|xabana?"
    r"|platino?|taxel|rubicina?|gliptina?|prazole?|floxacino?|ciclina|cycline?)"
)
_STAGE = re.compile(r"[cpy]{0,2}[tnm](?:[0-4]|is|x|a)[a-d]?|g[1-4]|[ivx]{1,4}")
_NOBODY = frozenset([*_FIELDS.split(), *_DEPARTMENTS.split(), *_ABBREVIATIONS.split()])
_SEX = re.compile(r"(?<!\w)(?:sexo?|gender|geschlecht|sexe)\W{1,3}$")
# Kinds whose values are written with a capital.
_CAPITAL = frozenset(
    {
        Category.NAME,
        Category.STREET,
        Category.CITY,
        Category.STATE,
        Category.COUNTRY,
        Category.HOSPITAL,
        Category.ORGANIZATION,
    }
)
_PLACES = _CAPITAL - {Category.NAME}
_SHORT = 4  # letters of an abbreviation
_LEAST_CAPITALS = 0.005  # share of letters; beginnings of sentences alone are above 0.01
# Without units of one letter, which a flat may have: "Calle Mayor 3, 2 C".
_MEASURES = (
    r"mgr?|gr|kg|mcg|[µμ]g|ng|ml|dl|cc|cm|mm|ui|iu|mmol|meq|mmhg|lpm|rpm|bpm|kcal|%"
    r"|hrs?|min|horas?|minutos?|hours?|minutes?|stunden?|minuten?|heures?"
)
_SPANS = (
    r"dias?|semanas?|mes|meses|anos?|days?|weeks?|months?|years?|tage?n?|wochen?|monate?n?|jahre?n?"
    r"|jours?|semaines?|mois|ans?"
)
_PER = r"(?:/[a-z]{1,4}\d?)?"
_NUMBER = r"(?<![\w.,])\d{1,5}(?:[.,/x-]\d{1,4}){0,3}[ ]?"
_QUANTITY = re.compile(
    rf"{_NUMBER}(?:{_MEASURES}){_PER}(?!\w)"
    rf"|(?<![\w.,])\d{{1,5}}[.,]\d{{1,4}}[ ]?[glmucf]{_PER}(?!\w)"
)
_HOUR = re.compile(r"(?<![\w.,])\d{1,2}(?:[.:]\d\d)?[ ]?h(?!\w)")
_DURATION = re.compile(rf"{_NUMBER}(?:{_SPANS})(?!\w)")
_AROUND = 24  # characters that a quantity reaches before and behind one of its words
# "enfermedad de Behcet", "Morbus Crohn", "Hodgkin's disease": the name is not of a patient.
_ILLNESS = (
    r"enfermedad|sindrome|signo|linfoma|tumor|morbus|maladie|syndrome|signe|lymphome|disease|sign"
    r"|lymphoma|tumou?r|syndrom|krankheit|lymphom|zeichen"
)
_BEFORE_EPONYM = re.compile(rf"(?<!\w)(?:{_ILLNESS})[ ](?:(?:de|del|of|von)[ ])?$")
_AFTER_EPONYM = re.compile(rf"(?:['’]s)?[ -](?:{_ILLNESS})(?!\w)")


def is_cased(text: str, places: Sequence[tuple[int, int]]) -> bool:
    """True if a text has capitals and small letters; ``places`` are replacements, which do not
    count."""
    at, letters, capitals = 0, 0, 0
    for start, end in (*places, (len(text), len(text))):
        part = text[at:start]
        letters += sum(map(str.isalpha, part))
        capitals += sum(map(str.isupper, part))
        at = end
    return letters > 0 and _LEAST_CAPITALS <= capitals / letters <= 0.5


def identifies_nobody(
    word: re.Match[str], category: Category, doubtful: bool, beside: bool = False
) -> bool:
    """True if a word that a model takes for part of an identifier identifies nobody.

    ``doubtful``: the model is not sure, in a text with capitals: then a word in small letters is no
    name and no place, and a short abbreviation is no place, unless it stands ``beside`` a
    replacement: "[CITY], QC".
    """
    folded = fold(word[0])
    if folded in _NOBODY or _SPECIALTY.fullmatch(folded) or _is_measure(word, category):
        return True
    if category is Category.NAME and word[0].lower() in TITLES | PARTICLES:
        return True
    if category in _CAPITAL:
        if doubtful and word[0].isalpha() and word[0].islower():
            return True
        if doubtful and category is Category.NAME and _DRUG.fullmatch(folded):
            return True
        if doubtful and category in _PLACES and not beside and _is_short(word[0], folded):
            return True
        if _is_eponym(word):
            return True
        if len(folded) == 1 and _SEX.search(fold(word.string[: word.start()])[-12:]):
            return True
    return False


def _is_measure(word: re.Match[str], category: Category) -> bool:
    """True for the number and the unit of "100 mg". A time of days or more may be an age."""
    start = max(0, word.start() - _AROUND)
    near = fold(word.string[start : word.end() + _AROUND])
    patterns = [_QUANTITY]
    if category is not Category.AGE:
        patterns.append(_DURATION)
    if category not in _PLACES:
        patterns.append(_HOUR)
    return any(
        match.start() <= word.start() - start and word.end() - start <= match.end()
        for pattern in patterns
        for match in pattern.finditer(near)
    )


def _is_short(word: str, folded: str) -> bool:
    """True for an abbreviation or a stage of a tumour."""
    return bool((word.isupper() and len(word) <= _SHORT) or _STAGE.fullmatch(folded))


def _is_eponym(word: re.Match[str]) -> bool:
    before = fold(word.string[max(0, word.start() - _AROUND) : word.start()])
    after = fold(word.string[word.end() : word.end() + _AROUND])
    return bool(_BEFORE_EPONYM.search(before) or _AFTER_EPONYM.match(after))

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
name surname age sex gender address city state country zip code phone fax email date birth dob
admission discharge patient doctor physician provider department service mrn record number account
insurance history reason diagnosis
nombre apellido apellidos edad sexo pais domicilio direccion localidad provincia municipio cp nhc
nass cipa dni fecha nacimiento ingreso alta servicio especialidad medico medica ncol nocol colegiado
episodio telefono correo paciente historia informe motivo antecedentes remitido datos asistenciales
vorname nachname alter geschlecht adresse anschrift wohnort ort strasse plz telefon datum
geburtsdatum geb aufnahme entlassung patientin arzt arztin station
nom prenom sexe adresse ville pays telephone naissance patiente medecin
woman man male female boy girl lady gentleman infant
mujer varon hombre nino nina frau mann junge madchen femme homme garcon fille
"""
_NOBODY = frozenset(_FIELDS.split())
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
_LEAST_CAPITALS = 0.02  # share of a text's letters from which small letters tell something


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


def identifies_nobody(word: re.Match[str], category: Category, doubtful: bool) -> bool:
    """True if a word that a model takes for part of an identifier identifies nobody.

    ``doubtful``: the model is not sure, in a text with capitals: then a word in small letters is no
    name and no place.
    """
    folded = fold(word[0])
    if folded in _NOBODY:
        return True
    if category is Category.NAME and word[0].lower() in TITLES | PARTICLES:
        return True
    if category in _CAPITAL:
        if doubtful and word[0].isalpha() and word[0].islower():
            return True
        if len(folded) == 1 and _SEX.search(fold(word.string[: word.start()])[-12:]):
            return True
    return False

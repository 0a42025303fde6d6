"""Race, origin, nationality, religion, sexual orientation and marital status: no identifiers of
HIPAA, but special or telling data under the GDPR.

Origins are taken where words beside them say that they are a person's: "gripe española" is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.findings import Finding, Strength

# Beginnings of adjectives of origin in Spanish, French, German and English.
_PEOPLES = """
afgan afghan african afrik alban aleman alger allemand american amerikan antill arab argel
argentin armeni asian asiat austral austriac austrian autrich bangla basqu belg bolivi brasil
brazil britan britis bulgar camboy cameroun camerun canades canadi caribe caucas chilen china
chines chino colomb congol corean croat cuban danes danois deutsch dominic ecuator egipci egypti
escoces eslov espan ethiop etiop europe filipin finland francais frances franzos french georgian
german ghanai ghanes grec greek griech grieg guatemal guine haitian hindu hispan holand hondur
hungar india indien indio indisch indones iraki irani iraqi irish irland israeli italian italien
jamaic japan japon jordana jordanian jordano judi keniana keniano kenyan korean kosov kurd latina
latino lebanes liban libia libio lituan maghreb magreb maliens maroc marokk marroqu mexic moldav
mongol moroccan nepales nicarag nigeri norueg norweg osteuropa pakist palestin panaman panamen
paragua peruan peruvi polac polish polnisch polonais portug puertorriq romanian ruman rusa ruso
russ salvador saudi scandinav schwed senegal serbi siria sirio somal spani subsahar sudamer
sudanes suec suedois suiss suiz swedish swiss syri tailand taiwan thai tunec tunisi turc turk
tzigan ucran ukrain urugua venez viet welsh yemen
"""
_PEOPLE = "(?:" + "|".join(_PEOPLES.split()) + r")[^\W\d_]{0,9}"
_PERSON = (
    r"(?:varon|mujer|hombre|nin[oa]|paciente|lactante|joven|chic[oa]|senora?|recien nacid[oa]"
    r"|m[ae]n|wom[ae]n|male|female|boy|girl|gentleman|lady|patiente?|infant|child"
    r"|homme|femme|garcon|fille|mann|frau|junge|madchen|patientin)"
)
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # What a form says of it.
        r"(?<!\w)(?:race|ethnicity|ethnic origin|nationality|citizenship|religion|marital status"
        r"|raza|etnia|nacionalidad|estado civil|religion|nationalitat|staatsangehorigkeit"
        r"|konfession|familienstand|nationalite|etat civil|situation familiale)[^\S\n]?[:=][^\S\n]*"
        r"(?P<value>[^\W\d_]+(?:[ /-][^\W\d_]+){0,2})",
        r"(?<!\w)(?P<value>(?:raza|etnia|nacionalidad|ascendencia)[ ](?!y |o |de )[^\W\d_]+)",
        r"(?<!\w)(?P<value>(?:homo|bi|hetero|trans)sexual(?:es|s|e|in)?|lesbian[as]?|transgender)(?!\w)",
        rf"(?<!\w)(?:origen|procedencia|origine)[ ](?P<value>{_PEOPLE})(?!\w)",
        rf"(?<!\w)(?P<value>{_PEOPLE}(?:[ -]{_PEOPLE})?)[ -]"
        r"(?:origin|descent|ancestry|heritage|ethnicity|nationality|herkunft|abstammung)(?!\w)",
        # "a Hispanic woman", "varón peruano", "mujer de 56 años, caucásica"
        rf"(?<!\w)(?P<value>{_PEOPLE}|white|black)[ ]{_PERSON}(?!\w)",
        rf"(?<!\w){_PERSON}[ ](?:joven[ ])?(?P<value>{_PEOPLE}|blanc[oa]|negr[oa])(?!\w)",
        rf"(?<!\w){_PERSON}[ ]de[ ]\d{{1,3}}[ ](?:anos|meses|dias)(?:[ ]de[ ]edad)?,?[ ]"
        rf"(?P<value>{_PEOPLE})(?!\w)",
        r"(?<!\w)(?P<value>caucasi(?:an|c[oa]s?|enn?e?)|hispanics?|latin[oa]s?|afro-?american[oa]?s?"
        r"|african[ -]americans?|native[ ]americans?|ashkenazi(?:[ ]jewish)?|jewish|jews?|muslims?"
        r"|hindus?|jehovah'?s[ ]witness(?:es)?|testigos?[ ]de[ ]jehova|temoins?[ ]de[ ]jehovah"
        r"|zeugen?[ ]jehovas?|musulman(?:es|e|a)?|judi[oa]s?|gitan[oa]s?)(?!\w)",
        r"(?<!\w)(?P<value>(?:un)?married|divorced|widow(?:s|ed|er)?|casad[oa]s?|solter[oa]s?"
        r"|viud[oa]s?|divorciad[oa]s?|verheiratet[enr]*|geschieden[enr]*|verwitwet[enr]*|mariees?"
        r"|divorcee?s?|veufs?|veuves?|celibataires?)(?!\w)",
    )
)


def find_demographics(text: str) -> Iterator[Finding]:
    """Words that say one of these things of a person."""
    folded = fold(text)
    for pattern in _PATTERNS:
        for match in pattern.finditer(folded):
            # A surname such as Casado stays a name: these may be kept, and names not.
            span = match.span("value")
            yield Finding(*span, Category.DEMOGRAPHIC, "demographic", Strength.SHAPE)

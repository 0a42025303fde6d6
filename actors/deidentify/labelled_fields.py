"""Identifiers that the words before them name: "MRN: 998877", "NHC: 2569870", "Tel. 030 110"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.config.deidentify import Category
from actors.deidentify.accent_folding import fold
from actors.deidentify.findings import Finding, Strength

# A number with letters before, between or after: ST-998877, 28 28 20943, 12345-NYP, 78956135/2.
_VALUE = (
    r"[#№]?\s?(?:[a-z]{1,10}[-/ ]?)?\d[\da-z]*"
    r"(?:[-/.]{1,2}(?:\d[\da-z]*|[a-z]{1,5}\d*)| {1,2}\d[\da-z]*)*"
    r"|(?=[a-z\d-]{0,30}\d)[a-z][a-z\d]{0,15}(?:-[a-z\d]{1,15}){1,4}"  # UCLA-T1D-2023
)
_PHONE = r"[+(]?\d(?:[ ()./-]{0,3}\d){3,17}(?:[ ,]*(?:x|ext|dw|durchwahl|o|oder|or)\.? ?\d{1,6})?"
_NUMBER = r"(?:\s?(?:(?:number|num|no|nr|id|code|nummer|so)\b\.?|n[º°]|#))?"
_SEPARATOR = r"[.:#=]{0,2}[^\S\n]{0,20}(?:(?:is|was|es|ist|est|la)\s)?\n?[^\S\n]{0,8}"

_KEYWORDS: tuple[tuple[Category, str, str], ...] = (
    (
        Category.MRN,
        r"mrn|medical record|record|chart|patient id|pt\.? id|pat(?:ient)?\.?-?(?:nr|id)"
        r"|nhc-?|n\.h\.c|cipa?|c\.i\.p|n[o°]\.? ha"
        r"|historia(?: clinica)?|n[º°] historia|fall-?(?:nummer|nr|zahl)|fall|patientennummer"
        r"|aufnahme-?(?:nummer|zahl|nr)|ipp|nip|dossier|ma benh nhan|ma bn|so ho so|so benh an",
        _VALUE,
    ),
    (
        Category.HEALTH_PLAN,
        r"insurance(?: plan| policy)?|ins(?:\.|urance)? (?:plan|id)|policy|health plan|plan|hmo|ppo"
        r"|hicn|hbn|mbi|member|beneficiary|medicare|medicaid|nass|afiliacion|aseguramiento"
        r"|seguridad social"
        r"|svnr|sv|sv-?(?:nr|nummer)|versicherten-?(?:nr|nummer)|krankenkasse"
        r"|numero de securite sociale"
        r"|securite sociale|nss|bhyt|the bao hiem|bao hiem y te",
        _VALUE,
    ),
    (
        Category.ACCOUNT,
        r"acct|account|cuenta|konto(?:-?nr)?|compte|tai khoan|credit card|card|cc|iban|sort code"
        r"|routing|bankleitzahl|blz"
        r"|(?:account|card)(?: number)? end(?:s|ing) (?:in|with)",
        _VALUE,
    ),
    (
        Category.LICENSE,
        r"licen[cs]e|certificate|dea|npi|n[º°o]\.? ?col(?:egiado)?|colegiado|lanr|bsnr|rpps|adeli"
        r"|driver'?s licen[cs]e|permiso de conducir|fuhrerschein|gplx|cchn",
        _VALUE,
    ),
    (
        Category.NATIONAL_ID,
        r"ssn|social security|dni|nie|nif|d\.n\.i|n\.i\.[ef]|national insurance|nino"
        r"|passport|pasaporte|reisepass|passeport|cmnd|cccd|ho chieu"
        r"|nhs|nir|aadhaar|personnummer|steuer-?id|personalausweis|ausweis|carte d'identite|cni"
        r"|documento",
        rf"[a-z]{{2}} ?(?:\d\d ?){{3}}[a-d]|[a-z]\d{{2}}[a-z\d]{{6,7}}|{_VALUE}",
    ),
    (
        Category.VEHICLE,
        r"vin|license plate|plate|matricula|kennzeichen|immatriculation|bien so",
        r"\d{4}[ -]?[a-z]{3}|[a-z]{2}[ -]?\d{3}[ -]?[a-z]{2}|[a-z]{1,3}[ -][a-z]{1,2} ?\d{1,4}[eh]?"
        r"|[a-z0-9][a-z0-9-]{0,9}(?: ?[a-z0-9.-]{1,8})?\d[a-z0-9]*",
    ),
    (Category.VEHICLE, r"registration|reg", r"[a-z]{2}\d\d ?[a-z]{3}"),
    (
        Category.DEVICE,
        r"serial|s/n|sn|udi|device id|imei|serien-?(?:nummer|nr)|numero de serie|so seri",
        _VALUE,
    ),
    (
        Category.ID,
        r"episodio|encounter|visit|accession|case|ref(?:erence)?(?:\. ?code)?"
        r"|vorgangs-?(?:nr|nummer)"
        r"|histologie|eingangs-?nr|befund-?nr|id|identifier|room|zimmer|zi|bett"
        r"|specimen|requisition|user ?name|user|login|usuario|benutzer(?:name)?|identifiant"
        r"|[a-z]{1,20}-?(?:nr|nummer)",
        _VALUE,
    ),
    (
        Category.ID,
        r"n[o°]\.? (?:de )?(?:biopsia|muestra|peticion|informe|registro|orden|estudio)",
        _VALUE,
    ),
    # Of a court: "12 C 345/24".
    (Category.ID, r"aktenzeichen|az|gz|geschaftszeichen", r"\d{1,4} ?[a-z]{1,4} ?\d{1,6}/\d\d"),
    (Category.LICENSE, r"col(?=\. ?\d{5})", _VALUE),
    (
        Category.DATE,
        r"dob|d\.o\.b|birth ?date|date of birth|fecha de nacimiento|f\. ?nac|geburtsdatum|geb"
        r"|date de naissance",
        r"[0-3]\d[0-3]\d{3}(?:\d\d)?|(?:19|20)\d{6}",
    ),
    (Category.ID, r"(?:[a-z]+)?station", r"[a-z]{0,2}-?\d{1,4}[a-z]?"),
    (Category.FAX, r"fax|telefax|telecopie", _PHONE),
    (
        Category.PHONE,
        r"phone|tel(?:efono?|ephone|f|efon)?|tfno|tlfn?o?|movil|mobile|cell|pager|contact|call(?:ing)?"
        r"|handy|rufnummer|nummer|unter|portable|dien thoai|dt|sdt|desk|whatsapp|answering at"
        r"|ext|extension|extn|anexo|durchwahl|dw|poste|apparat|app(?=\. ?\d)",
        _PHONE,
    ),
    (
        Category.ZIP,
        r"zip(?: ?code)?|area code|cp|c\.p\.|codigo postal|plz|postleitzahl|postal ?code"
        r"|code postal|postcode",
        r"[a-z]{0,2}-?\d[\da-z]{1,5}(?:[ -][\da-z]{2,4})?",
    ),
)

_FIELDS = tuple(
    (
        category,
        re.compile(
            # A word goes on with "no", "nr" or "number" at most: "vin" is not in "Vino 10".
            rf"(?<![\w-])(?:{words})(?![a-mo-z]|n(?![rou]))\.?{_NUMBER}{_SEPARATOR}"
            rf"(?:#|\((?!\d+\) ?\d))?(?P<value>{value})(?!\w)"
        ),
    )
    for category, words, value in _KEYWORDS
)
# Words that are too common to make any number after them an identifier without a colon or a "#".
_COMMON = re.compile(
    r"(?:record|chart|plan|policy|member|card|case|visit|id|room|fall|sv|cc|plate|call"
    r"|contact|nummer|unter|user|login|ausweis|documento|ref|reference|dossier|historia|license"
    r"|certificate|sn|medicare|n[o°]\.? ha)$"
)
_FEW = 4  # digits that a common word needs


def find_fields(text: str) -> Iterator[Finding]:
    """The values after words that name them; the value alone is the finding."""
    folded = fold(text)
    for category, pattern in _FIELDS:
        for match in pattern.finditer(folded):
            before = folded[match.start() : match.start("value")].rstrip("( \t")
            digits = sum(c.isdigit() for c in match["value"])
            if _COMMON.search(before) and digits < _FEW:
                continue
            yield Finding(*match.span("value"), category, "field", Strength.NAMED)

"""De-identification: which identifiers are taken, and what stands in their place."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from actors.config.base import ConfigSection
from actors.config.result_versions import results_of

DeidentifyLanguage = Literal["en", "es", "de", "fr", "vi"]
Preset = Literal["safe_harbour", "strict", "limited"]


class Category(StrEnum):
    """The kinds of identifiers: the 18 of HIPAA's safe harbour, in parts, and some that other
    laws protect."""

    NAME = "NAME"
    AGE = "AGE"
    DATE = "DATE"
    PHONE = "PHONE"
    FAX = "FAX"
    EMAIL = "EMAIL"
    URL = "URL"
    IP = "IP"
    NATIONAL_ID = "NATIONAL_ID"
    MRN = "MRN"
    HEALTH_PLAN = "HEALTH_PLAN"
    ACCOUNT = "ACCOUNT"
    LICENSE = "LICENSE"
    VEHICLE = "VEHICLE"
    DEVICE = "DEVICE"
    ID = "ID"
    GPS = "GPS"
    STREET = "STREET"
    ZIP = "ZIP"
    CITY = "CITY"
    STATE = "STATE"
    COUNTRY = "COUNTRY"
    HOSPITAL = "HOSPITAL"
    ORGANIZATION = "ORGANIZATION"
    PROFESSION = "PROFESSION"
    DEMOGRAPHIC = "DEMOGRAPHIC"
    """Race, origin, nationality, religion, sexual orientation, marital status."""
    SIGNATURE = "SIGNATURE"
    """Signatures, stamps and handwriting are found on pages, with the words read in them."""
    STAMP = "STAMP"
    HANDWRITING = "HANDWRITING"
    BARCODE = "BARCODE"
    """Bar codes, QR codes and their kin, where pages are covered."""


_READ_MARKS = frozenset({Category.SIGNATURE, Category.STAMP, Category.HANDWRITING})
MARKS = _READ_MARKS | {Category.BARCODE}
"""The categories of what is on a page beside print: masked as a whole, or kept."""


class ReplacementPolicy(StrEnum):
    """The replacement for an identifier."""

    MASK = "mask"
    """The category in brackets: [NAME]."""
    SAME_LENGTH = "same_length"
    """Asterisks, as many as there were characters; white space stays."""
    SURROGATE = "surrogate"
    """A made-up value of the same kind, language and shape; the same within a patient."""
    HASH = "hash"
    """[NAME:12 hex digits], by the key alone: the same value gives the same digits everywhere."""
    SHIFT = "shift"
    """Dates moved by a number of days that is secret and the same within a patient."""
    GENERALISE = "generalise"
    """Dates to the year, ages over 89 to 90+, US ZIP codes to three digits."""
    KEEP = "keep"
    """Not taken."""


KEYED = frozenset({ReplacementPolicy.SURROGATE, ReplacementPolicy.HASH, ReplacementPolicy.SHIFT})
"""The policies that need a key."""

_ONLY = {
    ReplacementPolicy.SHIFT: {Category.DATE},
    ReplacementPolicy.GENERALISE: {Category.DATE, Category.AGE, Category.ZIP},
    ReplacementPolicy.SURROGATE: set(Category)
    - MARKS
    - {Category.DATE, Category.AGE, Category.DEMOGRAPHIC},
    ReplacementPolicy.SAME_LENGTH: set(Category) - MARKS,
    ReplacementPolicy.HASH: set(Category) - MARKS,
}

_MASK_ALL = dict.fromkeys(Category, ReplacementPolicy.MASK)
_PRESETS: dict[Preset, dict[Category, ReplacementPolicy]] = {
    # 45 CFR 164.514(b)(2): states, years and ages up to 89 may stay.
    "safe_harbour": _MASK_ALL
    | {
        Category.DATE: ReplacementPolicy.GENERALISE,
        Category.AGE: ReplacementPolicy.GENERALISE,
        Category.ZIP: ReplacementPolicy.GENERALISE,
        Category.STATE: ReplacementPolicy.KEEP,
        Category.COUNTRY: ReplacementPolicy.KEEP,
        Category.PROFESSION: ReplacementPolicy.KEEP,
        Category.DEMOGRAPHIC: ReplacementPolicy.KEEP,
    },
    "strict": _MASK_ALL,
    # 45 CFR 164.514(e): towns, ZIP codes, dates and ages may stay. Signatures and stamps are names.
    "limited": _MASK_ALL
    | dict.fromkeys(
        (
            Category.AGE,
            Category.DATE,
            Category.ZIP,
            Category.CITY,
            Category.STATE,
            Category.COUNTRY,
            Category.PROFESSION,
            Category.DEMOGRAPHIC,
            Category.HANDWRITING,
        ),
        ReplacementPolicy.KEEP,
    ),
}

_LABELS: dict[str, Category] = {
    name: category
    for category, names in {
        Category.NAME: "name person per patient doctor staff hcw username name_patient name_doctor "
        "name_relative name_username name_ext patient_name doctor_name person_name full_name "
        "given_name family_name surname user_name physician nurse clinician "
        "nombre_sujeto_asistencia nombre_personal_sanitario "
        "first_name last_name",
        Category.AGE: "age patient_age edad_sujeto_asistencia",
        Category.DATE: "date date_time dob birthdate birth_date date_of_birth fechas",
        Category.PHONE: "phone phone_number contact_phone telephone telephone_number "
        "mobile_phone_number numero_telefono",
        Category.FAX: "fax fax_number contact_fax numero_fax",
        Category.EMAIL: "email e_mail email_address contact_email correo_electronico",
        Category.URL: "url url_web domain_name web_url contact_url",
        Category.IP: "ip ip_address ipaddr mac_address",
        Category.NATIONAL_ID: "national_id ssn us_ssn social_security_number",
        Category.MRN: "mrn medicalrecord medical_record_number id_sujeto_asistencia",
        Category.HEALTH_PLAN: "health_plan healthplan health_plan_beneficiary_number "
        "health_insurance_number insurance_number member_id id_aseguramiento",
        Category.ACCOUNT: "account account_number bank_account_number credit_card "
        "credit_card_number iban_code iban",
        Category.LICENSE: "license license_number certificate_license_number us_driver_license "
        "driver_license_number driver's_license_number "
        "id_titulacion_personal_sanitario id_empleo_personal_sanitario",
        Category.VEHICLE: "vehicle vehicle_id identif_vehiculos_nrserie_placas",
        Category.DEVICE: "device device_id identif_dispositivos_nrserie",
        Category.ID: "id idnum bioid unique_identifier id_contacto_asistencial otro_numero_identif",
        Category.GPS: "gps coordinate",
        Category.STREET: "street street_address address postal_address location_street calle",
        Category.ZIP: "zip zip_code zipcode postal_code location_zip",
        Category.CITY: "city town place location location_other loc gpe location_city "
        "geographic_location "
        "territorio",
        Category.STATE: "state location_state",
        Category.COUNTRY: "country location_country pais",
        Category.HOSPITAL: "hospital hospital_name clinic clinic_name centro_salud "
        "location_hospital",
        Category.ORGANIZATION: "organization organisation company institution org "
        "location_organization institucion",
        Category.DEMOGRAPHIC: "race ethnicity ethnic_group race_ethnicity nationality religion "
        "marital_status",
        Category.PROFESSION: "profession occupation job profesion",
    }.items()
    for name in names.split()
}


class Deidentify(ConfigSection):
    """Which identifiers are taken out of a text, how they are found, and what replaces them."""

    preset: Preset = Field(
        "safe_harbour",
        description="The initial policies. safe_harbour: HIPAA's 18 identifiers; strict: every "
        "category is masked; limited: HIPAA's limited data set, which keeps dates, "
        "ages and towns.",
    )
    policies: dict[Category, ReplacementPolicy] = Field(
        default_factory=dict, description="Policy by category, instead of the preset's."
    )
    labels: dict[str, Category] = Field(
        default_factory=dict,
        description="Category of a model's label, if its name does not imply it. Entities with "
        "labels of no category stay in the text.",
    )
    threshold: float = Field(
        0.0, ge=0, le=1, description="Minimum score of a model's entity; low, in favour of recall."
    )
    languages: tuple[DeidentifyLanguage, ...] = Field(
        ("en",),
        min_length=1,
        description="Languages of the texts, most likely first: the first decides the order of "
        "day and month, and the names of surrogates.",
    )
    countries: tuple[str, ...] = Field(
        ("US",),
        min_length=1,
        description="ISO codes of the countries whose phone numbers and national ids are expected.",
    )
    lists: dict[Category, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Files of known values, one per line: names of staff, hospitals.",
    )
    max_shift_days: int = Field(
        365,
        ge=1,
        le=3650,
        description="Dates are shifted by 1 to this many days, forwards or backwards.",
    )
    second_look: Literal["models", "rules"] = Field(
        "models",
        description="What checks the result. models: the models, the rules and the lists. rules: "
        "only rules and lists, so that the models process every text only once and a "
        "run loads them once.",
    )
    residue: Literal["fail", "allow"] = Field(
        "fail",
        description="What to do if the second look finds an identifier in the result: withhold "
        "the text, or write it anyway.",
    )

    @model_validator(mode="after")
    def _policies_fit(self) -> Self:
        for category, policy in self.policies.items():
            if category not in _ONLY.get(policy, {category}):
                fitting = sorted(_ONLY[policy])
                raise ValueError(
                    f"policies.{category}: {policy} does not apply to it, only to "
                    f"{', '.join(fitting)}"
                )
        unknown = [code for code in self.countries if len(code) != 2 or not code.isupper()]
        if unknown:
            raise ValueError(f"countries: {unknown[0]!r} is not an ISO code such as US")
        return self

    def policy(self, category: Category) -> ReplacementPolicy:
        """Return the policy that applies to a category."""
        return self.policies.get(category, _PRESETS[self.preset][category])

    def takes(self, category: Category) -> bool:
        """Return True if the policy of a category is any but ``keep``."""
        return self.policy(category) is not ReplacementPolicy.KEEP

    def category(self, label: str) -> Category | None:
        """Return the category of a model's label, or None if it is not an identifier."""
        if label in self.labels:
            return self.labels[label]
        name = re.sub(r"[\s/-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", label.strip())).lower()
        return _LABELS.get(name) or (
            Category(name.upper()) if name.upper() in Category.__members__ else None
        )

    @property
    def takes_marks(self) -> bool:
        """True if signatures, stamps or handwriting, which OCR finds, are masked."""
        return any(map(self.takes, _READ_MARKS))

    def needs_key(self) -> bool:
        """Return True if any category has a policy that uses the key."""
        return any(self.policy(category) in KEYED for category in Category)

    def read_lists(self) -> dict[Category, tuple[str, ...]]:
        """Read the user's lists, skipping empty lines.

        Raises FileNotFoundError, or ValueError if a file is not UTF-8.
        """
        return {
            category: tuple(value for path in paths for value in _lines(Path(path)))
            for category, paths in self.lists.items()
        }

    def identity(self) -> dict[str, object]:
        """Return the resolved policies, the values of the lists, and the version of the results.

        The key is not part of it; a pipeline adds digits that tell one key from another.
        """
        found = super().identity()
        del found["preset"]
        found["policies"] = {category: self.policy(category) for category in Category}
        found["lists"] = self.read_lists()
        found["results"] = results_of("deidentify")
        return found


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not valid UTF-8 at byte {error.start}") from None
    lines = (unicodedata.normalize("NFC", line).strip() for line in text.splitlines())
    return [line for line in lines if line]

from __future__ import annotations

import pytest
from support.deidentify import everything

from actors.config.deidentify import Category
from actors.deidentify.detector import Detector
from actors.deidentify.identifiers import Identifiers

_DETECTOR = Detector(everything("en", "es", "de", "fr"))


@pytest.mark.parametrize(
    ("text", "category", "value"),
    [
        ("(MRN: ST-998877)?", "MRN", "ST-998877"),
        ("NHC: 2748903.\nNASS:", "MRN", "2748903"),
        ("Fall-Nr.6733340001, *", "MRN", "6733340001"),
        ("NASS: 26 37482910 04.", "HEALTH_PLAN", "26 37482910 04"),
        ("His insurance number is 987-65-4321.", "HEALTH_PLAN", "987-65-4321"),
        ("(Acct#: GRM-998877)", "ACCOUNT", "GRM-998877"),
        ("pay GB82 WEST 1234 5698 7654 32 now", "ACCOUNT", "GB82 WEST 1234 5698 7654 32"),
        ("charged 4111 1111 1111 1111 twice", "ACCOUNT", "4111 1111 1111 1111"),
        ("NºCol: 28 28 70973.", "LICENSE", "28 28 70973"),
        ("a plain 12345678Z here", "NATIONAL_ID", "12345678Z"),
        ("a plain 123-45-6789 here", "NATIONAL_ID", "123-45-6789"),
        ("number 1M8GDM9AXKP042788 seen", "VEHICLE", "1M8GDM9AXKP042788"),
        ("serial no. AB-123456", "DEVICE", "AB-123456"),
        ("pump (01)00643169007222(21)A1", "DEVICE", "(01)00643169007222(21)A1"),
        ("Contact: 702-555-1234", "PHONE", "702-555-1234"),
        ("Tfno.+34679802102 x", "PHONE", "+34679802102"),
        ("Telefon (0461) 708 - 223\n", "PHONE", "(0461) 708 - 223"),
        ("Fax: 948 296 500 E-mail", "FAX", "948 296 500"),
        ("mail a.b@c.com.", "EMAIL", "a.b@c.com"),
        ("see http://x.de/a?b=1.", "URL", "http://x.de/a?b=1"),
        ("from 86.121.97.248 today", "IP", "86.121.97.248"),
        ("from 2001:db8::8a2e:370:7334 today", "IP", "2001:db8::8a2e:370:7334"),
        ("at 40.7128, -74.0060 found", "GPS", "40.7128, -74.0060"),
        ("in Boston, MA 02115-1234", "ZIP", "02115-1234"),
        ("CP: 28035.", "ZIP", "28035"),
        ("95 year old man", "AGE", "95 year old"),
        ("Edad: 53 años Sexo", "AGE", "53 años"),
        ("num 98765432109876543 alone", "ID", "98765432109876543"),
        ("call 1-312-555-0199 ext 22 now", "PHONE", "1-312-555-0199 ext 22"),
        ("Desk: +1-903-140-4508x769\n", "PHONE", "+1-903-140-4508x769"),
        ("Fax: 345-899-3560x4587", "FAX", "345-899-3560x4587"),
        ("office +46 (0)179 459 33 fax", "PHONE", "+46 (0)179 459 33"),
        ("ext. 4471 rang", "PHONE", "4471"),
        ("write to jane.doe @ hospital.org today", "EMAIL", "jane.doe @ hospital.org"),
        ("write to jane.doe@hospital today", "EMAIL", "jane.doe@hospital"),
        ("account ending in 1234.", "ACCOUNT", "1234"),
        ("specimen S21-12345 shows", "ID", "S21-12345"),
        ("HNr.: 9334a/20)", "ID", "9334a/20"),
        ("Histo-Nr.: H/2020/12345", "ID", "H/2020/12345"),
        ("dossier n° 12345", "MRN", "12345"),
        ("NIR 1 85 05 78 006 084 36", "NATIONAL_ID", "1 85 05 78 006 084 36"),
        ("with MRN: UCLA-T1D-2023?", "MRN", "UCLA-T1D-2023"),
        ("wh.: 9011 Neustadt", "ZIP", "9011"),
        ("at 12 Elm Street, Chicago 60601 since", "ZIP", "60601"),
        ("12 Elm St, Springfield, 62701", "ZIP", "62701"),
        ("5 MG Road, Bengaluru - 560 001", "ZIP", "560 001"),
        ("Calle Mayor 12, Madrid 28013", "ZIP", "28013"),
        ("Calle Mayor 12 (28013) Madrid", "ZIP", "28013"),
        ("vive en Madrid (28013).", "ZIP", "28013"),
        ("aus 10115 Berlin zugewiesen", "ZIP", "10115"),
        ("moved to Toronto ON M5V 2T6", "ZIP", "M5V 2T6"),
        ("came from Acquapendente 1021 last year", "ZIP", "1021"),
        ("unit 1009 box 0219\ndpo ap 51065", "ZIP", "51065"),
        ("unit 1009 box 0219\ndpo ap 51065", "STREET", "unit 1009 box 0219"),
        ("seen on July 20, HBN: 789-456-123", "HEALTH_PLAN", "789-456-123"),
        ("Villarroel, 170, 08036 E-mail: a@clinic.es", "ZIP", "08036"),
        ("Col. Obrera México D.F. 06800", "ZIP", "06800"),
        ("Localidad/ Provincia: 45003.", "CITY", "45003"),
        ("28046 Madrid E-mail: a@clinic.es", "CITY", "Madrid"),
        ("Responsable: c/ del Abedul 5-7, 2º dcha", "STREET", "c/ del Abedul 5-7, 2º dcha"),
        ("Responsable: c/Santa Soria, 22", "STREET", "c/Santa Soria, 22"),
        ("Responsable: avda. Amazonas Central, SN", "STREET", "avda. Amazonas Central, SN"),
        ("en la Facultad de Odontología", "ORGANIZATION", "Facultad de Odontología"),
        ("a nurse of the University of Ohio", "ORGANIZATION", "University of Ohio"),
        ("studies at Ohio State University", "ORGANIZATION", "Ohio State University"),
        ("Betr.: Weil, Klementine, geb. 16.01.1993", "NAME", "Weil, Klementine"),
        ("Helmfried Koenig * 13.09.1955", "NAME", "Helmfried Koenig"),
        ("Tran Xuan Xyz, DOB 3/4/1950", "NAME", "Tran Xuan Xyz"),
        ("Werte Frau Kollegin Schickedanz,", "NAME", "Schickedanz"),
        ("liebe Vroni!", "NAME", "Vroni"),
        ("Drs. Seiler und Wantzer", "NAME", "Wantzer"),
        ("Dr. med. K. Kummer OA PD Dr. med M. Kienböck", "NAME", "M. Kienböck"),
        ("Prof. Dr. Ch. Janssen", "NAME", "Ch. Janssen"),
        ("Klinik\nNeustadt, am 12.3.2023", "CITY", "Neustadt"),
        ("Flensburg, 27. März 2025", "CITY", "Flensburg"),
        ("wohnhaft in Klagenfurt", "CITY", "Klagenfurt"),
        ("aus der Universitätsklinik Jena", "HOSPITAL", "Universitätsklinik Jena"),
        ("UNIKLINIK DEPPENDORF", "HOSPITAL", "UNIKLINIK DEPPENDORF"),
        ("SMITH, J. came back", "NAME", "SMITH, J."),
        ("Lopez-Diaz, A. B. signed", "NAME", "Lopez-Diaz, A. B."),
        ("Her maiden name is Sandgreen", "NAME", "Sandgreen"),
        ("What's your last name? Magnusson", "NAME", "Magnusson"),
        ("he turned 94 in May", "AGE", "94"),
        ("lives at 136 filadelfeos str with her son", "STREET", "136 filadelfeos str"),
        ("her area code is 60601", "ZIP", "60601"),
        ("DOB: 050361", "DATE", "050361"),
        ("geb. 12031961", "DATE", "12031961"),
        ("at 2024-03-05T14:30:00Z sharp", "DATE", "2024-03-05T14:30:00Z"),
        ("at 2024-03-05T14:30:00.123+01:00", "DATE", "2024-03-05T14:30:00.123+01:00"),
        ("el uno de mayo", "DATE", "uno de mayo"),
        ("dial 1-800-FLOWERS now", "PHONE", "1-800-FLOWERS"),
        ("App. 4471 verlangt", "PHONE", "4471"),
        ("write to jane.doe (at) example.org", "EMAIL", "jane.doe (at) example.org"),
        ("write to jane[at]example[dot]org", "EMAIL", "jane[at]example[dot]org"),
        ("a plain AB 12 34 56 C here", "NATIONAL_ID", "AB 12 34 56 C"),
        ("national insurance QQ 12 34 56 C", "NATIONAL_ID", "QQ 12 34 56 C"),
        ("D.N.I.: 12.345.678-Z", "NATIONAL_ID", "12.345.678-Z"),
        ("N.H.C.: 123456", "MRN", "123456"),
        ("Nº Hª 12345", "MRN", "12345"),
        ("Nº biopsia 24B0012345", "ID", "24B0012345"),
        ("Az.: 4 K 123/24", "ID", "4 K 123/24"),
        ("Dr. Col. 12345.", "LICENSE", "12345"),
        ("registration AB12 CDE", "VEHICLE", "AB12 CDE"),
        ("amtl. Kennzeichen M AB 123", "VEHICLE", "M AB 123"),
    ],
)
def test_an_identifier_is_found_whole_and_by_its_kind(text: str, category: str, value: str) -> None:
    found = [(f.category, text[f.start : f.end]) for f in _DETECTOR.find(text)]
    assert (Category(category), value) in found


@pytest.mark.parametrize(
    "text",
    [
        "plaquetas 1500000/mm3, leucocitos 250000/mm3",
        "12:30:45 h, 5-10 mg, 3.5 cm, 2-3/6",
        "Parkinson disease and Hodgkin lymphoma",
        "1.2.3.400 is no address",
        "record of COVID-19 and type-2 disease",
        "Vino 12 veces",
        "taken twice @ 8",
        "Hb 12, Leukozyten 12000, davon 210",
        "no ha 3 horas, AZ gut, Col 230, Col. total 230",
        "app 3 of 5, registration 12",
        "walks 12 Elm street. Takes 4500 mg",
        "at 12 Elm street, Aspirin 1000 mg",
        "pain (at rest) and swelling",
        "turned 30 degrees, turned 3 times",
        "The patient is diabetic, the doctor was late",
        "HLA-A A*02:01 and HLA-B B*1502",
        "Lieber Herr Kollege, Dear Colleague, Dear Sir,",
        "Kontrolle am 12. Tag, Wiedervorstellung morgen",
    ],
)
def test_measurements_and_words_stay(text: str) -> None:
    assert not _DETECTOR.find(text)


@pytest.mark.parametrize(
    ("text", "towns"),
    [
        ("12 Elm Street, Springfield, IL 62701. Phone home first.", {"Springfield"}),
        ("Springfield, IL 62701 Phone home first.", {"Springfield"}),
        ("Ask in Illinois 62701. Phone home first.", set()),
        ("Calle Mayor 3, ES 28046 Alcorisa", {"Alcorisa"}),
        ("Hauptstr. 5, DE 10115 Kleinstadt", {"Kleinstadt"}),
    ],
)
def test_no_town_stands_after_a_state_and_its_code(text: str, towns: set[str]) -> None:
    found = {text[f.start : f.end] for f in _DETECTOR.find(text) if f.category is Category.CITY}
    assert found == towns


def test_check_digits_decide() -> None:
    identifiers = Identifiers(("ES",))

    def categories(text: str) -> set[Category]:
        return {f.category for f in identifiers.find(text)}

    assert Category.NATIONAL_ID in categories("12345678Z")
    assert Category.NATIONAL_ID not in categories("12345678A")
    assert Category.ACCOUNT in categories("4111111111111111")
    assert Category.ACCOUNT not in categories("4111111111111112")
    assert Category.VEHICLE in categories("1M8GDM9AXKP042788")
    assert Category.VEHICLE not in categories("1M8GDM9A1KP042788")


def test_an_unknown_country_is_named() -> None:
    with pytest.raises(ValueError, match="XX"):
        Identifiers(("XX",))


@pytest.mark.parametrize(
    "seed",
    [
        *("A", "Aa-", "A\u0301", "A’a’", "1/", "1 ", "a.", "a:", "Dr. ", " ", "Apt 1 a,\n"),
        *("Weil, Anna ", "lives at 1 a ", "Universidad de ", "in Aa ", "c/ aa "),
    ],
)
def test_a_long_hostile_text_ends(seed: str) -> None:
    # With a pattern that takes the square of the length this meets the timeout of a test.
    text = seed * (60_000 // len(seed))
    found = _DETECTOR.find(text)
    assert all(0 <= f.start < f.end <= len(text) for f in found)

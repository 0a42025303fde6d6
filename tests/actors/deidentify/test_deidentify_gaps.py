from __future__ import annotations

import pytest
from support.deidentify import everything

from actors.deidentify.detector import Detector


def taken(text: str) -> list[str]:
    return [text[f.start : f.end] for f in Detector(everything("es", "en", "de")).find(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Dr. Juan Ruiz. Hospital del Mar. Los Olmos, s/n. 28013 Soria.", ["Los Olmos, s/n"]),
        ("Dra. Ana Gil. Vega y Montes. 28013 Soria.", ["Vega y Montes"]),
        ("Dr. Juan Ruiz. Calle Mayor 3, esc. 2, 2ºb. 28013 Soria.", ["esc. 2, 2ºb"]),
        ("Dr. Juan Ruiz. Hospital del Mar. Carretera, km. 12,500 - 28013 Soria.", ["km. 12,500"]),
        ("Calle Mayor 3. 28013 Soria. Valdeavellano. Fax: 912345678", ["Valdeavellano"]),
        ("Dr. Karl Maier, Klinikum Nord, Hinterm Deich 12, 26121 Oldenburg", ["Hinterm Deich 12"]),
    ],
)  # fmt: skip
def test_what_stands_between_parts_of_an_address_is_taken(text: str, parts: list[str]) -> None:
    found = taken(text)
    for part in parts:
        assert any(part in one for one in found), found
    left = text
    for one in found:
        left = left.replace(one, "")
    for word in (word for part in parts for word in part.replace(",", "").split()):
        assert word not in left.split(), left


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Dr. Ruiz. Servicio de Urología. Hospital del Mar. 28013 Soria.", "Servicio de Urología"),
        ("Dr. Juan Ruiz vio tres lesiones en 28013 Soria.", "vio tres lesiones"),
        ("Mr. John Smith\nHip Fracture\nBoston, MA 02115", "Hip Fracture"),
        ("Mr. John Smith takes Aspirin 100 mg and lives in Boston, MA 02115", "Aspirin 100 mg"),
    ],
)  # fmt: skip
def test_departments_other_lines_and_sentences_stay(text: str, words: str) -> None:
    assert not any(word in one for one in taken(text) for word in words.split() if len(word) > 2)

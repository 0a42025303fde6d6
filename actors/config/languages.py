"""Languages of pages: the letters that a recogniser needs for each, and Tesseract's name of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from string import ascii_lowercase

_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщьюя"


@dataclass(frozen=True, slots=True)
class OcrLanguage:
    """A language. ``letters``: lower case; of Chinese, Japanese and Korean some common ones.
    ``tesseract``: the name of its data file."""

    name: str
    letters: str
    tesseract: str

    def missing(self, alphabet: Collection[str]) -> list[str]:
        """Return the letters, in lower and upper case, that an alphabet lacks."""
        upper = [letter.upper() for letter in self.letters if len(letter.upper()) == 1]
        return [
            letter for letter in dict.fromkeys([*self.letters, *upper]) if letter not in alphabet
        ]


def _latin(name: str, tesseract: str, letters: str = "") -> OcrLanguage:
    return OcrLanguage(name, ascii_lowercase + letters, tesseract)


LANGUAGES: Mapping[str, OcrLanguage] = {
    "bg": OcrLanguage("Bulgarian", _CYRILLIC + "ъ", "bul"),
    "ca": _latin("Catalan", "cat", "àçèéíïòóúü"),
    "cs": _latin("Czech", "ces", "áčďéěíňóřšťúůýž"),
    "da": _latin("Danish", "dan", "åæø"),
    "de": _latin("German", "deu", "äöüß"),
    "el": OcrLanguage("Greek", "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώ", "ell"),
    "en": _latin("English", "eng"),
    "es": _latin("Spanish", "spa", "áéíñóúü"),
    "et": _latin("Estonian", "est", "äõöüšž"),
    "fi": _latin("Finnish", "fin", "äöå"),
    "fr": _latin("French", "fra", "àâçèéêëîïôùûüœ"),
    "hr": _latin("Croatian", "hrv", "čćđšž"),
    "hu": _latin("Hungarian", "hun", "áéíóöőúüű"),
    "is": _latin("Icelandic", "isl", "áðéíóúýþæö"),
    "it": _latin("Italian", "ita", "àèéìòù"),
    "ja": OcrLanguage("Japanese", "のにはをたがでてとしれさアイスントルリ日本年月病院薬", "jpn"),
    "ko": OcrLanguage("Korean", "가나다라마바사이의은는을를에서환자병원약", "kor"),
    "lt": _latin("Lithuanian", "lit", "ąčęėįšųūž"),
    "lv": _latin("Latvian", "lav", "āčēģīķļņšūž"),
    "nl": _latin("Dutch", "nld", "éëï"),
    "no": _latin("Norwegian", "nor", "åæø"),
    "pl": _latin("Polish", "pol", "ąćęłńóśźż"),
    "pt": _latin("Portuguese", "por", "àáâãçéêíóôõú"),
    "ro": _latin("Romanian", "ron", "ăâîșț"),
    "ru": OcrLanguage("Russian", _CYRILLIC + "ёъыэ", "rus"),
    "sk": _latin("Slovak", "slk", "áäčďéíĺľňóôŕšťúýž"),
    "sl": _latin("Slovenian", "slv", "čšž"),
    "sv": _latin("Swedish", "swe", "åäö"),
    "tr": _latin("Turkish", "tur", "çğıöşü"),
    "uk": OcrLanguage("Ukrainian", _CYRILLIC + "єіїґ", "ukr"),
    "vi": _latin(
        "Vietnamese",
        "vie",
        "ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ",
    ),
    "zh": OcrLanguage("Chinese", "的一是不了在有患者药病院年月日", "chi_sim"),
}
"""By ISO 639-1 code: languages that are written from left to right."""

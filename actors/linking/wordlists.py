"""The word lists of term keys."""

from __future__ import annotations

FUNCTION_WORDS = frozenset({
    "a", "an", "the", "of", "and", "or", "in", "on", "at", "by", "to", "for", "from", "with",
    "due", "as", "nos", "included", "formerly", "de", "la", "el", "los", "las", "del", "y", "con",
    "por", "en", "para",
    "le", "les", "des", "du", "et", "der", "die", "das", "und", "von", "mit",
})  # fmt: skip
"""Words that a reordered or shortened name loses, in English, Spanish, French and German.

"without", "no" and "non" are not among them.
"""

SALTS = frozenset({
    "hydrochloride", "hcl", "dihydrochloride", "hydrobromide", "hbr", "sodium", "disodium",
    "potassium", "calcium", "magnesium", "maleate", "malate", "tartrate", "bitartrate",
    "succinate", "fumarate", "phosphate", "sulfate", "sulphate", "bisulfate", "acetate",
    "citrate", "mesylate", "mesilate", "besylate", "besilate", "tosylate", "nitrate",
    "chloride", "bromide", "iodide", "carbonate", "bicarbonate", "gluconate", "lactate",
    "pamoate", "stearate", "benzoate", "hydrate", "monohydrate", "dihydrate", "trihydrate",
    "anhydrous", "tromethamine", "meglumine", "olamine", "medoxomil", "axetil", "proxetil",
})  # fmt: skip
"""Words that the name of a salt or ester adds to the name of its drug."""

SALTS_AND_FORMS = SALTS | frozenset({
    "tablet", "capsule", "caplet", "injection", "solution", "suspension", "syrup", "cream",
    "ointment", "gel", "patch", "spray", "inhaler", "suppository", "drops", "oral", "topical",
    "intravenous", "extended", "release", "er", "xr", "sr", "cr", "la", "xl", "dr", "delayed",
    "immediate", "modified", "sustained", "chewable", "disintegrating", "coated", "film",
})  # fmt: skip
"""Words of a drug's name other than its ingredient."""

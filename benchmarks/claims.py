"""The check of prose answers, on made prescriptions: precision and recall of what it flags.

    python -m benchmarks.claims [--pages 400] [--seed 97] [--data FOLDER]

Each page has three to seven usual drugs with dose, frequency and often a duration, as lines, as a
table, as prose, or with the directions on a line of their own. An answer says one thing of each
drug: what the page says, the dose, frequency or duration of another drug of the page, another dose,
another drug, or a drug that was made up, in lower or upper case. A claim is flagged where the check
leaves it, or the drug it is of, without a place.

FOLDER holds ``<set>/<part>.jsonl[.gz]`` with texts of others. A copy of an MTSamples note holds
nothing wrong, so what is flagged in it is a false alarm. MACCROBAT says which dosage belongs to
which medication: "<medication> <dose>" is right for these, and wrong for the dose of another one.

The last line of stdout is one JSON document, kept as benchmarks/results/claims.json:

    claims     how many of each kind, and how many of them were flagged
    precision  wrong claims among those flagged
    recall     wrong claims that were flagged, in all and by kind
    ms         a page and its answer, median
    copies     notes, claims in their copies, and how many of these were flagged
    reports    right and wrong claims of MACCROBAT's reports, each with how many were flagged
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.claims import check
from actors.claims.find import DRUG
from actors.claims.forms import DOSE, find_amounts
from benchmarks.context.sets import Row, rows

USUAL = tuple(
    """
    acyclovir albuterol alendronate allopurinol alprazolam amiodarone amitriptyline amlodipine
    amoxicillin apixaban aripiprazole aspirin atenolol atorvastatin azathioprine azithromycin
    baclofen bisoprolol bupropion buspirone carbamazepine carvedilol cefalexin cefuroxime
    celecoxib cetirizine ciprofloxacin citalopram clarithromycin clonazepam clonidine
    clopidogrel clozapine colchicine cyclobenzaprine dabigatran dapagliflozin dexamethasone
    diazepam diclofenac digoxin diltiazem donepezil doxazosin doxycycline duloxetine
    empagliflozin enalapril escitalopram esomeprazole ezetimibe famotidine fenofibrate
    finasteride fluconazole fluoxetine furosemide gabapentin gliclazide glimepiride haloperidol
    hydralazine hydrochlorothiazide hydroxychloroquine hydroxyzine ibuprofen indapamide
    irbesartan isoniazid ketoconazole labetalol lamotrigine levetiracetam levofloxacin
    levothyroxine linezolid lisinopril lithium loperamide loratadine lorazepam losartan
    meloxicam memantine metformin methotrexate metoclopramide metoprolol metronidazole
    mirtazapine montelukast morphine naproxen nifedipine nitrofurantoin olanzapine omeprazole
    ondansetron oxybutynin oxycodone pantoprazole paroxetine phenytoin pioglitazone prednisolone
    pregabalin propranolol quetiapine ramipril ranitidine risperidone rivaroxaban rosuvastatin
    sertraline simvastatin sitagliptin spironolactone tamsulosin topiramate tramadol trazodone
    valsartan venlafaxine verapamil warfarin zolpidem
    """.split()  # noqa: SIM905
)
_MILLIGRAMS = ("0.5", 2.5, 5, 10, 20, 25, 40, 50, 75, 100, 150, 200, 250, 300, 500)
DOSES = (*(f"{number} mg" for number in _MILLIGRAMS), "1 g", "50 mcg")
FREQUENCIES = {
    "once daily": ("once daily", "once a day", "OD", "daily"),
    "twice daily": ("twice daily", "BID", "two times a day", "b.i.d."),
    "three times daily": ("three times daily", "TDS", "three times a day"),
    "at bedtime": ("at bedtime", "qhs"),
    "every 6 hours": ("every 6 hours", "q6h"),
    "once weekly": ("once weekly", "once a week"),
}
DURATIONS = {
    "3 days": ("3 days", "three days"),
    "5 days": ("5 days", "five days"),
    "7 days": ("7 days", "1 week", "one week"),
    "2 weeks": ("2 weeks", "14 days"),
    "3 months": ("3 months", "three months"),
}
KINDS = (
    *("right", "right", "right", "other drug's dose", "other dose", "other drug's frequency"),
    *("other drug's duration", "drug not there", "drug made up"),
)
SYLLABLES = ("zel", "fi", "bra", "xo", "mun", "ta", "dri", "vex", "lor", "qua", "nip", "sol", "ree")


@dataclass(frozen=True)
class Order:
    """One line of a prescription."""

    drug: str
    dose: str
    frequency: str
    duration: str | None


@dataclass(frozen=True)
class Case:
    """A page, an answer, and what is wrong with each claim: (drug, value, kind)."""

    page: str
    answer: str
    claims: tuple[tuple[str, str, str], ...]


def made_case(rng: random.Random) -> Case:
    """A page with the answer to it."""
    drugs = rng.sample(USUAL, rng.randint(3, 7))
    doses = rng.sample(DOSES, len(drugs))
    orders = [
        Order(
            drug,
            dose,
            rng.choice(list(FREQUENCIES)),
            rng.choice(list(DURATIONS)) if rng.random() < 0.5 else None,
        )
        for drug, dose in zip(drugs, doses, strict=True)
    ]
    asked = rng.sample(orders, rng.randint(2, len(orders)))
    said = [_claim(order, orders, rng) for order in asked]
    sentences = [sentence for sentence, *_ in said]
    joined = (
        "\n".join(f"- {one}" for one in sentences) if rng.random() < 0.4 else ". ".join(sentences)
    )
    return Case(_page(orders, rng), joined + ".", tuple((d, v, k) for _, d, v, k in said))


def _page(orders: Sequence[Order], rng: random.Random) -> str:
    case = rng.choice((str.title, str.upper, str.lower))
    layout = rng.choice(("lines", "table", "prose", "directions"))
    rows = []
    for order in orders:
        drug = case(order.drug)
        for_ = f" for {order.duration}" if order.duration else ""
        if layout == "lines":
            rows.append(f"Tab. {drug} {order.dose} {order.frequency}{for_}")
        elif layout == "table":
            rows.append("\t".join((drug, order.dose, order.frequency, order.duration or "-")))
        elif layout == "prose":
            rows.append(f"{drug} {order.dose} {order.frequency}{for_}")
        else:
            rows.append(f"{drug}\t{order.dose}\ntake {order.frequency}{for_}")
    head = "Patient seen in clinic on 12/03/2024.\n\n"
    if layout == "prose":
        return f"{head}Discharged on {', '.join(rows[:-1])} and {rows[-1]}. Review after 6 weeks."
    title = "Drug\tDose\tFrequency\tDuration\n" if layout == "table" else "Rx\n"
    return head + title + "\n".join(rows) + "\n\nReview after 6 weeks."


def _claim(order: Order, orders: Sequence[Order], rng: random.Random) -> tuple[str, str, str, str]:
    """A sentence, its drug, the value that is right or wrong in it, and the kind."""
    kind = rng.choice(KINDS)
    drug, dose, frequency, duration = order.drug, order.dose, order.frequency, order.duration
    others = [one for one in orders if one is not order]
    value = dose
    if kind == "other drug's dose":
        value = dose = rng.choice(others).dose
    elif kind == "other dose":
        value = dose = rng.choice([d for d in DOSES if d not in {o.dose for o in orders}])
    elif kind == "other drug's frequency":
        differing = [one.frequency for one in others if one.frequency != frequency]
        if differing and frequency != "at bedtime" and "at bedtime" not in differing:
            value = frequency = rng.choice(differing)
        else:
            kind = "right"
    elif kind == "other drug's duration":
        differing = [d for one in others if (d := one.duration) is not None and d != duration]
        if differing:
            duration = rng.choice(differing)
            value = duration
        else:
            kind = "right"
    elif kind == "drug not there":
        drug = rng.choice([one for one in USUAL if one not in {o.drug for o in orders}])
    elif kind == "drug made up":
        drug = "".join(rng.sample(SYLLABLES, 3))
    often = rng.choice(FREQUENCIES[frequency])
    value = often if value == frequency else value
    span = rng.choice(DURATIONS[duration]) if duration else None
    value = span if span and value == duration else value
    name = rng.choice((str.title, str.lower))(drug)
    for_ = f" for {span}" if span else ""
    sentence = rng.choice(
        (
            f"{name} {dose} {often}{for_}",
            f"The patient takes {name} {dose} {often}{for_}",
            f"She was given {dose} of {name} {often}{for_}",
            f"{name} is taken {often} at {dose}{for_}",
            f"{name}: {dose}, {often}{for_}",
        )
    )
    return sentence, drug, value, kind


def flagged(case: Case) -> Iterator[tuple[str, bool]]:
    """The kind of each claim of a case, and whether the check flags it."""
    missing = [entity for entity in check(case.answer, case.page) if entity.start is None]
    for drug, value, kind in case.claims:
        yield (
            kind,
            any(
                entity.text.casefold() == drug
                or entity.attributes.get("of", "").casefold() == drug
                or (entity.text.casefold() == value.casefold() and "of" not in entity.attributes)
                for entity in missing
            ),
        )


def copies(notes: Sequence[Row]) -> dict[str, Any]:
    """Count flags by label in copies of notes, where every flag is false."""
    claims, false = 0, Counter[str]()
    for note in notes:
        entities = check(note["text"], note["text"])
        claims += len(entities)
        false.update(entity.label for entity in entities if entity.start is None)
    return {"notes": len(notes), "claims": claims, "flagged": dict(sorted(false.items()))}


def reports(reports_read: Sequence[Row]) -> dict[str, list[int]]:
    """Medications with their own dose and with that of another, and how many were flagged."""
    counts = {"right": [0, 0], "wrong": [0, 0]}
    for row in reports_read:
        of = _gold_doses(row)
        for drug, doses in of.items():
            for dose in set().union(*of.values()):
                about = counts["right" if dose in doses else "wrong"]
                said = f"{drug} {dose}"
                found = [e for e in check(said, row["text"]) if e.label in (DRUG, DOSE)]
                about[0] += 1
                about[1] += any(entity.start is None for entity in found)
    return counts


def _gold_doses(row: Row) -> dict[str, set[str]]:
    by_id = {entity["id"]: entity for entity in row["entities"]}
    found: dict[str, set[str]] = {}
    for relation in row["relations"]:
        pair = [by_id.get(relation["head"]), by_id.get(relation["tail"])]
        labels = {one["label"]: one["text"] for one in pair if one is not None}
        if labels.keys() >= {"Medication", "Dosage"}:
            words = labels["Dosage"]
            doses = [words[s:e] for label, s, e in find_amounts(words) if label == DOSE]
            if len(doses) == 1:
                found.setdefault(labels["Medication"], set()).add(doses[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--seed", type=int, default=97)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    cases = [made_case(rng) for _ in range(arguments.pages)]
    check("", "")  # loads the names
    total, hits, times = Counter[str](), Counter[str](), []
    for case in cases:
        begun = time.perf_counter()
        found = list(flagged(case))
        times.append(time.perf_counter() - begun)
        total.update(kind for kind, _ in found)
        hits.update(kind for kind, hit in found if hit)
    wrong = {kind: total[kind] for kind in total if kind != "right"}
    result: dict[str, Any] = {
        "seed": arguments.seed,
        "pages": arguments.pages,
        "claims": {kind: [total[kind], hits[kind]] for kind in sorted(total)},
        "precision": round(1 - hits["right"] / max(1, sum(hits.values())), 4),
        "recall": round(sum(hits[kind] for kind in wrong) / max(1, sum(wrong.values())), 4),
        "recall_by_kind": {kind: round(hits[kind] / wrong[kind], 4) for kind in sorted(wrong)},
        "ms": round(statistics.median(times) * 1000, 2),
    }
    if arguments.data:
        result["copies"] = copies((rows(arguments.data, "mtsamples", "dev") or [])[:120])
        result["reports"] = reports(rows(arguments.data, "maccrobat2020", "train") or [])
    print(json.dumps(result))


if __name__ == "__main__":
    main()

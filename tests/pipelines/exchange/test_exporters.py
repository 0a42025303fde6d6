"""Each format's export of one note, and the counts of what it cannot express."""

from __future__ import annotations

import csv
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.exchange import NOTE, PIECES, document, exported, note

from actors.spans import Assertion, Code, spanning
from pipelines.exchange.export import export_documents
from pipelines.exchange.exporter import ExportError, ExportOptions, Lost
from pipelines.exchange.formats import ExportFormat
from pipelines.exchange.selection import Selection
from pipelines.exchange.word_tokens import tokens
from pipelines.runs.results import Result


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")


def test_jsonl_has_all_of_a_document(tmp_path: Path) -> None:
    lost = exported(tmp_path / "out", ExportFormat.JSONL, note())
    assert lost == {"relations of ungrounded entities": 1}
    row = json.loads((tmp_path / "out").read_text())
    assert (row["id"], row["text"], row["document_status"]) == ("n1", NOTE, "ok")
    metformin = row["entities"][0]
    assert NOTE[metformin["start"] : metformin["end"]] == metformin["text"] == "Metformin"
    assert metformin["codes"][0]["code"] == "6809"
    assert (metformin["section"], row["sections"][0]["loinc"]) == ("plan", "18776-5")
    assert [one["label"] for one in row["ungrounded"]] == ["Disease"]
    assert row["relations"][0]["attributes"] == {"value": "500", "unit": "mg"}


def test_conll_labels_words(tmp_path: Path) -> None:
    nested = (
        spanning("no chest pain.", 9, 13, "Symptom"),
        spanning("no chest pain.", 3, 13, "Chest X"),
    )
    lost = exported(tmp_path / "out", ExportFormat.CONLL, document("no chest pain.", nested))
    assert lines(tmp_path / "out") == [
        '-DOCSTART-\t"n1"\tcode_points\tO',
        "",
        "no\t0\t2\tO",
        "chest\t3\t8\tB-Chest_X",
        "pain\t9\t13\tI-Chest_X",
        ".\t13\t14\tO",
        "",
        "",
    ]
    assert lost == {
        "entities that overlap a longer one": 1,
        "label 'Chest X', written as 'Chest_X'": 1,
    }


def test_conll_counts_status_codes_sections_relations_scores(tmp_path: Path) -> None:
    assert exported(tmp_path / "out", ExportFormat.CONLL, note()) == {
        "ungrounded entities": 1,
        "status of entities": 7,
        "scores": 8,
        "codes": 2,
        "sections": 1,
        "relations": 4,
    }


def test_two_labels_that_become_one_word_are_refused(tmp_path: Path) -> None:
    both = spanning("a b", 0, 1, "X Y"), spanning("a b", 2, 3, "X_Y")
    with pytest.raises(ExportError, match="'X Y' and 'X_Y' would both be written as 'X_Y'"):
        exported(tmp_path / "out", ExportFormat.CONLL, document("a b", both))
    assert not list(tmp_path.iterdir())


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES)).map("".join), st.data())
def test_words_leave_out_white_space_only_and_keep_to_the_edges(
    text: str, data: st.DataObject
) -> None:
    edges = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
    found = list(tokens(text, edges))
    between, at = "", 0
    for start, end in found:
        assert at <= start < end
        assert not any(start < edge < end for edge in edges)
        assert not any(c.isspace() for c in text[start:end])
        between, at = between + text[at:start], end
    assert not (between + text[at:]).strip()


def test_brat_has_status_codes_relations_and_the_configuration(tmp_path: Path) -> None:
    lost = exported(tmp_path / "out", ExportFormat.BRAT, note())
    assert lost == {
        "ungrounded entities": 1,
        "sections": 1,
        "relations of ungrounded entities": 1,
    }
    written = lines(tmp_path / "out/n1.ann")
    assert "T1\tDrug 6 15\tMetformin" in written
    assert "A1\tNegated T4" in written
    assert "A2\tExperiencer T5 family" in written
    assert "N1\tReference T1 rxnorm:6809\tmetformin" in written
    assert "#1\tAnnotatorNotes T1\tscore 0.900, section plan" in written
    assert "R1\tdose Arg1:T1 Arg2:T2" in written
    assert (tmp_path / "out/n1.txt").read_bytes().decode() == NOTE
    annotation = lines(tmp_path / "out/annotation.conf")
    assert {"Drug", "dose\tArg1:<ENTITY>, Arg2:<ENTITY>", "Negated\tArg:<ENTITY>"} <= set(
        annotation
    )


def test_brat_writes_a_fragment_per_line(tmp_path: Path) -> None:
    text = "type 2\r\ndiabetes"
    exported(tmp_path / "out", ExportFormat.BRAT, document(text, [spanning(text, 0, 16, "D")]))
    assert lines(tmp_path / "out/n1.ann") == ["T1\tD 0 6;8 16\ttype 2 diabetes", ""]


@pytest.mark.parametrize("doc_id", ["../../etc/passwd", "a/b", ".hidden", "x" * 400, "é=1"])
def test_no_id_leaves_the_folder(tmp_path: Path, doc_id: str) -> None:
    exported(tmp_path / "out", ExportFormat.BRAT, document("x", [], doc_id=doc_id))
    assert len([*(tmp_path / "out").iterdir()]) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_label_studio_has_regions_status_relations_and_its_configuration(tmp_path: Path) -> None:
    lost = exported(
        tmp_path / "out", ExportFormat.LABEL_STUDIO, replace(note(), more={"mrn": 7}), patient="mrn"
    )
    assert lost == {
        "ungrounded entities": 1,
        "sections": 1,
        "relations of ungrounded entities": 1,
    }
    (task,) = json.loads((tmp_path / "out/tasks.json").read_text())
    assert task["data"] == {"text": NOTE, "doc_id": "n1", "patient": "7"}
    (prediction,) = task["predictions"]
    assert prediction["model_version"] == "tagger"
    regions = {(one["type"], one.get("id")): one for one in prediction["result"]}
    assert regions["labels", "e0"]["value"] == {
        "start": 6,
        "end": 15,
        "text": "Metformin",
        "labels": ["Drug"],
    }
    assert regions["labels", "e0"]["meta"]["text"] == ["rxnorm 6809: metformin", "section: plan"]
    assert regions["choices", "e3"]["value"]["choices"] == ["negated"]
    view = ElementTree.parse(tmp_path / "out/labels.xml").getroot()
    assert {one.get("value") for one in view.iter("Label")} == {
        *("Drug", "Dose", "Frequency", "Disease", "LabTest", "LabValue")
    }
    assert {one.get("value") for one in view.iter("Relation")} == {"dose", "frequency", "value"}


def test_an_export_without_documents_is_still_readable(tmp_path: Path) -> None:
    exported(tmp_path / "out", ExportFormat.LABEL_STUDIO)
    assert json.loads((tmp_path / "out/tasks.json").read_text()) == []


def test_docbin_has_spans_and_what_spacy_has_no_place_for(tmp_path: Path) -> None:
    tokens_of = pytest.importorskip("spacy.tokens")
    vocab = pytest.importorskip("spacy.vocab").Vocab()
    lost = exported(tmp_path / "out", ExportFormat.DOCBIN, note())
    assert lost == {"ungrounded entities": 1}
    (path,) = (tmp_path / "out").iterdir()
    (doc,) = tokens_of.DocBin().from_disk(path).get_docs(vocab)
    assert doc.text == NOTE
    assert [(one.text, one.label_) for one in doc.ents][:2] == [
        ("Metformin", "Drug"),
        ("500 mg", "Dose"),
    ]
    drug = doc.spans["medspan"][0]
    assert (drug.kb_id_, drug.id_) == ("rxnorm:6809", "0")
    facts = doc.user_data["medspan"]
    assert facts["entities"]["3"]["assertion"]["negated"] is True
    assert facts["sections"][0]["name"] == "plan"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_omop_rows(tmp_path: Path) -> None:
    given = note()
    codes = (Code("omop", "1503297", "metformin", 1, "exact"),)
    entities = (replace(given.entities[0], codes=codes), *given.entities[1:])
    given = replace(given, entities=entities, more={**given.more, "p": 12, "d": "2026-02-03"})
    lost = exported(
        tmp_path / "out",
        ExportFormat.OMOP,
        given,
        unit="bytes",
        patient="p",
        date="d",
        system="medspan 1",
        section_concepts={"plan": 42},
    )
    assert lost == {"codes that are no OMOP concepts": 1, "relations": 4, "scores": 8}
    (row,) = table(tmp_path / "out/note.csv")
    assert (row["person_id"], row["note_date"], row["note_text"]) == ("12", "2026-02-03", NOTE)
    assert row["note_source_value"] == "n1"
    terms = table(tmp_path / "out/note_nlp.csv")
    assert {term["note_id"] for term in terms} == {row["note_id"]}
    first, glaucoma, asthma, cough = terms[0], terms[3], terms[4], terms[7]
    assert (first["offset"], first["lexical_variant"]) == ("6", "Metformin")
    assert (first["note_nlp_concept_id"], first["section_concept_id"]) == ("1503297", "42")
    assert first["nlp_system"] == "medspan 1; tagger f00d"
    assert (first["term_exists"], glaucoma["term_exists"], asthma["term_exists"]) == ("Y", "N", "N")
    assert "negated=true" in glaucoma["term_modifiers"]
    assert "subject=family" in asthma["term_modifiers"]
    assert (cough["offset"], cough["term_exists"]) == ("", "")


def test_omop_in_parquet_has_the_types_of_the_tables(tmp_path: Path) -> None:
    given = document("x", [], doc_id="17", more={"d": date(2026, 2, 3)})
    lost = exported(tmp_path / "out", ExportFormat.OMOP, given, parquet=True, date="d")
    assert lost == {"person_id is empty (--patient names its column)": 1}
    (row,) = pq.read_table(tmp_path / "out/note.parquet").to_pylist()
    assert (row["note_id"], row["note_date"], row["person_id"]) == (17, date(2026, 2, 3), None)
    assert pq.read_table(tmp_path / "out/note_nlp.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("more", "options", "error"),
    [
        ({"p": "MRN-1"}, {"patient": "p"}, "person_id is an integer"),
        ({"d": "yesterday"}, {"date": "d"}, "--date d: document 'n1' has no date there"),
    ],
)
def test_omop_refuses_what_its_columns_cannot_hold(
    tmp_path: Path, more: dict[str, Any], options: dict[str, Any], error: str
) -> None:
    with pytest.raises(ExportError, match=error):
        exported(tmp_path / "out", ExportFormat.OMOP, document("x", [], more=more), **options)
    assert not list(tmp_path.iterdir())


def resources(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    for line in lines(path):
        for entry in json.loads(line)["entry"] if line else ():
            if entry["resource"]["resourceType"] == kind:
                yield entry["resource"]


def test_fhir_bundles_are_valid(tmp_path: Path) -> None:
    """Against the published definitions of R4B, which are R4's for these resources."""
    bundles = pytest.importorskip("fhir.resources.R4B.bundle")
    given = [note(), document("nothing here", [], doc_id="n2")]
    both: tuple[dict[str, Any], ...] = ({}, {"patient": "p", "date": "d"})
    for number, options in enumerate(both):
        more = {"p": "a b/7", "d": "2026-02-03"}
        some = [replace(one, more={**one.more, **more}) for one in given]
        exported(tmp_path / str(number), ExportFormat.FHIR, *some, **options)
        for line in lines(tmp_path / str(number))[:2]:
            bundle = bundles.Bundle.model_validate_json(line)
            assert bundle.entry[0].resource.get_resource_type() == "DocumentReference"


def test_fhir_holds_what_the_note_asserts_of_the_patient(tmp_path: Path) -> None:
    lost = exported(tmp_path / "out", ExportFormat.FHIR, note(), system="medspan 1")
    assert lost["entities of a relative or another person"] == 1
    assert lost["entities of the label 'Dose' (--resource names its type)"] == 1
    (reference,) = resources(tmp_path / "out", "DocumentReference")
    assert b64decode(reference["content"][0]["attachment"]["data"]).decode() == NOTE
    (drug,) = resources(tmp_path / "out", "MedicationStatement")
    assert drug["status"] == "active"
    assert drug["medicationCodeableConcept"]["coding"] == [
        {
            "system": "http://www.nlm.nih.gov/research/umls/rxnorm",
            "code": "6809",
            "display": "metformin",
        }
    ]
    (dosage,) = drug["dosage"]
    assert dosage["text"] == "500 mg twice daily"
    assert dosage["doseAndRate"][0]["doseQuantity"]["code"] == "mg"
    assert dosage["timing"]["repeat"] == {"frequency": 2, "period": 1, "periodUnit": "d"}
    (extension,) = drug["extension"]
    offset, length = (part["valueInteger"] for part in extension["extension"][2:])
    assert NOTE[offset : offset + length] == "Metformin"
    glaucoma, cough = resources(tmp_path / "out", "Condition")
    assert glaucoma["verificationStatus"]["coding"][0]["code"] == "refuted"
    assert "clinicalStatus" not in glaucoma
    assert drug["reasonReference"] == [{"reference": f"urn:uuid:{cough['id']}"}]
    assert "verificationStatus" not in cough  # nothing decided its status
    (test,) = resources(tmp_path / "out", "Observation")
    assert test["valueQuantity"]["value"] == 7.2
    (provenance,) = resources(tmp_path / "out", "Provenance")
    assert provenance["agent"][0]["who"]["display"] == "medspan 1; tagger f00d"
    assert len(provenance["target"]) == 4


@pytest.mark.parametrize(
    ("assertion", "kind", "found"),
    [
        (Assertion(), "Condition", "confirmed"),
        (Assertion(uncertain=True), "Condition", "unconfirmed"),
        (Assertion(historical=True), "Condition", "confirmed"),
        (Assertion(hypothetical=True), "Condition", None),
        (Assertion(conditional=True), "MedicationStatement", None),
        (Assertion(negated=True), "MedicationStatement", "not-taken"),
        (Assertion(historical=True), "MedicationStatement", "completed"),
        (Assertion(uncertain=True), "MedicationStatement", "unknown"),
        (Assertion(negated=True), "Observation", None),
    ],
)
def test_status_in_fhir(tmp_path: Path, assertion: Assertion, kind: str, found: str | None) -> None:
    entity = spanning("word", 0, 4, "Thing", assertion=assertion)
    exported(
        tmp_path / "out", ExportFormat.FHIR, document("word", [entity]), resources={"thing": kind}
    )
    made = list(resources(tmp_path / "out", kind))
    if found is None:
        assert not made
    elif kind == "Condition":
        assert made[0]["verificationStatus"]["coding"][0]["code"] == found
    else:
        assert made[0]["status"] == found


def test_spark_nlp_annotations_end_at_their_last_character(tmp_path: Path) -> None:
    text = "💊 " + NOTE
    given = note()
    entities = [
        spanning(text, e.start + 2, e.end + 2, e.label, assertion=e.assertion, codes=e.codes)
        for e in given.entities
        if e.start is not None and e.end is not None
    ]
    relations = given.relations[:3]
    exported(
        tmp_path / "out", ExportFormat.SPARK_NLP, document(text, entities, relations=relations)
    )
    (row,) = pq.read_table(tmp_path / "out").to_pylist()
    java = text.encode("utf-16-le")

    def words(annotation: dict[str, Any]) -> str:
        return java[2 * annotation["begin"] : 2 * annotation["end"] + 2].decode("utf-16-le")

    assert words(row["document"][0]) == row["document"][0]["result"] == text
    assert [words(one) for one in row["ner_chunk"]] == [one.text for one in entities]
    assert dict(row["ner_chunk"][0]["metadata"])["entity"] == "Drug"
    assert [one["result"] for one in row["assertion"]] == [
        *["present"] * 3,
        "absent",
        "associated_with_someone_else",
        *["present"] * 2,
    ]
    assert [(one["result"], words(one)) for one in row["resolution"]] == [
        ("6809", "Metformin"),
        ("DOID:1686", "glaucoma"),
    ]
    dose = row["relations"][0]
    facts = dict(dose["metadata"])
    assert (dose["annotatorType"], dose["result"]) == ("category", "dose")
    assert (facts["entity1"], facts["chunk2"]) == ("Drug", "500 mg")
    assert (
        words({"begin": int(facts["entity2_begin"]), "end": int(facts["entity2_end"])}) == "500 mg"
    )


@pytest.mark.parametrize(
    ("selection", "labels", "relations"),
    [
        (Selection(labels=frozenset({"Drug", "Dose"})), ["Drug", "Dose"], 1),
        (Selection(statuses=frozenset({"negated", "family"})), ["Disease", "Disease"], 0),
        (Selection(min_score=0.95), [], 0),
        (Selection(documents=frozenset({"other"})), None, 0),
        (Selection(), [e.label for e in note().entities], 4),
    ],
)
def test_filters_keep_relations_among_what_is_left(
    selection: Selection, labels: list[str] | None, relations: int
) -> None:
    found = list(selection.apply([note()], Lost()))
    if labels is None:
        assert not found
        return
    (one,) = found
    assert [e.label for e in one.entities] == labels
    assert len(one.relations) == relations
    for link in one.relations:
        assert max(link.head, link.tail) < len(one.entities)


def test_a_filter_counts_what_it_cannot_judge() -> None:
    entity = spanning("a", 0, 1, "X")
    lost = Lost()
    list(Selection(min_score=0.5).apply([document("a", [entity])], lost))
    list(Selection(statuses=frozenset({"present"})).apply([document("a", [entity])], lost))
    assert lost == {
        "entities without a score, left out by --min-score": 1,
        "entities without a status, left out by --status": 1,
    }


def test_documents_without_a_text_are_counted(tmp_path: Path) -> None:
    failed = replace(document("", []), text=None, status="failed")
    assert exported(tmp_path / "out", ExportFormat.JSONL, failed) == {"documents without a text": 1}


def test_an_export_overwrites_nothing_and_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ExportError, match=r"there exists; remove it, or name another --out"):
        exported(tmp_path / "there", ExportFormat.JSONL, note())

    def breaking() -> Iterator[Result]:
        yield note()
        raise OSError("the store is away")

    for format_ in ExportFormat:
        options = ExportOptions(unit=format_.unit(None))
        with pytest.raises(OSError, match="away"):
            export_documents(breaking(), format_, str(tmp_path / "new"), options, Lost())
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_formats_with_a_unit_of_their_own_refuse_another() -> None:
    with pytest.raises(ExportError, match="--offsets utf16: brat counts code points"):
        ExportFormat.BRAT.unit("utf16")
    assert ExportFormat.SPARK_NLP.unit(None) == "utf16"
    assert ExportFormat.SPARK_NLP.unit("code_points") == "code_points"

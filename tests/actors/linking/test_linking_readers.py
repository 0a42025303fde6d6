import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.linking import VocabularyError, gather, read
from actors.linking.vocabulary import Concept, Vocabulary


def vocabulary(path: Path, content: str | bytes, language: str = "en") -> Vocabulary:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return gather("v", "1", read(path, language))


def concepts(found: Vocabulary) -> dict[str, Concept]:
    return {concept.code: concept for concept in found.concepts}


def test_a_table_of_one_row_a_name(tmp_path: Path) -> None:
    content = (
        "code,term,kind,type,parents\n"
        'B1,"cancer, breast",synonym,disease,A\nB1,Breast cancer,preferred,disease,A\nA,Cancer,,,\n'
    )

    found = concepts(vocabulary(tmp_path / "v.csv", content))

    assert found["B1"].terms == ["Breast cancer", "cancer, breast"]
    assert (found["B1"].types, found["B1"].parents) == (("disease",), ("A",))


def test_a_table_of_one_row_a_concept(tmp_path: Path) -> None:
    content = 'code\tpreferred_name\tsynonyms\ttype\nA\tAsthma\tthe "wheeze"|asthma attack\tx|y\n'

    (found,) = vocabulary(tmp_path / "v.tsv.gz", gzip.compress(content.encode())).concepts

    assert found.terms == ["Asthma", 'the "wheeze"', "asthma attack"]
    assert found.types == ("x", "y")


def test_a_parquet_file_with_lists(tmp_path: Path) -> None:
    table = pa.table({"code": [1, 2], "term": ["one", "two"], "parents": [[2], None]})
    pq.write_table(table, tmp_path / "v.parquet")

    found = concepts(gather("v", "1", read(tmp_path / "v.parquet")))

    assert found["1"].parents == ("2",)


def rrf(*fields: tuple[int, str]) -> str:
    row = [""] * 18
    for at, value in fields:
        row[at] = value
    return "|".join(row) + "|\n"


def test_rxnorm(tmp_path: Path) -> None:
    def row(code: str, sab: str, tty: str, term: str, suppressed: str = "N") -> str:
        return rrf((0, code), (11, sab), (12, tty), (14, term), (16, suppressed))

    content = (
        row("6809", "RXNORM", "IN", "metformin")
        + row("6809", "MSH", "MH", "Metformin")
        + row("861007", "RXNORM", "PSN", "metformin 500 MG tablet")
        + row("861007", "RXNORM", "SCD", "metformin 500 MG Oral Tablet")
        + row("861008", "RXNORM", "SCD", "gone", "O")
    )

    found = concepts(vocabulary(tmp_path / "RXNCONSO.RRF", content))

    assert set(found) == {"6809", "861007"}
    assert found["861007"].terms == ["metformin 500 MG Oral Tablet", "metformin 500 MG tablet"]
    assert found["861007"].types == ("SCD",)


def test_umls_in_a_language_with_semantic_types(tmp_path: Path) -> None:
    def row(language: str, status: str, term: str) -> str:
        return rrf(
            (0, "C1"), (1, language), (2, status), (4, "PF"), (6, "Y"), (14, term), (16, "N")
        )

    content = (
        row("ENG", "S", "lung fever") + row("ENG", "P", "Pneumonia") + row("SPA", "P", "Neumonía")
    )
    (tmp_path / "MRSTY.RRF").write_text("C1|T047|B2.2|Disease or Syndrome|AT|256|\n")

    (english,) = vocabulary(tmp_path / "MRCONSO.RRF", content).concepts
    (spanish,) = vocabulary(tmp_path / "MRCONSO.RRF", content, "es").concepts

    assert (english.terms, english.types) == (["Pneumonia", "lung fever"], ("T047",))
    assert spanish.terms == ["Neumonía"]
    with pytest.raises(VocabularyError, match="language 'xx'"):
        vocabulary(tmp_path / "MRCONSO.RRF", content, "xx")


def test_snomed_rf2(tmp_path: Path) -> None:
    folder = tmp_path / "Terminology"
    folder.mkdir()
    header = "id\teffectiveTime\tactive\tmoduleId\tconceptId\tlanguageCode\ttypeId\tterm\tcase\n"
    names = [
        ("1", "10", "en", "900000000000003001", "Asthma (disorder)"),
        ("1", "10", "en", "900000000000013009", 'Asthma "attack"'),
        ("0", "10", "en", "900000000000013009", "old name"),
        ("1", "20", "en", "900000000000003001", "Disease (disorder)"),
        ("1", "30", "en", "900000000000003001", "Inactive (disorder)"),
        ("1", "10", "es", "900000000000013009", "asma"),
    ]
    rows = "".join(
        f"{at}\t20260101\t{active}\tm\t{concept}\t{language}\t{kind}\t{term}\tc\n"
        for at, (active, concept, language, kind, term) in enumerate(names)
    )
    (folder / "sct2_Concept_Snapshot_INT_20260101.txt").write_text(
        "id\teffectiveTime\tactive\n10\t2026\t1\n20\t2026\t1\n30\t2026\t0\n"
    )
    (folder / "sct2_Relationship_Snapshot_INT_20260101.txt").write_text(
        "id\tactive\tsourceId\tdestinationId\ttypeId\n1\t1\t10\t20\t116680003\n"
        "2\t0\t20\t10\t116680003\n3\t1\t20\t10\t363698007\n4\t1\t10\t30\t116680003\n"
    )

    found = concepts(
        vocabulary(folder / "sct2_Description_Snapshot-en_INT_20260101.txt", header + rows)
    )

    assert set(found) == {"10", "20"}
    assert found["10"].terms == ["Asthma", 'Asthma "attack"']
    assert (found["10"].types, found["10"].parents) == (("disorder",), ("20",))


OBO = """format-version: 1.2

[Term]
id: X:1
name: Disease \\{any\\}
namespace: things

[Term]
id: X:2
name: Asthma
synonym: "the \\"wheeze\\"" EXACT []
synonym: "lung trouble" BROAD []
is_a: X:1 ! Disease
is_a: Y:9 ! of another ontology

[Term]
id: X:3
name: old
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""


def test_obo(tmp_path: Path) -> None:
    found = concepts(vocabulary(tmp_path / "x.obo", OBO))

    assert set(found) == {"X:1", "X:2"}
    assert found["X:1"].terms == ["Disease {any}"]
    assert found["X:2"].terms == ["Asthma", 'the "wheeze"']
    assert found["X:2"].parents == ("X:1",)


def test_obo_json(tmp_path: Path) -> None:
    base = "http://purl.obolibrary.org/obo/"
    nodes = [
        {"id": base + "X_1", "lbl": "Disease", "type": "CLASS"},
        {
            "id": base + "X_2",
            "lbl": "Asthma",
            "type": "CLASS",
            "meta": {
                "synonyms": [
                    {"pred": "hasExactSynonym", "val": "wheeze"},
                    {"pred": "hasBroadSynonym", "val": "lung trouble"},
                ]
            },
        },
        {"id": base + "X_3", "lbl": "old", "type": "CLASS", "meta": {"deprecated": True}},
    ]
    edges = [{"sub": base + "X_2", "pred": "is_a", "obj": base + "X_1"}]

    found = concepts(
        vocabulary(tmp_path / "x.json", json.dumps({"graphs": [{"nodes": nodes, "edges": edges}]}))
    )

    assert set(found) == {"X:1", "X:2"}
    assert (found["X:2"].terms, found["X:2"].parents) == (["Asthma", "wheeze"], ("X:1",))


def test_icd10cm_order_file(tmp_path: Path) -> None:
    def line(number: int, code: str, leaf: int, short: str, long: str) -> str:
        return f"{number:05d} {code:<7} {leaf} {short:<60} {long}\n"

    content = line(1, "A00", 0, "Cholera", "Cholera") + line(
        2, "A000", 1, "Cholera d/t V. cholerae", "Cholera due to Vibrio cholerae"
    )

    found = concepts(vocabulary(tmp_path / "icd10cm_order_2026.txt", content))

    assert found["A00.0"].terms == ["Cholera due to Vibrio cholerae", "Cholera d/t V. cholerae"]
    assert (found["A00.0"].types, found["A00.0"].parents) == (("leaf",), ("A00",))


def test_icd10cm_tabular_list(tmp_path: Path) -> None:
    content = """<ICD10CM.tabular><chapter><name>1</name><desc>Infections</desc>
      <section id="A00-A09"><desc>Intestinal</desc>
        <diag><name>A00</name><desc>Cholera</desc>
          <diag><name>A00.0</name><desc>Cholera due to V.</desc>
            <inclusionTerm><note>Classical cholera</note></inclusionTerm></diag></diag>
      </section></chapter></ICD10CM.tabular>"""

    found = concepts(vocabulary(tmp_path / "tabular.xml", content))

    assert found["A00.0"].terms == ["Cholera due to V.", "Classical cholera"]
    assert [found[code].parents for code in ("A00.0", "A00", "A00-A09", "Chapter 1")] == [
        ("A00",), ("A00-A09",), ("Chapter 1",), (),
    ]  # fmt: skip


def test_loinc(tmp_path: Path) -> None:
    content = (
        "LOINC_NUM,COMPONENT,CLASS,STATUS,SHORTNAME,LONG_COMMON_NAME\n"
        '1-8,Glucose,CHEM,ACTIVE,Glu SerPl,"Glucose [Mass/volume] in Serum, Plasma"\n'
        "2-6,Old,CHEM,DEPRECATED,Old,Old\n"
    )

    (found,) = vocabulary(tmp_path / "Loinc.csv", content).concepts

    assert found.terms == ["Glucose [Mass/volume] in Serum, Plasma", "Glu SerPl"]


CONCEPTS = "code\tpreferred_name\tsynonyms\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "v.tsv",
            CONCEPTS + "A\tone\t\nB\ttwo\t\nA\tthree\t\n",
            "row 4: duplicate code 'A'.*row 2",
        ),
        ("v.tsv", "term\tkind\nA\tone\n", "row 1: no column code; there are: term, kind"),
        ("v.tsv", "code\tlabel\nA\tone\n", "row 1: neither a column term"),
        ("v.tsv", "code\tterm\nA\tone\nB\n", "row 3: 1 fields, but the header has 2"),
        ("v.tsv", b"code\tterm\nA\tone\nB\tna\xefve\n", "row 3: not UTF-8 at byte 4"),
        ("v.tsv", "code\tterm\nA\tone\n\ttwo\n", "row 3: no code"),
        ("v.tsv", "code\tterm\nA\t\n", "row 2: no term"),
        ("v.tsv", "", "empty"),
        ("v.tsv", "code\tterm\n", "define no concept"),
        ("v.csv", 'code,term\nA,"open\n', "row 2"),
        ("v.tsv", "code\tterm\tparents\nA\tone\tB\nB\ttwo\tA\n", r"row \d: parent cycle"),
        ("v.tsv", "code\tterm\tparents\nA\tone\tA\n", "row 2: parent cycle"),
        ("v.tsv", "code\tterm\tparents\nA\tone\tZ\n", "row 2: code 'A' has the parent 'Z'"),
        ("v.parquet", "no", "not Parquet"),
        ("v.obo", "[Term]\nid: A\nname: a\nsynonym: bare\n", "row 4: not a synonym in quotes"),
        ("v.json", "{}", "not OBO Graphs JSON"),
        ("v.xml", "<a>", "row 1: not XML"),
        ("v.xml", "<a></a>", "row 1: no <chapter>"),
        ("icd10cm_order_2026.txt", "A00 Cholera\n", "row 1: not a line of an order file"),
        ("RXNCONSO.RRF", "a|b|\n", "row 1: 2 fields, expected 18"),
        ("Loinc.csv", "LOINC_NUM\n1\n", "row 1: no column LONG_COMMON_NAME, CLASS, STATUS"),
        ("v.gz.tsv.gz", "not gzip", "after row 0"),
        ("v.docx", "", "unknown format"),
    ],
)
def test_bad_input_names_the_file_and_the_row(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(VocabularyError, match=message) as raised:
        vocabulary(tmp_path / name, content)

    assert name in str(raised.value) or "define no concept" in str(raised.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match=r"v\.csv: no such file"):
        read(tmp_path / "v.csv")


def test_synonyms_join_the_concepts_of_their_codes(tmp_path: Path) -> None:
    (tmp_path / "base.csv").write_text(
        "code,term,kind,type,parents\nI10,Essential hypertension,preferred,disease,I\nI,Heart,,,\n"
    )
    # As one row a concept: its preferred names are synonyms here.
    (tmp_path / "es.csv").write_text(
        "code,preferred_name,synonyms\nI10,Hipertension esencial,HTA|presion alta\n"
    )

    found = concepts(gather("v", "1", read(tmp_path / "base.csv"), read(tmp_path / "es.csv")))

    assert found["I10"].terms == [
        "Essential hypertension",
        "Hipertension esencial",
        "HTA",
        "presion alta",
    ]
    assert (found["I10"].types, found["I10"].parents) == (("disease",), ("I",))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("I99,HTA", r"es\.csv: row 2: a name of the code 'I99', which.*codes look like 'I10'"),
        ("i10,HTA", "row 2: a name of the code 'i10'"),
        (",HTA", "row 2: no code"),
        ("I10,", "row 2: no term"),
    ],
)
def test_a_synonym_without_its_code(row: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "base.csv").write_text("code,term\nI10,Essential hypertension\n")
    (tmp_path / "es.csv").write_text(f"code,term\n{row}\n")

    with pytest.raises(VocabularyError, match=message):
        gather("v", "1", read(tmp_path / "base.csv"), read(tmp_path / "es.csv"))

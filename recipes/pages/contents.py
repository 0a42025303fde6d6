# ruff: noqa: E501 - a marked-up paragraph is one string: broken in two, its marks would not be read
"""Contents of the project's pages. People, places and numbers are invented."""

from __future__ import annotations

from canvas import Paper


def prescription() -> Paper:
    paper = Paper(900, 1170)
    paper.block(250, 60, "Dr Amara Lindqvist, MD", "sans-bold", 30)
    paper.block(250, 104, "14 Harbour Lane, Eastmere\nPhone 555-0142", "sans", 22, joined=True)
    paper.row(
        230,
        [(60, "Name: Tobias Wren"), (600, "Date: [[TimePoint|12 March 2025]]")],
        "sans",
        22,
        False,
    )
    paper.row(
        285,
        [(60, "Age: [[Age|58]]"), (600, "Weight: [[Value|81]] [[BioAndMedicalUnit|kg]]")],
        "sans",
        22,
    )
    paper.rule(60, 330, 840, 330)
    y = paper.block(
        100,
        390,
        "[[Drug|Metformin]] [[DoseValue|500]] [[BioAndMedicalUnit|mg]] tablets",
        "sans",
        28,
    )
    y = paper.block(
        140,
        y,
        "Take one tablet [[DrugTime|twice daily]] with meals for [[Duration|90 days]]",
        "sans",
        22,
        joined=True,
    )
    y = paper.block(
        100,
        y + 40,
        "[[Drug|Lisinopril]] [[DoseValue|10]] [[BioAndMedicalUnit|mg]] tablets",
        "sans",
        28,
    )
    y = paper.block(140, y, "Take one tablet [[DrugTime|every morning]]", "sans", 22, joined=True)
    y = paper.block(
        100,
        y + 40,
        "[[Drug|Atorvastatin]] [[DoseValue|40]] [[BioAndMedicalUnit|mg]] tablets",
        "sans",
        28,
    )
    y = paper.block(140, y, "Take one tablet [[DrugTime|at bedtime]]", "sans", 22, joined=True)
    paper.block(
        100,
        y + 70,
        "For [[DisorderOrSyndrome|type 2 diabetes]], [[DisorderOrSyndrome|hypertension]] and [[DisorderOrSyndrome|hyperlipidaemia]]",
        "sans",
        22,
    )
    paper.block(560, 1040, "Refills: 3", "sans", 24)
    return paper


def handwritten() -> Paper:
    paper = Paper(900, 1170)
    paper.block(80, 70, "Northgate Clinic", "sans-bold", 30)
    paper.rule(80, 125, 820, 125)
    y = paper.block(90, 180, "Patient: Ilse Marlow, [[Age|67]] years", "hand", 44, leading=1.65)
    y = paper.block(
        90,
        y + 40,
        "[[Drug|Amoxicillin]] [[DoseValue|875]] [[BioAndMedicalUnit|mg]]",
        "hand",
        50,
        leading=1.65,
    )
    y = paper.block(
        90, y, "one tablet [[DrugTime|every 12 hours]]", "hand", 44, leading=1.65, joined=True
    )
    y = paper.block(90, y, "for [[Duration|10 days]]", "hand", 44, leading=1.65, joined=True)
    y = paper.block(
        90,
        y + 40,
        "[[Drug|Prednisone]] [[DoseValue|20]] [[BioAndMedicalUnit|mg]]",
        "hand",
        50,
        leading=1.65,
    )
    y = paper.block(
        90,
        y,
        "once [[DrugTime|daily]] for [[Duration|5 days]]",
        "hand",
        44,
        leading=1.65,
        joined=True,
    )
    paper.block(90, y + 50, "Dx: [[DisorderOrSyndrome|acute sinusitis]]", "hand", 44)
    return paper


def form() -> Paper:
    paper = Paper(1000, 1300)
    paper.block(300, 50, "New Patient Intake Form", "sans-bold", 32)
    fields = [
        ("Name", "Rosalind Achterberg"),
        ("Date of birth", "4 July 1961"),
        ("Allergies", "[[Drug|penicillin]], [[Drug|sulfa drugs]]"),
        (
            "Current medicines",
            "[[Drug|warfarin]] [[DoseValue|5]] [[BioAndMedicalUnit|mg]], [[Drug|digoxin]]",
        ),
        ("Past illnesses", "[[DisorderOrSyndrome|asthma]], [[DisorderOrSyndrome|gout]]"),
        ("Reason for visit", "[[DisorderOrSyndrome|chest pain]] for [[Duration|3 weeks]]"),
    ]
    for i, (name, value) in enumerate(fields):
        y = 160 + 95 * i
        paper.row(y, [(70, name + ":"), (420, value)], ("sans-bold", "hand-two"), 30, joined=False)
        paper.rule(410, y + 42, 930, y + 42)
    paper.row(
        790,
        [
            (70, "Height: [[Value|168]] [[BioAndMedicalUnit|cm]]"),
            (400, "Weight: [[Value|72]] [[BioAndMedicalUnit|kg]]"),
            (700, "Pulse: [[Value|88]]"),
        ],
        "sans",
        24,
        joined=False,
    )
    paper.rule(60, 850, 940, 850)
    paper.block(
        70,
        880,
        "Please bring a list of all medicines, also those bought without a prescription. Tell us about any reaction to a medicine, an injection or a dressing, however long ago it was.",
        "sans",
        20,
        width=860,
    )
    return paper


def lab_table() -> Paper:
    paper = Paper(1000, 1200)
    paper.block(60, 50, "Laboratory Report", "sans-bold", 34)
    paper.row(
        120,
        [(60, "Patient: Yusuf Calloway"), (620, "Collected: [[TimePoint|3 May 2025]]")],
        "sans",
        22,
        joined=False,
    )
    rows = [
        ("Test", "Result", "Unit", "Reference"),
        ("Glucose, fasting", "[[Value|7.8]]", "[[BioAndMedicalUnit|mmol/L]]", "3.9 - 5.5"),
        ("HbA1c", "[[Value|8.2]]", "[[BioAndMedicalUnit|%]]", "4.0 - 5.6"),
        ("Creatinine", "[[Value|104]]", "[[BioAndMedicalUnit|umol/L]]", "59 - 104"),
        ("Sodium", "[[Value|139]]", "[[BioAndMedicalUnit|mmol/L]]", "135 - 145"),
        ("Potassium", "[[Value|4.6]]", "[[BioAndMedicalUnit|mmol/L]]", "3.5 - 5.1"),
        ("ALT", "[[Value|48]]", "[[BioAndMedicalUnit|U/L]]", "0 - 41"),
        ("LDL cholesterol", "[[Value|3.9]]", "[[BioAndMedicalUnit|mmol/L]]", "0.0 - 3.0"),
        ("TSH", "[[Value|2.1]]", "[[BioAndMedicalUnit|mIU/L]]", "0.4 - 4.0"),
        ("Haemoglobin", "[[Value|128]]", "[[BioAndMedicalUnit|g/L]]", "130 - 170"),
        ("Platelets", "[[Value|212]]", "[[BioAndMedicalUnit|10^9/L]]", "150 - 400"),
    ]
    for i, cells in enumerate(rows):
        y = 200 + 54 * i
        paper.row(
            y,
            list(zip((80, 400, 560, 760), cells, strict=True)),
            "sans-bold" if i == 0 else "sans",
            22,
            joined=i > 0,
        )
        paper.rule(60, y - 12, 940, y - 12, 1)
    bottom = 200 + 54 * len(rows) - 12
    paper.rule(60, bottom, 940, bottom, 1)
    for x in (60, 385, 545, 745, 940):
        paper.rule(x, 188, x, bottom, 1)
    paper.block(
        60,
        bottom + 40,
        "Comment: results fit [[DisorderOrSyndrome|type 2 diabetes mellitus]] with a mildly raised LDL. Repeat HbA1c in [[Duration|3 months]] after the change of [[Drug|insulin glargine]].",
        "sans",
        22,
        width=880,
    )
    return paper


def two_columns() -> Paper:
    paper = Paper(1240, 1600)
    paper.block(90, 70, "Clinic Letter: Heart Failure Review", "serif-bold", 40)
    paper.block(
        90,
        130,
        "Seen on [[TimePoint|21 January 2025]] by the cardiology service",
        "serif",
        24,
        joined=True,
    )
    left = (
        "Thank you for referring this [[Age|74]]-year-old woman with [[DisorderOrSyndrome|chronic heart failure]] and [[DisorderOrSyndrome|atrial fibrillation]]. She was admitted in December with fluid overload and lost [[Value|6.5]] [[BioAndMedicalUnit|kg]] on intravenous [[Drug|furosemide]] over [[Duration|8 days]]. Since discharge she can walk to the shop again, sleeps on two pillows and has no chest pain.\n"
        "On examination her pulse was [[Value|76]] and irregular, her blood pressure [[Value|118/70]] [[BioAndMedicalUnit|mmHg]]. The neck veins were not raised, the chest was clear, and there was a trace of oedema at both ankles. The echocardiogram shows an ejection fraction of [[Value|35]] [[BioAndMedicalUnit|%]], a little better than in the summer."
    )
    right = (
        "Her medicines are now [[Drug|bisoprolol]] [[DoseValue|5]] [[BioAndMedicalUnit|mg]] [[DrugTime|daily]], [[Drug|sacubitril]] with [[Drug|valsartan]] [[DrugTime|twice daily]], [[Drug|spironolactone]] [[DoseValue|25]] [[BioAndMedicalUnit|mg]] [[DrugTime|daily]], [[Drug|apixaban]] [[DoseValue|5]] [[BioAndMedicalUnit|mg]] [[DrugTime|twice daily]] and [[Drug|furosemide]] [[DoseValue|40]] [[BioAndMedicalUnit|mg]] [[DrugTime|every morning]].\n"
        "We have added [[Drug|dapagliflozin]] [[DoseValue|10]] [[BioAndMedicalUnit|mg]] [[DrugTime|daily]]. Please check potassium and creatinine in [[Duration|two weeks]] and stop [[Drug|spironolactone]] if potassium is above [[Value|5.5]] [[BioAndMedicalUnit|mmol/L]]. If she feels faint, halve the [[Drug|bisoprolol]] first. We will see her again in [[Duration|three months]] with a blood test."
    )
    paper.block(90, 220, left, "serif", 24, width=500)
    paper.block(650, 220, right, "serif", 24, width=500, joined=True)
    paper.rule(90, 1490, 1150, 1490)
    paper.block(90, 1510, "Copy to the patient and to the heart failure nurses", "serif", 22)
    return paper


def discharge() -> Paper:
    paper = Paper(1000, 1300)
    paper.block(70, 60, "DISCHARGE SUMMARY", "mono", 32)
    y = paper.block(
        70,
        130,
        "Admitted [[TimePoint|02/11/2024]], discharged [[TimePoint|09/11/2024]]",
        "mono",
        22,
    )
    y = paper.block(
        70,
        y + 24,
        "Diagnosis: [[DisorderOrSyndrome|community-acquired pneumonia]] on a background of [[DisorderOrSyndrome|COPD]]. She was treated with [[Drug|ceftriaxone]] [[DoseValue|2]] [[BioAndMedicalUnit|g]] [[DrugTime|daily]] and [[Drug|azithromycin]] [[DoseValue|500]] [[BioAndMedicalUnit|mg]] [[DrugTime|daily]] for [[Duration|5 days]].",
        "mono",
        22,
        width=860,
    )
    y = paper.block(
        70,
        y + 24,
        "Oxygen was stopped on [[TimePoint|day 4]]; saturation was [[Value|94]] [[BioAndMedicalUnit|%]] on air at discharge. A swallowing test was normal.",
        "mono",
        22,
        width=860,
    )
    y = paper.block(
        70,
        y + 24,
        "To take home:\n[[Drug|Amoxicillin]] [[DoseValue|1]] [[BioAndMedicalUnit|g]] [[DrugTime|three times daily]], [[Duration|3 days]]\n[[Drug|Tiotropium]] [[DoseValue|18]] [[BioAndMedicalUnit|mcg]] inhaled [[DrugTime|once daily]]\n[[Drug|Salbutamol]] inhaler as needed",
        "mono",
        22,
    )
    paper.block(
        70,
        y + 24,
        "A chest X-ray is booked in [[Duration|6 weeks]] to make sure that the shadow at the right base has gone.",
        "mono",
        22,
        width=860,
    )
    return paper


def referral(page: int) -> Paper:
    paper = Paper(1000, 900)
    if page == 0:
        paper.block(70, 60, "Referral to Rheumatology", "serif-bold", 34)
        y = paper.block(
            70,
            140,
            "Dear colleague, I would be grateful for your opinion on this [[Age|45]]-year-old teacher with swollen finger joints and morning stiffness of an hour. Rheumatoid factor is positive at [[Value|86]] [[BioAndMedicalUnit|IU/mL]].",
            "serif",
            26,
            width=860,
        )
        paper.block(
            70,
            y + 30,
            "She takes [[Drug|naproxen]] [[DoseValue|500]] [[BioAndMedicalUnit|mg]] [[DrugTime|twice daily]] and [[Drug|omeprazole]] [[DoseValue|20]] [[BioAndMedicalUnit|mg]]. I suspect early [[DisorderOrSyndrome|rheumatoid arthritis]].",
            "serif",
            26,
            width=860,
        )
    else:
        paper.block(70, 60, "Investigations so far", "serif-bold", 34)
        y = paper.block(
            70,
            140,
            "CRP [[Value|34]] [[BioAndMedicalUnit|mg/L]], ESR [[Value|52]] [[BioAndMedicalUnit|mm/h]], urate normal. X-rays of both hands show soft tissue swelling only.",
            "serif",
            26,
            width=860,
        )
        paper.block(
            70,
            y + 30,
            "There is a family history of [[DisorderOrSyndrome|psoriasis]] and of [[DisorderOrSyndrome|Crohn's disease]]. She had a reaction to [[Drug|methotrexate]] in [[TimePoint|2016]].",
            "serif",
            26,
            width=860,
        )
    return paper

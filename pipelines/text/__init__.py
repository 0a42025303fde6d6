"""From bytes and markup to the text of a document: what a reader would see of it.

``compression`` inflates within a limit, ``encoding`` decodes, ``markup`` lays out HTML, RTF, C-CDA,
FHIR and HL7 v2, ``files`` does all of it for one file, for uploads and the command line.
"""

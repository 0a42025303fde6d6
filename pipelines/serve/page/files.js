// Detect the type of a file by its content, and decode text files.

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const PICTURES = [
  "\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "II*\0", "MM\0*", "II+\0", "BM", "GIF8",
  "\0\0\0\x0cjP  ", "\xff\x4f\xff\x51",
];

// The file types that the server reads as pages; mirrors kind_of in actors/pages/formats.py.
function isPicture(bytes) {
  const head = ascii(bytes, 0, 12);
  return PICTURES.some((begins) => head.startsWith(begins))
    || (head.startsWith("RIFF") && head.endsWith("WEBP"))
    || /^....ftyp(avi[fs]|he[iv][cmsx]|mif1|msf1)/s.test(head)
    // DICOM; without its header it begins with an element of group 2 or 8.
    || ascii(bytes, 128, 132) === "DICM" || /^[\x02\x08]\0.\0/s.test(head) || ascii(bytes, 0, 1024).includes("%PDF-");
}

const AGAIN = "Save it as plain text in UTF-8, and open it again.";
const OTHERS = [
  ["PK\x03\x04", "This is a ZIP archive or an Office file (.docx, .xlsx, .odt), which is not read here. Save it as PDF, or as plain text in UTF-8."],
  ["\xd0\xcf\x11\xe0", "This is an Office file of an older kind (.doc, .xls), which is not read here. Save it as PDF, or as plain text in UTF-8."],
  ["{\\rtf", `This is a file in rich text format (RTF), which is not read here. ${AGAIN}`],
  ["\xff\xfe", `This file is encoded in UTF-16. ${AGAIN}`],
  ["\xfe\xff", `This file is encoded in UTF-16. ${AGAIN}`],
  ["\x1f\x8b", "This is a compressed file (gzip). Unpack it, and open what is in it."],
];

// Returns {picture: true}, {text}, or {problem}: a message that names the file type and the fix.
export async function opened(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPicture(bytes)) return { picture: true };
  const head = ascii(bytes, 0, 8), other = OTHERS.find(([begins]) => head.startsWith(begins));
  if (other) return { problem: other[1] };
  const control = bytes.subarray(0, 1000).some((byte) => byte < 9 || (byte > 13 && byte < 27));
  if (control) return { problem: "This is neither a text nor a picture that is read here." };
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const before = new TextDecoder().decode(bytes).split("\ufffd", 1)[0];
    const line = before.split("\n").length;
    return { problem: `This file is not UTF-8: it has a byte in line ${line} that UTF-8 does not allow, as files in Latin-1 or Windows-1252 have. ${AGAIN}` };
  }
  return { text };
}

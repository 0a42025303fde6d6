// Detect the type of a file by its content. Plain text is decoded here, all else is the server's.

const ascii = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const PICTURES = [
  "\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "II*\0", "MM\0*", "II+\0", "BM", "GIF8",
  "\0\0\0\x0cjP  ", "\xff\x4f\xff\x51",
];

// The file types that the server reads as pages; mirrors page_format in actors/pages/decoding.py.
function isPicture(bytes) {
  const head = ascii(bytes, 0, 12);
  return PICTURES.some((begins) => head.startsWith(begins))
    || (head.startsWith("RIFF") && head.endsWith("WEBP"))
    || /^....ftyp(avi[fs]|he[iv][cmsx]|mif1|msf1)/s.test(head)
    // DICOM; without its header it begins with an element of group 2 or 8.
    || ascii(bytes, 128, 132) === "DICM" || /^[\x02\x08]\0.\0/s.test(head) || ascii(bytes, 0, 1024).includes("%PDF-");
}

// What may be markup (HTML, RTF, XML, FHIR, HL7 v2): the server says whether it is.
const MARKUP = /^\s*(\{|MSH\|)|<[a-z!?/]/i;

// Returns {picture: true}, {text}, or {} for what only the server can read, or say what it is.
export async function opened(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (isPicture(bytes)) return { picture: true };
  if (bytes.subarray(0, 1000).some((byte) => byte < 9 || (byte > 13 && byte < 27))) return {};
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return MARKUP.test(text.slice(0, 4000)) ? {} : { text };
  } catch {
    return {};
  }
}

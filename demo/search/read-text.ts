// Reads a text file in the encodings that people have: UTF-8, UTF-16 by its mark, and Windows-1252 where the bytes are
// no UTF-8. A file with control characters then is no text.

/** Control characters, except tab, line ends, form feed, and the escape of coloured logs. */
const CONTROL = /[\0-\u0008\u000B\u000E-\u001A\u001C-\u001F]/;

/** Returns the text of a file; null if it is none. */
export function textOf(bytes: Uint8Array): string | null {
  const text = decode(bytes);
  return CONTROL.test(text) ? null : text;
}

function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

// Converts an e-mail (RFC 5322 with MIME) to the text that the classifier was trained on: the subject, and the body as
// a reader would see it. The same code prepares the training mails, so that the page cannot drift from them.
//
// It accepts anything: text without headers is a body alone, a truncated mail is read as far as it goes. Attachments
// are left out. Not a full parser: no signatures, and of a forwarded message in a part of its own only the text.

/** Parts of a mail. */
export interface Mail {
  readonly subject: string;
  /** As the header says, or "". */
  readonly date: string;
  /** As the header says, or "". */
  readonly from: string;
  readonly body: string;
}

/** Limit on the characters of a mail that are read: a long attachment is no text. */
const READ_MAX = 2_000_000;
/** Limit on nested parts. */
const DEPTH_MAX = 8;

/** Bytes of a file that are read: the classifier takes 2,048 pieces of a mail, some 10 kB. */
export const FILE_MAX: number = 2 ** 18;
/** Characters of a mail's text that are classified and shown. */
const TEXT_MAX = 2 ** 15;

/**
 * Reads the source of a mail from a file; of a large one the beginning.
 * @throws TypeError for a file that is not text
 */
export async function readMailFile(file: Blob): Promise<{ readonly source: string; readonly isCut: boolean }> {
  const source = await file.slice(0, FILE_MAX).text();
  if (source.includes("\0")) throw new TypeError("This file is not a mail: it holds binary data.");
  return { source, isCut: file.size > FILE_MAX };
}

/** Returns the text of an input box, which may hold a mail's source; of a long one the beginning. */
export function textOfSource(source: string): string {
  return mailText(readMail(source.slice(0, FILE_MAX))).slice(0, TEXT_MAX);
}

/** Returns the text of a mail that the classifier reads. */
export function mailText({ subject, body }: Pick<Mail, "subject" | "body">): string {
  return `${subject}\n\n${body}`.trim();
}

/** Parses a mail: its source, or text that was copied from one. */
export function readMail(source: string): Mail {
  const text = source.slice(0, READ_MAX).replace(/\r\n?/g, "\n");
  const { headers, body } = split(text);
  const header = (name: string): string => decodeWords(headers.get(name) ?? "");
  if (headers.size === 0) return { subject: "", date: "", from: "", body: tidy(text) };
  return {
    subject: header("subject"),
    date: header("date"),
    from: header("from"),
    body: tidy(readPart(headers, body, 0)),
  };
}

type Headers = ReadonlyMap<string, string>;

/** Splits headers from the body; text whose first lines are not headers has none. */
function split(text: string): { headers: Headers; body: string } {
  const headers = new Map<string, string>();
  const lines = text.replace(/^\n+/, "").split("\n");
  let at = lines[0]?.startsWith("From ") === true ? 1 : 0;
  for (let last = ""; at < lines.length; at++) {
    const line = lines[at] ?? "";
    const match = /^([A-Za-z][A-Za-z0-9-]*):(?: |\t|$)\s*(.*)$/.exec(line);
    if (match !== null) {
      last = (match[1] ?? "").toLowerCase();
      // Of a repeated header the first counts.
      if (headers.has(last)) last = `${last} again`;
      headers.set(last, match[2] ?? "");
    } else if (/^[ \t]+\S/.test(line) && last !== "") {
      headers.set(last, `${headers.get(last) ?? ""} ${line.trim()}`);
    } else break;
  }
  const isMail = headers.has("subject") || headers.has("from") || headers.has("content-type");
  if (!isMail) return { headers: new Map(), body: text };
  return { headers, body: lines.slice(lines[at] === "" ? at + 1 : at).join("\n") };
}

/** Returns the readable text of a part and its nested parts. */
function readPart(headers: Headers, body: string, depth: number): string {
  const type = headers.get("content-type") ?? "text/plain";
  const kind = (/^\s*([\w.+-]+\/[\w.+-]+)/.exec(type)?.[1] ?? "text/plain").toLowerCase();
  if (kind.startsWith("multipart/") && depth < DEPTH_MAX) {
    const boundary = parameter(type, "boundary");
    if (boundary !== undefined) return readParts(kind, boundary, body, depth);
  }
  if (kind === "message/rfc822" && depth < DEPTH_MAX) {
    const inner = split(body);
    return `${decodeWords(inner.headers.get("subject") ?? "")}\n${readPart(inner.headers, inner.body, depth + 1)}`;
  }
  const isText = kind.startsWith("text/") || kind.startsWith("multipart/");
  if (!isText || /^\s*attachment/i.test(headers.get("content-disposition") ?? "")) return "";
  const text = decodeBody(body, headers.get("content-transfer-encoding") ?? "", parameter(type, "charset"));
  return kind === "text/html" || /^\s*<(!doctype html|html)\b/i.test(text) ? htmlText(text) : text;
}

function readParts(kind: string, boundary: string, body: string, depth: number): string {
  const parts: { isHtml: boolean; text: string }[] = [];
  const line = `--${boundary}`;
  // Text before the first boundary is for programs without MIME.
  const [, ...sections] = `\n${body}`.split(`\n${line}`);
  for (const section of sections) {
    if (section.startsWith("--")) break;
    const { headers, body: inner } = splitPart(section.replace(/^[ \t]*\n/, ""));
    const text = readPart(headers, inner, depth + 1);
    if (text.trim() !== "") parts.push({ isHtml: /^\s*text\/html/i.test(headers.get("content-type") ?? ""), text });
  }
  // Of alternatives the plain one has the same content.
  const plain = parts.filter((x) => !x.isHtml);
  const shown = kind === "multipart/alternative" && plain.length > 0 ? plain : parts;
  return shown.map((x) => x.text).join("\n\n");
}

/** Splits the headers of a part from its body; a part may have none. */
function splitPart(section: string): { headers: Headers; body: string } {
  if (section.startsWith("\n")) return { headers: new Map(), body: section.slice(1) };
  const end = section.indexOf("\n\n");
  const head = end < 0 ? section : section.slice(0, end);
  const { headers } = split(`${head}\nFrom: part`);
  return { headers, body: end < 0 ? "" : section.slice(end + 2) };
}

function parameter(header: string, name: string): string | undefined {
  const match = new RegExp(`;\\s*${name}\\s*=\\s*(?:"([^"]*)"|([^\\s;]+))`, "i").exec(header);
  return match?.[1] ?? match?.[2];
}

function decodeBody(body: string, encoding: string, charset: string | undefined): string {
  switch (encoding.trim().toLowerCase()) {
    case "base64":
      return decodeBytes(base64Bytes(body), charset);
    case "quoted-printable":
      return decodeQuoted(body.replace(/(?<![ \t])[ \t]*=[ \t]*\n/g, ""), charset);
    default:
      return body;
  }
}

/** Decodes encoded words of a header, `=?charset?B?…?=` (RFC 2047). */
function decodeWords(text: string): string {
  return text
    .replace(/(=\?[^?]+\?[bq]\?[^?]*\?=)\s+(?==\?)/gi, "$1")
    .replace(/=\?([^?*]+)(?:\*[^?]*)?\?([bq])\?([^?]*)\?=/gi, (_, charset: string, kind: string, word: string) =>
      kind.toLowerCase() === "b"
        ? decodeBytes(base64Bytes(word), charset)
        : decodeQuoted(word.replace(/_/g, " "), charset),
    )
    .trim();
}

function decodeQuoted(text: string, charset: string | undefined): string {
  return text.replace(/(?:=[0-9a-f]{2})+/gi, (codes) =>
    decodeBytes(
      Uint8Array.from(codes.slice(1).split("="), (x) => parseInt(x, 16)),
      charset,
    ),
  );
}

function base64Bytes(text: string): Uint8Array<ArrayBuffer> {
  const clean = text.replace(/[^A-Za-z0-9+/]/g, "");
  const whole = clean.slice(0, clean.length - (clean.length % 4 === 1 ? 1 : 0));
  return Uint8Array.from(atob(whole), (x) => x.charCodeAt(0));
}

/** Decodes bytes by the mail's charset; browsers do not know many of them. */
function decodeBytes(bytes: Uint8Array<ArrayBuffer>, charset = "utf-8"): string {
  try {
    return new TextDecoder(charset.trim()).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
  copy: "©",
  reg: "®",
  trade: "™",
  euro: "€",
  pound: "£",
  cent: "¢",
  middot: "·",
  bull: "•",
  hellip: "…",
  ndash: "–",
  mdash: "—",
};

/** Elements whose content is not seen, and their ends. */
const UNSEEN: readonly (readonly [whole: RegExp, close: RegExp])[] = ["script", "style", "title"].map((name) => [
  new RegExp(`<${name}\\b[\\s\\S]*?</${name}\\s*>`, "gi"),
  new RegExp(`</${name}\\s*>`, "gi"),
]);

/** Returns where the last match ends; 0 where there is none. */
function endOfLast(text: string, pattern: RegExp): number {
  let end = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) end = index + match.length;
  return end;
}

/** Replaces up to `end`, behind which nothing can match: each search there would read all of the rest in vain. */
function upTo(text: string, end: number, replace: (head: string) => string): string {
  return replace(text.slice(0, end)) + text.slice(end);
}

/** Replaces tags; what they have in common is their last character. */
function tags(text: string, pattern: RegExp, by: (tag: string) => string): string {
  return upTo(text, text.lastIndexOf(">") + 1, (head) => head.replace(pattern, by));
}

/** Returns the visible text of HTML. Not for display: the result is not sanitised. */
function htmlText(html: string): string {
  let text = upTo(html, endOfLast(html, /-->/g), (head) => head.replace(/<!--[\s\S]*?-->/g, ""));
  for (const [whole, close] of UNSEEN) text = upTo(text, endOfLast(text, close), (head) => head.replace(whole, " "));
  text = tags(text, /<(br|p|div|tr|li|h[1-6]|table|hr)\b[^>]*>/gi, () => "\n");
  text = tags(text, /<img\b[^>]*>/gi, (tag) => {
    const alt = [...tag.matchAll(/\balt\s*=\s*"([^"]*)"/gi)].at(-1)?.[1];
    return alt === undefined ? tag : ` ${alt} `;
  });
  text = tags(text, /<\/?(b|i|u|em|strong|font|span|a|big|small)\b[^>]*>/gi, () => "");
  return tags(text, /<[!/a-z][^>]*>/gi, () => " ").replace(
    /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]+));?/gi,
    (whole, decimal?: string, hex?: string, name?: string) => {
      if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole;
      const code = decimal === undefined ? parseInt(hex ?? "", 16) : Number(decimal);
      return code > 31 && code <= 0x10ffff ? String.fromCodePoint(code) : " ";
    },
  );
}

function tidy(text: string): string {
  return text
    .replace(/[^\S\n]+/g, " ")
    .replace(/ ?\n ?/g, "\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

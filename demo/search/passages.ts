// Splits a text into passages, the unit that is found. A model reads the first 256 tokens of a text, so a passage has at
// most as many characters as usually fit.

/** Maximum characters of a passage. */
export const PASSAGE_MAX = 1_000;
/** A paragraph shorter than this, as a heading, begins the next passage. */
const SHORT = 60;
/** Begin of a list's item, which is a paragraph of its own. */
const ITEM = /^(?:[-*•]|\d+[.)])\s/;

/** Returns the passages of a text: its paragraphs, headings with what follows them, long ones cut at sentences. */
export function passagesOf(text: string): string[] {
  const passages: string[] = [];
  let open = "";
  for (const paragraph of paragraphsOf(text)) {
    open = open === "" ? paragraph : `${open}\n${paragraph}`;
    if (paragraph.length < SHORT && open.length < PASSAGE_MAX) continue;
    passages.push(...cut(open));
    open = "";
  }
  if (open !== "") passages.push(...cut(open));
  return passages;
}

function paragraphsOf(text: string): string[] {
  const found: string[] = [];
  let lines: string[] = [];
  for (const line of [...text.split(/\r\n?|\n/).map((x) => x.trim()), ""]) {
    if ((line === "" || ITEM.test(line)) && lines.length > 0) {
      found.push(lines.join(" "));
      lines = [];
    }
    if (line !== "") lines.push(line);
  }
  return found;
}

function cut(text: string): string[] {
  const parts: string[] = [];
  let from = 0;
  while (text.length - from > PASSAGE_MAX) {
    const window = text.slice(from, from + PASSAGE_MAX);
    const sentence = window.lastIndexOf(". ") + 1;
    const word = window.lastIndexOf(" ");
    let length = [sentence, word].find((x) => x > PASSAGE_MAX / 2) ?? PASSAGE_MAX;
    // A surrogate pair stays whole.
    if (/[\uD800-\uDBFF]/.test(text.charAt(from + length - 1))) length -= 1;
    parts.push(text.slice(from, from + length).trim());
    from += length;
  }
  return [...parts, text.slice(from).trim()].filter((x) => x !== "");
}

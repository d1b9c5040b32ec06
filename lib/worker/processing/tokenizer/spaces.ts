// White space: Unicode's, of which JavaScript's `\s` has U+FEFF more and U+0085 less.
const SPACE = /\p{White_Space}/u;

/** Returns a text without the white space at its ends. */
export function trimSpaces(text: string): string {
  const to = text.length - spacesAfter(text);
  return text.slice(Math.min(to, spacesBefore(text)), to);
}

/** Counts the white space that a text begins with. */
export function spacesBefore(text: string): number {
  const first = text.search(/\P{White_Space}/u);
  return first === -1 ? text.length : first;
}

/** Counts the white space that a text ends with. */
export function spacesAfter(text: string): number {
  let count = 0;
  while (count < text.length && SPACE.test(text[text.length - 1 - count] ?? "")) count += 1;
  return count;
}

// A text that a tokenizer changes, with the place in the original text that each of its UTF-16 units comes from. The rules
// of the library in Rust: what takes a character's place, or is put behind it, has that character's place.

/** Start and end of a token in its text, in UTF-16 units as `slice` takes them. */
export type TokenSpan = readonly [start: number, end: number];

/** A text with the places that it comes from. */
export interface Aligned {
  readonly text: string;
  /** Starts of original characters; `~start` where nothing of the original stands for the unit. */
  readonly places: Int32Array;
  /** Index of the place of the text's first unit. */
  readonly at: number;
}

/** Aligns an original text with itself. */
export function aligned(text: string): Aligned {
  const places = new Int32Array(text.length);
  for (let i = 0; i < text.length; i += 1) places[i] = i;
  for (const { index } of text.matchAll(/[\ud800-\udbff][\udc00-\udfff]/g)) places[index + 1] = index;
  return { text, places, at: 0 };
}

/** Returns a part of an aligned text. */
export function slice({ text, places, at }: Aligned, start: number, end: number): Aligned {
  return { text: text.slice(start, end), places, at: at + start };
}

/** Returns the place of a unit of a text. */
export function placeAt({ places, at }: Aligned, index: number): number {
  return places[at + index] ?? 0;
}

/** Collects a changed text. */
class AlignedBuilder {
  #places = new Int32Array(64);
  #text = "";

  /** Adds a text that comes from one place. */
  add(text: string, place: number): void {
    this.#reserve(text.length).fill(place, this.#text.length, this.#text.length + text.length);
    this.#text += text;
  }

  /** Adds a part of another text as it is. */
  copy({ text, places, at }: Aligned, start: number, end: number): void {
    this.#reserve(end - start).set(places.subarray(at + start, at + end), this.#text.length);
    this.#text += text.slice(start, end);
  }

  /** Returns what was collected. */
  done(): Aligned {
    return { text: this.#text, places: this.#places, at: 0 };
  }

  /** Makes room for so many units more. */
  #reserve(count: number): Int32Array {
    const length = this.#text.length + count;
    if (length <= this.#places.length) return this.#places;
    const places = new Int32Array(Math.max(length, 2 * this.#places.length));
    places.set(this.#places);
    return (this.#places = places);
  }
}

/** Changes the characters of a text that a global expression matches, one by one. */
export function mapCharacters(x: Aligned, pattern: RegExp, change: (character: string) => string): Aligned {
  const builder = new AlignedBuilder();
  let last = 0;
  for (const { 0: character, index } of x.text.matchAll(pattern)) {
    if (last < index) builder.copy(x, last, index);
    builder.add(change(character), placeAt(x, index));
    last = index + character.length;
  }
  if (last === 0) return x;
  builder.copy(x, last, x.text.length);
  return builder.done();
}

/** A character of a new text: 0 where it takes the place of the next old one, 1 where none, -n where of n more. */
export type CharacterChange = [character: string, change: number];

/** Puts new characters in the place of a text's. */
export function transform(x: Aligned, changes: Iterable<Readonly<CharacterChange>>): Aligned {
  const places: number[] = [];
  for (let i = 0; i < x.text.length; i += (x.text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1) places.push(placeAt(x, i));
  const builder = new AlignedBuilder();
  let next = 0;
  for (const [character, change] of changes) {
    if (change > 0) builder.add(character, places[next - 1] ?? beginOf(x));
    else {
      builder.add(character, places[next] ?? 0);
      next += 1 - change;
    }
  }
  return builder.done();
}

/** The place of a text that is put before another one and replaces nothing of it. */
function beginOf(x: Aligned): number {
  const first = placeAt(x, 0);
  return first < 0 ? first : ~first;
}

/** Puts a text before another one, unless that is empty; it has the place of the first character. */
export function prepend(x: Aligned, text: string): Aligned {
  if (x.text === "") return x;
  const builder = new AlignedBuilder();
  builder.add(text, placeAt(x, 0));
  builder.copy(x, 0, x.text.length);
  return builder.done();
}

/** Finds the matches of a global expression; an empty one directly behind another is none. */
export function matchesOf(text: string, pattern: RegExp): (readonly [start: number, end: number])[] {
  const found: (readonly [number, number])[] = [];
  if (text === "") return found;
  let last = -1;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    const end = index + match.length;
    if (match !== "" || index !== last) found.push([index, end]);
    last = end;
  }
  return found;
}

/** Replaces the matches of an expression by a text, which has the place of the last character that it replaces. */
export function replaceMatches(x: Aligned, pattern: RegExp, content: string): Aligned {
  const matches = matchesOf(x.text, pattern);
  if (matches.length === 0) return x;
  const builder = new AlignedBuilder();
  let last = 0;
  for (const [start, end] of matches) {
    builder.copy(x, last, start);
    builder.add(content, end === 0 ? beginOf(x) : placeAt(x, end - 1));
    last = end;
  }
  builder.copy(x, last, x.text.length);
  return builder.done();
}

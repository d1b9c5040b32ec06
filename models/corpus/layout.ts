// Draws the layout of a line or a page from a seed: words, typeface, size, colours, wear, columns, rotation. Line i and
// page i depend on i alone, so that a slice of the corpus is the start of the whole.
import { FAMILIES, WEIGHTS } from "./fonts.ts";
import { lineText, prose } from "./text.ts";
import { Random } from "../../lib/test-support/random.ts";
import type { Face, LineSpec, PageSpec, RowSpec } from "./draw.ts";

/** Returns the layout of line number `index`. */
export function layLine(index: number): LineSpec {
  const seed = `line ${index}`;
  const random = new Random(seed);
  const text = lineText(random);
  const [ink, paper] = colours(random, 0.2);
  return {
    seed,
    text,
    ink,
    paper,
    face: { family: random.pick(FAMILIES), weight: random.pick(WEIGHTS), sizePx: random.whole(20, 52) },
    pad: { x: random.between(0.15, 0.6), y: random.between(0.12, 0.32) },
    noise: random.chance(0.6) ? random.between(0, 9) : 0,
    blur: random.chance(0.3) ? random.between(0.2, 0.8) : 0,
    quality: random.chance(0.75) ? random.between(0.6, 0.95) : null,
  };
}

/**
 * Returns the layout of page number `index`: 10–40 lines; every third page has two columns, every second is rotated.
 */
export function layPage(index: number): PageSpec {
  const seed = `page ${index}`;
  const random = new Random(seed);
  const [ink, paper] = colours(random, 0);
  const twoColumns = index % 3 === 2;
  const sizePx = random.whole(20, 30);
  const body: Face = { family: random.pick(FAMILIES), weight: random.chance(0.85) ? 400 : 700, sizePx };
  const title: Face = {
    family: random.chance(0.5) ? body.family : random.pick(FAMILIES),
    weight: 700,
    sizePx: Math.round(sizePx * random.between(1.3, 1.7)),
  };
  const heading = random.chance(0.6) ? [row(random, title, 4, 0.95, 0)] : [];
  const rows = random.whole(10, 40) - heading.length;
  const columns = twoColumns
    ? [paragraphs(random, body, Math.ceil(rows / 2), 9), paragraphs(random, body, Math.floor(rows / 2), 9)]
    : [paragraphs(random, body, rows, 14)];
  return {
    seed,
    widthPx: random.whole(1100, 1400),
    marginPx: random.whole(70, 110),
    gutterPx: random.whole(60, 90),
    leading: random.between(1.35, 1.7),
    degrees: index % 2 === 1 ? random.between(-3, 3) : 0,
    ink,
    paper,
    heading,
    columns,
    noise: random.between(0, 6),
    blur: random.chance(0.25) ? random.between(0.2, 0.6) : 0,
    quality: random.between(0.6, 0.92),
  };
}

/** Returns the layout of a page of a few short lines, for backends on which a whole page takes minutes. */
export function laySmallPage(index: number): PageSpec {
  const seed = `small page ${index}`;
  const random = new Random(seed);
  const face: Face = { family: "open-sans", weight: 400, sizePx: 24 };
  const rows = Array.from({ length: 3 }, () => row(random, face, 4, 1, 0));
  const [ink, paper] = colours(random, 0);
  return {
    seed,
    widthPx: 420,
    marginPx: 30,
    gutterPx: 0,
    leading: 1.6,
    degrees: 0,
    ink,
    paper,
    heading: [],
    columns: [rows],
    noise: 2,
    blur: 0,
    quality: 0.9,
  };
}

function paragraphs(random: Random, face: Face, count: number, words: number): RowSpec[] {
  const rows: RowSpec[] = [];
  let left = 0;
  for (let at = 0; at < count; at++) {
    const starts = left === 0;
    if (starts) left = random.whole(3, 7);
    left--;
    const ends = left === 0 || at === count - 1;
    const gapPx = starts && at > 0 ? face.sizePx * random.between(0.5, 0.9) : 0;
    rows.push(row(random, face, words, ends ? random.between(0.5, 0.95) : 1, gapPx));
  }
  return rows;
}

function row(random: Random, face: Face, words: number, fill: number, gapPx: number): RowSpec {
  return { words: prose(random, words), face, fill, gapPx };
}

/** Returns ink and paper of good contrast, in either order. */
function colours(random: Random, inverted: number): [ink: string, paper: string] {
  const shade = (low: number, high: number): string =>
    `rgb(${random.whole(low, high)}, ${random.whole(low, high)}, ${random.whole(low, high)})`;
  const dark = shade(0, 80);
  const light = shade(205, 255);
  return random.chance(inverted) ? [light, dark] : [dark, light];
}

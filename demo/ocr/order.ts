// Reading order of a page's boxes. Pure; it merges nothing and drops nothing.
//
// The page is deskewed first (the boxes have a common direction), then cut: where a gutter separates two columns of
// prose, the whole left column precedes the right one, and lines that cross the gutter (titles, footers) divide the
// page into bands. Without a gutter, boxes are read in rows. Apparent gutters in a table or on a receipt do not count:
// the cells are short, and they belong to their rows. The detector splits some lines at a wide space; such pieces move
// as one, so that no piece of a title ends up in a column.
import { quantile } from "../quantile.ts";
import { pageSkew } from "./boxes.ts";
import type { Box } from "./boxes.ts";

/** Minimum lines on each side of a gutter: two rows that happen to break at one place are no columns. */
const MIN_LINES = 3;
/** Prose is this much wider than high, in the median of its lines; a table's cells are not. */
const MIN_ASPECT = 6;
/**
 * Pieces on one row with a smaller gap, in heights of a line, are one broken line; a gutter is wider. Boxes have grown
 * already.
 */
const MIN_GUTTER = 0.25;

/** A deskewed line, with the indices of its boxes in the caller's list. */
interface Item {
  readonly indices: readonly number[];
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Returns the indices of boxes in reading order: rows from the top, columns of prose from the left. */
export function readingOrder(boxes: readonly Box[]): number[] {
  const angle = pageDirection(boxes);
  const items = boxes.map((box, index) => straighten(box, index, angle));
  return orderRegion(joinPieces(items)).flatMap((item) => item.indices);
}

/**
 * Direction in which most of the text on a page is read, in radians: near 0, ±π/2 or π where the page lies on its side.
 */
export function pageDirection(boxes: readonly Box[]): number {
  const votes = [0, 0, 0, 0];
  for (const box of boxes) {
    const quarter = quarterTurns(box.angle);
    votes[quarter] = (votes[quarter] ?? 0) + box.width;
  }
  const quarter = votes.indexOf(Math.max(...votes));
  return quarter * (Math.PI / 2) + pageSkew(boxes.filter((box) => quarterTurns(box.angle) === quarter));
}

function quarterTurns(angle: number): number {
  return ((Math.round(angle / (Math.PI / 2)) % 4) + 4) % 4;
}

function straighten(box: Box, index: number, angle: number): Item {
  const x = box.x * Math.cos(angle) + box.y * Math.sin(angle);
  const y = box.y * Math.cos(angle) - box.x * Math.sin(angle);
  const across = quarterTurns(box.angle - angle) % 2 === 1;
  const width = across ? box.height : box.width;
  const height = across ? box.width : box.height;
  return { indices: [index], left: x - width / 2, right: x + width / 2, top: y - height / 2, bottom: y + height / 2 };
}

/** Joins the pieces of broken lines, from the left. */
function joinPieces(items: readonly Item[]): Item[] {
  const joined: Item[] = [];
  for (const item of [...items].sort((a, b) => a.left - b.left)) {
    const at = joined.findIndex((line) => continues(line, item));
    const line = joined[at];
    if (line === undefined) joined.push(item);
    else
      joined[at] = {
        indices: [...line.indices, ...item.indices],
        left: line.left,
        right: Math.max(line.right, item.right),
        top: Math.min(line.top, item.top),
        bottom: Math.max(line.bottom, item.bottom),
      };
  }
  return joined;
}

function continues(line: Item, item: Item): boolean {
  const height = Math.min(line.bottom - line.top, item.bottom - item.top);
  const overlap = Math.min(line.bottom, item.bottom) - Math.max(line.top, item.top);
  const gap = item.left - line.right;
  return overlap > 0.6 * height && gap < MIN_GUTTER * height && gap > -height;
}

function orderRegion(items: readonly Item[]): Item[] {
  const bands = bestBands(items);
  if (bands === null) return orderRows(items);
  return bands.flatMap(({ left, right }) =>
    right.length === 0 ? orderRegion(left) : [...orderRegion(left), ...orderRegion(right)],
  );
}

/** A band of the page: two columns, or one with nothing on the right. */
interface Band {
  readonly left: readonly Item[];
  readonly right: readonly Item[];
}

/** Cuts a region at the gutter with the most boxes beside it; null without one. */
function bestBands(items: readonly Item[]): Band[] | null {
  let best: Band[] | null = null;
  let bestCount = 0;
  for (const candidate of items) {
    const bands = cutAt(items, candidate.left - 1e-6);
    const count = bands.reduce(
      (sum, band) => sum + (band.right.length === 0 ? 0 : band.left.length + band.right.length),
      0,
    );
    if (count > bestCount) [best, bestCount] = [bands, count];
  }
  return best;
}

/** Cuts a region at an x: boxes across it divide the others into bands, from the top. */
function cutAt(items: readonly Item[], x: number): Band[] {
  const sorted = [...items].sort((a, b) => middle(a) - middle(b));
  const bands: Band[] = [];
  let plain: Item[] = [];
  let left: Item[] = [];
  let right: Item[] = [];
  const close = (): void => {
    if (areColumns(left, right)) {
      if (plain.length > 0) bands.push({ left: plain, right: [] });
      bands.push({ left, right });
      plain = [];
    } else plain.push(...left, ...right);
    left = [];
    right = [];
  };
  for (const item of sorted) {
    if (item.right <= x) left.push(item);
    else if (item.left >= x) right.push(item);
    else {
      close();
      plain.push(item);
    }
  }
  close();
  if (plain.length > 0) bands.push({ left: plain, right: [] });
  return bands;
}

function areColumns(left: readonly Item[], right: readonly Item[]): boolean {
  if (left.length < MIN_LINES || right.length < MIN_LINES) return false;
  const gutter = Math.min(...right.map((item) => item.left)) - Math.max(...left.map((item) => item.right));
  const height =
    quantile(
      [...left, ...right].map((item) => item.bottom - item.top),
      0.5,
    ) ?? 0;
  return gutter >= MIN_GUTTER * height && isProse(left) && isProse(right);
}

function isProse(items: readonly Item[]): boolean {
  return (
    (quantile(
      items.map((item) => (item.right - item.left) / (item.bottom - item.top)),
      0.5,
    ) ?? 0) >= MIN_ASPECT
  );
}

/** Rows from the top, each from the left: a box is in the row whose middle lies within half of the lower one's height. */
function orderRows(items: readonly Item[]): Item[] {
  const rows: Item[][] = [];
  for (const item of [...items].sort((a, b) => middle(a) - middle(b))) {
    const row = rows.at(-1);
    const last = row?.at(-1);
    const reach = last === undefined ? 0 : Math.min(last.bottom - last.top, item.bottom - item.top) / 2;
    if (row !== undefined && last !== undefined && middle(item) - middle(last) < reach) row.push(item);
    else rows.push([item]);
  }
  return rows.flatMap((row) => row.sort((a, b) => a.left - b.left));
}

function middle(item: Item): number {
  return (item.top + item.bottom) / 2;
}

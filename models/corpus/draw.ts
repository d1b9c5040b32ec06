// Draws lines and pages on a canvas. Runs inside the page that render.ts opens (bundled by esbuild into one script).
// layout.ts decides in Node what to draw; how many words fit a column is measured here.
import { Random } from "../../lib/test-support/random.ts";

/** Degradations of a picture, as by cameras and scanners; all mild. */
export interface Wear {
  readonly seed: string;
  /** Standard deviation of the noise, in levels of 255. */
  readonly noise: number;
  /** Radius of the blur, in pixels. */
  readonly blur: number;
  /** JPEG quality in (0, 1], or null for PNG. */
  readonly quality: number | null;
}

/** Typography of a text. */
export interface Face {
  readonly family: string;
  readonly weight: number;
  readonly sizePx: number;
}

/** One line of text as a picture of its own, cropped as by a text detector. */
export interface LineSpec extends Wear {
  readonly text: string;
  readonly face: Face;
  readonly ink: string;
  readonly paper: string;
  /** Margins around the text's box, as shares of the font's size. */
  readonly pad: { readonly x: number; readonly y: number };
}

/** One line of a page before it is measured: as many of its words are kept as fit. */
export interface RowSpec {
  readonly words: readonly string[];
  readonly face: Face;
  /** Share of the column's width that the line may fill. */
  readonly fill: number;
  /** Empty space above, in pixels. */
  readonly gapPx: number;
}

/** One page: columns beside each other below a heading that spans them. */
export interface PageSpec extends Wear {
  readonly widthPx: number;
  readonly marginPx: number;
  readonly gutterPx: number;
  readonly leading: number;
  readonly degrees: number;
  readonly ink: string;
  readonly paper: string;
  readonly heading: readonly RowSpec[];
  readonly columns: readonly (readonly RowSpec[])[];
}

/** A picture file in base64. */
export interface Picture {
  readonly base64: string;
  /** The lines in reading order. */
  readonly lines: readonly string[];
  /** The same lines from top to bottom across the columns, in the order of a reader that ignores columns. */
  readonly across: readonly string[];
}

type Canvas2D = OffscreenCanvasRenderingContext2D;

/** Loads a font face for the drawing calls. */
export async function addFace(family: string, weight: number, base64: string): Promise<void> {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  const face = new FontFace(family, bytes, { weight: String(weight) });
  document.fonts.add(await face.load());
}

/** Draws one line. */
export async function drawLine(spec: LineSpec): Promise<Picture> {
  const probe = surface(8, 8, spec.paper);
  setFace(probe, spec.face);
  const size = probe.measureText(spec.text);
  const { sizePx } = spec.face;
  const width = Math.ceil(size.width + 2 * spec.pad.x * sizePx);
  const ascent = Math.max(size.actualBoundingBoxAscent, 0.7 * sizePx);
  const descent = Math.max(size.actualBoundingBoxDescent, 0.1 * sizePx);
  const height = Math.ceil(ascent + descent + 2 * spec.pad.y * sizePx);
  const canvas = surface(width, height, spec.paper);
  setFace(canvas, spec.face);
  canvas.fillStyle = spec.ink;
  canvas.fillText(spec.text, spec.pad.x * sizePx, spec.pad.y * sizePx + ascent);
  return { base64: await finish(canvas, spec), lines: [spec.text], across: [spec.text] };
}

/** Draws one page; its lines are returned in reading order: the heading, then column by column. */
export async function drawPage(spec: PageSpec): Promise<Picture> {
  const inner = spec.widthPx - 2 * spec.marginPx;
  const count = spec.columns.length;
  const columnPx = (inner - (count - 1) * spec.gutterPx) / count;
  const probe = surface(8, 8, spec.paper);
  const placed: { text: string; face: Face; x: number; y: number }[] = [];
  const flow = (rows: readonly RowSpec[], x: number, width: number, top: number): number => {
    let y = top;
    for (const row of rows) {
      setFace(probe, row.face);
      const words = [...row.words];
      while (words.length > 1 && probe.measureText(words.join(" ")).width > width * row.fill) words.pop();
      y += row.gapPx + row.face.sizePx * spec.leading;
      placed.push({ text: words.join(" "), face: row.face, x, y });
    }
    return y;
  };
  const below = flow(spec.heading, spec.marginPx, inner, spec.marginPx);
  const bottoms = spec.columns.map((rows, at) =>
    flow(rows, spec.marginPx + at * (columnPx + spec.gutterPx), columnPx, below),
  );
  const height = Math.ceil(Math.max(below, ...bottoms) + spec.marginPx);
  const canvas = surface(spec.widthPx, height, spec.paper);
  canvas.translate(spec.widthPx / 2, height / 2);
  canvas.rotate((spec.degrees * Math.PI) / 180);
  canvas.translate(-spec.widthPx / 2, -height / 2);
  canvas.fillStyle = spec.ink;
  for (const { text, face, x, y } of placed) {
    setFace(canvas, face);
    canvas.fillText(text, x, y);
  }
  const across = [...placed].sort((a, b) => a.y - b.y || a.x - b.x);
  return {
    base64: await finish(canvas, spec),
    lines: placed.map(({ text }) => text),
    across: across.map(({ text }) => text),
  };
}

function surface(width: number, height: number, paper: string): Canvas2D {
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (canvas === null) throw new Error("no 2D canvas in this browser");
  canvas.fillStyle = paper;
  canvas.fillRect(0, 0, width, height);
  return canvas;
}

function setFace(canvas: Canvas2D, face: Face): void {
  canvas.font = `${face.weight} ${face.sizePx}px "${face.family}"`;
}

/** Blurs, adds noise, and writes the file. */
async function finish(canvas: Canvas2D, wear: Wear): Promise<string> {
  const { width, height } = canvas.canvas;
  if (wear.blur > 0) {
    const copy = new OffscreenCanvas(width, height);
    copy.getContext("2d")?.drawImage(canvas.canvas, 0, 0);
    canvas.resetTransform();
    canvas.filter = `blur(${wear.blur}px)`;
    canvas.drawImage(copy, 0, 0);
    canvas.filter = "none";
  }
  if (wear.noise > 0) {
    const random = new Random(wear.seed);
    const pixels = canvas.getImageData(0, 0, width, height);
    const { data } = pixels;
    for (let at = 0; at < data.length; at += 4) {
      // The sum of three uniform values is close enough to a normal one; its deviation is 1/2.
      const shift = (random.next() + random.next() + random.next() - 1.5) * 2 * wear.noise;
      for (let channel = 0; channel < 3; channel++) data[at + channel] = (data[at + channel] ?? 0) + shift;
    }
    canvas.putImageData(pixels, 0, 0);
  }
  const blob = await canvas.canvas.convertToBlob(
    wear.quality === null ? { type: "image/png" } : { type: "image/jpeg", quality: wear.quality },
  );
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

// Outputs resized to the picture as torch's `interpolate` does it (align_corners false, no antialias): bilinear, bicubic
// with a = −0.75. Where the picture was cropped or padded on its way, only the part of the output that shows it is resized.
import type { Frame } from "./decode-run.ts";
import type { Rows, NumberList } from "./values.ts";

/** For each sample of a line: the indices of its inputs, and their weights, as many as `taps`. */
export interface LineSamples {
  readonly taps: number;
  readonly at: Int32Array;
  readonly weights: Float32Array;
}

/** The columns and the rows of the picture, by those of the output. */
export function linesOf(
  frame: Frame,
  { width, height }: { readonly width: number; readonly height: number },
  taps: 2 | 4,
): readonly [LineSamples, LineSamples] {
  const along = (count: number, cells: number, size: number, place: (x: number) => number): LineSamples => {
    const [zero, one] = [place(0), place(1)];
    const samples = { taps, at: new Int32Array(count * taps), weights: new Float32Array(count * taps) };
    for (let i = 0; i < count; i += 1) {
      // The inverse of `place`, from the picture's pixels to the tensor's, and from these to the output's cells.
      const tensor = (i + 0.5 - zero) / (one - zero);
      fill(samples, i, (tensor * cells) / size - 0.5, cells);
    }
    return samples;
  };
  return [
    along(frame.width, width, frame.tensorWidth, frame.x),
    along(frame.height, height, frame.tensorHeight, frame.y),
  ];
}

function fill({ taps, at, weights }: LineSamples, i: number, place: number, cells: number): void {
  const real = taps === 2 ? Math.max(0, place) : place;
  const cell = Math.floor(real);
  const rest = real - cell;
  const first = taps === 2 ? cell : cell - 1;
  const kernel = taps === 2 ? [1 - rest, rest] : [1 + rest, rest, 1 - rest, 2 - rest].map(cubic);
  for (let k = 0; k < taps; k += 1) {
    at[i * taps + k] = Math.min(cells - 1, Math.max(0, first + k));
    weights[i * taps + k] = kernel[k] ?? 0;
  }
}

/** Keys' cubic convolution with a = −0.75. */
function cubic(x: number): number {
  const a = -0.75;
  return x < 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((x - 5) * x + 8) * x * a - 4 * a;
}

/** Resizes a plane to the picture, columns first. */
export function resizePlane(
  plane: NumberList,
  width: number,
  [across, down]: readonly [LineSamples, LineSamples],
  frame: Frame,
): Float32Array {
  const height = plane.length / width;
  const rows = new Float32Array(height * frame.width);
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < frame.width; x += 1) {
      let sum = 0;
      for (let k = x * across.taps; k < (x + 1) * across.taps; k += 1)
        sum += (across.weights[k] as number) * Number(plane[y * width + (across.at[k] as number)]);
      rows[y * frame.width + x] = sum;
    }
  const result = new Float32Array(frame.width * frame.height);
  for (let y = 0; y < frame.height; y += 1)
    for (let k = y * down.taps; k < (y + 1) * down.taps; k += 1) {
      const weight = down.weights[k] as number;
      const from = (down.at[k] as number) * frame.width;
      for (let x = 0; x < frame.width; x += 1)
        result[y * frame.width + x] = (result[y * frame.width + x] as number) + weight * (rows[from + x] as number);
    }
  return result;
}

/** Scores of one image, [class, height, width]. */
export interface ClassScores {
  readonly values: Rows;
  readonly classes: number;
  readonly width: number;
  readonly height: number;
}

/** Neighbouring samples that lie between the same two inputs. */
interface Cell {
  readonly from: number;
  readonly end: number;
  readonly low: number;
  readonly high: number;
}

/** Rounding of interpolated values, in shares of the largest one: weights are float32 and don't sum to 1 exactly. */
const ROUNDING = 1e-6;

/**
 * Returns the class with the largest bilinearly resized score for each pixel, the first of equal ones. Equal to resizing
 * every class: between four scores, only a class whose largest reaches the best class's smallest can win, which is one
 * class for most pixels.
 */
export function bestClasses(
  scores: ClassScores,
  [across, down]: readonly [LineSamples, LineSamples],
  frame: Frame,
): Uint16Array<ArrayBuffer> {
  const { classes, width, height } = scores;
  const values = Float64Array.from(scores.values, Number);
  const best = new Uint16Array(frame.width * frame.height);
  const columns = cellsOf(across);
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const candidates = columns.map((): number[] => []);
  const floors = new Float64Array(columns.length);
  for (const rows of cellsOf(down)) {
    const eachCell = (
      visit: (cell: number, label: number, a: number, b: number, c: number, d: number) => void,
    ): void => {
      for (let label = 0; label < classes; label += 1) {
        const [top, bottom] = [rows.low, rows.high].map((y) => (label * height + y) * width) as [number, number];
        for (let i = 0; i < columns.length; i += 1) {
          const { low, high } = columns[i] as Cell;
          const [a, b] = [values[top + low] as number, values[top + high] as number];
          visit(i, label, a, b, values[bottom + low] as number, values[bottom + high] as number);
        }
      }
    };
    floors.fill(-Infinity);
    eachCell((cell, _, a, b, c, d) => {
      floors[cell] = Math.max(floors[cell] as number, Math.min(a, b, c, d));
    });
    for (const list of candidates) list.length = 0;
    eachCell((cell, label, a, b, c, d) => {
      // An endless score makes the bound NaN, which excludes no class.
      if (!(Math.max(a, b, c, d) < (floors[cell] as number) - 8 * ROUNDING * largest)) candidates[cell]?.push(label);
    });
    for (const [i, cell] of columns.entries())
      fillCell({ ...scores, values }, [across, down], frame, { rows, cell, labels: candidates[i] ?? [], best });
  }
  return best;
}

/** Groups the samples of a line by their two inputs. */
function cellsOf({ at }: LineSamples): Cell[] {
  const cells: Cell[] = [];
  let from = 0;
  for (let i = 1; i <= at.length / 2; i += 1) {
    if (at[2 * i] === at[2 * from] && at[2 * i + 1] === at[2 * from + 1]) continue;
    cells.push({ from, end: i, low: at[2 * from] as number, high: at[2 * from + 1] as number });
    from = i;
  }
  return cells;
}

/** Finds the best of some classes for the pixels of a cell, with the roundings of `resizePlane`. */
function fillCell(
  { values, width, height }: Omit<ClassScores, "values"> & { readonly values: Float64Array },
  [across, down]: readonly [LineSamples, LineSamples],
  frame: Frame,
  {
    rows,
    cell,
    labels,
    best,
  }: { readonly rows: Cell; readonly cell: Cell; readonly labels: readonly number[]; readonly best: Uint16Array },
): void {
  const [only = 0] = labels;
  for (let y = rows.from; y < rows.end; y += 1) {
    const from = y * frame.width;
    if (labels.length < 2) {
      best.fill(only, from + cell.from, from + cell.end);
      continue;
    }
    const [above, below] = [down.weights[2 * y] as number, down.weights[2 * y + 1] as number];
    for (let x = cell.from; x < cell.end; x += 1) {
      const [left, right] = [across.weights[2 * x] as number, across.weights[2 * x + 1] as number];
      let most = -Infinity;
      for (const label of labels) {
        const [top, bottom] = [(label * height + rows.low) * width, (label * height + rows.high) * width];
        const upper = Math.fround(
          left * (values[top + cell.low] as number) + right * (values[top + cell.high] as number),
        );
        const lower = Math.fround(
          left * (values[bottom + cell.low] as number) + right * (values[bottom + cell.high] as number),
        );
        const score = Math.fround(Math.fround(above * upper) + below * lower);
        if (score > most) {
          most = score;
          best[from + x] = label;
        }
      }
    }
  }
}

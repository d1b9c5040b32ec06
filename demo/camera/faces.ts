// Decodes BlazeFace's output into boxes. The model has 16 × 16 cells with two anchors each, then 8 × 8 with six. Per
// anchor it returns a score before the sigmoid and, in pixels of its own 128 × 128 picture, the offset of the box's
// centre from the cell's and the size of the box (Bazarevsky et al., "BlazeFace", arXiv 1907.05047). Overlapping boxes
// of one face are averaged by their scores, as in that paper, instead of suppressing all but one: that keeps the box
// from jumping.

/** A face, in pixels of the picture. */
export interface Face {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly score: number;
}

/** Output of the model for one cell size. */
export interface Anchors {
  /** Cells in a row. */
  readonly cells: number;
  readonly scores: ArrayLike<number>;
  /** 16 values for each anchor, the box in the first four. */
  readonly boxes: ArrayLike<number>;
}

const SIDE = 128;
const VALUES = 16;
const MIN_SCORE = 0.7;
const OVERLAP = 0.3;

/**
 * Finds the faces of a picture that was scaled into the model's square from the top left, with its aspect ratio kept.
 */
export function facesOf(layers: readonly Anchors[], width: number, height: number): Face[] {
  const scale = Math.max(width, height) / SIDE;
  const found = layers.flatMap((layer) => candidates(layer, scale)).sort((a, b) => b.score - a.score);
  const faces: Face[] = [];
  const taken = new Set<Face>();
  for (const best of found) {
    if (taken.has(best)) continue;
    const same = found.filter((other) => !taken.has(other) && overlap(best, other) >= OVERLAP);
    for (const other of same) taken.add(other);
    faces.push(average(same));
  }
  return faces;
}

function candidates({ cells, scores, boxes }: Anchors, scale: number): Face[] {
  const perCell = scores.length / (cells * cells);
  const faces: Face[] = [];
  for (let anchor = 0; anchor < scores.length; anchor++) {
    const score = 1 / (1 + Math.exp(-(scores[anchor] ?? 0)));
    if (score < MIN_SCORE) continue;
    const cell = Math.floor(anchor / perCell);
    const [x, y, width, height] = [0, 1, 2, 3].map((value) => boxes[anchor * VALUES + value] ?? 0) as Box;
    const centreX = (((cell % cells) + 0.5) / cells) * SIDE + x;
    const centreY = ((Math.floor(cell / cells) + 0.5) / cells) * SIDE + y;
    faces.push({
      x: (centreX - width / 2) * scale,
      y: (centreY - height / 2) * scale,
      width: width * scale,
      height: height * scale,
      score,
    });
  }
  return faces;
}

type Box = [x: number, y: number, width: number, height: number];

function average(faces: readonly Face[]): Face {
  const total = faces.reduce((sum, { score }) => sum + score, 0);
  const mean = (of: (face: Face) => number): number =>
    faces.reduce((sum, face) => sum + of(face) * face.score, 0) / total;
  return {
    x: mean((face) => face.x),
    y: mean((face) => face.y),
    width: mean((face) => face.width),
    height: mean((face) => face.height),
    score: Math.max(...faces.map(({ score }) => score)),
  };
}

/** Intersection over union of two boxes. */
function overlap(a: Face, b: Face): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  const both = Math.max(0, width) * Math.max(0, height);
  return both / (a.width * a.height + b.width * b.height - both);
}

// Places the labels of a plot's points so that no two overlap, and none covers a point: beside its point where there is
// room, else above or below with a line to it.

/** A point with its label. */
export interface LabelledPoint {
  readonly x: number;
  readonly y: number;
  readonly text: string;
}

/** A placed label: the text's position is its baseline. */
export interface PlacedLabel {
  readonly point: LabelledPoint;
  readonly x: number;
  readonly y: number;
  readonly anchor: "start" | "end";
  /** Whether a line must connect it with its point. */
  readonly lead: boolean;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** Size of a label of 12 px: an upper bound of the width of a character, and the height of a line. */
const [CHARACTER, LINE] = [7, 14] as const;
/** Distance between a point's centre and its label. */
const GAP = 9;
const POINT = 5;

/** Places the labels inside an area, in the order of the points. */
export function placeLabels(points: readonly LabelledPoint[], area: Box): PlacedLabel[] {
  const taken: Box[] = points.map(({ x, y }) => ({
    left: x - POINT,
    right: x + POINT,
    top: y - POINT,
    bottom: y + POINT,
  }));
  return points.map((point) => {
    const width = point.text.length * CHARACTER;
    const boxAt = (isRight: boolean, shift: number): Box => {
      const left = isRight ? point.x + GAP : point.x - GAP - width;
      const top = point.y - LINE / 2 + shift;
      return { left, right: left + width, top, bottom: top + LINE };
    };
    const shifts = Array.from({ length: 41 }, (_, i) => (i % 2 === 0 ? -1 : 1) * Math.ceil(i / 2) * (LINE / 2));
    const tries = shifts.flatMap((shift) =>
      [true, false].map((isRight) => ({ isRight, shift, box: boxAt(isRight, shift) })),
    );
    const found = tries.find(({ box }) => isInside(box, area) && taken.every((x) => !overlaps(x, box))) ?? tries[0];
    const { isRight, shift, box } = found ?? { isRight: true, shift: 0, box: boxAt(true, 0) };
    taken.push(box);
    return {
      point,
      x: isRight ? box.left : box.right,
      y: box.bottom - 3,
      anchor: isRight ? "start" : "end",
      lead: Math.abs(shift) > LINE / 2,
    };
  });
}

function isInside(box: Box, area: Box): boolean {
  return (
    box.left >= area.left && box.right <= area.right && box.top >= area.top - LINE && box.bottom <= area.bottom + LINE
  );
}

function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

// Sizes of an image on its way to a tensor, without its pixels: scaled, cropped, padded.
import type { ResampleSpec, ResizeSpec, ScaledSize } from "../../core/image-spec.ts";

/** Size of the tensor, and of the part that the image fills, from the top left. In pixels. */
export interface ImagePlan {
  readonly width: number;
  readonly height: number;
  readonly pictureWidth: number;
  readonly pictureHeight: number;
  /** Size of the whole image after scaling: that of its part unless it is cropped. */
  readonly scaledWidth: number;
  readonly scaledHeight: number;
  /** Columns and rows that are cropped at the left and at the top. */
  readonly left: number;
  readonly top: number;
  /** Size of the whole that a model's places are shares of: the tensor, without what a processor of transformers added. */
  readonly shareWidth: number;
  readonly shareHeight: number;
}

/** Returns the size to which an image is resized, without reading its pixels. */
export function planImage(width: number, height: number, resize: ResizeSpec): ImagePlan {
  switch (resize.mode) {
    case "exact":
      return whole(resize.width, resize.height);
    case "fit": {
      const scale = Math.min(resize.width / width, resize.height / height);
      const pictureWidth = clamp(Math.round(width * scale), 1, resize.width);
      const pictureHeight = clamp(Math.round(height * scale), 1, resize.height);
      return padded(resize.width, resize.height, pictureWidth, pictureHeight);
    }
    case "crop": {
      const short = Math.min(width, height);
      const scaled = (side: number): number => Math.floor((side * resize.shortSide) / short);
      const [scaledWidth, scaledHeight] = [scaled(width), scaled(height)];
      const left = Math.floor((scaledWidth - resize.width) / 2);
      const top = Math.floor((scaledHeight - resize.height) / 2);
      return { ...whole(resize.width, resize.height), scaledWidth, scaledHeight, left, top };
    }
    case "height": {
      const { height: pictureHeight, minWidth = 1, maxWidth = Infinity, multipleOf = 1 } = resize;
      const pictureWidth = clamp(Math.round((width * pictureHeight) / height), 1, maxWidth);
      const tensorWidth = Math.ceil(Math.max(pictureWidth, minWidth) / multipleOf) * multipleOf;
      return padded(tensorWidth, pictureHeight, pictureWidth, pictureHeight);
    }
    case "side": {
      const { maxSide, minSide = 0, multipleOf = 1 } = resize;
      const atMost = maxSide / Math.max(width, height);
      const scale = Math.min(Math.max(Math.min(1, atMost), minSide / Math.min(width, height)), atMost);
      const stretch = (side: number): number => Math.max(1, Math.round((side * scale) / multipleOf)) * multipleOf;
      return whole(stretch(width), stretch(height));
    }
    case "resample":
      return planResample(width, height, resize);
  }
}

/** Plans what Pillow or torchvision would do: scale, crop from the centre, pad at the right and the bottom. */
function planResample(width: number, height: number, { filter, to, crop, pad = {} }: ResampleSpec): ImagePlan {
  const [scaledWidth, scaledHeight] = scaledSize(width, height, to);
  const { width: pictureWidth, height: pictureHeight } = crop ?? { width: scaledWidth, height: scaledHeight };
  // Of an odd margin Pillow's processors round down, so that a margin that is added is larger at the top.
  const half = crop?.margin === "even" ? roundEven : filter.startsWith("pil") ? Math.floor : Math.trunc;
  const multiple = pad.multipleOf ?? 1;
  const padTo = (size: number, least = 0): number => Math.ceil(Math.max(size, least) / multiple) * multiple;
  return {
    ...{ width: padTo(pictureWidth, pad.width), height: padTo(pictureHeight, pad.height) },
    ...{ pictureWidth, pictureHeight, scaledWidth, scaledHeight },
    ...{ shareWidth: pictureWidth, shareHeight: pictureHeight },
    ...{ left: half((scaledWidth - pictureWidth) / 2), top: half((scaledHeight - pictureHeight) / 2) },
  };
}

function scaledSize(width: number, height: number, to: ScaledSize | undefined): readonly [number, number] {
  if (to === undefined) return [width, height];
  if ("width" in to) return [to.width, to.height];
  if ("nearWidth" in to) {
    const [byWidth, byHeight] = [to.nearWidth / width, to.nearHeight / height];
    const scale = Math.abs(1 - byWidth) < Math.abs(1 - byHeight) ? byWidth : byHeight;
    const { multipleOf = 1 } = to;
    const stretch = (side: number): number => Math.max(1, roundEven((side * scale) / multipleOf)) * multipleOf;
    return [stretch(width), stretch(height)];
  }
  if ("short" in to) {
    const [short, long] = [Math.min(width, height), Math.max(width, height)];
    const bound = to.long !== undefined && (long / short) * to.short > to.long ? (to.long * short) / long : null;
    const newShort = bound === null ? to.short : roundEven(bound);
    // As DETR's code, in which a rounded shorter side that is the image's own leaves the image as it is; that of YOLOS, the
    // one with a multiple, looks at the height first.
    const isKept = newShort === short && (to.multipleOf === undefined || width >= height);
    const newLong = isKept ? long : Math.floor(((bound ?? to.short) * long) / short);
    const sides = [newShort, newLong].map((x) => down(Math.max(1, x), to.multipleOf)) as [number, number];
    return width <= height ? sides : [sides[1], sides[0]];
  }
  if ("long" in to) {
    const scale = to.long / Math.max(width, height);
    return [Math.max(1, Math.floor(width * scale + 0.5)), Math.max(1, Math.floor(height * scale + 0.5))];
  }
  return [down(width, to.multipleOf), down(height, to.multipleOf)];
}

/** Rounds down to a multiple, at least one of them. */
function down(size: number, multipleOf = 1): number {
  return Math.max(multipleOf, size - (size % multipleOf));
}

/** Rounds to the nearest, halves to the even neighbour, as Python. */
function roundEven(value: number): number {
  const whole = Math.floor(value);
  return value - whole === 0.5 ? whole + (whole % 2) : Math.round(value);
}

function whole(width: number, height: number): ImagePlan {
  return padded(width, height, width, height);
}

function padded(width: number, height: number, pictureWidth: number, pictureHeight: number): ImagePlan {
  const scaled = { scaledWidth: pictureWidth, scaledHeight: pictureHeight, left: 0, top: 0 };
  return { width, height, pictureWidth, pictureHeight, ...scaled, shareWidth: width, shareHeight: height };
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}

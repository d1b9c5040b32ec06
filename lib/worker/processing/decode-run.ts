// The parts of a request that a decoder reads beside its output: other outputs, inputs, the picture, the text's tokens.
import type { ImagePlan } from "./plan-image.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { TextTokens } from "./spans.ts";

/** A request as a decoder sees it. */
export interface DecodeRun {
  /** Returns an input; undefined for one that the run has not, or that lies on a GPU. */
  input(name: string): Tensor | undefined;
  /** Returns an output. */
  output(name: string): Tensor | undefined;
  /** Returns the picture that an input was made of; null where the caller brought a tensor. */
  picture(input: string): Picture | null;
  /** Returns the tokens of a row's text; null where the caller brought ids. */
  tokens(input: string, row: number): TextTokens | null;
}

/** A picture's size, and how it became a tensor. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly plan: ImagePlan;
}

/** A rectangle in the tensor: the part that shows the picture. */
export interface Frame {
  /** Size of the picture, in its pixels. */
  readonly width: number;
  readonly height: number;
  /** Converts a place in the tensor, in its pixels, to one in the picture. */
  readonly x: (x: number) => number;
  readonly y: (y: number) => number;
  /** Size of the tensor. */
  readonly tensorWidth: number;
  readonly tensorHeight: number;
  /** Size of the whole that places are shares of, in the tensor's pixels. */
  readonly shareWidth: number;
  readonly shareHeight: number;
}

/** Returns how a tensor shows its picture; the tensor itself is the picture where the caller brought one. */
export function frameOf(picture: Picture | null, tensor: Tensor | undefined): Frame | null {
  if (picture === null) {
    const [tensorHeight, tensorWidth] = sizeOf(tensor);
    if (tensorHeight === undefined || tensorWidth === undefined) return null;
    const same = (x: number): number => x;
    const size = { tensorWidth, tensorHeight, shareWidth: tensorWidth, shareHeight: tensorHeight };
    return { width: tensorWidth, height: tensorHeight, x: same, y: same, ...size };
  }
  const { width, height, plan } = picture;
  const [byX, byY] = [width / plan.scaledWidth, height / plan.scaledHeight];
  return {
    ...{ width, height, tensorWidth: plan.width, tensorHeight: plan.height },
    ...{ shareWidth: plan.shareWidth, shareHeight: plan.shareHeight },
    x: (x) => (x + plan.left) * byX,
    y: (y) => (y + plan.top) * byY,
  };
}

/** Height and width of an image's tensor, [batch, 3 or 1, height, width] or with the channels last. */
function sizeOf(tensor: Tensor | undefined): readonly (number | undefined)[] {
  const [, a, b, c] = tensor?.dims ?? [];
  return a === 1 || a === 3 ? [b, c] : [a, b];
}

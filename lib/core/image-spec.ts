// Conversion of images to tensors, as a bundle declares it.

/** Conversion of an image to a tensor; all arithmetic is in lib/worker/processing, the same for every caller. */
export interface ImageSpec {
  /** Resizing that comes first. */
  readonly resize: ResizeSpec;
  /** Order of the channels in the tensor. */
  readonly channels: "rgb" | "bgr" | "gray";
  /** value = (pixel · scale − mean[c]) / std[c], pixel in 0…255. Default 1/255. */
  readonly scale?: number | undefined;
  /** Subtracted after scaling, one value per channel in the order of `channels`. Default 0. */
  readonly mean?: readonly number[] | undefined;
  /** Divided by after the mean, one value per channel in the order of `channels`. Default 1. */
  readonly std?: readonly number[] | undefined;
  /** Order of the axes in the tensor. */
  readonly layout: "nchw" | "nhwc";
  /** Name of the pixel mask input: 1 for pixels of the image, 0 for those that are added. Default: none. */
  readonly mask?: string | undefined;
}

/** Resizing of an image before it becomes a tensor. Sizes in pixels. */
export type ResizeSpec =
  /** Stretches to width × height. */
  | { readonly mode: "exact"; readonly width: number; readonly height: number }
  /** Scales to fit inside width × height, aligned to the top left; the rest is 0 after normalising. */
  | { readonly mode: "fit"; readonly width: number; readonly height: number }
  /**
   * Scales so that the shorter side is `shortSide`, at least width and height, then crops width × height from the
   * centre. The longer side is rounded down; of an odd margin the smaller half is at the left and the top.
   */
  | { readonly mode: "crop"; readonly width: number; readonly height: number; readonly shortSide: number }
  /**
   * Sets the height. The width follows in proportion, is clamped to [minWidth, maxWidth], and is rounded up to
   * `multipleOf`; columns past the image are 0 after normalising.
   */
  | {
      readonly mode: "height";
      readonly height: number;
      readonly minWidth?: number | undefined;
      readonly maxWidth?: number | undefined;
      readonly multipleOf?: number | undefined;
    }
  /**
   * Scales down so that the longer side is at most `maxSide`, up so that the shorter is at least `minSide` (never past
   * maxSide); each side is stretched to the nearest multiple of `multipleOf`.
   */
  | {
      readonly mode: "side";
      readonly maxSide: number;
      readonly minSide?: number | undefined;
      readonly multipleOf?: number | undefined;
    }
  | ResampleSpec;

/**
 * Resizing by the arithmetic of Pillow or torchvision, as the image processors of Hugging Face do it: resampled, cropped
 * from the centre, padded. Computed on the CPU.
 */
export interface ResampleSpec {
  /** Resampling as Pillow or torchvision do it. */
  readonly mode: "resample";
  /** The library and its filter; pixels are rounded to 8 bits where that library rounds them. */
  readonly filter: ResampleFilter;
  /** Size after scaling. Default: that of the image. */
  readonly to?: ScaledSize | undefined;
  /**
   * Size of the part that is kept, from the centre; where the scaled image is smaller, black pixels surround it. Half of an
   * odd margin is rounded down, or with `margin` `even` to the even neighbour, as torchvision's own `center_crop` does.
   */
  readonly crop?:
    { readonly width: number; readonly height: number; readonly margin?: "down" | "even" | undefined } | undefined;
  /** The least size of the tensor, and what it is a multiple of: at the right and the bottom values of 0 are added. */
  readonly pad?:
    | {
        readonly width?: number | undefined;
        readonly height?: number | undefined;
        readonly multipleOf?: number | undefined;
      }
    | undefined;
}

/**
 * A library and its filter. All but the nearest ones cover the pixels that they shrink (antialias). The processors of
 * transformers that use torchvision take `nearest-exact` for nearest.
 */
export type ResampleFilter =
  | `pil-${"nearest" | "bilinear" | "bicubic" | "lanczos"}`
  | `torchvision-${"nearest" | "nearest-exact" | "bilinear" | "bicubic"}`;

/** The filters that this version knows. torchvision has no Lanczos for tensors. */
export const RESAMPLE_FILTERS: readonly ResampleFilter[] = [
  "pil-nearest",
  "pil-bilinear",
  "pil-bicubic",
  "pil-lanczos",
  "torchvision-nearest",
  "torchvision-nearest-exact",
  "torchvision-bilinear",
  "torchvision-bicubic",
];

/** Size of an image after scaling, in pixels. */
export type ScaledSize =
  /** Stretched. */
  | { readonly width: number; readonly height: number }
  /**
   * The shorter side is `short`, unless the longer one would exceed `long`: then that is `long`. The other side is rounded
   * down. An image whose shorter side is as wanted stays as it is. Both are then rounded down to `multipleOf`.
   */
  | { readonly short: number; readonly long?: number | undefined; readonly multipleOf?: number | undefined }
  /** The longer side is `long`, the other one is rounded to the nearest. */
  | { readonly long: number }
  /**
   * Scaled by the one of `nearWidth` / width and `nearHeight` / height that is nearer to 1; both sides are rounded to the
   * nearest `multipleOf` (default 1).
   */
  | { readonly nearWidth: number; readonly nearHeight: number; readonly multipleOf?: number | undefined }
  /** Both sides are rounded down to `multipleOf`. */
  | { readonly multipleOf: number };

/** Returns the size of the tensor where it is the same for every image; null where it follows from the image's. */
export function fixedSize(resize: ResizeSpec): { readonly width: number; readonly height: number } | null {
  const size = resize.mode !== "resample" ? resize : resize.pad === undefined ? (resize.crop ?? resize.to) : undefined;
  return size !== undefined && "width" in size ? size : null;
}

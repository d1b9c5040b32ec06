// Decoding of outputs to answers, as a bundle declares it. Coordinates of answers are pixels of the picture that the
// request brought, and of the tensor where it brought none.

/** Decoding of an output to an answer. */
export type DecodeSpec =
  /** Softmax over the last axis: a probability per class. */
  | { readonly op: "softmax" }
  /** Sigmoid of each value of the last axis: a probability per class, of classes that don't exclude each other. */
  | { readonly op: "sigmoid" }
  /** Index of the largest value on the last axis. */
  | { readonly op: "argmax" }
  /**
   * The `top` best classes (default 5), with labels from an asset, one a line; softmax first where `logits`,
   * the sigmoid of each where it is `"sigmoid"`.
   */
  | {
      readonly op: "labels";
      readonly asset: string;
      readonly top?: number | undefined;
      readonly logits?: boolean | "sigmoid" | undefined;
    }
  | CtcSpec
  | PoolSpec
  | TokensSpec
  | BoxesSpec
  | SegmentSpec
  | MapSpec
  | PointsSpec;

/** Greedy CTC (connectionist temporal classification) over [batch, time, class]. */
export interface CtcSpec {
  /** The kind of text. */
  readonly op: "ctc";
  /** Path of the table of classes, one a line. */
  readonly asset: string;
  /**
   * Class of the blank, of a table with a line for each class; white space at both ends of the text is taken off. Default:
   * class 0 is the blank, of a table without a line for it, and white space stays.
   */
  readonly blank?: number | undefined;
  /** Whether the softmax of each step comes first. Default false. */
  readonly logits?: boolean | undefined;
}

/** Pooling of the vectors of a text's tokens, [batch, token, number], to one vector per text. */
export interface PoolSpec {
  /** The kind of pooling step. */
  readonly op: "pool";
  /**
   * The mean over tokens, the first token, or the last one; the largest of each number; the sum divided by the square root
   * of the number of tokens; the mean weighted by the tokens' places, 1 for the first.
   */
  readonly mode: "mean" | "cls" | "last" | "max" | "sqrt-mean" | "weighted-mean";
  /** Name of the attention mask input: only tokens where it is not 0 count. Default: all count. */
  readonly mask?: string | undefined;
  /** The first numbers that are kept, for a model trained for that (Matryoshka). Default: all. */
  readonly dims?: number | undefined;
  /** Whether the vector is scaled to length 1 at the end. Default false. */
  readonly normalize?: boolean | undefined;
}

/** A label for each token of a text, from logits [batch, token, class]. */
export interface TokensSpec {
  /** Entities of a text. */
  readonly op: "tokens";
  /** Path of the label table: one a line, as `B-PER`. */
  readonly asset: string;
  /** Name of the input that the text fills with the ids of its tokens. */
  readonly text: string;
  /**
   * How tokens are grouped: `none`; `simple`, adjacent ones of the same entity; or words first, with the label of their
   * first token, of the average, or of the surest token. Default `simple`.
   */
  readonly aggregate?: "none" | "simple" | "first" | "average" | "max" | undefined;
  /** Labels that are left out. Default `["O"]`. */
  readonly ignore?: readonly string[] | undefined;
}

/** Boxes of objects, with labels. */
export interface BoxesSpec {
  /** Boxes of objects. */
  readonly op: "detect";
  /**
   * `queries`: logits [batch, query, class], with the boxes in another output as centre and size in shares of the image,
   * without what `pad` of the resizing `resample` added to it.
   * `anchors`: [batch, 4 + classes, anchor] or [batch, anchor, 4 + classes], with the boxes' centre and size in pixels of
   * the tensor before the scores; one more value before the scores is the box's own score.
   */
  readonly form: "queries" | "anchors";
  /** Path of the label table, one a line. */
  readonly asset: string;
  /** Name of the output with the boxes of `queries`. */
  readonly boxes?: string | undefined;
  /** Name of the image input. */
  readonly image: string;
  /**
   * Source of the scores of `queries`: softmax, with a class of no object after the labels, or the sigmoid of each. Default:
   * softmax where there is one class more than labels.
   */
  readonly scores?: "softmax" | "sigmoid" | undefined;
  /** The least score. Default 0.5 for queries, 0.25 for anchors. */
  readonly threshold?: number | undefined;
  /** Boxes of a label that overlap a better one by more are left out. Default 0.7 for anchors, none are for queries. */
  readonly iou?: number | undefined;
  /** The most boxes, the best first. Default 300 for anchors, the number of queries for queries. */
  readonly top?: number | undefined;
}

/** The class of each pixel, from [batch, class, height, width] resized to the picture by bilinear interpolation. */
export interface SegmentSpec {
  /** A class for each pixel. */
  readonly op: "segment";
  /** Name of the image input. */
  readonly image: string;
  /** Path of the label table, one a line. */
  readonly asset: string;
  /**
   * Whether the output is stretched to the whole picture where only a crop of it was seen, as transformers does. Default
   * false: pixels outside the crop have the class at its border.
   */
  readonly stretch?: boolean | undefined;
}

/** A number for each pixel, from [batch, height, width] or [batch, 1, height, width], resized to the picture. */
export interface MapSpec {
  /** `mask`: the sigmoid of each, resized by bilinear interpolation; `depth`: as it is, by bicubic interpolation. */
  readonly op: "mask" | "depth";
  /** Name of the image input. */
  readonly image: string;
}

/** Key points. */
export interface PointsSpec {
  /** Key points. */
  readonly op: "points";
  /**
   * `heatmaps`: [batch, point, height, width], the place of the largest value, moved a quarter of a cell towards the larger
   * neighbour. `shares`: [batch, point, 2 or 3], x and y in shares of the image, without the padding of `resample`, and
   * the score where there is one.
   */
  readonly form: "heatmaps" | "shares";
  /** Name of the image input. */
  readonly image: string;
  /** Path of a table with the points' names, one a line. Default: none have names. */
  readonly asset?: string | undefined;
}

// Common parts of the two Fashion-MNIST models, graphs built from trained weights. fashion/train.py trains them and
// says why the perceptron's weights are stored as they are.
import { join } from "node:path";
import type { BundleInput, BundleOutput } from "../lib/core/bundle.ts";
import type { PackFile } from "../lib/compress/bundle/pack.ts";

/** Input of both models: a grey picture of 28 × 28, the garment light on dark. */
export const FASHION_INPUT: BundleInput = {
  name: "image",
  dtype: "float32",
  dims: ["batch", 1, 28, 28],
  batchAxis: 0,
  image: {
    resize: { mode: "fit", width: 28, height: 28 },
    channels: "gray",
    mean: [0.5],
    std: [0.5],
    layout: "nchw",
  },
};

/** Output of both models: the classes by descending probability. */
export const FASHION_OUTPUT: BundleOutput = {
  name: "logits",
  dtype: "float32",
  dims: ["batch", 10],
  batchAxis: 0,
  decode: { op: "labels", asset: "labels.txt", top: 3, logits: true },
};

const LABELS = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/** Returns the names of the classes, one per line. */
export function fashionLabels(): PackFile {
  return { path: "labels.txt", bytes: new TextEncoder().encode(`${LABELS.join("\n")}\n`) };
}

/** Returns the path of a model's trained weights. */
export function fashionWeights(name: string): string {
  return join(import.meta.dirname, "fashion", `${name}.npz`);
}

// The models of this folder, in the order in which they are built.
import { face } from "./face.ts";
import { fashionCnn } from "./fashion-cnn.ts";
import { fashionMlp } from "./fashion-mlp.ts";
import { ocrCls } from "./ocr-cls.ts";
import { ocrDet } from "./ocr-det.ts";
import { ocrRec } from "./ocr-rec.ts";
import { spam } from "./spam.ts";
import { vad } from "./vad.ts";
import type { Recipe } from "./recipe.ts";

/** All recipes. */
export const RECIPES: readonly Recipe[] = [ocrDet, ocrRec, ocrCls, face, vad, fashionCnn, fashionMlp, spam];

import { expect, test } from "vitest";
import { facesOf } from "./faces.ts";
import type { Anchors } from "./faces.ts";

/** Layers in which some anchors have a score and a box of 32 × 32 at the cell's centre. */
function layers(sure: readonly number[]): Anchors[] {
  const scores = new Float32Array(512).fill(-10);
  const boxes = new Float32Array(512 * 16);
  for (const anchor of sure) {
    scores[anchor] = 4;
    boxes.set([0, 0, 32, 32], anchor * 16);
  }
  return [
    { cells: 16, scores, boxes },
    { cells: 8, scores: new Float32Array(384).fill(-10), boxes: new Float32Array(384 * 16) },
  ];
}

test("a box lies around its cell, in pixels of the picture", () => {
  // The anchor 2 · (16 · 7 + 8): the cell in row 7, column 8, whose centre is (68, 60) of 128.
  const [face, ...more] = facesOf(layers([240]), 640, 480);
  expect(more).toEqual([]);
  expect(face).toMatchObject({ x: 260, y: 220, width: 160, height: 160 });
  expect(face?.score).toBeCloseTo(0.982, 3);
});

test("overlapping boxes of one face are averaged", () => {
  const faces = facesOf(layers([240, 241, 242]), 128, 128);
  expect(faces).toHaveLength(1);
  expect(faces[0]?.x).toBeCloseTo((52 + 52 + 60) / 3, 5);
});

test("separate boxes are two faces, and a low score is none", () => {
  expect(facesOf(layers([0, 300]), 128, 128)).toHaveLength(2);
  expect(facesOf(layers([]), 128, 128)).toEqual([]);
});

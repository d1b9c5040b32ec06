// Integers that shapes are made of, computed from those of a node's inputs.
import { count, rangeOf, VALUES_MAX, within } from "./node-view.ts";
import type { NodeView } from "./node-view.ts";

/** Computes integers that shapes are made of; undefined where they are not known. */
type Fold = (view: NodeView) => readonly number[] | undefined;

const elementwise =
  (compute: (a: number, b: number) => number): Fold =>
  (view) => {
    const [a = [], b = []] = [view.values(0), view.values(1)];
    return Array.from({ length: Math.max(a.length, b.length) }, (_, i) =>
      compute(a[a.length === 1 ? 0 : i] ?? 0, b[b.length === 1 ? 0 : i] ?? 0),
    );
  };
const passed: Fold = (view) => view.values(0);

/** By operator. */
export const FOLDS: ReadonlyMap<string, Fold> = new Map<string, Fold>([
  ..."Cast Identity Squeeze Unsqueeze Reshape Flatten".split(" ").map((x): [string, Fold] => [x, passed]),
  ["Shape", (view) => view.dims().slice(view.integer("start", 0), view.integers("end")?.[0])],
  ["Size", (view) => [count(view.dims())]],
  ["Concat", (view) => view.inputs.flatMap((_, i) => view.values(i) ?? [])],
  [
    "Gather",
    (view) => {
      const values = view.values(0) ?? [];
      return view.values(1)?.map((i) => values[within(i, values.length)] ?? 0);
    },
  ],
  [
    "Slice",
    (view) => {
      const values = view.values(0) ?? [];
      const at = (name: string, i: number, fallback: number): number => view.either(name, i)?.[0] ?? fallback;
      const step = view.values(4)?.[0] ?? 1;
      const [from, to] = rangeOf(values.length, at("starts", 1, 0), at("ends", 2, 0), step);
      const length = Math.max(0, Math.ceil((to - from) / step));
      return length > VALUES_MAX ? undefined : Array.from({ length }, (_, i) => values[from + i * step] ?? 0);
    },
  ],
  ["Add", elementwise((a, b) => a + b)],
  ["Sub", elementwise((a, b) => a - b)],
  ["Mul", elementwise((a, b) => a * b)],
  ["Equal", elementwise((a, b) => Number(a === b))],
  [
    "Div",
    (view) => {
      const divided = elementwise((a, b) => a / b)(view);
      return view.inputs[0]?.type.startsWith("int") === true ? divided?.map(Math.trunc) : divided;
    },
  ],
  ["Floor", (view) => view.values(0)?.map(Math.floor)],
  ["Ceil", (view) => view.values(0)?.map(Math.ceil)],
  [
    "Where",
    (view) => {
      const [test = [], a = [], b = []] = [view.values(0), view.values(1), view.values(2)];
      const at = (list: readonly number[], i: number): number => list[list.length === 1 ? 0 : i] ?? 0;
      const length = Math.max(test.length, a.length, b.length);
      return Array.from({ length }, (_, i) => at(at(test, i) === 0 ? b : a, i));
    },
  ],
  [
    "ConstantOfShape",
    (view) => {
      const length = count(view.values(0) ?? []);
      return length > VALUES_MAX ? undefined : Array.from({ length }, () => view.node.tensor?.values?.[0] ?? 0);
    },
  ],
  [
    "Range",
    (view) => {
      const [from, to, step] = [0, 1, 2].map((i) => view.values(i)?.[0] ?? 0) as [number, number, number];
      const length = Math.max(0, Math.ceil((to - from) / step));
      return length > VALUES_MAX ? undefined : Array.from({ length }, (_, i) => from + i * step);
    },
  ],
]);

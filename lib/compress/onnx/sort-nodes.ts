// Topological order of nodes. ONNX demands it and ONNX Runtime sorts the main graph by itself, so files exist that are
// not sorted: those of onnxconverter-common's float16 converter, which appends its Casts at the end. Everything here
// that follows values relies on the order.
import { subgraphs, uses } from "./graph.ts";
import type { GraphProto, ModelProto, NodeProto } from "./onnx.gen.js";

/**
 * Sorts the nodes of all graphs and functions of a model; a sorted list, and one with a cycle, stays as it is. Returns
 * whether any list changed.
 */
export function sortNodes({ graph, functions }: ModelProto): boolean {
  const lists: { node: NodeProto[] }[] = [...(graph === undefined ? [] : graphsIn(graph)), ...functions];
  let isChanged = false;
  for (const each of lists) {
    const nodes = sorted(each.node);
    isChanged ||= nodes !== each.node;
    each.node = nodes;
  }
  return isChanged;
}

function graphsIn(graph: GraphProto): GraphProto[] {
  return [graph, ...graph.node.flatMap((node) => subgraphs(node).flatMap(graphsIn))];
}

function sorted(nodes: NodeProto[]): NodeProto[] {
  const producers = new Map<string, number>();
  for (const [i, node] of nodes.entries()) for (const name of node.output) if (name !== "") producers.set(name, i);
  const needs = nodes.map((node) => [...uses(node)].flatMap((name) => producers.get(name) ?? []));
  if (needs.every((list, i) => list.every((x) => x < i))) return nodes;
  return depthFirst(needs)?.flatMap((i) => nodes[i] ?? []) ?? nodes;
}

/**
 * Orders items so that each follows all that it needs, and otherwise as given; undefined where that is impossible.
 * Without recursion: a chain may be as long as a model.
 */
function depthFirst(needs: readonly (readonly number[])[]): number[] | undefined {
  const order: number[] = [];
  const state = new Uint8Array(needs.length);
  const [open, done] = [1, 2];
  for (const first of needs.keys()) {
    const path = [first];
    for (let at = path.at(-1); at !== undefined; at = path.at(-1)) {
      if (state[at] !== 0) {
        path.pop();
        if (state[at] === open) order.push(at);
        state[at] = done;
        continue;
      }
      state[at] = open;
      for (const need of [...(needs[at] ?? [])].reverse()) {
        if (state[need] === open) return undefined;
        if (state[need] === 0) path.push(need);
      }
    }
  }
  return order;
}

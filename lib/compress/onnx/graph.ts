// Editable view of a graph for the transforms: nodes in order, constants by name, producers and consumers of values.
//
// It wraps the GraphProto and keeps an index that each change invalidates; it is no second representation. Names of an
// outer graph are visible in a subgraph (If, Loop, Scan), so uses are counted through subgraphs, and constants are
// looked up outwards.
import { create } from "@bufbuild/protobuf";
import { AttributeProto_AttributeType, AttributeProtoSchema, NodeProtoSchema } from "./onnx.gen.js";
import type { AttributeProto, GraphProto, NodeProto, TensorProto } from "./onnx.gen.js";
import { int64Of } from "./tensor-proto.ts";

/** Value of an attribute to be set: an integer, integers, or text; floats by `{ float }`. */
export type AttributeValue = number | readonly number[] | string | { readonly float: number };

/** A node to be added. */
export interface NodeSpec {
  readonly opType: string;
  /** Domain of the operator. Default "", ONNX's own. */
  readonly domain?: string;
  readonly input: readonly string[];
  readonly output: readonly string[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
}

/** A node that reads a value, and its graph. */
export interface ReadingNode {
  readonly graph: Graph;
  readonly node: NodeProto;
}

/** The nodes that make and use each value, including uses in subgraphs. */
interface Index {
  producers: Map<string, NodeProto>;
  consumers: Map<string, NodeProto[]>;
  initializers: Map<string, TensorProto>;
  outputs: Set<string>;
  names: Set<string>;
  /** Names of the graphs below. */
  below: Set<string>;
}

/** Reads and edits one graph; subgraphs have a `Graph` of their own, with this one as `parent`. */
export class Graph {
  readonly proto: GraphProto;
  readonly parent: Graph | null;
  #index: Index | null = null;

  constructor(proto: GraphProto, parent: Graph | null = null) {
    this.proto = proto;
    this.parent = parent;
  }

  /** The nodes, in the file's order, which is an execution order. */
  get nodes(): readonly NodeProto[] {
    return this.proto.node;
  }

  /** Iterates over this graph and all graphs below it. */
  *all(): Generator<Graph> {
    yield this;
    for (const node of this.proto.node) for (const graph of subgraphs(node)) yield* new Graph(graph, this).all();
  }

  /** Returns the node of this graph that makes a value. */
  producer(name: string): NodeProto | undefined {
    return this.#indexed().producers.get(name);
  }

  /** Returns the nodes of this graph that use a value, including nodes whose subgraph uses it. */
  consumers(name: string): readonly NodeProto[] {
    return this.#indexed().consumers.get(name) ?? [];
  }

  /**
   * Returns the nodes that read a value as an input of their own, here and in subgraphs, each with its graph; undefined
   * where a subgraph also returns the value as it is.
   */
  readers(name: string): readonly ReadingNode[] | undefined {
    const found: ReadingNode[] = [];
    for (const node of this.consumers(name)) {
      if (node.input.includes(name)) found.push({ graph: this, node });
      for (const proto of subgraphs(node)) {
        const isOwn = [...proto.input, ...proto.initializer].some((x) => x.name === name);
        if (isOwn || proto.node.some((x) => x.output.includes(name))) continue;
        const inner = new Graph(proto, this);
        const readers = inner.isOutput(name) ? undefined : inner.readers(name);
        if (readers === undefined) return undefined;
        found.push(...readers);
      }
    }
    return found;
  }

  /** Returns the graph, this one or one around it, that holds the constant of a name. */
  ownerOf(name: string): Graph | undefined {
    if (this.constant(name) === undefined) return undefined;
    return this.#indexed().names.has(name) ? this : this.parent?.ownerOf(name);
  }

  /** Whether a value is an output of this graph. */
  isOutput(name: string): boolean {
    return this.#indexed().outputs.has(name);
  }

  /** Returns the only node that uses a value, if there is exactly one use and the value is no output of the graph. */
  onlyConsumer(name: string): NodeProto | undefined {
    const users = this.consumers(name);
    const user = users[0];
    if (user === undefined || users.length > 1 || this.isOutput(name)) return undefined;
    return user.input.filter((x) => x === name).length === 1 ? user : undefined;
  }

  /** Returns the tensor of an initializer or a Constant node by name, here or in an outer graph. */
  constant(name: string): TensorProto | undefined {
    const index = this.#indexed();
    const own = index.initializers.get(name);
    // An initializer that is also an input of the graph is a default that a caller may override.
    if (own !== undefined) return this.proto.input.some((x) => x.name === name) ? undefined : own;
    const producer = index.producers.get(name);
    if (producer === undefined) return index.names.has(name) ? undefined : this.parent?.constant(name);
    if (producer.opType !== "Constant" || producer.domain !== "") return undefined;
    return producer.attribute.find((x) => x.name === "value")?.t;
  }

  /** Whether a name is that of a value of this graph, or of one around it. */
  isTaken(name: string): boolean {
    return this.#indexed().names.has(name) || this.parent?.isTaken(name) === true;
  }

  /** Whether a name is that of a value of this graph, or of one around or below it. */
  isUsed(name: string): boolean {
    return this.isTaken(name) || this.#indexed().below.has(name);
  }

  /** Returns a new name that neither this graph nor those around or below it use. */
  freshName(stem: string): string {
    return freeName(stem, (name) => this.isUsed(name));
  }

  /** Adds a constant and returns its name. */
  addInitializer(tensor: TensorProto): string {
    this.proto.initializer.push(tensor);
    if (this.#index !== null) {
      this.#index.initializers.set(tensor.name, tensor);
      this.#index.names.add(tensor.name);
    }
    this.#addAbove([tensor.name]);
    return tensor.name;
  }

  /** Inserts a node before another one and returns it. */
  insertBefore(place: NodeProto, spec: NodeSpec): NodeProto {
    const node = makeNode(spec);
    this.proto.node.splice(this.proto.node.indexOf(place), 0, node);
    this.#addAbove(node.output);
    this.changed();
    return node;
  }

  /** Inserts a node after another one and returns it. */
  insertAfter(place: NodeProto, spec: NodeSpec): NodeProto {
    const node = makeNode(spec);
    this.proto.node.splice(this.proto.node.indexOf(place) + 1, 0, node);
    this.#addAbove(node.output);
    this.changed();
    return node;
  }

  /** Removes nodes. */
  remove(nodes: ReadonlySet<NodeProto>): void {
    this.proto.node = this.proto.node.filter((x) => !nodes.has(x));
    this.changed();
  }

  /** Replaces every use of one value by another, in subgraphs too. Outputs of the graph keep their names. */
  replaceUses(from: string, to: string): void {
    for (const user of this.consumers(from)) renameInputs(user, from, to);
    this.changed();
  }

  /** Invalidates the index; must be called after a change made directly on the protos. */
  changed(): void {
    this.#index = null;
  }

  /** Adds new names to the indices of the graphs around this one. */
  #addAbove(names: readonly string[]): void {
    for (let graph = this.parent; graph !== null; graph = graph.parent)
      for (const name of names) graph.#index?.below.add(name);
  }

  #indexed(): Index {
    if (this.#index !== null) return this.#index;
    const producers = new Map<string, NodeProto>();
    const consumers = new Map<string, NodeProto[]>();
    const names = new Set(this.proto.input.map((x) => x.name));
    const initializers = new Map(this.proto.initializer.map((x) => [x.name, x]));
    for (const name of initializers.keys()) names.add(name);
    const below = new Set<string>();
    for (const node of this.proto.node) {
      for (const inner of subgraphs(node)) for (const name of namesIn(inner)) below.add(name);
      for (const name of node.output) {
        producers.set(name, node);
        names.add(name);
      }
      for (const name of uses(node)) {
        const users = consumers.get(name);
        if (users === undefined) consumers.set(name, [node]);
        else users.push(node);
      }
    }
    const outputs = new Set(this.proto.output.map((x) => x.name));
    this.#index = { producers, consumers, initializers, outputs, names, below };
    return this.#index;
  }
}

/** Lists the subgraphs of a node. */
export function subgraphs(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((x) => (x.g === undefined ? x.graphs : [x.g, ...x.graphs]));
}

/** Lists the names of values of a graph and of those below it. */
export function namesIn(graph: GraphProto): string[] {
  const own = [...graph.input, ...graph.initializer].map((x) => x.name);
  const sparse = graph.sparseInitializer.map((x) => x.values?.name ?? "");
  const made = graph.node.flatMap((node) => [...node.output, ...subgraphs(node).flatMap(namesIn)]);
  return [...own, ...sparse, ...made].filter((x) => x !== "");
}

/** Returns the stem, or the stem with the first number that makes a name that is not taken. */
export function freeName(stem: string, isTaken: (name: string) => boolean): string {
  let name = stem;
  for (let i = 1; isTaken(name); i++) name = `${stem}_${i}`;
  return name;
}

/** Renames the values of a graph and of those below it, wherever a name stands. */
export function renameValues(graph: GraphProto, rename: (name: string) => string): void {
  for (const list of [graph.initializer, graph.input, graph.output, graph.valueInfo])
    for (const value of list) value.name = rename(value.name);
  for (const { values } of graph.sparseInitializer) if (values !== undefined) values.name = rename(values.name);
  for (const node of graph.node) {
    node.input = node.input.map(rename);
    node.output = node.output.map(rename);
    for (const inner of subgraphs(node)) renameValues(inner, rename);
  }
}

/** Returns each value that a node uses, itself or in its subgraphs, once. */
export function uses(node: NodeProto): Set<string> {
  const names = new Set(node.input.filter((x) => x !== ""));
  for (const graph of subgraphs(node)) {
    const own = new Set([...graph.input, ...graph.initializer].map((x) => x.name));
    for (const inner of graph.node) for (const name of inner.output) own.add(name);
    for (const inner of graph.node) for (const name of uses(inner)) if (!own.has(name)) names.add(name);
    for (const { name } of graph.output) if (!own.has(name)) names.add(name);
  }
  return names;
}

function renameInputs(node: NodeProto, from: string, to: string): void {
  node.input = node.input.map((x) => (x === from ? to : x));
  for (const graph of subgraphs(node)) {
    if ([...graph.input, ...graph.initializer].some((x) => x.name === from)) continue;
    for (const inner of graph.node) renameInputs(inner, from, to);
    for (const output of graph.output) if (output.name === from) output.name = to;
  }
}

/** Returns an integer attribute, or the operator's default where it is not set. */
export function integerOf(node: NodeProto, name: string, otherwise: number): number {
  const attribute = node.attribute.find((x) => x.name === name);
  return attribute === undefined ? otherwise : Number(attribute.i);
}

/** Returns an attribute of integers, or undefined where it is not set. */
export function integersAt(node: NodeProto, name: string): number[] | undefined {
  return node.attribute.find((x) => x.name === name)?.ints.map(Number);
}

/** Returns a float attribute, or the operator's default where it is not set. */
export function floatOf(node: NodeProto, name: string, otherwise: number): number {
  return node.attribute.find((x) => x.name === name)?.f ?? otherwise;
}

/** Returns a text attribute, or the operator's default where it is not set. */
export function textOf(node: NodeProto, name: string, otherwise: string): string {
  const attribute = node.attribute.find((x) => x.name === name);
  return attribute === undefined ? otherwise : new TextDecoder().decode(attribute.s);
}

/** Removes attributes of a node. */
export function dropAttributes(node: NodeProto, ...names: readonly string[]): void {
  node.attribute = node.attribute.filter((x) => !names.includes(x.name));
}

/** Sets an attribute of a node, replacing one of the same name. */
export function setAttribute(node: NodeProto, name: string, value: AttributeValue): void {
  dropAttributes(node, name);
  node.attribute.push(makeAttribute(name, value));
}

/** Makes a node, with its first output as its name. */
export function makeNode(spec: NodeSpec): NodeProto {
  return create(NodeProtoSchema, {
    opType: spec.opType,
    ...(spec.domain === undefined ? {} : { domain: spec.domain }),
    name: `${spec.output[0] ?? ""}/${spec.opType}`,
    input: [...spec.input],
    output: [...spec.output],
    attribute: Object.entries(spec.attributes ?? {}).map(([name, value]) => makeAttribute(name, value)),
  });
}

function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  const attribute = create(AttributeProtoSchema, { name });
  if (typeof value === "number") {
    attribute.type = AttributeProto_AttributeType.INT;
    attribute.i = int64Of(value);
  } else if (typeof value === "string") {
    attribute.type = AttributeProto_AttributeType.STRING;
    attribute.s = new TextEncoder().encode(value);
  } else if ("float" in value) {
    attribute.type = AttributeProto_AttributeType.FLOAT;
    attribute.f = value.float;
  } else {
    attribute.type = AttributeProto_AttributeType.INTS;
    attribute.ints = value.map(int64Of);
  }
  return attribute;
}

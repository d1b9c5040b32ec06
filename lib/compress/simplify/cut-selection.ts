// Detectors end in operators that select by comparing values, such as NonMaxSuppression and TopK. Which boxes these keep,
// and in which order, may change by an error in the last digit, so their answers say nothing of how good a form is. A
// model is cut before them: forms are made and scored as its first part, and get the rest behind them, unchanged, to be
// checked and written.
//
// A model is not cut where many of its weights follow the selection, as in a mixture of experts or a detector with two
// stages: they would stay float32.
import { create } from "@bufbuild/protobuf";
import { freeName, Graph, renameValues, subgraphs, uses } from "../onnx/graph.ts";
import { copyMessage } from "../onnx/model.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { GraphProtoSchema, TensorProto_DataType, ValueInfoProtoSchema } from "../onnx/onnx.gen.js";
import type { NodeProto, TensorProto, ValueInfoProto } from "../onnx/onnx.gen.js";
import { elementCount } from "../onnx/tensor-proto.ts";
import { removeUnused } from "./remove-unused.ts";

/** Operators that select: their answer jumps where two values change their order, or one crosses a bound. */
const SELECTING: ReadonlySet<string> = new Set(["Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique"]);
/** Operators that name a class: alone they are an answer (run/use-metrics.ts), but that of a box without one is noise. */
const NAMING: ReadonlySet<string> = new Set(["ArgMax", "ArgMin"]);
/** Operators of whose input only the shape matters. */
const SIZES: ReadonlySet<string> = new Set(["Shape", "Size"]);
/** Number of elements from which a float constant counts as weights, which a form stores in fewer bits. */
const WEIGHT_MIN = 256;
/** Share of a model's constants that may follow the selection, as the anchors of boxes do. */
const REST_MOST = 0.05;

/** A model that is cut before its selection. */
export interface CutModel {
  /**
   * The first part. Its outputs are those of the model that no selection precedes, and the values that the rest reads.
   */
  readonly head: OnnxModel;
  /** Operators that select, as "NonMaxSuppression". */
  readonly operators: readonly string[];
  /** Outputs of the model that are left out of the head. */
  readonly behind: readonly string[];
  /** Values that the rest reads and that differ between forms. */
  readonly read: readonly string[];
  /**
   * Returns a copy of a form of the head with the rest behind it, and the model's outputs; where it is observed, the values
   * that the rest reads are outputs too.
   */
  join(form: OnnxModel, isObserved?: boolean): OnnxModel;
}

/**
 * Cuts a model before its selection; null where nothing selects, or more than a few weights follow.
 * @param marks - outputs that the model does not return for its callers: `join` leaves them out
 */
export function cutSelection(model: OnnxModel, marks: readonly string[] = []): CutModel | null {
  const { graph } = model;
  const selection = selectionOf(model);
  if (selection === null) return null;
  const { rest, valued, operators, behind } = selection;
  if (countFloats(graph, rest) > REST_MOST * countFloats(graph, graph.nodes)) return null;
  const made = new Set([...rest].flatMap((node) => node.output));
  const used = new Set([...rest].flatMap((node) => [...uses(node)]));
  const isConstant = (name: string): boolean => graph.constant(name) !== undefined;
  const border = [...used].filter((name) => graph.producer(name) !== undefined && !made.has(name) && !isConstant(name));
  const read = border.filter((name) => valued.has(name));
  if (read.length === 0) return null;
  const outputs = graph.proto.output.filter((x) => !marks.includes(x.name));
  const constants = [...used].flatMap((name) => {
    const tensor = graph.constant(name);
    return tensor === undefined ? [] : [Object.assign(copyMessage(tensor), { name })];
  });
  const observed = read.filter((name) => outputs.every((x) => x.name !== name));
  const join = (form: OnnxModel, isObserved = false): OnnxModel =>
    joined(form, { nodes: [...rest], constants, outputs, border }, isObserved ? observed : []);
  return { head: headOf(model, rest, border), operators, behind, read, join };
}

/** The end of a model that selects by values. */
interface SelectionNodes {
  /** The nodes that select or name a class, and those that read what they return, in their order. */
  readonly rest: ReadonlySet<NodeProto>;
  /** Names of values that differ between forms. */
  readonly valued: ReadonlySet<string>;
  readonly operators: readonly string[];
  /** Outputs of the model that depend on the selection. */
  readonly behind: readonly string[];
}

/** Finds the operators that select by values, and what depends on them; null where no output does. */
export function selectionOf({ graph }: OnnxModel): SelectionNodes | null {
  const valued = valuedNames(graph);
  const rest = new Set<NodeProto>();
  const [made, found] = [new Set<string>(), new Set<string>()];
  for (const node of graph.nodes) {
    const names = [...uses(node)];
    const selecting = names.some((name) => valued.has(name)) ? selectingIn(node) : [];
    if (selecting.length === 0 && !names.some((name) => made.has(name))) continue;
    for (const operator of selecting) found.add(operator);
    rest.add(node);
    for (const name of node.output) made.add(name);
  }
  const operators = [...found].filter((x) => SELECTING.has(x));
  const behind = graph.proto.output.map((x) => x.name).filter((name) => made.has(name));
  return operators.length === 0 || behind.length === 0 ? null : { rest, valued, operators, behind };
}

/** Adds values of the graph to a model's outputs, in place. */
export function addOutputs({ graph }: OnnxModel, names: readonly string[]): void {
  graph.proto.output.push(...names.map((name) => create(ValueInfoProtoSchema, { name })));
  graph.changed();
}

/** Returns a copy of a model without some of its outputs, and without what they alone need. */
export function withoutOutputs(model: OnnxModel, names: readonly string[]): OnnxModel {
  const copy = model.copy();
  copy.graph.proto.output = copy.graph.proto.output.filter((x) => !names.includes(x.name));
  return copy.transform(removeUnused());
}

/** Lists the operators of a node, and of its subgraphs, that select or name a class. */
function selectingIn(node: NodeProto): string[] {
  const inner = subgraphs(node).flatMap((x) => x.node.flatMap(selectingIn));
  const isOne = node.domain === "" && (SELECTING.has(node.opType) || NAMING.has(node.opType));
  return isOne ? [node.opType, ...inner] : inner;
}

/** Returns the names of values that differ between forms: computed from the model's inputs and from weights. */
function valuedNames(graph: Graph): ReadonlySet<string> {
  const inputs = new Set(graph.proto.input.map((x) => x.name).filter((name) => graph.constant(name) === undefined));
  const fed = reachedFrom(graph, (node) => [...uses(node)].some((name) => inputs.has(name)));
  const isWeight = (x: TensorProto): boolean => elementCount(x) >= WEIGHT_MIN;
  const weighted = reachedFrom(graph, (node) => [...floatsRead(graph, [node])].some(isWeight));
  return new Set([...fed].filter((name) => weighted.has(name)));
}

/** Returns the names of values that depend on what certain nodes return, not on its shape alone. */
function reachedFrom(graph: Graph, isStart: (node: NodeProto) => boolean): ReadonlySet<string> {
  const reached = new Set<string>();
  for (const node of graph.nodes) {
    if (SIZES.has(node.opType) || !(isStart(node) || [...uses(node)].some((name) => reached.has(name)))) continue;
    for (const name of node.output) reached.add(name);
  }
  return reached;
}

/** Counts the values of the float constants that nodes read, themselves or in their subgraphs. */
function countFloats(graph: Graph, nodes: Iterable<NodeProto>): number {
  return [...floatsRead(graph, nodes)].reduce((sum, x) => sum + elementCount(x), 0);
}

function floatsRead(graph: Graph, nodes: Iterable<NodeProto>): Set<TensorProto> {
  const found = new Set<TensorProto>();
  for (const node of nodes) {
    for (const name of node.input) {
      const tensor = graph.constant(name);
      if (tensor?.dataType === TensorProto_DataType.FLOAT) found.add(tensor);
    }
    for (const proto of subgraphs(node))
      for (const tensor of floatsRead(new Graph(proto, graph), proto.node)) found.add(tensor);
  }
  return found;
}

function headOf(model: OnnxModel, rest: ReadonlySet<NodeProto>, border: readonly string[]): OnnxModel {
  const { graph } = model;
  const isLeft = graph.nodes.map((node) => rest.has(node));
  const made = new Set([...rest].flatMap((node) => node.output));
  const head = model.copy();
  const { proto } = head.graph;
  proto.node = proto.node.filter((_, i) => isLeft[i] !== true);
  proto.output = proto.output.filter((x) => !made.has(x.name));
  proto.valueInfo = proto.valueInfo.filter((x) => !made.has(x.name) && !border.includes(x.name));
  addOutputs(
    head,
    border.filter((name) => proto.output.every((x) => x.name !== name)),
  );
  return head.transform(removeUnused());
}

/** The part of a model behind the cut. */
interface SelectionPart {
  readonly nodes: readonly NodeProto[];
  readonly constants: readonly TensorProto[];
  readonly outputs: readonly ValueInfoProto[];
  /** Names that it reads from the head. */
  readonly border: readonly string[];
}

function joined(
  form: OnnxModel,
  { nodes, constants, outputs, border }: SelectionPart,
  observed: readonly string[],
): OnnxModel {
  const whole = form.copy();
  const { graph } = whole;
  const rest = create(GraphProtoSchema, { node: copyMessage([...nodes]), initializer: copyMessage([...constants]) });
  // A transform may have taken a name of the rest for a value of its own.
  const fixed = new Set([...border, ...outputs.map((x) => x.name), ...graph.proto.input.map((x) => x.name)]);
  const own = new Set([...nodes.flatMap((node) => node.output), ...constants.map((x) => x.name)]);
  const names = new Map<string, string>();
  for (const name of own) {
    if (name === "" || fixed.has(name) || !graph.isUsed(name)) continue;
    const free = freeName(name, (x) => graph.isUsed(x) || own.has(x));
    own.add(free);
    names.set(name, free);
  }
  renameValues(rest, (name) => names.get(name) ?? name);
  graph.proto.node.push(...rest.node);
  graph.proto.initializer.push(...rest.initializer);
  graph.proto.output = copyMessage([...outputs]);
  addOutputs(whole, observed);
  return whole.transform(removeUnused());
}

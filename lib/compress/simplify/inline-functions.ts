// Replaces the calls of a model's own functions by their nodes. ONNX Runtime does the same when it loads a model; but
// until then a weight that a function reads, or holds, is hidden from all other passes. Exporters of PyTorch write
// functions for operators that ONNX lacks, and on request for modules.
import { create } from "@bufbuild/protobuf";
import { isSelvedgeError } from "../../core/errors.ts";
import { calledIn } from "../onnx/functions.ts";
import type { CalledBy } from "../onnx/functions.ts";
import { freeName, namesIn, renameValues, subgraphs } from "../onnx/graph.ts";
import { copyMessage, OnnxModel } from "../onnx/model.ts";
import type { Transform } from "../onnx/model.ts";
import { AttributeProto_AttributeType, ModelProtoSchema } from "../onnx/onnx.gen.js";
import type { AttributeProto, FunctionProto, GraphProto, NodeProto } from "../onnx/onnx.gen.js";
import { raiseOpset } from "./raise-opset.ts";

/** Domains whose operators ONNX Runtime has kernels for: it prefers those to a function of the same name. */
const RUNTIME = /^(|ai\.onnx(\..*)?|com\.microsoft(\..*)?)$/;

/**
 * Inlines all functions, nested ones too. One of a newer operator set than the model's, or that cannot be raised to it,
 * stays.
 */
export function inlineFunctions(): Transform {
  return (model) => {
    if (model.proto.functions.length > 0) new Inlining(model).run();
  };
}

class Inlining {
  readonly #model: OnnxModel;
  readonly #called: CalledBy;
  readonly #taken = new Set<string>();

  constructor(model: OnnxModel) {
    this.#model = model;
    this.#called = calledIn(model.proto);
    for (const { proto } of model.graph.all()) for (const name of namesIn(proto)) this.#taken.add(name);
  }

  run(): void {
    const { proto, graph } = this.#model;
    this.#inline(graph.proto);
    graph.changed();
    const used = new Set<FunctionProto>();
    const visit = (nodes: readonly NodeProto[]): void => {
      for (const node of nodes) {
        for (const inner of subgraphs(node)) visit(inner.node);
        const called = this.#called(node);
        if (called === undefined || used.has(called)) continue;
        used.add(called);
        visit(called.node);
      }
    };
    visit(graph.nodes);
    const gone = new Set(proto.functions.filter((x) => !used.has(x)).map((x) => x.domain));
    proto.functions = proto.functions.filter((x) => used.has(x));
    for (const { domain } of proto.functions) gone.delete(domain);
    proto.opsetImport = proto.opsetImport.filter((x) => !gone.has(x.domain) || RUNTIME.test(x.domain));
  }

  #inline(graph: GraphProto): void {
    const nodes: NodeProto[] = [];
    // A stack, not recursion: a body may call functions, as often as the model allows.
    const rest = [...graph.node].reverse();
    for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
      const expanded = this.#expand(node, graph);
      if (expanded !== null) {
        for (const inner of expanded.reverse()) rest.push(inner);
        continue;
      }
      for (const inner of subgraphs(node)) this.#inline(inner);
      nodes.push(node);
    }
    graph.node = nodes;
  }

  /** Returns the nodes that stand for a call; null for any other node. Constants of theirs are added to `graph`. */
  #expand(call: NodeProto, graph: GraphProto): NodeProto[] | null {
    const called = this.#called(call);
    const body = called === undefined ? null : this.#bodyOf(called, call);
    if (called === undefined || body === null) return null;
    const { proto } = body.graph;
    const stem = call.name === "" ? (call.output.find((x) => x !== "") ?? call.opType) : call.name;
    const names = new Map(called.input.map((name, i) => [name, call.input[i] ?? ""]));
    for (const [i, name] of called.output.entries()) {
      const output = call.output[i] ?? "";
      names.set(name, output === "" ? this.#fresh(`${stem}/${name}`) : output);
    }
    for (const name of namesIn(proto)) if (!names.has(name)) names.set(name, this.#fresh(`${stem}/${name}`));
    renameValues(proto, (name) => names.get(name) ?? name);
    nameNodes(proto, stem);
    graph.initializer.push(...proto.initializer);
    return proto.node;
  }

  /** Returns a function's body for a call, at the model's operator set; null for a function that stays. */
  #bodyOf(
    { domain, opsetImport, node, input, name, attributeProto }: FunctionProto,
    call: NodeProto,
  ): OnnxModel | null {
    if (RUNTIME.test(domain)) return null;
    const { opset, proto } = this.#model;
    const { irVersion } = proto;
    const graph = { name, node, input: input.map((x) => ({ name: x })) };
    const body = new OnnxModel(create(ModelProtoSchema, { irVersion, opsetImport, graph })).copy();
    if (body.opset > opset) return null;
    // Before its operators are raised, which depends on their attributes.
    fillAttributes(body.graph.proto.node, new Map([...attributeProto, ...call.attribute].map((x) => [x.name, x])));
    try {
      if (body.opset > 0 && body.opset < opset) body.transform(raiseOpset(opset));
    } catch (error) {
      // Past the operator sets that are known, or an operator that changed too much.
      if (error instanceof RangeError || isSelvedgeError(error)) return null;
      throw error;
    }
    for (const each of opsetImport)
      if (!proto.opsetImport.some((x) => x.domain === each.domain)) proto.opsetImport.push(copyMessage(each));
    return body;
  }

  #fresh(stem: string): string {
    const name = freeName(stem, (x) => this.#taken.has(x));
    this.#taken.add(name);
    return name;
  }
}

/**
 * Names the nodes of a body, and those of graphs in it, after the call, and drops stated types, which may be another
 * call's.
 */
function nameNodes(graph: GraphProto, stem: string): void {
  graph.valueInfo = [];
  for (const node of graph.node) {
    if (node.name !== "") node.name = `${stem}/${node.name}`;
    for (const inner of subgraphs(node)) nameNodes(inner, stem);
  }
}

/** Replaces attributes that refer to one of the call by its value, or by the function's default; else removes them. */
function fillAttributes(nodes: readonly NodeProto[], given: ReadonlyMap<string, AttributeProto>): void {
  for (const node of nodes) {
    for (const inner of subgraphs(node)) fillAttributes(inner.node, given);
    node.attribute = node.attribute.flatMap((attribute) => {
      if (attribute.refAttrName === "") return [attribute];
      const value = given.get(attribute.refAttrName);
      if (value === undefined || value.type === AttributeProto_AttributeType.UNDEFINED) return [];
      return [Object.assign(copyMessage(value), { name: attribute.name })];
    });
  }
}

// Functions of a model: operators that it defines itself, by nodes.
import type { FunctionProto, ModelProto, NodeProto } from "./onnx.gen.js";

/** Returns the function that a node calls; undefined for an operator of a runtime. */
export type CalledBy = (node: NodeProto) => FunctionProto | undefined;

/** Makes a look-up of a model's functions. */
export function calledIn({ functions }: ModelProto): CalledBy {
  const keyOf = (domain: string, name: string, overload: string): string => JSON.stringify([domain, name, overload]);
  const byKey = new Map(functions.map((x) => [keyOf(x.domain, x.name, x.overload), x]));
  return ({ domain, opType, overload }) => byKey.get(keyOf(domain, opType, overload));
}

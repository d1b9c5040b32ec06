// Roots of React 18 and 19 in Node, for tests of `selvedge/react`. Their components show nothing, so a document is not
// needed: a root's container is an object with what React looks at.
import type { FunctionComponent, ReactNode } from "react";
import type { Engine, Inputs, RunResult } from "selvedge";
import { vi } from "vitest";
import type * as Hooks from "../bindings/react.ts";
import type { FakeModel } from "../testing/index.ts";

/** Versions of React, each with the folder that it is installed in. */
export const REACT_VERSIONS = [
  ["19", "../../node_modules"],
  ["18", "../../e2e/react-18/node_modules"],
] as const;

const port = { name: "x", dtype: "float32", dims: [1, 3] } as const;
/** A model that doubles its input. */
export const DOUBLE: FakeModel = {
  inputs: [port],
  outputs: [{ ...port, name: "y" }],
  run: ({ x }) => ({
    y: { dtype: "float32", dims: [1, 3], data: Float32Array.from(x?.data as Float32Array, (v) => 2 * v) },
  }),
};
/** Returns an input of {@link DOUBLE}. */
export const doubleInput = (value = 1): Inputs => ({
  x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(value, 2, 3) },
});
/** Answer to {@link doubleInput}. */
export const DOUBLED = [2, 4, 6];
/** Returns the numbers of an answer, or null for none. */
export const yOf = (result: RunResult | null): unknown =>
  result && Array.from(result.outputs["y"]?.data as Float32Array);

/** Waits until a check passes. */
export const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 10_000, interval: 5 });

interface Root {
  render(children: ReactNode): void;
  unmount(): void;
}

/** A root of one version of React. */
export interface ReactRoot {
  readonly React: typeof import("react");
  /** The hooks, over that version. */
  readonly hooks: typeof Hooks;
  readonly root: Root;
  /** Errors that no boundary caught. */
  readonly errors: readonly unknown[];
  /** Renders a component, or nothing, below a provider that stays. */
  show(component: FunctionComponent | null, options?: { readonly isStrict?: boolean }): void;
  /** Unmounts, and takes back what tests have stubbed once the hooks are done with it. */
  end(): Promise<void>;
}

/** Starts a version of React, whose provider has an engine. */
export async function startReact(folder: string, engine: Engine): Promise<ReactRoot> {
  vi.stubGlobal("window", { event: undefined, HTMLIFrameElement: Object });
  vi.stubGlobal("document", {});
  vi.resetModules();
  const [{ default: React }, client] = (await Promise.all([
    import(/* @vite-ignore */ `${folder}/react/index.js`),
    import(/* @vite-ignore */ `${folder}/react-dom/client.js`),
  ])) as [{ default: typeof import("react") }, { default: { createRoot(at: unknown, options: object): Root } }];
  vi.doMock("react", () => React);
  const hooks = await import("../bindings/react.ts");
  const errors: unknown[] = [];
  const onUncaughtError = (error: unknown): void => void errors.push(error);
  const root = client.default.createRoot(fakeContainer(), { onUncaughtError });
  // React 18 has no such option: it throws what reaches the root in a task of its own.
  process.on("uncaughtException", onUncaughtError);
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  return {
    ...{ React, hooks, root, errors },
    show(component, { isStrict = false } = {}) {
      const { createElement, StrictMode } = React;
      const app = createElement(hooks.EngineProvider, { engine }, component && createElement(component));
      root.render(isStrict ? createElement(StrictMode, null, app) : app);
    },
    async end() {
      root.unmount();
      // On a busy machine React needs several tasks, each of which reads `window`.
      for (let task = 0; task < 50; task += 1) await new Promise((done) => setImmediate(done));
      process.off("uncaughtException", onUncaughtError);
      vi.restoreAllMocks();
      vi.unstubAllGlobals();
      vi.doUnmock("react");
    },
  };
}

/** Returns an element that takes no children. */
function fakeContainer(): unknown {
  const node = (more: object) => ({
    ...{ addEventListener: () => undefined, removeEventListener: () => undefined },
    ...{ contains: () => false, removeChild: () => undefined, appendChild: () => undefined, childNodes: [] },
    ...more,
  });
  const document = node({ nodeType: 9, nodeName: "#document", activeElement: null, defaultView: window });
  return node({ nodeType: 1, nodeName: "DIV", tagName: "DIV", namespaceURI: "", ownerDocument: document });
}

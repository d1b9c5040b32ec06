// The hooks over a fake engine, by React 18 and 19 in Node. The components show nothing, so a document is not needed:
// the root's container is an object with what React looks at. e2e/specs/site/react.spec.ts has a browser.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { FunctionComponent, ReactNode } from "react";
import type { Engine, Inputs, Model, ModelSource, RunResult } from "selvedge";
import type * as Hooks from "./react.ts";
import { createFakeEngine } from "../testing/index.ts";
import type { FakeModel } from "../testing/index.ts";

const port = { name: "x", dtype: "float32", dims: [1, 3] } as const;
const double: FakeModel = {
  inputs: [port],
  outputs: [{ ...port, name: "y" }],
  run: ({ x }) => ({
    y: { dtype: "float32", dims: [1, 3], data: Float32Array.from(x?.data as Float32Array, (v) => 2 * v) },
  }),
};
const input = (value = 1): Inputs => ({ x: { dtype: "float32", dims: [1, 3], data: Float32Array.of(value, 2, 3) } });
const yOf = (result: RunResult | null): unknown => result && Array.from(result.outputs["y"]?.data as Float32Array);
const DOUBLED = [2, 4, 6];

interface Root {
  render(children: ReactNode): void;
  unmount(): void;
}
interface Modules {
  readonly React: typeof import("react");
  readonly createRoot: (container: unknown, options?: object) => Root;
  readonly hooks: typeof Hooks;
}

const until = (check: () => void | Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 5 });

/** Loads the hooks over a version of React. */
async function modulesOf(folder: string): Promise<Modules> {
  vi.resetModules();
  const [React, client] = (await Promise.all([
    import(/* @vite-ignore */ `${folder}/react/index.js`),
    import(/* @vite-ignore */ `${folder}/react-dom/client.js`),
  ])) as [{ default: typeof import("react") }, { default: { createRoot: Modules["createRoot"] } }];
  vi.doMock("react", () => React.default);
  return { React: React.default, createRoot: client.default.createRoot, hooks: await import("./react.ts") };
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

describe.each([
  ["19", "../../node_modules"],
  ["18", "../../e2e/react-18/node_modules"],
])("with React %s", (version, folder) => {
  let modules: Modules;
  let engine: Engine;
  let root: Root;
  /** Results that components reported, in order. */
  let said: unknown[];
  /** Errors that reached the root. */
  let errors: unknown[];

  const onUncaughtError = (error: unknown): void => void errors.push(error);

  beforeEach(async () => {
    vi.stubGlobal("window", { event: undefined, HTMLIFrameElement: Object });
    vi.stubGlobal("document", {});
    modules = await modulesOf(folder);
    engine = await createFakeEngine({
      models: { "/double.onnx": double, "/slow.onnx": { ...double, runMs: 300 }, bytes: double },
      workers: 4,
    });
    said = [];
    errors = [];
    root = modules.createRoot(fakeContainer(), { onUncaughtError });
    // React 18 has no such option: it throws what reaches the root in a task of its own.
    process.on("uncaughtException", onUncaughtError);
    vi.spyOn(console, "error").mockImplementation(() => undefined);
  });
  afterEach(async () => {
    root.unmount();
    process.off("uncaughtException", onUncaughtError);
    await engine.close();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
    vi.doUnmock("react");
  });

  /** Renders a component below a provider. */
  function show(component: FunctionComponent | null, { isStrict = false } = {}): void {
    const { createElement, StrictMode } = modules.React;
    const app = createElement(modules.hooks.EngineProvider, { engine }, component && createElement(component));
    root.render(isStrict ? createElement(StrictMode, null, app) : app);
  }
  type Run = Hooks.UseRun["run"];
  /** Runs and says how it ended. */
  const runAndSay = (run: Run): void => void run(input()).then((result) => said.push(yOf(result)));
  const cancelled = (): number => engine.stats().requests.cancelled;

  describe.each([
    ["", false],
    [" in StrictMode", true],
  ])("a run that begins%s", (_, isStrict) => {
    /** The last thing said; in StrictMode a second effect's run aborts the first one's. */
    const last = (): unknown => said.at(-1);

    test("in the effect of a child that mounts once the model is ready is answered", async () => {
      const { createElement, useEffect } = modules.React;
      let state: Hooks.UseRun | undefined;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      show(
        () => {
          const { model } = modules.hooks.useModel("/double.onnx");
          state = modules.hooks.useRun(model);
          return model && createElement(Child, { run: state.run });
        },
        { isStrict },
      );
      await until(() => {
        expect(last()).toEqual(DOUBLED);
      });
      await until(() => {
        expect(state?.status).toBe("done");
      });
      expect(yOf(state?.result ?? null)).toEqual(DOUBLED);
    });

    test("in the effect of a child that is always mounted is answered", async () => {
      const { createElement, useEffect } = modules.React;
      function Child({ run, isReady }: { readonly run: Run; readonly isReady: boolean }): null {
        useEffect(() => {
          if (isReady) runAndSay(run);
        }, [run, isReady]);
        return null;
      }
      show(
        () => {
          const { model, status } = modules.hooks.useModel("/double.onnx");
          const { run } = modules.hooks.useRun(model);
          return createElement(Child, { run, isReady: status === "ready" });
        },
        { isStrict },
      );
      await until(() => {
        expect(last()).toEqual(DOUBLED);
      });
    });

    test("in the effect of a child, on the mount of what was suspended, is answered", async () => {
      const { createElement, Suspense, useEffect } = modules.React;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      function Waits() {
        const { model } = modules.hooks.useModel("/double.onnx", { suspense: true });
        return createElement(Child, { run: modules.hooks.useRun(model).run });
      }
      show(() => createElement(Suspense, null, createElement(Waits)), { isStrict });
      await until(() => {
        expect(last()).toEqual(DOUBLED);
      });
    });

    test.each(["useLayoutEffect", "useEffect"] as const)("in the component's own %s is answered", async (effect) => {
      let status: string | undefined;
      show(
        () => {
          const { model } = modules.hooks.useModel("/double.onnx");
          const { run, ...state } = modules.hooks.useRun(model);
          status = state.status;
          modules.React[effect](() => {
            if (model !== null) runAndSay(run);
          }, [model, run]);
          return null;
        },
        { isStrict },
      );
      await until(() => {
        expect(last()).toEqual(DOUBLED);
      });
      await until(() => {
        expect(status).toBe("done");
      });
    });

    test("in an effect that runs once is answered, though StrictMode runs the clean-ups", async () => {
      const model = await engine.load("/slow.onnx");
      show(
        () => {
          const { run } = modules.hooks.useRun(model);
          const begun = modules.React.useRef(false);
          modules.React.useEffect(() => {
            if (!begun.current) runAndSay(run);
            begun.current = true;
          }, [run]);
          return null;
        },
        { isStrict },
      );
      await until(() => {
        expect(said).toEqual([DOUBLED]);
      });
      expect(cancelled()).toBe(0);
    });
  });

  test("a run of the model before is aborted, that of a child's effect on the new one is not", async () => {
    const { createElement, useEffect } = modules.React;
    const [first, second] = await Promise.all([engine.load("/slow.onnx"), engine.load("/double.onnx")]);
    function Child({ run, model }: { readonly run: Run; readonly model: Model }): null {
      useEffect(() => {
        void run(input()).then((result) => said.push([model === first ? "first" : "second", yOf(result)]));
      }, [run, model]);
      return null;
    }
    let pick: (model: Model) => void = () => undefined;
    let state: Hooks.UseRun | undefined;
    show(() => {
      const [model, setModel] = modules.React.useState(first);
      pick = setModel;
      state = modules.hooks.useRun(model, { abortPrevious: false });
      return createElement(Child, { run: state.run, model });
    });
    await until(() => {
      expect(state?.status).toBe("running");
    });
    pick(second);
    await until(() => {
      expect(said).toHaveLength(2);
    });
    expect(said).toContainEqual(["first", null]);
    expect(said).toContainEqual(["second", DOUBLED]);
    expect(cancelled()).toBe(1);
    await until(() => {
      expect(yOf(state?.result ?? null)).toEqual(DOUBLED);
    });
    pick(first);
    await until(() => {
      expect(said).toHaveLength(3);
    });
    expect(said.at(-1)).toEqual(["first", DOUBLED]);
  });

  test("a change of the model takes the state back, and a model that is back does not bring its old run", async () => {
    const [first, second] = await Promise.all([engine.load("/slow.onnx"), engine.load("/double.onnx")]);
    let pick: (model: Model) => void = () => undefined;
    let state: Hooks.UseRun | undefined;
    show(() => {
      const [model, setModel] = modules.React.useState(first);
      pick = setModel;
      return (state = modules.hooks.useRun(model)) && null;
    });
    await until(() => {
      expect(state).toBeDefined();
    });
    const run = state?.run(input());
    await until(() => {
      expect(state?.status).toBe("running");
    });
    for (const model of [second, first]) {
      pick(model);
      await until(() => {
        expect(state?.status).toBe("idle");
      });
    }
    expect(await run).toBe(null);
    expect(state?.status).toBe("idle");
  });

  test("unmounting aborts what runs, and what is begun later is refused", async () => {
    const model = await engine.load("/slow.onnx");
    let state: Hooks.UseRun | undefined;
    show(() => (state = modules.hooks.useRun(model)) && null);
    await until(() => {
      expect(state).toBeDefined();
    });
    const run = state?.run(input());
    await until(() => {
      expect(state?.status).toBe("running");
    });
    show(null);
    expect(await run).toBe(null);
    expect(cancelled()).toBe(1);
    expect(await state?.run(input())).toBe(null);
    expect(engine.stats().requests.done).toBe(0);
  });

  if (version === "19")
    test("hiding aborts what runs; what a child runs when it is shown again is answered", async () => {
      const { Activity, createElement, useEffect } = modules.React;
      const model = await engine.load("/slow.onnx");
      let state: Hooks.UseRun | undefined;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      function Runner() {
        state = modules.hooks.useRun(model);
        return createElement(Child, { run: state.run });
      }
      let setHidden: (isHidden: boolean) => void = () => undefined;
      show(() => {
        const [isHidden, set] = modules.React.useState(false);
        setHidden = set;
        return createElement(Activity, { mode: isHidden ? "hidden" : "visible", children: createElement(Runner) });
      });
      await until(() => {
        expect(state?.status).toBe("running");
      });
      setHidden(true);
      await until(() => {
        expect(said).toEqual([null]);
      });
      setHidden(false);
      await until(() => {
        expect(said).toEqual([null, DOUBLED]);
      });
      await until(() => {
        expect(state?.status).toBe("done");
      });
    });

  describe("a source that is new at each render", () => {
    const sources: readonly (readonly [string, () => ModelSource])[] = [
      ["bytes", () => new Uint8Array([1, 2, 3])],
      ["a buffer", () => new ArrayBuffer(3)],
      ["a Blob", () => new Blob(["abc"])],
    ];
    test.each(sources)("is named by a TypeError: %s", async (_, source) => {
      show(() => {
        modules.hooks.useModel(source());
        return null;
      });
      await until(() => {
        expect(String(errors[0])).toContain("TypeError: useModel: the source is a new object at each render.");
      });
    });

    test("is named by a TypeError with Suspense too", async () => {
      const { createElement, Suspense } = modules.React;
      function Waits() {
        modules.hooks.useModel(new Blob(["abc"]), { suspense: true });
        return null;
      }
      show(() => createElement(Suspense, null, createElement(Waits)));
      await until(() => {
        expect(String(errors[0])).toContain("with suspense, a parent's");
      });
    });

    test("differs from one in state, in any number of components", async () => {
      const { createElement, useState } = modules.React;
      function One() {
        const [source] = useState(() => new Blob(["abc"]));
        const { status } = modules.hooks.useModel(source);
        if (status === "ready") said.push(source);
        return null;
      }
      show(() => Array.from({ length: 15 }, (_, key) => createElement(One, { key })));
      await until(() => {
        expect(new Set(said).size).toBe(15);
      });
      expect(errors).toEqual([]);
    });
  });

  test("another engine is followed: one that comes later, and one that replaces a closed one", async () => {
    const { createElement } = modules.React;
    const { EngineProvider, useEngine, useModel } = modules.hooks;
    let seen: Engine | null = null;
    let model: Model | null = null;
    const Child = (): null => {
      seen = useEngine();
      model = useModel("/double.onnx").model;
      return null;
    };
    const render = (own: Engine | Promise<Engine> | undefined): void => {
      root.render(createElement(EngineProvider, { engine: own }, createElement(Child)));
    };
    const other = await createFakeEngine({ models: { "/double.onnx": double } });
    render(undefined);
    render(other);
    await until(() => {
      expect(seen).toBe(other);
      expect(model).not.toBeNull();
    });
    await other.close();
    let arrive: (engine: Engine) => void = () => undefined;
    render(
      new Promise((resolve) => {
        arrive = resolve;
      }),
    );
    await until(() => {
      expect(seen).toBeNull();
    });
    arrive(other);
    render(engine);
    await until(() => {
      expect(seen).toBe(engine);
      expect(model).not.toBeNull();
    });
    await until(async () => {
      expect(yOf((await model?.run(input())) ?? null)).toEqual(DOUBLED);
    });
    render(engine);
    expect(engine.stats().requests.done).toBe(1);
  });

  test("a repository is compared by what it says", async () => {
    const seen: unknown[] = [];
    const load = vi.spyOn(engine, "load").mockImplementation((source) => {
      seen.push(source);
      return new Promise(() => undefined);
    });
    const token = (): string => "hf_x";
    show(() => {
      modules.hooks.useModel({ repo: "owner/name", revision: "main", token });
      modules.hooks.useModel({ token: () => "hf_y", revision: "main", repo: "owner/name" });
      modules.hooks.useModel({ repo: "owner/other" });
      return null;
    });
    await until(() => {
      expect(load).toHaveBeenCalledTimes(2);
    });
    expect(seen).toEqual([{ repo: "owner/name", revision: "main", token }, { repo: "owner/other" }]);
  });
});

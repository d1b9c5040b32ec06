// The hooks over a fake engine, by React 18 and 19 in Node: runs, sources and providers. test-support/react-loads.ts has
// loads whose component goes away; e2e/specs/site/react.spec.ts has a browser.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Engine, Model, ModelSource } from "selvedge";
import type * as Hooks from "./react.ts";
import { DOUBLE, DOUBLED, doubleInput, REACT_VERSIONS, startReact, until, yOf } from "../test-support/react-roots.ts";
import type { ReactRoot } from "../test-support/react-roots.ts";
import { createFakeEngine } from "../testing/index.ts";

describe.each(REACT_VERSIONS)("with React %s", (version, folder) => {
  let react: ReactRoot;
  let engine: Engine;
  /** Results that components reported, in order. */
  let said: unknown[];

  beforeEach(async () => {
    engine = await createFakeEngine({
      models: { "/double.onnx": DOUBLE, "/slow.onnx": { ...DOUBLE, runMs: 300 }, bytes: DOUBLE },
      workers: 4,
    });
    said = [];
    react = await startReact(folder, engine);
  });
  afterEach(async () => {
    await react.end();
    await engine.close();
  });

  const show: ReactRoot["show"] = (component, options) => {
    react.show(component, options);
  };
  type Run = Hooks.UseRun["run"];
  /** Runs and says how it ended. */
  const runAndSay = (run: Run): void => void run(doubleInput()).then((result) => said.push(yOf(result)));
  const cancelled = (): number => engine.stats().requests.cancelled;

  describe.each([
    ["", false],
    [" in StrictMode", true],
  ])("a run that begins%s", (_, isStrict) => {
    /** The last thing said; in StrictMode a second effect's run aborts the first one's. */
    const last = (): unknown => said.at(-1);

    test("in the effect of a child that mounts once the model is ready is answered", async () => {
      const { createElement, useEffect } = react.React;
      let state: Hooks.UseRun | undefined;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      show(
        () => {
          const { model } = react.hooks.useModel("/double.onnx");
          state = react.hooks.useRun(model);
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
      const { createElement, useEffect } = react.React;
      function Child({ run, isReady }: { readonly run: Run; readonly isReady: boolean }): null {
        useEffect(() => {
          if (isReady) runAndSay(run);
        }, [run, isReady]);
        return null;
      }
      show(
        () => {
          const { model, status } = react.hooks.useModel("/double.onnx");
          const { run } = react.hooks.useRun(model);
          return createElement(Child, { run, isReady: status === "ready" });
        },
        { isStrict },
      );
      await until(() => {
        expect(last()).toEqual(DOUBLED);
      });
    });

    test("in the effect of a child, on the mount of what was suspended, is answered", async () => {
      const { createElement, Suspense, useEffect } = react.React;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      function Waits() {
        const { model } = react.hooks.useModel("/double.onnx", { suspense: true });
        return createElement(Child, { run: react.hooks.useRun(model).run });
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
          const { model } = react.hooks.useModel("/double.onnx");
          const { run, ...state } = react.hooks.useRun(model);
          status = state.status;
          react.React[effect](() => {
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
          const { run } = react.hooks.useRun(model);
          const begun = react.React.useRef(false);
          react.React.useEffect(() => {
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
    const { createElement, useEffect } = react.React;
    const [first, second] = await Promise.all([engine.load("/slow.onnx"), engine.load("/double.onnx")]);
    function Child({ run, model }: { readonly run: Run; readonly model: Model }): null {
      useEffect(() => {
        void run(doubleInput()).then((result) => said.push([model === first ? "first" : "second", yOf(result)]));
      }, [run, model]);
      return null;
    }
    let pick: (model: Model) => void = () => undefined;
    let state: Hooks.UseRun | undefined;
    show(() => {
      const [model, setModel] = react.React.useState(first);
      pick = setModel;
      state = react.hooks.useRun(model, { abortPrevious: false });
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
      const [model, setModel] = react.React.useState(first);
      pick = setModel;
      return (state = react.hooks.useRun(model)) && null;
    });
    await until(() => {
      expect(state).toBeDefined();
    });
    const run = state?.run(doubleInput());
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

  test("no render with a new model has the state of the one before", async () => {
    const [first, second] = await Promise.all([engine.load("/double.onnx"), engine.load("/double.onnx")]);
    const shown: string[] = [];
    let pick: (model: Model) => void = () => undefined;
    let state: Hooks.UseRun | undefined;
    show(() => {
      const [model, setModel] = react.React.useState(first);
      pick = setModel;
      state = react.hooks.useRun(model);
      if (model === second) shown.push(state.status);
      return null;
    });
    await until(async () => {
      expect(yOf((await state?.run(doubleInput())) ?? null)).toEqual(DOUBLED);
    });
    await until(() => {
      expect(state?.status).toBe("done");
    });
    pick(second);
    await until(() => {
      expect(shown).toContain("idle");
    });
    expect(new Set(shown)).toEqual(new Set(["idle"]));
  });

  test("unmounting aborts what runs, and what is begun later is refused", async () => {
    const model = await engine.load("/slow.onnx");
    let state: Hooks.UseRun | undefined;
    show(() => (state = react.hooks.useRun(model)) && null);
    await until(() => {
      expect(state).toBeDefined();
    });
    const run = state?.run(doubleInput());
    await until(() => {
      expect(state?.status).toBe("running");
    });
    show(null);
    expect(await run).toBe(null);
    expect(cancelled()).toBe(1);
    expect(await state?.run(doubleInput())).toBe(null);
    expect(engine.stats().requests.done).toBe(0);
  });

  test.each(["the component", "the provider with it"])(
    "unmounting %s cancels its runs, and those that wait",
    async (which) => {
      let run: Run = () => Promise.resolve(null);
      const { createElement } = react.React;
      function Reader(): null {
        const { model } = react.hooks.useModel("/slow.onnx");
        ({ run } = react.hooks.useRun(model, { abortPrevious: false }));
        return null;
      }
      show(Reader);
      await until(async () => {
        expect(yOf(await run(doubleInput()))).toEqual(DOUBLED);
      });
      const before = engine.stats().requests;
      const runs = Array.from({ length: 16 }, (_, i) => run(doubleInput(i), { placement: "local" }));
      if (which === "the component") show(null);
      else react.root.render(createElement("p"));
      expect(await Promise.all(runs)).toEqual(runs.map(() => null));
      const { cancelled, failed } = engine.stats().requests;
      expect({ cancelled, failed }).toEqual({ cancelled: before.cancelled + 16, failed: before.failed });
    },
  );

  if (version === "19")
    test("hiding aborts what runs; what a child runs when it is shown again is answered", async () => {
      const { Activity, createElement, useEffect } = react.React;
      const model = await engine.load("/slow.onnx");
      let state: Hooks.UseRun | undefined;
      function Child({ run }: { readonly run: Run }): null {
        useEffect(() => {
          runAndSay(run);
        }, [run]);
        return null;
      }
      function Runner() {
        state = react.hooks.useRun(model);
        return createElement(Child, { run: state.run });
      }
      let setHidden: (isHidden: boolean) => void = () => undefined;
      show(() => {
        const [isHidden, set] = react.React.useState(false);
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
        react.hooks.useModel(source());
        return null;
      });
      await until(() => {
        expect(String(react.errors[0])).toContain("TypeError: useModel: the source is new at each render.");
      });
    });

    test("is named by a TypeError with Suspense too", async () => {
      const { createElement, Suspense } = react.React;
      function Waits() {
        react.hooks.useModel(new Blob(["abc"]), { suspense: true });
        return null;
      }
      show(() => createElement(Suspense, null, createElement(Waits)));
      await until(() => {
        expect(String(react.errors[0])).toContain("with suspense, a parent's");
      });
    });

    test("differs from one in state, in any number of components", async () => {
      const { createElement, useState } = react.React;
      function One() {
        const [source] = useState(() => new Blob(["abc"]));
        const { status } = react.hooks.useModel(source);
        if (status === "ready") said.push(source);
        return null;
      }
      show(() => Array.from({ length: 15 }, (_, key) => createElement(One, { key })));
      await until(() => {
        expect(new Set(said).size).toBe(15);
      });
      expect(react.errors).toEqual([]);
    });
  });

  test("another engine is followed: one that comes later, and one that replaces a closed one", async () => {
    const { createElement } = react.React;
    const { EngineProvider, useEngine, useModel } = react.hooks;
    let seen: Engine | null = null;
    let model: Model | null = null;
    const Child = (): null => {
      seen = useEngine();
      model = useModel("/double.onnx").model;
      return null;
    };
    const render = (own: Engine | Promise<Engine> | undefined): void => {
      react.root.render(createElement(EngineProvider, { engine: own }, createElement(Child)));
    };
    const other = await createFakeEngine({ models: { "/double.onnx": DOUBLE } });
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
      expect(yOf((await model?.run(doubleInput())) ?? null)).toEqual(DOUBLED);
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
      react.hooks.useModel({ repo: "owner/name", revision: "main", token });
      react.hooks.useModel({ token: () => "hf_y", revision: "main", repo: "owner/name" });
      react.hooks.useModel({ repo: "owner/other" });
      return null;
    });
    await until(() => {
      expect(load).toHaveBeenCalledTimes(2);
    });
    expect(seen).toEqual([{ repo: "owner/name", revision: "main", token }, { repo: "owner/other" }]);
  });
});

test("with React 17, which npm installs the package beside, the provider names the version that it needs", async () => {
  vi.resetModules();
  vi.doMock("react", async (original) => ({ ...(await original<object>()), useSyncExternalStore: undefined }));
  const { EngineProvider } = await import("./react.ts");
  expect(() => EngineProvider({})).toThrow(new TypeError("EngineProvider needs React 18"));
  vi.doUnmock("react");
});

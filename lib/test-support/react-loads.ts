// Loads of `useModel` whose component goes away, waits, is hidden or fails meanwhile, in Node over a fake engine: one
// suite, which each version of React has a test file for, since it waits for timers and files run side by side. Vitest
// fails where a rejection is caught by nobody.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ReactNode } from "react";
import type { Engine, ErrorCode } from "selvedge";
import type * as Hooks from "../bindings/react.ts";
import { DOUBLE, DOUBLED, doubleInput, startReact, until, yOf } from "./react-roots.ts";
import type { REACT_VERSIONS, ReactRoot } from "./react-roots.ts";
import { createFakeEngine } from "../testing/index.ts";

/** How much faster time runs for the hooks and the fake engine, in tests of how long a model is kept. React's does not. */
const SPEED = 10;
/** Time that a model is kept for a component that suspended on it, as it passes here. */
const KEPT_MS = 5_000 / SPEED;
const { setTimeout: realTimeout } = globalThis;
const wait = (ms: number): Promise<void> => new Promise((done) => void realTimeout(done, ms));

interface ReaderProps {
  readonly url: string;
  readonly suspense?: boolean;
  readonly children?: ReactNode;
}

/** The suite, for one of `REACT_VERSIONS`. */
export function describeLoads([version, folder]: (typeof REACT_VERSIONS)[number]): void {
  describe(`a load, with React ${version},`, () => {
    let react: ReactRoot;
    let engine: Engine;
    let loads: Loads;
    /** Answers of the runs that components start in an effect, in order; null for one that was aborted. */
    let said: unknown[];
    /** States of the components' models and runs, as rendered. */
    let states: string[];
    /** Result of `useRun` of the component that rendered last. */
    let runs: Hooks.UseRun;
    const failing: { loadError: ErrorCode | null } = { loadError: null };

    beforeEach(async () => {
      const models = {
        "/double.onnx": DOUBLE,
        "/long.onnx": { ...DOUBLE, loadMs: 300 },
        "/other.onnx": { ...DOUBLE, loadMs: 300 },
        "/longer.onnx": { ...DOUBLE, loadMs: 12_000 },
        "/longest.onnx": { ...DOUBLE, loadMs: 120_000 },
        "/failing.onnx": Object.assign(failing, DOUBLE),
      };
      engine = await createFakeEngine({ models, workers: 4 });
      loads = watchLoads(engine);
      said = [];
      states = [];
      react = await startReact(folder, engine);
    });
    afterEach(async () => {
      await react.end();
      await engine.close();
    });

    /** Loads a model, runs it in an effect as soon as it is there, and renders its children then. */
    function Reader({ url, suspense = false, children = null }: ReaderProps): ReactNode {
      const { model, status } = react.hooks.useModel(url, { suspense });
      runs = react.hooks.useRun(model);
      const { run } = runs;
      states.push(`${status} ${runs.status}`);
      react.React.useEffect(() => {
        if (model !== null) void run(doubleInput()).then((result) => said.push(yOf(result)));
      }, [model, run]);
      return model === null ? null : children;
    }
    const reader = (props: ReaderProps): ReactNode => react.React.createElement(Reader, { key: props.url, ...props });
    const suspending = (...children: readonly ReactNode[]): ReactNode =>
      react.React.createElement(react.React.Suspense, null, ...children);
    const loadedModels = (): number => engine.stats().models;

    /** Renders by a value that the returned function sets. */
    function showBy<T>(first: T, render: (value: T) => ReactNode): (value: T) => void {
      let set: (value: T) => void = () => undefined;
      react.show(() => {
        const [value, setValue] = react.React.useState<T>(first);
        set = setValue;
        return render(value);
      });
      return (value) => {
        set(value);
      };
    }
    async function untilAnswered(times = 1): Promise<void> {
      await until(() => {
        expect(said.filter((x) => x !== null)).toEqual(Array.from({ length: times }, () => DOUBLED));
      });
    }
    async function untilLoads(...aborted: readonly boolean[]): Promise<void> {
      await until(() => {
        expect(loads.aborted()).toEqual(aborted);
      });
    }
    async function untilModels(count: number): Promise<void> {
      await until(() => {
        expect(loadedModels()).toBe(count);
      });
    }

    describe.each([
      ["", false],
      [" in StrictMode", true],
    ])("of a component%s", (_, isStrict) => {
      test("that goes away is aborted; when it comes back, it loads anew and is answered", async () => {
        const Page = (): ReactNode => reader({ url: "/long.onnx" });
        react.show(Page, { isStrict });
        await untilLoads(false);
        react.show(null, { isStrict });
        await untilLoads(true);
        react.show(Page, { isStrict });
        await until(() => {
          expect(said.at(-1)).toEqual(DOUBLED);
        });
        expect(loads.aborted()).toEqual([true, false]);
        expect(loadedModels()).toBe(1);
        react.show(null, { isStrict });
        await untilModels(0);
      });

      test("that goes away while it is suspended ends, and the model is freed", async () => {
        react.show(() => suspending(reader({ url: "/long.onnx", suspense: true })), { isStrict });
        await untilLoads(false);
        hurry();
        react.show(null, { isStrict });
        await untilModels(1);
        await untilModels(0);
        expect(said).toEqual([]);
      });

      test("that goes away while it is suspended is aborted before it is whole", async () => {
        hurry();
        react.show(() => suspending(reader({ url: "/longest.onnx", suspense: true })), { isStrict });
        // A component that waits is asked for again and again.
        await wait(2 * KEPT_MS);
        expect(loads.aborted()).toEqual([false]);
        react.show(null, { isStrict });
        await untilLoads(true);
        expect(loadedModels()).toBe(0);
      });

      test("that was suspended, and comes back, is shared", async () => {
        const Page = (): ReactNode => suspending(reader({ url: "/long.onnx", suspense: true }));
        react.show(Page, { isStrict });
        await untilLoads(false);
        hurry();
        react.show(null, { isStrict });
        react.show(Page, { isStrict });
        await until(() => {
          expect(said.at(-1)).toEqual(DOUBLED);
        });
        await wait(1.5 * KEPT_MS);
        expect(loads.aborted()).toEqual([false]);
        expect(loadedModels()).toBe(1);
      });
    });

    test("goes on where the page that comes next wants the same model", async () => {
      const pages = { first: () => reader({ url: "/long.onnx" }), second: () => reader({ url: "/long.onnx" }) };
      const go = showBy<keyof typeof pages>("first", (page) => react.React.createElement(pages[page]));
      await untilLoads(false);
      go("second");
      await untilAnswered();
      expect(loads.aborted()).toEqual([false]);
    });

    test("is aborted where the page that comes next wants another model", async () => {
      const go = showBy("/long.onnx", (url) => reader({ url }));
      await untilLoads(false);
      go("/other.onnx");
      await untilAnswered();
      expect(loads.aborted()).toEqual([true, false]);
      expect(loadedModels()).toBe(1);
    });

    test("is aborted where a component asks for another source, also back again", async () => {
      const go = showBy("/long.onnx", (url) => react.React.createElement(Reader, { url }));
      await untilLoads(false);
      go("/other.onnx");
      await untilLoads(true, false);
      go("/long.onnx");
      await untilAnswered();
      expect(loads.aborted()).toEqual([true, true, false]);
      expect(loadedModels()).toBe(1);
    });

    test("whose provider goes away is aborted, and a provider that comes back loads anew", async () => {
      const { createElement } = react.React;
      for (const suspense of [false, true]) {
        said = [];
        const url = suspense ? "/other.onnx" : "/long.onnx";
        const child = suspending(reader({ url, suspense }));
        const app = createElement(react.hooks.EngineProvider, { engine }, child);
        const before = loads.aborted().length;
        react.root.render(app);
        await until(() => {
          expect(loads.aborted().slice(before)).toEqual([false]);
        });
        react.root.render(null);
        await until(() => {
          expect(loads.aborted().slice(before)).toEqual([true]);
        });
        react.root.render(app);
        await untilAnswered();
        react.root.render(null);
        await untilModels(0);
      }
    });

    test("does not begin on an engine that comes after its provider went away", async () => {
      let arrive: (engine: Engine) => void = () => undefined;
      const late = new Promise<Engine>((resolve) => {
        arrive = resolve;
      });
      const child = reader({ url: "/double.onnx" });
      react.root.render(react.React.createElement(react.hooks.EngineProvider, { engine: late }, child));
      await until(() => {
        expect(states).toContain("loading idle");
      });
      react.root.render(null);
      await wait(20);
      arrive(engine);
      await wait(20);
      expect(loads.aborted().filter((isAborted) => !isAborted)).toEqual([]);
      expect(loadedModels()).toBe(0);
    });

    describe("under Suspense", () => {
      const chains: readonly (readonly [string, () => ReactNode])[] = [
        [
          "beside it",
          () =>
            suspending(reader({ url: "/long.onnx", suspense: true }), reader({ url: "/longer.onnx", suspense: true })),
        ],
        [
          "below it",
          () =>
            suspending(
              reader({
                url: "/long.onnx",
                suspense: true,
                children: reader({ url: "/longer.onnx", suspense: true }),
              }),
            ),
        ],
      ];
      test.each(chains)("is not repeated while its boundary waits for a slow one %s", async (_, Page) => {
        hurry();
        react.show(Page);
        await untilAnswered(2);
        expect(loads.aborted()).toEqual([false, false]);
        expect(loadedModels()).toBe(2);
      });

      test("leaves the model before usable until a transition to another one is done", async () => {
        const go = showBy("/double.onnx", (url) =>
          suspending(react.React.createElement(Reader, { url, suspense: true })),
        );
        await untilAnswered();
        react.React.startTransition(() => {
          go("/long.onnx");
        });
        await untilLoads(false, false);
        expect(yOf(await runs.run(doubleInput()))).toEqual(DOUBLED);
        await untilAnswered(2);
        await untilModels(1);
        expect(loads.aborted()).toEqual([true, false]);
      });

      test("ends where a transition to it is given up", async () => {
        const go = showBy("/double.onnx", (url) =>
          suspending(react.React.createElement(Reader, { url, suspense: true })),
        );
        await untilAnswered();
        for (const url of ["/long.onnx", "/double.onnx"]) {
          react.React.startTransition(() => {
            go(url);
          });
          await untilLoads(false, false);
        }
        hurry();
        await untilModels(2);
        await untilModels(1);
        expect(yOf(await runs.run(doubleInput()))).toEqual(DOUBLED);
        expect(loads.aborted()).toEqual([false, true]);
      });
    });

    describe("that fails", () => {
      let caught: string[];
      let again: () => void;
      /** Returns an error boundary around children; `again` renders them anew. */
      function bounded(...children: readonly ReactNode[]): ReactNode {
        class Boundary extends react.React.Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
          override state = { error: null };

          static getDerivedStateFromError(error: unknown) {
            return { error };
          }

          override componentDidCatch(error: unknown): void {
            caught.push((error as { code: string }).code);
            again = () => {
              this.setState({ error: null });
            };
          }

          override render(): ReactNode {
            return this.state.error === null ? this.props.children : null;
          }
        }
        return react.React.createElement(Boundary, null, ...children);
      }
      /** Checks how many loads have begun; React 18's development build may take a slow render for one more. */
      function expectLoads(count: number): void {
        const { length } = loads.aborted();
        expect(length).toBeGreaterThanOrEqual(count);
        expect(length).toBeLessThanOrEqual(version === "19" ? count : 2 * count);
      }
      async function untilCaught(times: number): Promise<void> {
        await until(() => {
          expect(caught).toEqual(Array.from({ length: times }, () => "download-failed"));
        });
      }

      beforeEach(() => {
        caught = [];
        failing.loadError = "download-failed";
      });

      test("is begun again by a boundary that renders anew, as often as it does", async () => {
        const app = bounded(suspending(reader({ url: "/failing.onnx", suspense: true })));
        react.show(() => app);
        await untilCaught(1);
        expectLoads(1);
        again();
        await untilCaught(2);
        expectLoads(2);
        failing.loadError = null;
        again();
        await untilAnswered();
        expectLoads(3);
        expect(loadedModels()).toBe(1);
      });

      test("is begun again by a boundary also where a component beside it shows the failure", async () => {
        const suspended = bounded(suspending(reader({ url: "/failing.onnx", suspense: true })));
        const app = react.React.createElement(react.React.Fragment, null, reader({ url: "/failing.onnx" }), suspended);
        react.show(() => app);
        await untilCaught(1);
        expect(states).toContain("failed idle");
        failing.loadError = null;
        again();
        await untilAnswered(2);
        expectLoads(2);
        // eslint-disable-next-line no-console -- React warns there
        const warned = vi.mocked(console.error).mock.calls.flat().map(String);
        expect(warned.filter((x) => x.includes("while rendering a different component"))).toEqual([]);
      });

      test("is begun once where it is retried before the boundary's error is reported", async () => {
        const Page = (): ReactNode => {
          const { status, retry } = react.hooks.useModel("/failing.onnx");
          react.React.useLayoutEffect(() => {
            if (status !== "failed") return;
            failing.loadError = null;
            retry();
          }, [status, retry]);
          return bounded(suspending(reader({ url: "/failing.onnx", suspense: true })));
        };
        react.show(Page);
        await untilCaught(1);
        await wait(KEPT_MS / 10);
        again();
        await untilAnswered();
        expectLoads(2);
        expect(loadedModels()).toBe(1);
      });

      test("is begun again once by two retries", async () => {
        let retry: () => void = () => undefined;
        react.show(() => {
          const { status, ...model } = react.hooks.useModel("/failing.onnx");
          states.push(status);
          ({ retry } = model);
          return null;
        });
        await until(() => {
          expect(states.at(-1)).toBe("failed");
        });
        failing.loadError = null;
        retry();
        retry();
        await until(() => {
          expect(states.at(-1)).toBe("ready");
        });
        expect(loads.aborted()).toHaveLength(2);
      });
    });

    if (version === "19")
      describe("below an Activity", () => {
        /** Shows a reader below an Activity; the returned function hides and shows it. */
        function showHidable(props: ReaderProps, isHidden = false): (isHidden: boolean) => void {
          const { Activity, createElement } = react.React;
          return showBy(isHidden, (value) =>
            suspending(createElement(Activity, { mode: value ? "hidden" : "visible", children: reader(props) })),
          );
        }
        const failures = (): string[] => states.filter((x) => x.includes("failed"));
        const ways = [
          ["", false],
          [" with Suspense", true],
        ] as const;

        test.each(ways)("ends where that is hidden, and when it is shown it loads anew%s", async (_, suspense) => {
          const hide = showHidable({ url: "/long.onnx", suspense });
          await untilAnswered();
          hide(true);
          await untilModels(0);
          hide(false);
          await untilAnswered(2);
          expect(loadedModels()).toBe(1);
          expect(loads.aborted()).toEqual([true, false]);
          expect(failures()).toEqual([]);
        });

        test("is aborted where that is hidden meanwhile, and when it is shown it loads anew", async () => {
          const hide = showHidable({ url: "/long.onnx" });
          await untilLoads(false);
          hide(true);
          await untilLoads(true);
          hide(false);
          await untilAnswered();
          expect(loads.aborted()).toEqual([true, false]);
        });

        test("does not begin while that is hidden", async () => {
          const hide = showHidable({ url: "/double.onnx" }, true);
          await until(() => {
            expect(states).toContain("loading idle");
          });
          await wait(50);
          expect(loads.aborted()).toEqual([]);
          hide(false);
          await untilAnswered();
        });

        test("begins while that is hidden with Suspense; the model is freed, and loaded anew when shown", async () => {
          hurry();
          const hide = showHidable({ url: "/double.onnx", suspense: true }, true);
          await untilModels(1);
          await untilModels(0);
          hide(false);
          await untilAnswered();
          expect(failures()).toEqual([]);
        });

        test("of a hidden provider ends, and when that is shown it loads anew", async () => {
          const { Activity, createElement } = react.React;
          const app = createElement(react.hooks.EngineProvider, { engine }, reader({ url: "/double.onnx" }));
          for (const mode of ["visible", "hidden", "visible"] as const) {
            react.root.render(createElement(Activity, { mode, children: app }));
            await untilModels(mode === "visible" ? 1 : 0);
          }
          await untilAnswered(2);
          expect(failures()).toEqual([]);
        });
      });
  });
}

interface Loads {
  /** Whether each load of the engine was aborted or freed, in the order in which they began. */
  aborted(): readonly boolean[];
}

/** Watches the loads of an engine. */
function watchLoads(engine: Engine): Loads {
  const load = vi.spyOn(engine, "load");
  return { aborted: () => load.mock.calls.map(([, options]) => options?.signal?.aborted === true) };
}

/** Makes time run faster for what looks the timers up when it sets one. */
function hurry(): void {
  vi.stubGlobal("setTimeout", (callback: () => void, ms = 0) => realTimeout(callback, ms / SPEED));
}

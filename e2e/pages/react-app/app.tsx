// Components of the React test app (react.spec.ts), which edits this file to test hot updates.
import { Component, Suspense, useEffect, useLayoutEffect, useState } from "react";
import type { ReactNode } from "react";
import { isSelvedgeError } from "selvedge";
import { useModel, useRun } from "selvedge/react";
import type { UseModel, UseRun } from "selvedge/react";

/** Content of the page. */
export interface Shown {
  /** Address of the model. */
  readonly url: string;
  /** Number of components that use it. */
  readonly copies: number;
  readonly suspense?: boolean;
  /** The effect that runs the model as soon as it is there, in place of the buttons. */
  readonly runner?: Runner | undefined;
  /** Whether the source is bytes that each render makes anew. */
  readonly isInline?: boolean;
}

/** An effect of the component itself, or of a child that mounts with the model, or before it. */
type Runner = "layout" | "own" | "child" | "early-child";

const input = (value: number) => ({
  x: { dtype: "float32" as const, dims: [1, 3], data: new Float32Array([value, 2, 3]) },
});

const say = (error: unknown): string => (isSelvedgeError(error) ? error.code : String(error));

/** Runs a model on demand and shows every state. */
function Panel({ model, status, error, retry }: UseModel) {
  const runs = useRun(model);
  const answer = runs.result === null ? "" : Array.from(runs.result.outputs["y"]?.data ?? [], Number).join();
  return (
    <section>
      <p className="model">{`${status} ${error === null ? "" : say(error)}`}</p>
      <p className="run">{`${runs.status} ${answer} ${runs.error === null ? "" : say(runs.error)}`}</p>
      <button className="retry" onClick={retry}>
        retry
      </button>
      <button className="run" onClick={() => void runs.run(input(1))}>
        run
      </button>
      <button
        className="twice"
        onClick={() => {
          void runs.run(input(1));
          void runs.run(input(5));
        }}
      >
        run twice
      </button>
    </section>
  );
}

function Plain({ url }: { readonly url: string }) {
  return <Panel {...useModel(url, { backend: "wasm" })} />;
}

type OwnEffect = typeof useEffect;

/** Runs in an effect once there is a model, and shows what the run resolved to. */
function useFirstRun(effect: OwnEffect, run: UseRun["run"], isReady: boolean): string {
  const [text, setText] = useState("");
  effect(() => {
    if (!isReady) return;
    void run(input(1)).then((result) => {
      setText(result === null ? "null" : Array.from(result.outputs["y"]?.data ?? [], Number).join());
    });
  }, [run, isReady]);
  return text;
}

function Child({ run, isReady }: { readonly run: UseRun["run"]; readonly isReady: boolean }) {
  return <p className="first">{useFirstRun(useEffect, run, isReady)}</p>;
}

function OwnRun({ model, effect }: { readonly model: UseModel["model"]; readonly effect: OwnEffect }) {
  const { run, status } = useRun(model);
  const text = useFirstRun(effect, run, model !== null);
  return (
    <>
      <p className="first">{text}</p>
      <p className="run">{status}</p>
    </>
  );
}

function ChildRun({ model, isEarly }: { readonly model: UseModel["model"]; readonly isEarly: boolean }) {
  const { run, status } = useRun(model);
  return (
    <>
      {(isEarly || model !== null) && <Child run={run} isReady={model !== null} />}
      <p className="run">{status}</p>
    </>
  );
}

/** Runs the model in an effect. */
function Running({ model, runner }: { readonly model: UseModel["model"]; readonly runner: Runner }) {
  if (runner === "own" || runner === "layout")
    return <OwnRun model={model} effect={runner === "own" ? useEffect : useLayoutEffect} />;
  return <ChildRun model={model} isEarly={runner === "early-child"} />;
}

function PlainRunning({ url, runner }: { readonly url: string; readonly runner: Runner }) {
  return <Running model={useModel(url, { backend: "wasm" }).model} runner={runner} />;
}

function SuspendingRunning({ url, runner }: { readonly url: string; readonly runner: Runner }) {
  return <Running model={useModel(url, { backend: "wasm", suspense: true }).model} runner={runner} />;
}

function Inline({ suspense }: { readonly suspense: boolean }) {
  const { status } = useModel(new Blob(["no model"]), { backend: "wasm", suspense });
  return <p className="model">{status}</p>;
}

function Suspending({ url }: { readonly url: string }) {
  return <Panel {...useModel(url, { backend: "wasm", suspense: true })} />;
}

class Boundary extends Component<{ readonly children: ReactNode }, { readonly error: unknown }> {
  override state = { error: null };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <button
        className="again"
        onClick={() => {
          this.setState({ error: null });
        }}
      >
        {say(this.state.error)}
      </button>
    );
  }
}

/** The models that are shown. */
export function App({ url, copies, suspense = false, runner, isInline = false }: Shown) {
  const keys = Array.from({ length: copies }, (_, i) => i);
  if (runner !== undefined)
    return (
      <Suspense fallback={<p className="fallback">waiting</p>}>
        {suspense ? <SuspendingRunning url={url} runner={runner} /> : <PlainRunning url={url} runner={runner} />}
      </Suspense>
    );
  if (isInline)
    return (
      <Boundary>
        <Suspense fallback={<p className="fallback">waiting</p>}>
          <Inline suspense={suspense} />
        </Suspense>
      </Boundary>
    );
  if (!suspense) return keys.map((key) => <Plain key={key} url={url} />);
  return (
    <Boundary>
      <Suspense fallback={<p className="fallback">waiting</p>}>
        {keys.map((key) => (
          <Suspending key={key} url={url} />
        ))}
      </Suspense>
    </Boundary>
  );
}

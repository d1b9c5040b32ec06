// Servers of Debian's packages: the installed programs, else unpacked into e2e/.cache without root. Nothing is installed, no
// service starts, and the lists of apt are its own ones.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { withLock } from "./lock.ts";
import { ROOT } from "./prepare.ts";
import { watchProcess } from "./serve-process.ts";

/** A running server. */
export interface DebianServer {
  readonly url: string;
  stop(): Promise<void>;
}

const CACHE = join(ROOT, "e2e/.cache/debian");

/** Returns the folder that has a program of a package at a path: `/`, or where the package and its libraries are unpacked. */
export async function findPackage(name: string, program: string, libraries: readonly RegExp[] = []): Promise<string> {
  if (existsSync(`/${program}`)) return "/";
  const folder = join(CACHE, name);
  if (existsSync(join(folder, program))) return folder;
  if (process.env["SELVEDGE_INSTALL"] === "0")
    throw new Error(`/${program} is missing, and SELVEDGE_INSTALL=0 downloads nothing: apt-get install ${name}`);
  mkdirSync(CACHE, { recursive: true });
  await withLock(`${folder}.lock`, () => {
    if (existsSync(join(folder, program))) return;
    const aside = `${folder}.part`;
    rmSync(aside, { recursive: true, force: true });
    unpack(name, libraries, aside);
    if (!existsSync(join(aside, program)))
      throw new Error(`the package ${name} of this system has no /${program}: install the program`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(aside, folder);
  });
  return folder;
}

/** Downloads a package of the system's sources, and those that it depends on and whose names match, into a new folder. */
function unpack(name: string, libraries: readonly RegExp[], folder: string): void {
  const apt = join(folder, "apt");
  for (const path of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(apt, path), { recursive: true });
  const run = (file: string, ...args: string[]): string =>
    execFileSync(file, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], timeout: 300_000, encoding: "utf8" });
  const own = ["-qq", "-o", `Dir::State::lists=${apt}/lists`, "-o", `Dir::Cache=${apt}/cache`];
  run("apt-get", ...own, "update");
  const named = libraries.length === 0 ? "" : run("apt-cache", ...own, "depends", "--recurse", "--important", name);
  const wanted = [...new Set(named.match(/^\w\S*/gm))].filter((x) => libraries.some((y) => y.test(x)));
  run("apt-get", ...own, "download", name, ...wanted);
  rmSync(apt, { recursive: true });
  for (const file of readdirSync(folder).filter((x) => x.endsWith(".deb"))) run("dpkg", "-x", file, ".");
}

/** Starts a program that stays in the foreground, and waits until it accepts connections at a port. */
export async function startProgram(
  program: string,
  words: readonly string[],
  port: number,
  env: Readonly<Record<string, string>>,
  maxWaitMs = 10_000,
): Promise<DebianServer> {
  const child = spawn(program, words, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const { said, stop } = watchProcess(child);
  for (let waitedMs = 0; waitedMs < maxWaitMs && child.exitCode === null; waitedMs += 100) {
    if (await accepts(port)) return { url: `http://127.0.0.1:${port}`, stop };
    await sleep(100);
  }
  await stop();
  throw new Error(`${program} did not start: ${said()}`);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}

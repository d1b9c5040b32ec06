// Formats bytes, durations, ages and errors for people.

/** Formats a number of bytes. */
export function bytesOf(bytes: number): string {
  if (bytes >= 999.5e6) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 999.5e3) return `${(bytes / 1e6).toFixed(1)} MB`;
  return bytes >= 1e3 ? `${(bytes / 1e3).toFixed(0)} kB` : `${bytes.toFixed(0)} B`;
}

/** Formats a duration. */
export function secondsOf(seconds: number): string {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  return `${(seconds / 60).toFixed(0)} min`;
}

/** Formats an age. */
export function ageOf(ms: number): string {
  const steps = [
    ["day", 86_400_000],
    ["hour", 3_600_000],
    ["minute", 60_000],
  ] as const;
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of steps) if (ms >= size) return words.format(-Math.floor(ms / size), unit);
  return "just now";
}

/** Ends of the scale of errors. */
const [LEAST, MOST] = [1e-9, 1];

/** Returns the place of an error on a log scale from 1e-9 to 1, between 0 and 1. */
export function scaleOf(error: number): number {
  const bounded = Math.min(MOST, Math.max(LEAST, error));
  return Math.log10(bounded / LEAST) / Math.log10(MOST / LEAST);
}

/** Formats an error. */
export function errorText(error: number): string {
  if (error === 0) return "0";
  return error < 1e-3 ? error.toExponential(0).replace("e-", "e−") : String(Number(error.toPrecision(2)));
}

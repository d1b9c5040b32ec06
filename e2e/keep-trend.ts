// `npm run trend`: adds the runs of `npm test` in this checkout, their suites' times and the sizes of what ships, to
// e2e/results/suites.jsonl, to be committed with what lands. Runs of a commit with changes are left out: nothing names
// what they measured.
import { addToTrend, COMMITTED_TREND, LOCAL_TREND, readTrend } from "./support/trend.ts";

const runs = readTrend(LOCAL_TREND);
if (runs.length === 0) throw new Error(`${LOCAL_TREND} has no run: npm test`);
const kept = new Set(readTrend(COMMITTED_TREND).map((x) => x.at));
const fresh = runs.filter(({ at, commit }) => !kept.has(at) && !commit.endsWith("+"));
for (const row of fresh) addToTrend(COMMITTED_TREND, row);
console.log(`Added ${fresh.length} of ${runs.length} runs to ${COMMITTED_TREND}`);
for (const { at, commit, seconds } of fresh) console.log(`  ${at}, commit ${commit}: ${JSON.stringify(seconds)}`);
